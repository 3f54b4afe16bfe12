"""One account that mail is put into: mailboxes, keywords and messages, sealed here to the account's mailbox key.

No password is needed: a message is sealed as a delivery is. Names of mailboxes and keywords are sealed under a key that
only the subscriber's password or both recovery keys give; without those keys all goes to INBOX alone, and keywords are
left out.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bulkhead.boundary.messages.to_directory import BindingRow, ShowAccount
from bulkhead.boundary.messages.to_keyring import ExportKeys
from bulkhead.boundary.messages.to_ledger import RecordImport
from bulkhead.boundary.messages.to_store import (
    IMPORTED_MAX,
    Copy,
    ExportMailboxes,
    ImportedMessages,
    ImportMailbox,
    ImportMessages,
    ImportName,
    MailboxRow,
    Role,
)  # fmt: skip
from bulkhead.cli.recovery import RecoveryKeys
from bulkhead.cli.road import Road, stamp
from bulkhead.errors import ConfigError, Refused
from bulkhead.exports.sealed import open_new
from bulkhead.exports.seeds import open_seeds
from bulkhead.gate.delivery import SealedCopy, Sealer, sealed_size
from bulkhead.identifiers import AccountId, EmailId, MailboxId, new_id
from bulkhead.imports.mail_rows import Letter
from bulkhead.records.mailbox import VerifiedBinding
from bulkhead.records.message import body_sealed_size, seal_key_box
from bulkhead.records.name import TAG_BYTES, NameKind, SealedName, seal_name
from bulkhead.records.seed import MailboxSeed
from bulkhead.wire.imap.mailbox_name import INBOX

BATCH_OCTETS = 8 << 20
SEND_SECONDS = 300.0
LINE_MAX = 256
_ROLES = {
    "Drafts": Role.DRAFTS, "Sent": Role.SENT, "Junk": Role.JUNK, "Spam": Role.JUNK, "Trash": Role.TRASH,
    "Archive": Role.ARCHIVE,
}  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What became of the messages. there: an earlier run had put them in."""

    added: int = 0
    there: int = 0
    octets: int = 0
    bad: int = 0
    renumbered: int = 0
    renamed: int = 0
    unnamed: int = 0  # keywords of messages, left out


class ImportLog:
    """FILE.state: a secret that EmailIds are made with, and which of them are in; FILE.errors: what was left out.

    An EmailId is made of where a message lies and what it is: of two runs over the same files it is the same, so that
    none is put in twice. Without the state a run is another import.
    """

    def __init__(self, state: Path, errors: Path, target: str) -> None:
        self._errors_file = errors
        self._errors: IO[bytes] | None = None
        self._stream = open_new(state, append=True)
        head = self._stream.readline(LINE_MAX).decode("ascii", "replace").split()
        if not head:
            self._salt = secrets.token_bytes(32)
            self._line(f"bulkhead-import-1 {target} {self._salt.hex()}")
            head = ["bulkhead-import-1", target, self._salt.hex()]
        if len(head) != 3 or head[:2] != ["bulkhead-import-1", target] or len(head[2]) != 64:
            raise ConfigError(f"{state} is the state of another import; remove it, or name another with --state")
        self._salt = bytes.fromhex(head[2])
        self.done: set[bytes] = set()
        self.keeps: set[bytes] = set()
        whole = self._stream.tell()
        while (line := self._stream.readline(LINE_MAX)).endswith(b"\n") and len(line) == 34:
            (self.keeps if line[:1] == b"=" else self.done).add(bytes.fromhex(line[1:].decode("ascii")))
            whole += len(line)
        self._stream.truncate(whole)
        self._stream.seek(whole)

    def email(self, place: bytes, octets: bytes) -> EmailId:
        """The EmailId of a message at this place."""
        digest = hashlib.sha256(octets).digest()
        return EmailId(hmac.digest(self._salt, len(place).to_bytes(4, "big") + place + digest, "sha256")[:16])

    def add(self, emails: Sequence[bytes]) -> None:
        """These are in the store."""
        self._stream.write(b"".join(b"+%s\n" % email.hex().encode("ascii") for email in emails))
        self._stream.flush()
        self.done.update(emails)

    def keep(self, mailbox: bytes) -> None:
        """UIDs of this mailbox are kept, also when a later run goes on."""
        self._line(f"={mailbox.hex()}")
        self.keeps.add(mailbox)

    def tell(self, what: str, why: str) -> None:
        """A line of FILE.errors."""
        if self._errors is None:
            self._errors = open_new(self._errors_file, append=True)
            self._errors.seek(0, 2)
        text = "".join(c if c.isprintable() else "?" for c in f"{what}: {why}")
        self._errors.write(text.encode("utf-8", "replace") + b"\n")
        self._errors.flush()

    def close(self) -> None:
        """Let go of both."""
        self._stream.close()
        if self._errors is not None:
            self._errors.close()

    def _line(self, text: str) -> None:
        self._stream.write(text.encode("ascii") + b"\n")
        self._stream.flush()


@dataclass(slots=True)
class _Batch:
    mailbox: MailboxRow
    copies: list[SealedCopy] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    uids: list[int] = field(default_factory=list)
    uidls: list[str] = field(default_factory=list)
    octets: int = 0


class ImportAccount:
    """The account at the end of the road."""

    def __init__(self, road: Road, address: str, keys: RecoveryKeys | None, log: ImportLog) -> None:
        self._road, self._address, self._keys, self._log = road, address, keys, log
        self.tally = Tally()
        self._seed: MailboxSeed | None = None
        self._bits: dict[str, int] = {}
        self._batch: _Batch | None = None
        self._account = AccountId(b"")
        self._binding: VerifiedBinding

    async def open(self, source: str, files: int) -> None:
        """Find it, and enter into the ledger what follows. Raises Refused, also where it has no mailbox any more."""
        row = await self._road.ask("directory", ShowAccount(self._address))
        if not row.binding:
            raise Refused("the account has no mailbox key: it was cancelled", code="no-mailbox")
        self._account = AccountId(row.account)
        sealer = Sealer(self._road.tenant.id, self._road.tenant.settings.text("pinned.binding_key"))
        self._binding = sealer.verify(BindingRow(row.account, row.binding))
        await self._road.ask("ledger", RecordImport(stamp(), row.account, source, files))
        if self._keys is not None:
            found = await self._road.ask("keyring", ExportKeys(stamp(), row.account))
            seeds = open_seeds(self._road.tenant.id, self._account, found.keys, self._keys.partner, self._keys.operator)
            self._seed = seeds[max(seeds)]

    async def mailbox(self, name: str) -> MailboxRow | None:
        """The mailbox of that name, made where there is none; None where that needs the recovery keys."""
        rows = (await self._road.ask("store", ExportMailboxes(self._account))).rows
        if name == INBOX:
            return next(row for row in rows if row.role == Role.INBOX)
        if self._seed is None:
            return None
        sealed = self._sealed(NameKind.FOLDER, name)
        for row in rows:
            if row.sealed_name[:TAG_BYTES] == sealed.tag:
                return row
        role = _ROLES.get(name, Role.NONE)
        if any(row.role == role for row in rows):
            role = Role.NONE
        stored = sealed.tag + sealed.record
        request = ImportMailbox(stamp(), self._account, MailboxId(new_id()), 0, stored, sealed.tag, role)
        return await self._road.ask("store", request)

    async def take_validity(self, mailbox: MailboxRow, uid_validity: int) -> tuple[MailboxRow, bool]:
        """Whether UIDs are kept here: the mailbox never had a message, or a run before this one began so."""
        if mailbox.mailbox in self._log.keeps:
            return mailbox, True
        if not uid_validity or mailbox.uid_next != 1:
            return mailbox, False
        row = await self._road.ask("store", ImportMailbox(stamp(), self._account, mailbox.mailbox, uid_validity))
        self._log.keep(row.mailbox)
        return row, True

    async def take_uid_next(self, mailbox: MailboxRow, uid_next: int) -> None:
        """No UID below it is given out."""
        await self.flush()
        await self._road.ask("store", ImportMailbox(stamp(), self._account, mailbox.mailbox, uid_next=uid_next))

    async def subscribe(self, names: Sequence[str]) -> None:
        """To these, where names can be sealed."""
        for name in names if self._seed is not None else ():
            sealed = self._sealed(NameKind.FOLDER, name)
            await self._road.ask("store", ImportName(stamp(), self._account, sealed.tag, sealed.record, True))

    async def add(
        self, mailbox: MailboxRow, place: bytes, letter: Letter, octets: bytes, date: int, uid: int, uidl: str
    ) -> None:
        """A message, sent with others before long. date: seconds, below 0 the present."""
        email = self._log.email(place, octets)
        if email in self._log.done:
            self.tally.there += 1
            return
        if self._batch is not None and (
            self._batch.mailbox.mailbox != mailbox.mailbox
            or len(self._batch.copies) == IMPORTED_MAX
            or self._batch.octets + len(octets) > BATCH_OCTETS
        ):
            await self.flush()
        flags = letter.flags
        for word in letter.keywords:
            flags |= await self._bit(word)
        batch = self._batch = self._batch or _Batch(mailbox)
        batch.copies.append(self._copy(email, letter, octets, int(time.time()) if date < 0 else date))
        batch.flags.append(flags)
        batch.uids.append(uid)
        batch.uidls.append(uidl if mailbox.role == Role.INBOX else "")
        batch.octets += len(octets)

    async def flush(self) -> None:
        """What waits, durable on return. Raises Refused (`over-quota`)."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        done = await self._send(batch)
        self._log.add([copy.row.email for copy in batch.copies])
        self.tally.added += done.added
        self.tally.there += len(batch.copies) - done.added
        self.tally.octets += batch.octets
        self.tally.renumbered += done.renumbered
        self.tally.renamed += done.renamed

    async def _send(self, batch: _Batch) -> ImportedMessages:
        request = ImportMessages(
            stamp(SEND_SECONDS), self._account, batch.mailbox.mailbox, tuple(copy.row for copy in batch.copies),
            tuple(batch.flags), tuple(batch.uids), tuple(batch.uidls),
        )  # fmt: skip
        body = b"".join(piece for copy in batch.copies for piece in copy.pieces())
        return await self._road.send("store", request, body, timeout=SEND_SECONDS)

    def _copy(self, email: EmailId, letter: Letter, octets: bytes, date: int) -> SealedCopy:
        key, view = secrets.token_bytes(32), memoryview(octets)
        header, body = bytes(view[: letter.header_size]), view[letter.header_size :]
        row = Copy(
            self._account, email, seal_key_box(self._binding, email, key), len(octets),
            sealed_size(len(letter.summary)), sealed_size(len(header)), body_sealed_size(len(body)), date,
        )  # fmt: skip
        return SealedCopy(row, key, letter.summary, header, body)

    async def _bit(self, word: str) -> int:
        """The bit of a keyword as a mask; 0 where it cannot be kept."""
        if word not in self._bits:
            self._bits[word] = 0
            if self._seed is not None:
                sealed = self._sealed(NameKind.KEYWORD, word)
                try:
                    row = await self._road.ask("store", ImportName(stamp(), self._account, sealed.tag, sealed.record))
                    self._bits[word] = 1 << row.bit
                except Refused as refused:
                    self._log.tell(f"keyword {word}", refused.public)
        self.tally.unnamed += not self._bits[word]
        return self._bits[word]

    def _sealed(self, kind: NameKind, name: str) -> SealedName:
        if self._seed is None:
            raise ValueError("a name is sealed with the recovery keys alone")
        return seal_name(self._seed.metadata_key(), self._seed.generation, self._account, kind, name)

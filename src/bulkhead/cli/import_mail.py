"""Mail of an export into a new store: opened with both recovery keys, and sealed again under keys of this cell's own.

Each message gets a new message key, boxed to the account's newest mailbox key; EmailId, UID, flags and dates stay. A
digest of every message's SHA-256 is noted when an account is whole, and compared with what then lies in the store.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bulkhead.boundary.messages.to_store import ExportedRow
from bulkhead.errors import IntegrityError
from bulkhead.exports.sealed import (
    Head,
    PartsPlace,
    check_account,
    open_new,
    read_head,
    read_places,
    read_rows,
)
from bulkhead.exports.sealing import RecoveryKeys
from bulkhead.exports.seeds import Opener, open_seeds
from bulkhead.gate.delivery import bounded
from bulkhead.identifiers import AccountId, EmailId, TenantId
from bulkhead.records.mailbox import VerifiedBinding
from bulkhead.records.message import open_body, open_body_pieces, open_header, open_key_box, seal_key_box, seal_parts
from bulkhead.store.importing import NewAccount, SealedEmail, StoreImport
from bulkhead.wire.summary import summarize

BATCH_OCTETS = 16 << 20
BATCH_ROWS = 2000
PAGE = 500
PIECE = 1 << 16
LINE_MAX = 512


@dataclass(slots=True)
class Counts:
    """What was taken over. missing: rows whose message was gone when the export was made, or did not open."""

    accounts: int = 0
    messages: int = 0
    octets: int = 0
    missing: int = 0


class Done:
    """The accounts that are whole, in a file beside the cell's homes; a line each: id, rows, missing, digest."""

    def __init__(self, path: Path) -> None:
        self.digests: dict[str, tuple[int, int, int, str]] = {}
        self._stream = open_new(path, append=True)
        whole = 0
        while (line := self._stream.readline(LINE_MAX)).endswith(b"\n"):
            name, rows, octets, missing, digest = line.decode("ascii").split()
            self.digests[name] = (int(rows), int(octets), int(missing), digest)
            whole += len(line)
        self._stream.truncate(whole)
        self._stream.seek(whole)

    def add(self, name: str, rows: int, octets: int, missing: int, digest: str) -> None:
        """An account is whole, durable on return."""
        self._stream.write(f"{name} {rows} {octets} {missing} {digest}\n".encode("ascii"))
        self._stream.flush()
        os.fdatasync(self._stream.fileno())
        self.digests[name] = (rows, octets, missing, digest)

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()


@dataclass(slots=True)
class _Batch:
    emails: list[SealedEmail] = field(default_factory=list)
    rows: list[tuple[bytes, ExportedRow]] = field(default_factory=list)
    octets: int = 0

    @property
    def is_full(self) -> bool:
        return self.octets >= BATCH_OCTETS or len(self.rows) >= BATCH_ROWS


class MailImport:
    """Writes the accounts of a checked export into a store. bindings: the newest mailbox key of each account."""

    def __init__(
        self,
        tenant: TenantId,
        keys: RecoveryKeys,
        store: StoreImport,
        bindings: Mapping[AccountId, VerifiedBinding],
        done: Done,
    ) -> None:
        self._tenant, self._keys, self._store, self._bindings, self._done = tenant, keys, store, bindings, done
        self.counts = Counts()

    async def add(self, folder: Path, sums: str, quota_bytes: int) -> None:
        """The account in `folder`. Raises IntegrityError, Refused (`wrong-key`)."""
        check_account(folder, sums)
        head = read_head(folder, self._tenant, self._keys)
        account = AccountId(head.account)
        new = NewAccount(account, quota_bytes, int(time.time()), head.mailboxes, head.keywords, head.subscriptions)
        await self._store.open_accounts([new])
        one = _Account(self._tenant, self._keys, head, self._bindings[account])
        rows = octets = 0
        batch = _Batch()
        for item in one.read(folder):
            _take(batch, item)
            rows, octets = rows + 1, octets + item[1].size
            if batch.is_full:
                await self._store.add(account, batch.emails, batch.rows)
                batch = _Batch()
        if batch.rows:
            await self._store.add(account, batch.emails, batch.rows)
        await self._store.settle([account], {row.mailbox: row.recent for row in head.mailboxes})
        self._done.add(folder.name, rows, octets, one.missing, digest_of(one.digests))

    async def verify(self, folder: Path) -> None:
        """Open every message that lies in the store and compare its SHA-256. Raises IntegrityError."""
        head = read_head(folder, self._tenant, self._keys)
        account = AccountId(head.account)
        seeds = open_seeds(self._tenant, account, head.keys, self._keys.partner, self._keys.operator)
        privates = {generation: seed.message_private_key() for generation, seed in seeds.items()}
        found: dict[bytes, bytes] = {}
        after = b""
        while rows := self._store.emails(account, after, PAGE):
            for email, box, segment, offset, summary, header, body in rows:
                generation = int.from_bytes(box[3:7], "big")
                key = open_key_box(box, privates[generation], self._tenant, account, EmailId(email))
                sealed = self._store.parts(segment, offset, summary, header + body)
                message = hashlib.sha256(open_header(key, account, EmailId(email), sealed[:header]))
                message.update(open_body(key, account, EmailId(email), memoryview(sealed)[header:]))
                found[email] = message.digest()
            after = rows[-1][0]
        count, _, _, digest = self._done.digests[folder.name]
        if digest_of(found) != digest or self._store.rows(account) != count:
            raise IntegrityError(f"{folder.name}: what lies in the store is not what was exported; import it again")


class _Account:
    """One account being read. digests: SHA-256 of each message by EmailId."""

    def __init__(self, tenant: TenantId, keys: RecoveryKeys, head: Head, binding: VerifiedBinding) -> None:
        self._tenant, self._keys, self._binding = tenant, keys, binding
        self._account = AccountId(head.account)
        seeds = open_seeds(tenant, self._account, head.keys, keys.partner, keys.operator)
        self._opener = Opener(self._account, seeds)
        self._mailboxes = {row.mailbox for row in head.mailboxes}
        self.digests: dict[bytes, bytes] = {}
        self.missing = 0

    def read(self, folder: Path) -> Iterator[tuple[bytes, ExportedRow, SealedEmail | None]]:
        """Mailbox, row and, where it is the first that names it, the message sealed anew."""
        places = read_places(folder / "index")
        with (folder / "parts").open("rb") as parts:
            for page in read_rows(folder, self._tenant, self._keys):
                for row in page.rows:
                    place = places.get(row.email)
                    if place is None or page.mailbox not in self._mailboxes:
                        self.missing += 1
                        continue
                    if row.email in self.digests:
                        yield page.mailbox, row, None
                        continue
                    try:
                        message = self._plain(row, place, parts)
                    except IntegrityError:
                        self.missing += 1
                        continue
                    self.digests[row.email] = hashlib.sha256(message).digest()
                    yield page.mailbox, row, self._sealed(row, message)

    def _plain(self, row: ExportedRow, place: PartsPlace, parts: IO[bytes]) -> bytes:
        if row.header_size + row.body_size != place.size:
            raise IntegrityError("its parts are not as long as its row says")
        key = self._opener.message_key(row)
        parts.seek(place.offset)
        header = open_header(key, self._account, row.email, parts.read(row.header_size))
        body = open_body_pieces(key, self._account, row.email, _pieces(parts, row.body_size))
        message = b"".join((header, *body))
        if len(message) != row.size:
            raise IntegrityError("the message is not as long as its row says")
        return message

    def _sealed(self, row: ExportedRow, message: bytes) -> SealedEmail:
        key, email = secrets.token_bytes(32), row.email
        summary = bounded(message, summarize(message))
        header, body = message[: summary.header_size], memoryview(message)[summary.header_size :]
        sealed = seal_parts(key, self._account, email, summary.encode(), header, body)
        sizes = len(sealed.summary), len(sealed.header), len(sealed.body)
        box = seal_key_box(self._binding, email, key)
        return SealedEmail(email, row.size, row.date, box, sizes, sealed.summary + sealed.header + sealed.body)


def _take(batch: _Batch, item: tuple[bytes, ExportedRow, SealedEmail | None]) -> None:
    mailbox, row, email = item
    batch.rows.append((mailbox, row))
    if email is not None:
        batch.emails.append(email)
        batch.octets += len(email.payload)


def _pieces(parts: IO[bytes], left: int) -> Iterator[bytes]:
    while left and (piece := parts.read(min(left, PIECE))):
        yield piece
        left -= len(piece)


def digest_of(digests: Mapping[bytes, bytes]) -> str:
    """SHA-256 over EmailIds and SHA-256 of their messages, in order of EmailId."""
    whole = hashlib.sha256()
    for email in sorted(digests):
        whole.update(email + digests[email])
    return whole.hexdigest()

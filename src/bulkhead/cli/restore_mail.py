"""Mail of a backup on its way into a running cell, some messages at a time, as it lies there: sealed.

`store` brings back what is in no mailbox of its account and says what became of the rest, so that nothing is doubled
however often the same is sent.
"""

import asyncio
import base64
import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.boundary.messages.to_store import (
    RESTORED_MAX,
    RESTORED_ROWS_MAX,
    MessagesRestored,
    RestoredRow,
    RestoreMailbox,
    RestoreMessages,
)
from bulkhead.cli.backup_receipt import Witness
from bulkhead.cli.backup_store import Manifest, Shelf
from bulkhead.cli.restore_proof import require_noted
from bulkhead.cli.road import Road, stamp
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Tenant
from bulkhead.errors import ConfigError, Refused
from bulkhead.identifiers import AccountId, MailboxId
from bulkhead.ledger.create import origin_of
from bulkhead.ledger.note import VerifierKey
from bulkhead.store.backup_copy import BackupCopy, CopiedEmail, CopiedRow
from bulkhead.store.restore import wipe

TOGETHER = 6  # batches under way
BATCH_OCTETS = 1 << 20  # sealed parts sent together; a larger message goes alone
SEND_SECONDS = 120.0


@dataclass(slots=True)
class Brought:
    """What became of the messages of a backup."""

    restored: int = 0
    present: int = 0  # they are in a mailbox
    closed: int = 0  # sealed to a mailbox key that was destroyed since
    over_quota: int = 0
    gone: int = 0  # their account is destroyed
    octets: int = 0  # of messages, that came back or were there


def require_own(tenant: Tenant, shelf: Shelf, manifest: Manifest) -> None:
    """Raises IntegrityError unless the tenant's ledger noted the backup and all that it relies on."""
    origin = origin_of(tenant.id, tenant.settings.text("ledger.origin"))
    key = VerifierKey(origin, base64.b64decode(tenant.settings.text("pinned.ledger_key")))
    require_noted(Witness(key, None), shelf, manifest)


@contextlib.contextmanager
def scratch_of(directory: Path, tenant: str) -> Iterator[Path]:
    """A private folder for the time of a command, one a tenant; what one that was killed left there goes first.

    Raises ConfigError where another command has it.
    """
    folder = directory / "scratch" / tenant
    make_private_folder(folder)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{folder}: mail of {tenant} is being restored already; wait for it") from None
        _empty(folder)
        try:
            yield folder
        finally:
            _empty(folder)
    finally:
        os.close(lock)


def _empty(folder: Path) -> None:
    """Databases are overwritten: whose account is destroyed tomorrow, his keys are in no file's remains."""
    for path in folder.iterdir():
        for database in path.rglob("*.sqlite*"):
            wipe(database)
        shutil.rmtree(path)


@dataclass(slots=True)
class Bringing:
    """Messages of one backup into one cell. targets: by number of a mailbox in the backup, where its messages go."""

    road: Road
    copy: BackupCopy
    targets: dict[int, MailboxId] = field(default_factory=dict)
    flags: Callable[[AccountId, int], int] = lambda _, flags: flags
    brought: Brought = field(default_factory=Brought)

    async def bring(self, emails: Sequence[CopiedEmail], rows: Mapping[int, Sequence[CopiedRow]]) -> None:
        """All of these, several batches side by side. Raises TemporaryFailure: ask for the same again."""
        room = asyncio.Semaphore(TOGETHER)

        async def send(batch: list[CopiedEmail]) -> None:
            async with room:
                await self._send(batch, rows)

        await asyncio.gather(*[send(batch) for batch in _batches(emails, rows)])

    async def _send(self, batch: list[CopiedEmail], rows: Mapping[int, Sequence[CopiedRow]]) -> None:
        payload = b"".join([self.copy.payload(email) for email in batch])
        try:
            reply = await self._ask(batch, rows, payload)
        except Refused as refused:
            if refused.code not in ("over-quota", "no-such-account", "no-such-mailbox"):
                raise
            if len(batch) > 1:
                for email in batch:
                    await self._send([email], rows)
            elif refused.code == "no-such-mailbox" and await self._make_mailboxes(batch[0], rows):
                await self._send(batch, rows)
            else:
                self.brought.over_quota += refused.code == "over-quota"
                self.brought.gone += refused.code != "over-quota"
            return
        brought = self.brought
        brought.restored += reply.restored
        brought.present += reply.present
        brought.closed += reply.closed
        brought.octets += sum(email.copy.size for email in batch)

    async def _ask(
        self, batch: Sequence[CopiedEmail], rows: Mapping[int, Sequence[CopiedRow]], payload: bytes
    ) -> MessagesRestored:
        places = tuple(
            RestoredRow(
                index,
                self.targets.get(row.mailbox) or self._same(row.mailbox),
                self.flags(AccountId(email.copy.account), row.flags),
                row.uidl,
            )
            for index, email in enumerate(batch)
            for row in rows[email.seq]
        )
        request = RestoreMessages(stamp(SEND_SECONDS), tuple(email.copy for email in batch), places)
        return await self.road.send("store", request, payload, timeout=SEND_SECONDS)

    def _same(self, seq: int) -> MailboxId:
        self.targets[seq] = MailboxId(self.copy.mailbox(seq).mailbox)
        return self.targets[seq]

    async def _make_mailboxes(self, email: CopiedEmail, rows: Mapping[int, Sequence[CopiedRow]]) -> bool:
        """Ask for a message's mailboxes; whether one of them is another than was thought, or was made."""
        changed = False
        for seq in {row.mailbox for row in rows[email.seq]}:
            before = self.targets.get(seq)
            changed |= await self.find_target(AccountId(email.copy.account), seq) or before != self.targets[seq]
        return changed

    async def find_target(self, account: AccountId, seq: int) -> bool:
        """Say where a mailbox's messages go: into it, or what takes its place; whether it was made. Raises Refused."""
        one = self.copy.mailbox(seq)
        request = RestoreMailbox(stamp(), account, MailboxId(one.mailbox), one.role, one.sealed_name, one.tag)
        reply = await self.road.ask("store", request)
        self.targets[seq] = MailboxId(reply.mailbox)
        return reply.made


def _batches(emails: Sequence[CopiedEmail], rows: Mapping[int, Sequence[CopiedRow]]) -> Iterator[list[CopiedEmail]]:
    """Messages that go together, in their order."""
    batch: list[CopiedEmail] = []
    octets = places = 0
    for email in emails:
        octets, places = octets + email.octets, places + len(rows[email.seq])
        if batch and (len(batch) == RESTORED_MAX or octets > BATCH_OCTETS or places > RESTORED_ROWS_MAX):
            yield batch
            batch, octets, places = [], email.octets, len(rows[email.seq])
        batch.append(email)
    if batch:
        yield batch

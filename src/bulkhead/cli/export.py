"""`export make`: a tenant's accounts and mail as they lie in the cell, sealed, into a directory.

Each compartment gives its own part over its own edge. Mail and names are ciphertext of subscribers' keys, and those
come sealed to both recovery keys; addresses, flags, sizes and dates are sealed to both here; credentials are sealed by
their compartments (export_cell.py).
"""

import argparse
import asyncio
import base64
import fcntl
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead import __version__
from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_directory import AccountRow, AccountStatus, ListAccounts, ShowAccount
from bulkhead.boundary.messages.to_keyring import ExportedKey, ExportKeys
from bulkhead.boundary.messages.to_ledger import RecordExport
from bulkhead.boundary.messages.to_store import (
    EXPORTED_PARTS_MAX,
    ExportMailboxes,
    ExportNames,
    ExportParts,
    ExportRows,
    MailboxRow,
    NamedRow,
)  # fmt: skip
from bulkhead.cli.export_cell import write_cell
from bulkhead.cli.output import print_json, say
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.exports.sealed import AccountWriter, Head, Manifest, RowPage, folder_of
from bulkhead.exports.sealing import Seals
from bulkhead.identifiers import AccountId, EmailId, parse_address
from bulkhead.records.backup import Recipients
from bulkhead.records.hpke import load_public_key
from bulkhead.records.mailbox import RecoveryKey

AT_ONCE = 8  # accounts under way
BATCH = 64  # accounts of one request for keys, which is one entry of the ledger
READINGS = 3  # of an account whose rows change while they are read
PART_SECONDS = 600.0
RECOVERY_VERSION = 1  # of the pinned keys


@dataclass(slots=True)
class _Tally:
    accounts: int = 0
    messages: int = 0
    octets: int = 0
    unsettled: int = 0


@dataclass(slots=True)
class _Read:
    """What store gave of one account."""

    row: AccountRow
    writer: AccountWriter
    mailboxes: tuple[MailboxRow, ...] = ()
    keywords: tuple[NamedRow, ...] = ()
    subscriptions: tuple[NamedRow, ...] = ()
    emails: dict[EmailId, None] = field(default_factory=dict)  # in order, each once
    messages: int = 0
    octets: int = 0


def make(options: argparse.Namespace) -> int:
    """Write or go on with an export, and say where it stands."""
    road = open_road(options.directory, options.tenant)
    addresses = [str(parse_address(text)) for text in options.account]
    target = Path(options.to)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    guard = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{target} is being written by another command; wait for it") from None
        return wait_for(_make(options, road, target, addresses))
    finally:
        os.close(guard)


async def _make(options: argparse.Namespace, road: Road, target: Path, addresses: Sequence[str]) -> int:
    began, tally = time.time(), _Tally()
    async with road:
        road.check_running()
        seals = _seals(road, int(began * 1000))
        await road.ask(
            "ledger", RecordExport(stamp(), int(began * 1000), bytes(32), 0, 0, 0, not addresses, begun=True)
        )
        manifest = Manifest(target, str(road.tenant.id), int(began * 1000))
        batch: list[AccountRow] = []
        passed = 0
        async for row in _accounts(road, addresses):
            if folder_of(row.account) in manifest.done:
                passed += 1
                continue
            batch.append(row)
            if len(batch) == BATCH:
                await _export(road, target, seals, manifest, batch, tally)
                batch = []
        if batch:
            await _export(road, target, seals, manifest, batch, tally)
        counts = {"accounts": tally.accounts + passed, "messages": tally.messages, "octets": tally.octets}
        cell = "" if addresses else await write_cell(road, target)
        digest = manifest.finish({**counts, "whole": not addresses, "ended": int(time.time() * 1000)}, cell)
        request = RecordExport(
            stamp(), int(time.time() * 1000), digest, counts["accounts"], tally.messages, tally.octets, not addresses
        )
        entry = (await road.ask("ledger", request)).first
    document = {
        "tenant": str(road.tenant.id), "directory": str(target), "accounts": tally.accounts, "passed": passed,
        "messages": tally.messages, "octets": tally.octets, "unsettled": tally.unsettled,
        "manifest": digest.hex(), "entry": entry, "seconds": round(time.time() - began, 1),
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
        return 0
    print(f"{target}: {tally.accounts} accounts ({passed} were there), {tally.messages} messages")
    print(f"SHA-256 of the manifest: {digest.hex()} (entry {entry} of the ledger)")
    if tally.unsettled:
        say(f"{tally.unsettled} accounts changed each time they were read; run the command again to catch up")
    return 0


def _seals(road: Road, now: int) -> Seals:
    """To whom rows are sealed here. Raises ConfigError where a key is not pinned."""
    keys = []
    for name in ("recovery_partner", "recovery_operator"):
        text = road.tenant.settings.text(f"pinned.{name}")
        if not text:
            raise ConfigError(f"{road.tenant.file}: pinned.{name} is empty: put the party's public recovery key there")
        keys.append(RecoveryKey(RECOVERY_VERSION, load_public_key(base64.b64decode(text))))
    return Seals(road.tenant.id, Recipients(*keys), now, __version__)


async def _accounts(road: Road, addresses: Sequence[str]) -> AsyncIterator[AccountRow]:
    """Those named, or all."""
    for address in addresses:
        yield await road.ask("directory", ShowAccount(address))
    after = ""
    while not addresses and (page := (await road.ask("directory", ListAccounts("", after))).rows):
        for row in page:
            yield row
        after = page[-1].address


async def _export(
    road: Road, target: Path, seals: Seals, manifest: Manifest, batch: Sequence[AccountRow], tally: _Tally
) -> None:
    """Mail first, keys last: every key that a message needs is then among them."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(row: AccountRow) -> _Read:
        async with turns:
            read = _Read(row, AccountWriter(target, row.account, seals))
            try:
                await _read_account(road, read, tally)
            except BaseException:
                read.writer.__exit__()
                raise
            return read

    tasks = [asyncio.create_task(one(row)) for row in batch]
    try:
        reads = await asyncio.gather(*tasks)
        keys = await _keys(road, [row.account for row in batch])
        for read in reads:
            _finish(read, keys.get(read.row.account, []), manifest, tally)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().writer.__exit__()


def _finish(read: _Read, keys: Sequence[ExportedKey], manifest: Manifest, tally: _Tally) -> None:
    row = read.row
    head = Head(
        row.account, row.address, row.status, row.quota_bytes, row.created, tuple(keys), read.mailboxes, read.keywords,
        read.subscriptions,
    )  # fmt: skip
    manifest.add(row.account, read.writer.finish(head))
    tally.accounts += 1
    tally.messages += read.messages
    tally.octets += read.octets


async def _keys(road: Road, accounts: Sequence[bytes]) -> dict[bytes, list[ExportedKey]]:
    """Sealed keys by account; a cancelled one has none."""
    found: dict[bytes, list[ExportedKey]] = {}
    left = list(accounts)
    while left:
        page = await road.ask("keyring", ExportKeys(stamp(), b"".join(left)))
        for key in page.keys:
            found.setdefault(key.account, []).append(key)
        if not page.accounts:
            raise IntegrityError("keyring gave the keys of no account")
        left = left[page.accounts :]
    return found


async def _read_account(road: Road, read: _Read, tally: _Tally) -> None:
    """Rows as of one moment, where the account holds still; then the parts that are not there yet."""
    account = read.row.account
    try:
        read.mailboxes = (await road.ask("store", ExportMailboxes(account))).rows
    except Refused as refused:
        if refused.code != "no-such-account" or read.row.status < AccountStatus.CANCELLED:
            raise
        read.writer.begin_rows()
        return
    for reading in range(1, READINGS + 1):
        read.keywords = (await road.ask("store", ExportNames(account))).rows
        read.subscriptions = (await road.ask("store", ExportNames(account, subscriptions=True))).rows
        await _read_rows(road, read)
        before, read.mailboxes = read.mailboxes, (await road.ask("store", ExportMailboxes(account))).rows
        if _states(before) == _states(read.mailboxes):
            break
        tally.unsettled += reading == READINGS
    missing = [email for email in read.emails if email not in read.writer.places]
    waiting: list[EmailId] = []
    for start in range(0, len(missing), EXPORTED_PARTS_MAX):
        waiting += missing[start : start + EXPORTED_PARTS_MAX]
        while len(waiting) >= EXPORTED_PARTS_MAX:
            waiting = await _read_parts(road, read.writer, account, waiting)
    while waiting:
        waiting = await _read_parts(road, read.writer, account, waiting)


def _states(rows: Sequence[MailboxRow]) -> list[tuple[bytes, bytes, int]]:
    return [(row.mailbox, row.sealed_name, row.modseq) for row in rows]


async def _read_rows(road: Road, read: _Read) -> None:
    read.writer.begin_rows()
    read.messages = read.octets = 0
    read.emails.clear()
    for mailbox in read.mailboxes:
        first, more = 1, True
        while more:
            try:
                page = await road.ask("store", ExportRows(read.row.account, mailbox.mailbox, first))
            except Refused as refused:  # deleted meanwhile: the next reading has it no more
                if refused.code != "no-such-mailbox":
                    raise
                break
            more = page.more
            if page.rows:
                first = page.rows[-1].uid + 1
                read.messages += len(page.rows)
                read.octets += sum(row.size for row in page.rows)
                read.emails.update(dict.fromkeys(row.email for row in page.rows))
                read.writer.add_rows(RowPage(mailbox.mailbox, page.rows))


async def _read_parts(
    road: Road, writer: AccountWriter, account: AccountId, emails: Sequence[EmailId]
) -> list[EmailId]:
    """Take in the first of these messages; what is left to ask for."""
    asked = tuple(emails[:EXPORTED_PARTS_MAX])
    reply, reader = await road.open("store", ExportParts(account, asked), timeout=PART_SECONDS)
    if not reply.sizes:
        raise IntegrityError("store gave no parts")
    body = _Body(reader)
    try:
        for email, size in zip(asked, reply.sizes, strict=False):
            if size:
                await writer.add_parts(email, size, body.take(size))
    finally:
        reader.close()
    return list(emails[len(reply.sizes) :])


class _Body:
    """A reply's body, a message at a time."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader, self._rest = reader, b""

    async def take(self, size: int) -> AsyncIterator[bytes]:
        """The next `size` octets, fewer where the body ends."""
        while size:
            piece = self._rest or await self._reader.read()
            if not piece:
                return
            self._rest = piece[size:]
            yield piece[:size]
            size -= min(size, len(piece))

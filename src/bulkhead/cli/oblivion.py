"""`account cancel`, `receipt renew`, `receipt verify`: an account is destroyed for ever, with a receipt that shows it.

States of a cancellation, each safe to be cut off in; the command given again goes on (docs/lifecycle.md):
  no note, status below cancelled     nothing was begun
  note                                what its times name is done; every step may be repeated
  note, entry AccountDestroyed        the same request id finds that entry again, and makes no second one
  receipt stored, no note             done
"""

import argparse
import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.boundary.messages.to_keyring import ReadRotation
from bulkhead.boundary.messages.to_ledger import ProveInclusion, ReadEntries, RecordOblivion
from bulkhead.cli.account_steps import destroy_steps, release_address, require_account
from bulkhead.cli.backup_target import has_target
from bulkhead.cli.ledger import log_key, read_checkpoint, read_entries
from bulkhead.cli.output import print_json, say, time_text
from bulkhead.cli.pending import PendingAccount
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, IntegrityError, PeerError, TemporaryFailure
from bulkhead.identifiers import AccountId, Address, format_id, new_id, parse_address
from bulkhead.ledger import oblivion
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.note import parse_verifier_key
from bulkhead.ledger.oblivion import KEY, Copies, Oblivion, Opening, Proven

STATEMENT_SECONDS = 10.0  # how long what the compartments themselves say is waited for
DAY = 86_400_000  # ms
STATEMENTS = 4  # keyring, auth, directory, and the command


@dataclass(slots=True)
class _Note:
    """What a cancellation under way has to know again; no address."""

    account: str
    random: str
    request: str
    first: int  # entries of the log when it began
    times: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    messages: int = 0

    @classmethod
    def read(cls, path: Path, account: AccountId) -> "_Note | None":
        """The note of this account's cancellation, or None. Raises ConfigError on a file that is none of ours."""
        try:
            note = cls(**json.loads(path.read_text("ascii")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError):
            raise ConfigError(f"{path} is no note of a cancellation; remove it") from None
        return note if note.account == account.hex() else None

    def write(self, path: Path) -> None:
        """Durably."""
        make_private_folder(path.parent)
        write_file(path, json.dumps(asdict(self)), replace=True, mode=0o600)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """receipt: with the opening, for the former subscriber; without, where that was handed out before."""

    account: AccountId
    sessions_ended: int
    messages: int
    receipt: bytes = field(repr=False)
    path: Path


async def cancel_account(road: Road, address: Address, reason: str, copy: Path | None = None) -> Cancelled:
    """Destroy an account for ever, keyring's half first; goes on where an earlier try was cut off.

    copy: where the former subscriber's copy of the receipt goes, which alone shows whose it is.
    Raises TemporaryFailure where the ledger is down: all is destroyed then, and the command given again has the
    receipt. One command at a time: two that each wrote a note had each an entry, and gave a receipt for either.
    """
    pending = PendingAccount(road.layout, address)
    async with pending.alone():
        return await _cancel_alone(road, address, reason, copy, pending.beside(".cancel"))


async def _cancel_alone(road: Road, address: Address, reason: str, copy: Path | None, place: Path) -> Cancelled:
    row = await require_account(road, address)
    account = AccountId(row.account)
    stored = road.layout.receipts / f"{format_id('acc', account)}.json"
    note = _Note.read(place, account)
    if note is None and stored.exists():
        return Cancelled(account, 0, 0, stored.read_bytes(), stored)
    if note is None:
        first = 0 if row.status >= AccountStatus.CANCELLED else await _log_size(road)
        note = _Note(account.hex(), secrets.token_hex(oblivion.RANDOM_BYTES), new_id().hex(), first)
        note.write(place)
    async for compartment, ended in destroy_steps(road, account, str(address)):
        note.times.setdefault(compartment, _now())
        note.sessions += ended if compartment == "keyring" else 0
        note.messages += ended if compartment == "queue" else 0
        note.write(place)
    await release_address(road, address, reason)
    note.times.setdefault("directory", _now())
    note.write(place)
    opening = Opening(address.key, bytes.fromhex(note.random))
    subject, made = await _record(road, account, note, opening)
    checkpoint, entries = await _prove(road, await _statements(road, note.first, made, subject))
    make_private_folder(stored.parent)
    receipt = oblivion.render(road.tenant.id, checkpoint, entries, subject, opening)
    path = copy or stored.with_suffix(".subscriber.json")
    write_file(path, receipt.decode(), replace=True, mode=0o600)
    write_file(stored, oblivion.render(road.tenant.id, checkpoint, entries, subject).decode(), replace=True)
    place.unlink()
    return Cancelled(account, note.sessions, note.messages, receipt, path)


async def renew_receipt(road: Road, receipt: bytes) -> bytes:
    """The receipt under the newest checkpoint, with what became of keyring's key since. Raises IntegrityError."""
    copies = oblivion.check_receipt(receipt, log_key(road)).copies
    tenant, subject, opening, entries = oblivion.parts_of(receipt)
    own = [item.index for item in entries if parse_event(item.entry).subjects]
    checkpoint, _ = await read_checkpoint(road)
    found, retired = [], False
    async for index, entry in read_entries(road, own[0], checkpoint.size):
        event = parse_event(entry)
        if _retires(event, copies) and not retired:
            retired = True
            found.append(index)
        elif _destroys(event, copies):
            found.append(index)
    text, proven = await _prove(road, sorted({*own, *found}))
    return oblivion.render(tenant, text, proven, subject, opening)


def _is_of_key(event: Event, kind: str) -> bool:
    details = event.details
    return event.kind.name == kind and details.get("key") == KEY and details.get("compartment") == "keyring"


def _retires(event: Event, copies: Copies) -> bool:
    version = event.details.get("version")
    return _is_of_key(event, "KeyRotationVerified") and isinstance(version, int) and version > copies.last


def _destroys(event: Event, copies: Copies) -> bool:
    version = event.details.get("version")
    return _is_of_key(event, "KeyDestroyed") and isinstance(version, int) and copies.first <= version <= copies.last


async def _record(road: Road, account: AccountId, note: _Note, opening: Opening) -> tuple[str, int]:
    """Have the ledger take the entry of the account's end: the account's subject, and the entry's index."""
    ring = await road.ask("keyring", ReadRotation())
    older = [key for key in ring.retired if key.version < ring.version]
    times = note.times
    request = RecordOblivion(
        Stamp.fresh("cli", request_id=bytes.fromhex(note.request)),
        time=times["directory"],
        account=account,
        commitment=oblivion.commitment(road.tenant.id, opening),
        tenant=road.tenant.id,
        keyring_at=times["keyring"],
        auth_at=times["auth"],
        store_at=times["store"],
        queue_at=times["queue"],
        directory_at=times["directory"],
        ring_first=min([ring.version, *(key.version for key in older)]),
        ring_version=ring.version,
        older_until=max((key.destroy_after for key in older), default=0),
    )
    made = (await road.ask("ledger", request)).first
    entry = (await road.ask("ledger", ReadEntries(made, 1))).entries[0]
    return parse_event(entry).subjects[0].hex(), made


async def _statements(road: Road, first: int, made: int, subject: str) -> list[int]:
    """Entries in which keyring, auth and directory say themselves what they did, and the command's own.

    Their outboxes deliver in their own time. What has not come by then is missing in the receipt, until it is renewed.
    """
    deadline = time.monotonic() + STATEMENT_SECONDS
    while True:
        checkpoint, _ = await read_checkpoint(road)
        found = [
            index
            async for index, entry in read_entries(road, min(first, made), checkpoint.size)
            if _states(parse_event(entry), subject)
        ]
        if len(found) >= STATEMENTS or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.1)


def _states(event: Event, subject: str) -> bool:
    ends = event.kind.name == "AccountStatusChanged" and event.details.get("to") == "cancelled"
    own = event.kind.name in ("HalfDestroyed", "AccountDestroyed")
    return (own or ends) and [one.hex() for one in event.subjects] == [subject]


async def _prove(road: Road, indexes: Sequence[int]) -> tuple[str, list[Proven]]:
    """The newest checkpoint, and these entries with their proofs below it."""
    checkpoint, text = await read_checkpoint(road)
    proven = []
    for index in indexes:
        entry = (await road.ask("ledger", ReadEntries(index, 1))).entries[0]
        proof = (await road.ask("ledger", ProveInclusion(index, checkpoint.size))).hashes
        proven.append(Proven(index, entry, proof))
    return text, proven


async def _log_size(road: Road) -> int:
    """Entries of the log now; 0, so that all of it is read later, where the ledger does not answer."""
    try:
        return (await read_checkpoint(road))[0].size
    except TemporaryFailure:
        return 0


def _now() -> int:
    return int(time.time() * 1000)


# --- commands --------------------------------------------------------------------------------------------------------


def cancel(options: argparse.Namespace) -> int:
    """Destroy it, and write the receipt."""
    road, address = open_road(options.directory, options.tenant), parse_address(options.address)
    copy = Path(options.receipt) if options.receipt else None
    if copy is not None and copy.exists():
        raise ConfigError(f"{copy} exists already; name another file for the receipt")

    async def work() -> Cancelled:
        async with road:
            return await cancel_account(road, address, options.reason, copy)

    done = wait_for(work())
    shown = oblivion.check_receipt(done.receipt, log_key(road))
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant, "account": format_id("acc", done.account), "address": options.address,
            "sessions_ended": done.sessions_ended, "queued_destroyed": done.messages,
            "destroyed": [what for what, _ in shown.destroyed], "time": shown.at, "receipt": str(done.path),
        })  # fmt: skip
        return 0
    print(f"{options.address} ({format_id('acc', done.account)}) is cancelled")
    _tell(shown)
    print(f"  {done.sessions_ended} live sessions ended, {done.messages} queued messages destroyed")
    for line in _backups_end(road):
        print(f"  {line}")
    print(f"receipt: {done.path}")
    if shown.opening is not None:
        say("that file shows whose receipt it is: hand it to the former subscriber, and remove it here. "
            f"It is checked with: bulkhead receipt verify FILE --key {log_key(road)}")  # fmt: skip
    return 0


def _backups_end(road: Road) -> list[str]:
    """What retention adds, in words: no proof, as nobody can show that no copy was kept."""
    settings = road.installation.settings
    if not has_target(road.installation):
        return []
    days = max(road.tenant.settings.integer("backups.keep_days"), 1)
    locked = settings.integer("backup.lock_days") if settings.text("backup.bucket") else 0
    until = time_text(_now() + max(days, locked if settings.text("backup.lock_mode") != "none" else 0) * DAY)
    return [
        f"backups made before have it too; by retention the last goes about {until}, or later where a kept one relies "
        "on it: no proof of that is possible, the key's destruction is the proof"
    ]


def renew(options: argparse.Namespace) -> int:
    """Write a receipt again, with what is known today."""
    road, file = open_road(options.directory, options.tenant), Path(options.file)
    receipt = _read(file)

    async def work() -> bytes:
        async with road:
            return await renew_receipt(road, receipt)

    renewed = wait_for(work())
    write_file(Path(options.to) if options.to else file, renewed.decode(), replace=True, mode=0o600)
    _tell(oblivion.check_receipt(renewed, log_key(road)))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check a receipt with the log's public key alone."""
    try:
        key = parse_verifier_key(options.key)
    except IntegrityError as error:
        raise ConfigError(f"--key: {error.public}") from None
    shown = oblivion.check_receipt(_read(Path(options.file)), key)
    if options.address:
        try:
            wanted = parse_address(options.address).key
        except PeerError as error:
            raise ConfigError(f"--address: {error.public}") from None
        if shown.opening is None:
            raise IntegrityError("this copy does not show whose it is; only the former subscriber's does")
        if shown.opening.address != wanted:
            raise IntegrityError(f"this receipt is for another address than {options.address}")
    copies = shown.copies
    if options.json:
        print_json(options.command, {
            "tenant": shown.tenant, "subject": shown.subject, "time": shown.at,
            "address": shown.opening.address if shown.opening else None,
            "destroyed": [{"what": what, "time": at} for what, at in shown.destroyed],
            "first_version": copies.first, "last_version": copies.last, "copies_destroyed": copies.destroyed,
            "copies_until": copies.until, "log": key.name, "size": shown.checkpoint.size,
        })  # fmt: skip
        return 0
    whose = shown.opening.address if shown.opening else "an account whose address this copy does not show"
    print(f"{shown.tenant}: {whose}: this receipt holds")
    _tell(shown)
    print(f"  proven in {key.name} at {shown.checkpoint.size} entries")
    return 0


def _tell(shown: Oblivion) -> None:
    for what, at in shown.destroyed:
        print(f"  {time_text(at)}  {what}")
    copies = shown.copies
    versions = f"version {copies.last}" if copies.first == copies.last else f"versions {copies.first} to {copies.last}"
    if copies.destroyed:
        print(f"  copies made before lie under {versions} of keyring's key, destroyed: nobody can read them")
    elif copies.until:
        print(
            f"  copies made before lie under {versions} of keyring's key, to be destroyed at {time_text(copies.until)}"
        )
    else:
        print(
            f"  copies made before lie under {versions} of keyring's key, which is in force: they become unreadable "
            "when it is destroyed, not yet scheduled"
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(oblivion.RECEIPT_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None

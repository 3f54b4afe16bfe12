"""One function per message to ledger.

Appends run on one thread, batched: what arrived while the last checkpoint was written is the next batch. Each entry
carries the id of the request that brought it, so that a retry is known even across a crash between the log's commit
and the answer.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.codec import decode_with, encode, union_decoder
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages import to_ledger
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.boundary.messages.registry import carried_by
from bulkhead.boundary.messages.staff import StaffAnswer
from bulkhead.boundary.messages.to_ledger import (
    EVENTS_MAX,
    AddCosignature,
    Appended,
    AppendEvents,
    AskAsStaff,
    BeginBackup,
    BeginStandby,
    CheckLedger,
    CheckpointText,
    Cosigned,
    EndStaffSession,
    EntryPage,
    EscrowKeys,
    LedgerReport,
    Proof,
    ProveConsistency,
    ProveInclusion,
    ReadBackup,
    ReadCheckpoint,
    ReadEntries,
    ReadStandby,
    RecordBackup,
    RecordCensus,
    RecordDrill,
    RecordEscrow,
    RecordExport,
    RecordImport,
    RecordOblivion,
    RecordRestore,
    RecordStandby,
    RecordUndelete,
    RenewLease,
)
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.holder import backup, standby
from bulkhead.identifiers import ID_BYTES, AccountId
from bulkhead.ledger.cosigned import Cosignatures
from bulkhead.ledger.event import EVENTS, Event, encode_event, parse_event, subject_id
from bulkhead.ledger.lateness import Lateness
from bulkhead.ledger.log import Log
from bulkhead.ledger.merkle import Frontier, leaf_hash
from bulkhead.ledger.sessions import Readers

REMEMBERED = 100_000  # requests whose retry is recognised
SCANNED = 20_000  # newest entries read at start for the requests that brought them
ENTRIES_BYTES_MAX = 200_000  # of one reply
CHECKED_AT_ONCE = 1024
CLOCK_SKEW_MS = 60_000
BATCH_ENTRIES, BATCH_BYTES = 1024, 4 << 20  # of one append; a larger request goes alone
_Pending = tuple[str, list[bytes], "asyncio.Future[int]"]
_log = logging.getLogger("bulkhead.ledger")


class Ledger:
    """The open log, and who waits for it.

    open_log: opens it (again); after a failed write it is called before the next batch, so that a full disk is over
    once there is room.
    """

    def __init__(
        self, open_log: Callable[[], Log], subject_key: bytes, worker: ThreadPoolExecutor, *, late_seconds: int = 0
    ) -> None:
        self.log, self._open_log, self._subject_key, self._worker = open_log(), open_log, subject_key, worker
        self.backups: backup.Backups | None = None
        self.cosignatures: Cosignatures | None = None
        self.lateness = Lateness(late_seconds)
        self.readers = Readers()
        self.written = time.monotonic()  # when something was last appended
        self._pending: list[_Pending] = []
        self._in_flight: dict[str, asyncio.Future[int]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._broken = False
        self._brought: OrderedDict[str, int] = OrderedDict()
        self._answered = self.log.size  # entries of which their senders know
        self._recall(max(0, self.log.size - SCANNED))

    async def append(self, sender: Channel, request: AppendEvents) -> int:
        """The index of the request's first entry, durable and below a signed checkpoint."""
        request_id = request.stamp.request_id.hex()
        key = _key(sender.compartment, request_id)
        known = self._brought.get(key)
        if known is not None:
            return known
        future = self._in_flight.get(key)
        if future is None:
            entries = [self._entry(sender, request_id, event) for event in request.events]
            late = self.lateness.entries(sender.compartment, request.events)
            entries += late
            future = self._in_flight[key] = asyncio.get_running_loop().create_future()
            if late:
                future.add_done_callback(partial(self._tell_late, sender.compartment))
            self._pending.append((key, entries, future))
            if self._writing is None or self._writing.done():
                self._writing = asyncio.get_running_loop().create_task(self._write())
        return await asyncio.shield(future)

    async def drain(self, seconds: float) -> None:
        """Wait so long, at most, for what is being written."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=seconds)

    async def run(self, work: Any, *arguments: Any) -> Any:
        """Run a reading function on the log's thread, which alone touches the log."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def _entry(self, sender: Channel, request_id: str, event: to_ledger.Event) -> bytes:
        kind = EVENTS.get(event.kind)
        if kind is None:
            raise Refused(f"no event {event.kind[:40]}", code="unknown-event")
        details = {**event.details, "compartment": sender.compartment, "request": request_id}
        if len(event.account) not in (0, ID_BYTES):
            raise Refused("an account id has 16 bytes", code="bad-event")
        accounts = (AccountId(event.account),) if event.account else ()
        subjects = tuple(subject_id(self._subject_key, account) for account in accounts)
        try:
            return encode_event(Event(kind, event.time, event.actor, subjects, details))
        except ValueError as error:
            raise Refused(str(error)[:200], code="bad-event") from None

    def _tell_late(self, compartment: str, written: "asyncio.Future[int]") -> None:
        if not written.cancelled() and written.exception() is None:
            self.lateness.told(compartment)

    def _remember(self, key: str, index: int) -> None:
        self._brought.setdefault(key, index)
        if len(self._brought) > REMEMBERED:
            self._brought.popitem(last=False)

    def _recall(self, first: int) -> None:
        """Remember the requests that brought the entries from `first` on."""
        for index, entry in enumerate(self.log.entries(first, self.log.size), first):
            details = parse_event(entry).details
            sender, request = details.get("compartment"), details.get("request")
            if isinstance(sender, str) and isinstance(request, str):
                self._remember(_key(sender, request), index)

    def _reopen(self) -> None:
        """On the log's thread. A batch that was refused may be in the log all the same: its retry is then known."""
        self.log = self._open_log()
        self._recall(self._answered)
        self._broken = False

    async def _write(self) -> None:
        while self._pending:
            taken = self._take()
            try:
                if self._broken:
                    await self.run(self._reopen)
                await self._write_batch(taken)
            except Exception as error:
                self._broken = True
                _fail(taken, error)
            for key, _, _ in taken:
                del self._in_flight[key]

    async def _write_batch(self, taken: list[_Pending]) -> None:
        fresh = []
        for item in taken:
            known = self._brought.get(item[0])  # since the log was opened again
            if known is None:
                fresh.append(item)
            else:
                item[2].set_result(known)
        if not fresh:
            return
        index = await self.run(self.log.append, [entry for _, entries, _ in fresh for entry in entries])
        for key, entries, future in fresh:
            self._remember(key, index)
            future.set_result(index)
            index += len(entries)
        self._answered = index
        self.written = time.monotonic()

    def _take(self) -> list[_Pending]:
        """As many requests as fit one batch, at least one."""
        taken: list[_Pending] = []
        count = octets = 0
        while self._pending:
            entries = self._pending[0][1]
            count, octets = count + len(entries), octets + sum(map(len, entries))
            if taken and (count > BATCH_ENTRIES or octets > BATCH_BYTES):
                break
            taken.append(self._pending.pop(0))
        return taken


def _key(compartment: str, request_id: str) -> str:
    """A request of one compartment: another's request of the same id is another's, and is logged too."""
    return f"{compartment} {request_id}"


def _fail(taken: list[_Pending], error: Exception) -> None:
    """Tell those who wait. What is no error of the tree is our fault, and logged."""
    if not isinstance(error, TemporaryFailure | IntegrityError):
        _log.error("the ledger could not be written: %s", type(error).__name__)
        error = TemporaryFailure("the ledger could not be written", code="storage")
    for _, _, future in taken:
        if not future.done():
            future.set_exception(error)
            future.exception()  # fetched: a caller that went away leaves no warning


async def append_events(ledger: Ledger, peer: Channel, request: AppendEvents, _: BodyReader | None) -> Appended:
    """Append, then answer."""
    first = await ledger.append(peer, request)
    ledger.readers.learn(peer.compartment, request.events)
    return Appended(first)


async def ask_as_staff(ledger: Ledger, peer: Channel, request: AskAsStaff, _: BodyReader | None) -> StaffAnswer:
    """A reading request of a member of staff. Raises Refused: `no-session`, `role`, `no-rehearsal`, `bad-cursor`."""
    inner = decode_with(union_decoder(carried_by("ledger")), request.request)
    ledger.readers.require(request.token, type(inner).__name__)
    if request.rehearse or request.after:
        raise Refused("reading the log is neither rehearsed nor paged by a cursor", code="no-rehearsal")
    reply: Any = HANDLERS[type(inner)](ledger, peer, inner, None)
    return StaffAnswer(encode(await reply), b"", 0)


def end_staff_session(ledger: Ledger, _: Channel, request: EndStaffSession, __: BodyReader | None) -> Done:
    """It is over."""
    ledger.readers.end(request.token)
    return Done()


async def record_drill(ledger: Ledger, peer: Channel, request: RecordDrill, _: BodyReader | None) -> Appended:
    """Append the drill's event, then answer."""
    details: dict[str, str | int | bool | None] = {
        "sha256": request.digest.hex(), "rows": request.rows, "reached": request.reached,
        "unproven": request.unproven, "over": request.over, "live": request.live,
    }  # fmt: skip
    event = to_ledger.Event("DrillRun", request.time, request.stamp.actor, b"", details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_census(ledger: Ledger, peer: Channel, request: RecordCensus, _: BodyReader | None) -> Appended:
    """Append the audit's event, then answer."""
    details: dict[str, str | int | bool | None] = {
        "sha256": request.digest.hex(), "accounts": request.accounts, "records": request.records,
        "legacy": request.legacy, "faults": request.faults, "mismatches": request.mismatches,
        "strays": request.strays, "matched": request.matched,
    }  # fmt: skip
    event = to_ledger.Event("CredentialsAudited", request.time, request.stamp.actor, b"", details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_oblivion(ledger: Ledger, peer: Channel, request: RecordOblivion, _: BodyReader | None) -> Appended:
    """Append the account's end, then answer."""
    details: dict[str, str | int | bool | None] = {
        "tenant": request.tenant, "commitment": request.commitment.hex(), "keyring_at": request.keyring_at,
        "auth_at": request.auth_at, "store_at": request.store_at, "queue_at": request.queue_at,
        "directory_at": request.directory_at, "ring_first": request.ring_first, "ring_version": request.ring_version,
        "older_until": request.older_until,
    }  # fmt: skip
    event = to_ledger.Event("AccountDestroyed", request.time, request.stamp.actor, request.account, details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_export(ledger: Ledger, peer: Channel, request: RecordExport, _: BodyReader | None) -> Appended:
    """Append the export's event, then answer."""
    details: dict[str, str | int | bool | None] = {"whole": request.whole}
    if not request.begun:
        details |= {
            "sha256": request.digest.hex(), "accounts": request.accounts, "messages": request.messages,
            "octets": request.octets,
        }  # fmt: skip
    event = to_ledger.Event(
        "ExportBegun" if request.begun else "ExportWritten", request.time, request.stamp.actor, b"", details
    )
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_restore(ledger: Ledger, peer: Channel, request: RecordRestore, _: BodyReader | None) -> Appended:
    """Append the event, then answer."""
    details: dict[str, str | int | bool | None] = {
        "backup": request.backup, "sha256": request.digest.hex(), "messages": request.messages,
    }  # fmt: skip
    now = int(time.time() * 1000)
    event = to_ledger.Event("MailRestored", now, request.stamp.actor, request.account, details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_import(ledger: Ledger, peer: Channel, request: RecordImport, _: BodyReader | None) -> Appended:
    """Append the event, then answer."""
    details: dict[str, str | int | bool | None] = {"source": request.source, "files": request.files}
    now = int(time.time() * 1000)
    event = to_ledger.Event("MailImported", now, request.stamp.actor, request.account, details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_undelete(ledger: Ledger, peer: Channel, request: RecordUndelete, _: BodyReader | None) -> Appended:
    """Append the event, then answer."""
    details: dict[str, str | int | bool | None] = {"messages": request.messages, "reason": request.reason}
    now = int(time.time() * 1000)
    event = to_ledger.Event("MessagesUndeleted", now, request.stamp.actor, request.account, details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_backup(ledger: Ledger, peer: Channel, request: RecordBackup, _: BodyReader | None) -> Appended:
    """Append that a backup was made or verified, then answer."""
    details: dict[str, str | int | bool | None] = {
        "backup": request.backup, "sha256": request.digest.hex(), "octets": request.octets, "sound": request.sound,
    }  # fmt: skip
    if request.restored:
        details |= {"restored": True, "accounts": request.accounts, "messages": request.messages}
    kind = "BackupVerified" if request.verified else "BackupMade"
    event = to_ledger.Event(kind, request.time, request.stamp.actor, b"", details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_escrow(ledger: Ledger, peer: Channel, request: RecordEscrow, _: BodyReader | None) -> Appended:
    """Append which sealed keys lie in the escrow, then answer."""
    details: dict[str, str | int | bool | None] = {name: digest.hex() for name, digest in request.digests.items()}
    event = to_ledger.Event("KeysEscrowed", int(time.time() * 1000), request.stamp.actor, b"", details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def record_standby(ledger: Ledger, peer: Channel, request: RecordStandby, _: BodyReader | None) -> Appended:
    """Append the event, then answer."""
    details: dict[str, str | int | bool | None] = {
        "of": request.compartment, "stream": request.stream, "sha256": request.digest.hex(),
    }  # fmt: skip
    event = to_ledger.Event("StandbyBegun", int(time.time() * 1000), request.stamp.actor, b"", details)
    return Appended(await ledger.append(peer, AppendEvents(request.stamp, (event,))))


async def read_checkpoint(ledger: Ledger, _: Channel, __: ReadCheckpoint, ___: BodyReader | None) -> CheckpointText:
    """The newest signed checkpoint."""
    note: str = await ledger.run(lambda: ledger.log.note.encode().decode())
    return CheckpointText(note, ledger.cosignatures.note if ledger.cosignatures else "")


async def add_cosignature(ledger: Ledger, _: Channel, request: AddCosignature, __: BodyReader | None) -> Cosigned:
    """Carry it, durably, then answer. Given again it changes nothing."""
    cosignatures = ledger.cosignatures
    if cosignatures is None:
        raise Refused("this ledger carries no cosignatures", code="no-witness")
    try:
        await ledger.run(lambda: cosignatures.take(ledger.log, request.note.encode()))
    except OSError:
        raise TemporaryFailure("the ledger could not be written; free its disk", code="storage") from None
    return Cosigned(cosignatures.size, cosignatures.time)


async def read_entries(ledger: Ledger, _: Channel, request: ReadEntries, __: BodyReader | None) -> EntryPage:
    """Entries from `first` on, as many as fit one reply."""
    return EntryPage(request.first, await ledger.run(_entries, ledger.log, request.first, request.limit))


def _entries(log: Log, first: int, limit: int) -> tuple[bytes, ...]:
    found, size = [], 0
    for entry in log.entries(first, min(log.size, first + min(limit, EVENTS_MAX))):
        size += len(entry)
        if size > ENTRIES_BYTES_MAX:
            break
        found.append(entry)
    return tuple(found)


async def prove_inclusion(ledger: Ledger, _: Channel, request: ProveInclusion, __: BodyReader | None) -> Proof:
    """That an entry is in a tree."""
    return await _prove(ledger, ledger.log.inclusion_proof, request.index, request.size)


async def prove_consistency(ledger: Ledger, _: Channel, request: ProveConsistency, __: BodyReader | None) -> Proof:
    """That a tree grew out of another."""
    return await _prove(ledger, ledger.log.consistency_proof, request.old, request.new)


async def _prove(ledger: Ledger, prove: Any, one: int, two: int) -> Proof:
    try:
        return Proof(tuple(await ledger.run(prove, one, two)))
    except ValueError:
        raise Refused("the log has no such entry or tree", code="no-such-entry") from None


async def check_ledger(ledger: Ledger, _: Channel, __: CheckLedger, ___: BodyReader | None) -> LedgerReport:
    """Every entry read, understood and hashed again; their root must be the checkpoint's."""
    size, root = await ledger.run(lambda: (ledger.log.size, ledger.log.root))
    frontier = Frontier()
    problems: list[str] = []
    newest = 0
    try:
        for start in range(0, size, CHECKED_AT_ONCE):
            newest = await ledger.run(_check, ledger, frontier, start, min(size, start + CHECKED_AT_ONCE))
        if frontier.root() != root:
            problems.append("the entries do not lead to the root of the checkpoint")
    except IntegrityError as error:
        problems.append(error.public)
    if newest > int(time.time() * 1000) + CLOCK_SKEW_MS:
        problems.append("the newest entry is from the future: check the clock")
    return LedgerReport(size, tuple(problems))


def _check(ledger: Ledger, frontier: Frontier, start: int, end: int) -> int:
    """Take entries into `frontier`; when the last of them happened."""
    at = 0
    for entry in ledger.log.entries(start, end):
        at = parse_event(entry).at
        frontier.append(leaf_hash(entry))
    return at


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    AppendEvents: append_events,
    AskAsStaff: ask_as_staff,
    EndStaffSession: end_staff_session,
    ReadCheckpoint: read_checkpoint,
    ReadEntries: read_entries,
    ProveInclusion: prove_inclusion,
    ProveConsistency: prove_consistency,
    CheckLedger: check_ledger,
    AddCosignature: add_cosignature,
    RecordDrill: record_drill,
    RecordCensus: record_census,
    RecordOblivion: record_oblivion,
    RecordExport: record_export,
    RecordImport: record_import,
    RecordUndelete: record_undelete,
    RecordRestore: record_restore,
    RecordBackup: record_backup,
    RecordEscrow: record_escrow,
    RecordStandby: record_standby,
    **backup.handlers(BeginBackup, ReadBackup, EscrowKeys),
    **standby.handlers(BeginStandby, ReadStandby, RenewLease),
}

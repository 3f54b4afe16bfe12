"""One function per message to ledger."""

import time
from collections.abc import Mapping
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
from bulkhead.ledger.appending import Ledger
from bulkhead.ledger.event import parse_event
from bulkhead.ledger.log import Log
from bulkhead.ledger.merkle import Frontier, leaf_hash

ENTRIES_BYTES_MAX = 200_000  # of one reply
CHECKED_AT_ONCE = 1024
CLOCK_SKEW_MS = 60_000


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

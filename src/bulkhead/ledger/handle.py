"""One function per message to ledger.

Appends run on one thread, batched: what arrived while the last checkpoint was written is the next batch. Each entry
carries the id of the request that brought it, so that a retry is known even across a crash between the log's commit
and the answer.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages import to_ledger
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_ledger import (
    EVENTS_MAX,
    Appended,
    AppendEvents,
    CheckLedger,
    CheckpointText,
    EntryPage,
    LedgerReport,
    Proof,
    ProveConsistency,
    ProveInclusion,
    ReadCheckpoint,
    ReadEntries,
)
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import ID_BYTES, AccountId
from bulkhead.ledger.event import EVENTS, Event, encode_event, parse_event, subject_id
from bulkhead.ledger.log import Log
from bulkhead.ledger.merkle import leaf_hash, tree_root

REMEMBERED = 100_000  # requests whose retry is recognised
SCANNED = 20_000  # newest entries read at start for the requests that brought them
ENTRIES_BYTES_MAX = 200_000  # of one reply
CHECKED_AT_ONCE = 4096
_Pending = tuple[bytes, list[bytes], "asyncio.Future[int]"]


class Ledger:
    """The open log, and who waits for it."""

    def __init__(self, log: Log, subject_key: bytes, worker: ThreadPoolExecutor) -> None:
        self.log, self._subject_key, self._worker = log, subject_key, worker
        self._pending: list[_Pending] = []
        self._writing: asyncio.Task[None] | None = None
        self._brought: OrderedDict[str, int] = OrderedDict()
        for index, entry in enumerate(log.entries(max(0, log.size - SCANNED), log.size), max(0, log.size - SCANNED)):
            request = parse_event(entry).details.get("request")
            if isinstance(request, str):
                self._remember(request, index)

    async def append(self, sender: Channel, request: AppendEvents) -> int:
        """The index of the request's first entry, durable and below a signed checkpoint."""
        request_id = request.stamp.request_id.hex()
        known = self._brought.get(request_id)
        if known is not None:
            return known
        entries = [self._entry(sender, request_id, event) for event in request.events]
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending.append((request.stamp.request_id, entries, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return await future

    async def run(self, work: Any, *arguments: Any) -> Any:
        """Run a reading function on the log's thread, which alone touches the log."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def _entry(self, sender: Channel, request_id: str, event: to_ledger.Event) -> bytes:
        kind = EVENTS.get(event.kind)
        if kind is None:
            raise Refused(f"no event {event.kind[:40]}", code="unknown-event")
        details = {**event.details, "compartment": sender.compartment, "request": request_id}
        accounts = (AccountId(event.account),) if len(event.account) == ID_BYTES else ()
        subjects = tuple(subject_id(self._subject_key, account) for account in accounts)
        try:
            return encode_event(Event(kind, event.time, event.actor, subjects, details))
        except ValueError as error:
            raise Refused(str(error)[:200], code="bad-event") from None

    def _remember(self, request_id: str, index: int) -> None:
        self._brought.setdefault(request_id, index)
        if len(self._brought) > REMEMBERED:
            self._brought.popitem(last=False)

    async def _write(self) -> None:
        while self._pending:
            taken, count = [], 0
            while self._pending and count + len(self._pending[0][1]) <= 1024:
                taken.append(self._pending.pop(0))
                count += len(taken[-1][1])
            batch = [entry for _, entries, _ in taken for entry in entries]
            try:
                index = await self.run(self.log.append, batch)
            except (TemporaryFailure, IntegrityError) as error:
                for _, _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for request_id, entries, future in taken:
                self._remember(request_id.hex(), index)
                if not future.done():
                    future.set_result(index)
                index += len(entries)


async def append_events(ledger: Ledger, peer: Channel, request: AppendEvents, _: BodyReader | None) -> Appended:
    """Append, then answer."""
    return Appended(await ledger.append(peer, request))


async def read_checkpoint(ledger: Ledger, _: Channel, __: ReadCheckpoint, ___: BodyReader | None) -> CheckpointText:
    """The newest signed checkpoint."""
    note: str = await ledger.run(lambda: ledger.log.note.encode().decode())
    return CheckpointText(note)


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
    """Every entry read and hashed again; their root must be the checkpoint's."""
    size, root = await ledger.run(lambda: (ledger.log.size, ledger.log.root))
    leaves: list[bytes] = []
    problems: list[str] = []
    try:
        while len(leaves) < size:
            until = min(size, len(leaves) + CHECKED_AT_ONCE)
            leaves += await ledger.run(_leaves, ledger.log, len(leaves), until)
        if await ledger.run(tree_root, leaves) != root:
            problems.append("the entries do not lead to the root of the checkpoint")
    except IntegrityError as error:
        problems.append(error.public)
    newest = int(time.time() * 1000)
    if leaves and parse_event(await ledger.run(ledger.log.entry, size - 1)).at > newest + 60_000:
        problems.append("the newest entry is from the future: check the clock")
    return LedgerReport(size, tuple(problems))


def _leaves(log: Log, start: int, end: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in log.entries(start, end)]


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    AppendEvents: append_events,
    ReadCheckpoint: read_checkpoint,
    ReadEntries: read_entries,
    ProveInclusion: prove_inclusion,
    ProveConsistency: prove_consistency,
    CheckLedger: check_ledger,
}

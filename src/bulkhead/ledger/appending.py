"""The open log, and who waits for it.

Appends run on one thread, batched: what arrived while the last checkpoint was written is the next batch. Each entry
carries the id of the request that brought it, so that a retry is known even across a crash between the log's commit
and the answer.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages import to_ledger
from bulkhead.boundary.messages.to_ledger import AppendEvents
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.holder import backup
from bulkhead.identifiers import ID_BYTES, AccountId
from bulkhead.ledger.cosigned import Cosignatures
from bulkhead.ledger.event import EVENTS, Event, encode_event, parse_event, subject_id
from bulkhead.ledger.lateness import Lateness
from bulkhead.ledger.log import Log
from bulkhead.ledger.sessions import Readers

REMEMBERED = 100_000  # requests whose retry is recognised
SCANNED = 20_000  # newest entries read at start for the requests that brought them
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

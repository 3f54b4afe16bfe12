"""One compartment's SQLite database: group commit on one writer thread, replies durable before they leave.

All that arrived while the last sync ran is the next transaction (WAL, synchronous=FULL). Each mutation runs in a
savepoint of it, so one that fails takes nothing with it. A mutation's request id and reply are written in the same
transaction and kept 10 minutes, across restarts: a retry is answered, not repeated. A retry is the same kind of
request from the same compartment, under the same session where it names one: nobody reads, or stands in the way of,
another's answer by using its request id.
"""

import asyncio
import hashlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Mutation, Reply, reply_type
from bulkhead.boundary.terms import ASKER
from bulkhead.errors import Error, TemporaryFailure
from bulkhead.holder.database_file import connect, open_database, sqlite_code
from bulkhead.holder.lease import Lease
from bulkhead.holder.reserve import Reserve, is_full

RECEIPT_SECONDS = 600  # how long a request id is remembered
BATCH_MAX = 512  # mutations of one transaction
PENDING_MAX = 8192  # mutations waiting for the writer

# What one mutation brings on itself by our own bug. Every other failure of SQLite is the transaction's: disk, memory,
# lock, or a file that is damaged and must not be written on.
_OF_ONE_JOB = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE}
    | {sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_TOOBIG}
)

T = TypeVar("T")
R = TypeVar("R", bound=Reply)
_log = logging.getLogger("bulkhead.holder")


class Rider:
    """Work that goes with the next write of a context, in its transaction and ahead of it: both are done, or neither.

    ran: whether it is durable.
    """

    def __init__(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._work = work
        self.ran = False

    def ahead_of(self, work: Callable[[sqlite3.Connection], Any]) -> Callable[[sqlite3.Connection], Any]:
        """Both as one. A write that failed leaves the rider to the next."""

        def both(connection: sqlite3.Connection) -> Any:
            self._work(connection)
            return work(connection)

        return both

    def mark(self, _: Any) -> None:
        """It is durable."""
        self.ran = True


RIDER: ContextVar[Rider | None] = ContextVar("rider", default=None)
REHEARSAL: ContextVar[bool] = ContextVar("rehearsal", default=False)
"""Whether what a request writes is taken back in its own transaction, once its reply is known; nobody else is told."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: "asyncio.Future[Any]"
    request: Mutation[Any] | None
    receipt: bytes  # its key; empty without a request
    before: Callable[[], None] | None
    after: Callable[[Any], None] | None
    rehearsal: bool = False
    urgent: bool = False


class Watch(Protocol):
    """Who sees each commit, on the writer's thread and before the next transaction."""

    def committed(self) -> None:
        """One is committed. Raises nothing."""

    def failed(self) -> None:
        """One failed in SQLite."""


class Guard(Protocol):
    """Whether and when a change may be answered."""

    @property
    def lease(self) -> Lease:
        """Without it no change is begun."""

    def answer(self, give: Callable[[TemporaryFailure | None], None]) -> None:
        """Give what is committed as answer, now or later; or the failure, instead."""


def receipt_key(request: Mutation[Any]) -> bytes:
    """Under what the answer to this request is kept: who asks, what, in which session, and the request id.

    Who asks is the compartment and not its worker, which may be another one when a request comes again.
    """
    asker = ASKER.get()
    who = "" if asker is None else asker.compartment
    kind = f"{who}|{type(request).__name__}|".encode()
    return hashlib.sha256(kind + getattr(request, "handle", b"") + b"|" + request.stamp.request_id).digest()[:16]


class Database:
    """A holder's database. Reads run at once on the loop's thread; mutations wait for their durable commit.

    gather_seconds: where the transaction before was shared, more is on its way: the next one waits so long for it. A
    mutation that comes alone never waits.
    reserve: keep room on the disk for what is urgent.
    migrations[i] brings schema version i to i + 1, wholly or not at all. Raises IntegrityError for a database from a
    newer build and for a damaged one.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        *,
        secure_delete: bool = False,
        gather_seconds: float = 0.0,
        reserve: bool = False,
    ) -> None:
        self.path = path
        self._gather_seconds = gather_seconds
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._pending = 0
        self._closing = self._closed = False
        self._watch: Watch | None = None
        self._guard: Guard | None = None
        self.transactions = 0
        self._writer = open_database(path, migrations, secure_delete=secure_delete)
        self._reader = connect(path, secure_delete=False)
        self._reader.execute("PRAGMA query_only=ON")
        self._next_purge = 0.0
        self._reserve = Reserve(path.with_name(path.name + ".reserve")) if reserve else None
        self._log_holders: set[object] = set()
        self._log_free = asyncio.Event()
        self._log_free.set()
        self._thread = threading.Thread(target=self._write_forever, name="writer", daemon=True)
        self._thread.start()

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a short query, of what is committed. Raises TemporaryFailure after close."""
        self._check_open()
        return self._reader.execute(statement, parameters).fetchall()

    def first(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row of a short query, or None. Raises TemporaryFailure after close."""
        self._check_open()
        return self._reader.execute(statement, parameters).fetchone()

    async def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Run `work` in the next transaction; what it returned, once that is durable. Raises what it raised.

        Raises TemporaryFailure: `busy` when too much waits, `storage` when the disk refused, `stopping` once it closes.
        Cancelling the caller does not take back what it asked for.
        before: runs on the writer thread ahead of the commit (a sync that must come first; once per batch per
        callable). after: runs on the writer thread right after the commit, in order, before any caller wakes.
        """
        return await self._submit(work, None, before, after)  # type: ignore[no-any-return]  # what work returned

    async def mutate(
        self,
        request: Mutation[R],
        work: Callable[[sqlite3.Connection], R],
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[R], None] | None = None,
        urgent: bool = False,
    ) -> R:
        """As write, for a mutating request: one seen before is answered as it was then, and not done again.

        urgent: a stop. Where the disk is full it is written in the room that was kept for it.
        """
        return await self._submit(work, request, before, after, urgent=urgent)  # type: ignore[no-any-return]  # as above

    async def answered(self, request: Mutation[R]) -> R | None:
        """The reply this request got before, if it was seen in the last 10 minutes."""
        row = self.first("SELECT reply FROM receipt WHERE request_id = ?", (receipt_key(request),))
        if row is None:
            return None
        if self._guard is not None and request.leased:
            given: asyncio.Future[TemporaryFailure | None] = self._loop.create_future()
            self._guard.answer(lambda failure: None if given.done() else given.set_result(failure))
            failure = await given
            if failure is not None:
                raise failure
        return _decode(request, row[0])  # type: ignore[return-value]  # the request's reply type

    async def truncate_wal(self) -> None:
        """Fold the WAL into the database and empty it, so that what was destroyed is in no file.

        Waits for a snapshot that is being copied. Raises TemporaryFailure where that could not be done now.
        """
        await self._log_free.wait()
        await self._put(_Job(_truncate, self._loop.create_future(), None, b"", None, None))

    def watch(self, watch: Watch, guard: Guard) -> None:
        """Have each commit seen, and changes answered as a guard says. Before the first request."""
        self._watch, self._guard = watch, guard

    def hold_log(self, holder: object) -> None:
        """Whoever reads what was, in a transaction of its own, keeps the WAL from being emptied."""
        self._log_holders.add(holder)
        self._log_free.clear()

    def let_log_go(self, holder: object) -> None:
        """The end of that; a second call does nothing."""
        self._log_holders.discard(holder)
        if not self._log_holders:
            self._log_free.set()

    async def close(self) -> None:
        """Write what waits, fold the WAL in, close. What comes meanwhile is refused; a second call does nothing."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        while self._thread.is_alive():  # not by an executor: it might be one thread too many
            await asyncio.sleep(0.002)
        if not self._closed:
            self._closed = True
            self._reader.close()
            self._fold_wal()  # where it fails, the next start reads the log as it lies
            self._writer.close()
            if self._reserve is not None:
                self._reserve.close()

    async def _submit(
        self,
        work: Callable[[sqlite3.Connection], Any],
        request: Mutation[Any] | None,
        before: Callable[[], None] | None,
        after: Callable[[Any], None] | None,
        *,
        urgent: bool = False,
    ) -> Any:
        if self._pending >= PENDING_MAX:
            raise TemporaryFailure("too much is waiting to be written", code="busy")
        if self._guard is not None and request is not None and request.leased:
            self._guard.lease.require()
        receipt = b"" if request is None else receipt_key(request)
        rider = RIDER.get()
        if rider is not None and not rider.ran:
            work, after = rider.ahead_of(work), _both(rider.mark, after)
        if REHEARSAL.get():
            return await self._put(_Job(work, self._loop.create_future(), request, receipt, None, None, rehearsal=True))
        return await self._put(_Job(work, self._loop.create_future(), request, receipt, before, after, urgent=urgent))

    def _put(self, job: _Job) -> "asyncio.Future[Any]":
        if self._closing:
            raise _stopping()
        self._pending += 1
        self._jobs.put(job)
        return job.future

    def _check_open(self) -> None:
        if self._closed:
            raise _stopping()

    # --- writer thread -----------------------------------------------------------------------------------------------

    def _write_forever(self) -> None:
        shared = False  # whether the last transaction had several mutations
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if shared:
                time.sleep(self._gather_seconds)
            batch = [job]
            stop = False
            while len(batch) < BATCH_MAX and not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    stop = True
                    break
                batch.append(job)
            shared = len(batch) > 1 and self._gather_seconds > 0
            outcomes = self._commit(batch)
            self._loop.call_soon_threadsafe(self._deliver, batch, outcomes)
            if stop:
                return

    def _commit(self, batch: list[_Job]) -> list[Any]:
        outcomes: list[Any] = []
        truncations = [job for job in batch if job.work is _truncate]
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [None if job.work is _truncate else self._run(job) for job in batch]
            if time.monotonic() > self._next_purge:
                self._next_purge = time.monotonic() + 30
                self._writer.execute("DELETE FROM receipt WHERE kept < ?", (int(time.time()) - RECEIPT_SECONDS,))
            for before in {job.before: None for job in batch if job.before is not None}:
                before()
            self._writer.execute("COMMIT")
            self.transactions += 1
        except Exception as error:
            if self._watch is not None:
                self._watch.failed()
            outcomes = self._undo(len(batch), error)
            return self._commit_urgent(batch, outcomes) if is_full(error) else outcomes
        if self._watch is not None:  # before `after` tells anybody, and before a checkpoint empties the log
            self._watch.committed()
        for job, outcome in zip(batch, outcomes, strict=True):
            if job.after is not None and not isinstance(outcome, BaseException):
                try:
                    job.after(outcome)
                except Exception as error:  # what is durable stays answered
                    log_fault("fault after a commit", error)
        if self._reserve is not None:
            self._reserve.fill_again()
        if truncations and not self._fold_wal():
            failure = TemporaryFailure("what was destroyed still lies in the write-ahead log", code="storage")
            outcomes = [
                failure if job.work is _truncate else outcome for job, outcome in zip(batch, outcomes, strict=True)
            ]
        return outcomes

    def _commit_urgent(self, batch: list[_Job], failed: list[Any]) -> list[Any]:
        """The stops among them once more, alone, in the room that was kept for them; of the others, what they got."""
        urgent = [job for job in batch if job.urgent]
        if not urgent or self._reserve is None or not self._reserve.held:
            return failed
        self._reserve.release()
        again = {id(job): outcome for job, outcome in zip(urgent, self._commit(urgent), strict=True)}
        self._reserve.fill()
        return [again.get(id(job), outcome) for job, outcome in zip(batch, failed, strict=True)]

    def _undo(self, count: int, error: Exception) -> list[Any]:
        """Roll the transaction back: what each of its mutations is told. The writer lives on, whatever failed."""
        if isinstance(error, (sqlite3.Error, OSError)):
            _log.error("a transaction of %d mutations failed: %s", count, error)
            outcome = ("storage failed", "storage")
        else:  # our bug in a `before`
            log_fault("fault before a commit", error)
            outcome = ("internal fault", "fault")
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as failed:  # tried again after the next BEGIN, which fails as long
            _log.error("a transaction could not be rolled back: %s", failed)
        return [TemporaryFailure(outcome[0], code=outcome[1]) for _ in range(count)]

    def _fold_wal(self) -> bool:
        """Whether the WAL is folded into the database and empty."""
        try:
            (busy, _, _) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            _log.error("the write-ahead log cannot be folded in: %s", error)
            return False
        return not busy

    def _run(self, job: _Job) -> Any:
        """The outcome of one job within the open transaction: its value, or the exception it raised."""
        self._writer.execute("SAVEPOINT job")
        try:
            outcome = job.work(self._writer) if job.request is None else self._once(job.work, job.request, job.receipt)
        except Error as error:
            outcome = error
        except Exception as error:
            if sqlite_code(error) not in _OF_ONE_JOB:
                raise
            # our bug: this job alone fails, and the log says where
            log_fault("fault in a mutation", error)
            outcome = ValueError("no more rows") if isinstance(error, StopIteration) else error  # no future takes that
        if isinstance(outcome, BaseException) or job.rehearsal:
            self._writer.execute("ROLLBACK TO job")
        self._writer.execute("RELEASE job")
        return outcome

    def _once(self, work: Callable[[sqlite3.Connection], Any], request: Mutation[Any], receipt: bytes) -> Any:
        row = self._writer.execute("SELECT reply FROM receipt WHERE request_id = ?", (receipt,)).fetchone()
        if row is not None:
            return _decode(request, row[0])
        reply = work(self._writer)
        self._writer.execute(
            "INSERT INTO receipt VALUES (?, ?, ?)",
            (receipt, int(time.time()), msgspec.msgpack.encode(reply)),
        )
        return reply

    def _deliver(self, batch: list[_Job], outcomes: list[Any]) -> None:
        self._pending -= len(batch)
        guarded = []
        for job, outcome in zip(batch, outcomes, strict=True):
            leased = self._guard is not None and job.request is not None and job.request.leased
            if leased and not isinstance(outcome, BaseException):
                guarded.append((job, outcome))
            else:
                _settle(job, outcome)
        if guarded and self._guard is not None:
            self._guard.answer(partial(_answer, guarded))


def _answer(guarded: list[tuple[_Job, Any]], failure: TemporaryFailure | None) -> None:
    for job, outcome in guarded:
        _settle(job, failure or outcome)


def _settle(job: _Job, outcome: Any) -> None:
    if job.future.done():
        return
    if isinstance(outcome, BaseException):
        job.future.set_exception(outcome)
    else:
        job.future.set_result(outcome)


def _both(first: Callable[[Any], None], second: Callable[[Any], None] | None) -> Callable[[Any], None]:
    def run(outcome: Any) -> None:
        first(outcome)
        if second is not None:
            second(outcome)

    return run


def _truncate(_: sqlite3.Connection) -> None:
    """Marks a job that truncates the WAL after its transaction."""


def _decode(request: Mutation[Any], reply: bytes) -> Reply:
    return msgspec.msgpack.decode(reply, type=reply_type(type(request)))


def _stopping() -> TemporaryFailure:
    return TemporaryFailure("this part of the server is stopping", code="stopping")

"""One function per message to queue."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Answer, Channel
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages import to_queue
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_queue import (
    Attempted,
    CheckQueue,
    CountQueue,
    DestroyQueued,
    Enqueue,
    EnqueueForward,
    LiftOutboundStop,
    ListQueue,
    QueueCounts,
    QueuedDestroyed,
    QueuedPartSent,
    QueuedRow,
    QueuePage,
    QueueReport,
    ReadQueued,
    ReportAttempt,
    RetryNow,
    StopOutbound,
    TakeWork,
    WorkList,
)
from bulkhead.errors import Error, PeerError, Refused, TemporaryFailure
from bulkhead.holder import stop
from bulkhead.holder.latency import timed
from bulkhead.holder.shared import shared
from bulkhead.identifiers import AccountId, parse_address
from bulkhead.queue import rows
from bulkhead.queue.check import problems_of
from bulkhead.queue.forwards import require_living, use
from bulkhead.queue.spending import require_allowance, spend
from bulkhead.queue.state import Queue
from bulkhead.records.access import NOBODY, Act
from bulkhead.records.forward import Forward

ITEMS_MAX = 16  # messages of one TakeWork
LIST_MAX = 500
LIST_BYTES_MAX = 200_000  # of one listing
_log = logging.getLogger("bulkhead.queue")


async def enqueue(queue: Queue, channel: Channel, request: Enqueue, body: BodyReader | None) -> Done:
    """What a subscriber sends."""
    return await _take_in(queue, channel, request, body)


async def enqueue_forward(queue: Queue, channel: Channel, request: EnqueueForward, body: BodyReader | None) -> Done:
    """What an account's forward sends: directory's statement says to whom, and the gate nothing."""
    forward, message = queue.forwards.admit(request, queue.now())
    return await _take_in(queue, channel, message, body, forward)


async def _take_in(
    queue: Queue, channel: Channel, request: Enqueue, body: BodyReader | None, forward: Forward | None = None
) -> Done:
    """Write and sync the file, then commit the row: Done means that both are durable."""
    while (earlier := queue.receiving.get(request.queue_id)) is not None:
        await earlier  # the same message, sent again while its first coming still ends
    done = await queue.database.answered(request)
    if done is not None:
        return _until(queue)
    _check(queue, request, body, forward)
    receiving = queue.receiving[request.queue_id] = asyncio.get_running_loop().create_future()
    try:
        await _write_file(queue, request, body)
        try:
            # where the disk fails the file stays: the commit may yet prove durable
            await _write_rows(queue, request, forward)
        except Refused:  # but of what was refused there is no row, and never will be
            queue.files.remove(request.queue_id)
            raise
    finally:
        del queue.receiving[request.queue_id]
        receiving.set_result(None)
    if request.account is not None and forward is None:  # a stranger's burst at it is none of the account's
        queue.burst.note(request.account, len(request.recipients))
    if queue.accesses is not None:
        account = NOBODY if request.account is None else AccountId(request.account)
        queue.accesses.of_session(Act.QUEUED, account, channel, len(request.recipients))
    queue.announce()
    return _until(queue)


def _until(queue: Queue) -> Done:
    return Done() if queue.lease is None else Done(queue.lease.until)


def _check(queue: Queue, request: Enqueue, body: BodyReader | None, forward: Forward | None) -> None:
    """Refuse what could never be delivered, and what has no room."""
    if body is None:
        raise Refused("a message has a body", code="no-body")
    if queue.messages + len(queue.receiving) >= queue.messages_max:
        raise Refused("the queue is full", code="queue-full")
    if forward is not None:
        queue.forwards.require(queue.database, forward, queue.now())
    if rows.exists(queue.database, request.queue_id):
        raise Refused("a message of that id is queued", code="exists")
    if forward is None and request.account is not None:
        require_allowance(queue.database, request.account, len(request.recipients), queue.now(), queue.allowance)
    try:
        for address in (*request.recipients, *([request.reverse_path] if request.reverse_path else [])):
            parse_address(address)
    except PeerError as error:
        raise Refused(error.public, code="bad-address") from None


async def _write_file(queue: Queue, request: Enqueue, body: BodyReader | None) -> None:
    expected = request.header_size + request.body_size
    try:
        with queue.files.create(request.queue_id) as file:
            if body is None or await _copy(body, file, expected) != expected:
                raise Refused("the body has another size than was said", code="bad-size")
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(queue.syncing, queue.files.sync, request.queue_id, file)
    except (OSError, Error) as error:
        queue.files.remove(request.queue_id)
        if isinstance(error, Error):
            raise
        _log.error("a message could not be stored: %s", error)
        raise TemporaryFailure("the message could not be stored", code="storage") from None


async def _copy(body: BodyReader, file: BinaryIO, expected: int) -> int:
    written = 0
    while chunk := await body.read():
        written += len(chunk)
        if written > expected:
            break
        view = memoryview(chunk)
        while view:
            view = view[file.write(view) :]
    return written


async def _write_rows(queue: Queue, request: Enqueue, forward: Forward | None) -> None:
    inserted = False

    def work(connection: sqlite3.Connection) -> Done:
        nonlocal inserted
        if forward is not None:
            queue.forwards.require(connection, forward, queue.now())
            use(connection, forward, queue.now())
        elif request.account is not None:  # again: others of the account may have come meanwhile, or its end
            require_living(connection, request.account)
            require_allowance(connection, request.account, len(request.recipients), queue.now(), queue.allowance)
            spend(connection, request.account, len(request.recipients), queue.now())
        held = request.account is not None and queue.is_held(request.account)
        rows.insert(connection, request, queue.now(), queue.schedule, held=held)
        inserted = True
        return Done()

    await queue.database.mutate(request, work, before=partial(queue.files.ship, request))
    queue.messages += inserted


async def take_work(queue: Queue, channel: Channel, request: TakeWork, _: BodyReader | None) -> WorkList:
    """Lease what is due. Who has it is durable before it is lent, so that an attempt that is lost is counted."""
    now, limit = queue.now(), 0 if queue.outbound.stopped else min(request.limit, ITEMS_MAX)
    if queue.lease is not None and queue.lease.failure() is not None:
        limit = 0  # the standby may be sending it
    works = rows.due(queue.database, now, limit, set(queue.leases)) if limit else []
    if queue.surfaces.any_closed(Surface.OUTBOUND | Surface.RULE_SENDER):  # a stop comes to the rows a moment later
        works = [work for work in works if not queue.is_held(rows.sender(queue.database, work.queue_id))]
    for work in works:
        queue.leases[work.queue_id] = channel
    if works:
        try:
            await queue.database.write(partial(rows.lend, works=works, to=str(channel)))
        except BaseException:
            for work in works:
                if queue.leases.get(work.queue_id) == channel:
                    del queue.leases[work.queue_id]
            raise
    queue.arm()
    return WorkList(tuple(works), 0 if queue.outbound.stopped else rows.next_due(queue.database, now))


async def stop_outbound(queue: Queue, channel: Channel, request: StopOutbound, _: BodyReader | None) -> Done:
    """Nothing is lent, and nothing that is lent is handed out, from now on; the ledger hears of it when it can."""
    done = await stop.stop_outbound(queue, channel, request, None)
    queue.arm()
    return done


async def lift_outbound_stop(queue: Queue, channel: Channel, request: LiftOutboundStop, _: BodyReader | None) -> Done:
    """Mail leaves again, once the ledger knows."""
    done = await stop.lift_outbound_stop(queue, channel, request, None)
    queue.announce()
    return done


def read_queued(queue: Queue, channel: Channel, request: ReadQueued, _: BodyReader | None) -> Answer:
    """The sealed text. A message that nobody has leased is leased by this: its lease was lost when queue restarted."""
    queue.outbound.require_none()
    if not rows.exists(queue.database, request.queue_id):
        raise Refused("no such message", code="no-lease")
    if (sender := rows.sender(queue.database, request.queue_id)) and queue.is_held(sender):
        raise TemporaryFailure("its sender's outbound mail is stopped", code="stopped")
    if queue.leases.setdefault(request.queue_id, channel) != channel:
        raise Refused("another process has that message", code="no-lease")
    size = queue.files.size(request.queue_id)
    if size is None:
        raise TemporaryFailure("the message's file is missing; run `bulkhead fsck`", code="storage")
    return Answer(QueuedPartSent(size), _pieces(queue, request.queue_id))


def _pieces(queue: Queue, queue_id: bytes) -> Iterator[bytes]:
    try:
        yield from queue.files.read(queue_id)
    except OSError as error:
        raise TemporaryFailure("the message could not be read", detail=str(error), code="storage") from None


async def report_attempt(queue: Queue, channel: Channel, request: ReportAttempt, _: BodyReader | None) -> Attempted:
    """Write the outcomes; the file goes after the commit that settles the last recipient.

    Taken without a lease too: queue may have restarted while courier was delivering.
    """
    if queue.leases.get(request.queue_id, channel) != channel:
        raise Refused("another process has that message", code="no-lease")
    tally = rows.Tally()
    jitter = queue.jitter()

    def work(connection: sqlite3.Connection) -> Attempted:
        tally.delivered = tally.failed = tally.unknown = 0
        return rows.record(connection, request, queue.now(), queue.schedule, jitter, tally)

    def after(_: Attempted) -> None:
        if tally.gone:
            queue.files.remove(request.queue_id)

    attempted = await queue.database.mutate(request, work, after=after)
    queue.messages -= tally.gone
    queue.leases.pop(request.queue_id, None)
    queue.arm()
    return attempted


def list_queue(queue: Queue, _: Channel, request: ListQueue, __: BodyReader | None) -> QueuePage:
    """Messages by age, as many as fit one reply."""
    found, room, now = [], LIST_BYTES_MAX, queue.now()
    for queue_id, reverse_path, size, enqueued, attempts, due, error, recipients in queue.database.read(
        "SELECT queue_id, reverse_path, size, enqueued, attempts, next_due, last_error, "
        "(SELECT count(*) FROM recipient WHERE recipient.queue_id = message.queue_id AND state = ?) "
        "FROM message WHERE enqueued >= ? ORDER BY enqueued, queue_id LIMIT ?",
        (rows.WAITING, request.after, min(request.limit, LIST_MAX)),
    ):
        room -= 64 + len(reverse_path.encode()) + len(error.encode())
        if room < 0:
            break
        state = "leased" if queue_id in queue.leases else "due" if due <= now else "waiting"
        found.append(QueuedRow(queue_id, reverse_path, recipients, size, enqueued, attempts, due, error, state))
    return QueuePage(tuple(found))


async def retry_now(queue: Queue, _: Channel, request: RetryNow, __: BodyReader | None) -> Done:
    """Everything becomes due."""

    def work(connection: sqlite3.Connection) -> Done:
        rows.hasten(connection, queue.now())
        return Done()

    done = await queue.database.mutate(request, work)
    queue.announce()
    return done


async def destroy_queued(queue: Queue, _: Channel, request: DestroyQueued, __: BodyReader | None) -> QueuedDestroyed:
    """The rows go first; a file whose row is gone is swept at the next start, if not here."""
    gone: list[bytes] = []

    def work(connection: sqlite3.Connection) -> QueuedDestroyed:
        gone[:] = rows.destroy(connection, request.account, request.reverse_path, queue.now())
        return QueuedDestroyed(len(gone))

    def after(_: QueuedDestroyed) -> None:
        for queue_id in gone:
            queue.files.remove(queue_id)

    destroyed = await queue.database.mutate(request, work, after=after)
    await queue.database.truncate_wal()
    queue.messages -= len(gone)
    for queue_id in gone:
        queue.leases.pop(queue_id, None)
    queue.arm()
    return destroyed


def count_queue(queue: Queue, _: Channel, __: CountQueue, ___: BodyReader | None) -> QueueCounts:
    """What waits, and what was done since the queue was made."""
    recipients, oldest, delivered, failed, unknown = queue.database.first(
        "SELECT (SELECT count(*) FROM recipient WHERE state = ?), (SELECT min(enqueued) FROM message), "
        "delivered, failed, unknown FROM tally",
        (rows.WAITING,),
    )
    timings, stops = queue.accepting.said(), queue.surfaces.count_closed(Surface.RULE_SENDER)
    return QueueCounts(queue.messages, recipients, delivered, failed, unknown, oldest or 0, timings, stops)


def check_queue(queue: Queue, _: Channel, __: CheckQueue, ___: BodyReader | None) -> QueueReport:
    """Compare database and files."""
    messages, problems = problems_of(queue.database, queue.files, queue.receiving)
    return QueueReport(messages, tuple(problems))


HANDLERS: Mapping[type[Request[Any]], Handler] = {
    Enqueue: timed(enqueue, lambda queue: queue.accepting),
    EnqueueForward: enqueue_forward,
    TakeWork: take_work,
    ReadQueued: read_queued,
    ReportAttempt: report_attempt,
    ListQueue: list_queue,
    RetryNow: retry_now,
    DestroyQueued: destroy_queued,
    CountQueue: count_queue,
    CheckQueue: check_queue,
    StopOutbound: stop_outbound,
    LiftOutboundStop: lift_outbound_stop,
    **shared(to_queue),
}

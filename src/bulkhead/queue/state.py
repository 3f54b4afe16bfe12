"""The running queue: leases, and the timer that tells courier of due mail."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from functools import partial

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import WorkDue
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.errors import Error, TemporaryFailure
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.backup import Backups
from bulkhead.holder.database import Database
from bulkhead.holder.latency import Latency
from bulkhead.holder.lease import Lease
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.roster import Pinned
from bulkhead.holder.rules import Rule, SenderBurst
from bulkhead.holder.stop import OUTBOUND, TenantStop
from bulkhead.holder.surfaces import Surfaces
from bulkhead.identifiers import format_id
from bulkhead.queue import rows
from bulkhead.queue.files import MessageFiles
from bulkhead.queue.forwards import Forwards
from bulkhead.queue.schedule import Schedule
from bulkhead.queue.spending import Allowance

SYNC_THREADS = 4
REMIND_SECONDS = 5.0  # facts may be dropped: what is due and not taken is announced again
_log = logging.getLogger("bulkhead.queue")


def clock() -> int:
    """Milliseconds since 1970-01-01T00:00Z."""
    return int(time.time() * 1000)


def draw() -> float:
    """Jitter: 0.0 to 1.0."""
    return random.SystemRandom().random()


class Queue:
    """What the handlers work on. `now` and `jitter` are given so that tests can set them."""

    def __init__(
        self,
        exchange: Exchange,
        database: Database,
        files: MessageFiles,
        schedule: Schedule,
        messages_max: int,
        allowance: Allowance,
        pinned: Pinned,
        forwards: Forwards,
        *,
        now: Callable[[], int] = clock,
        jitter: Callable[[], float] = draw,
    ) -> None:
        self.exchange, self.database, self.files = exchange, database, files
        self.schedule, self.messages_max, self.allowance = schedule, messages_max, allowance
        self.forwards = forwards
        self.now, self.jitter = now, jitter
        self.accepting = Latency()
        self.backups: Backups | None = None
        self.accesses: Accesses | None = None
        self.outbox, self.outbound = Outbox(database, exchange), TenantStop(database, exchange, OUTBOUND)
        self.surfaces = Surfaces(database, self.outbox, exchange, reach=self._reach, changed=self._hold_later)
        self.burst = SenderBurst(Rule("burst", Surface.RULE_SENDER, self.surfaces, exchange))
        self.orders = Orders(pinned, database, self.outbox, exchange)
        self.lease: Lease | None = None  # without one in force nothing is lent, where the tenant has a standby
        self.syncing = ThreadPoolExecutor(max_workers=SYNC_THREADS, thread_name_prefix="sync")
        self.leases: dict[bytes, Channel] = {}
        self.receiving: dict[bytes, asyncio.Future[None]] = {}
        self.messages = int(database.first("SELECT count(*) FROM message")[0])
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._holding: set[asyncio.Task[None]] = set()
        # The first process of a new supervisor: no courier from before lives. Written before anything is lent.
        self._forgetting = self._loop.create_task(self._forget_lenders()) if exchange.me.incarnation == 1 else None
        stopped = self.surfaces.any_closed(Surface.OUTBOUND | Surface.RULE_SENDER)
        if stopped or database.first("SELECT 1 FROM message WHERE held = 1 LIMIT 1") is not None:
            self._hold_later()  # the process before us may have ended between a stop, or its end, and its rows
        self.arm()

    async def _forget_lenders(self) -> None:
        with suppress(TemporaryFailure):  # we are stopping already: the next start forgets them
            await self.database.write(rows.forget_lenders)

    def announce(self) -> None:
        """Tell courier that something is due, and see when to tell it next."""
        for edge in self.exchange.edges():
            if edge.peer.compartment == "courier":
                edge.tell(WorkDue())
        self.arm()

    def arm(self) -> None:
        """Set the timer: at the next due time, or soon where something due lies untaken."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or self.outbound.stopped:
            return
        now = self.now()
        if rows.due(self.database, now, 1, set(self.leases)):
            seconds = REMIND_SECONDS
        else:
            due = rows.next_due(self.database, now)
            if not due:
                return
            seconds = max(0.0, (due - now) / 1000)
        self._timer = self._loop.call_later(seconds, self.announce)

    def is_held(self, account: bytes) -> bool:
        """Whether what this account sent stays here."""
        return bool(account) and (self.surfaces.closed(Surface.OUTBOUND, account) or self.burst.rule.stops(account))

    async def hold(self) -> None:
        """Bring the rows in step with the stops: what is lent is asked for at is_held before, so this may come late."""
        await self.database.write(partial(rows.hold, closed=self.is_held))
        self.announce()

    def _hold_later(self) -> None:
        # a context of its own: the order under way writes itself down with the stop, and not with this
        task = self._loop.create_task(self._hold_logged(), context=Context())
        self._holding.add(task)
        task.add_done_callback(self._holding.discard)

    async def _hold_logged(self) -> None:
        while not self._closed:
            try:
                await self.hold()
                break
            except Error as error:
                _log.error("messages that are stopped are looked at again: %s", error.public)
            await asyncio.sleep(REMIND_SECONDS)

    def _reach(self, bits: int, member: Callable[[bytes], bool], _: bool) -> tuple[int, int]:
        return 0, rows.held(self.database, member) if bits & Surface.OUTBOUND else 0

    def depart(self, channel: Channel) -> None:
        """A channel ended: what it had leased is due again. What became of it is not known; lending it again counts."""
        ended = [queue_id for queue_id, holder in self.leases.items() if holder == channel]
        for queue_id in ended:
            del self.leases[queue_id]
            _log.warning("%s left during an attempt at %s", channel, format_id("que", queue_id))
        if ended:
            self.announce()

    async def close(self) -> None:
        """Commit what waits, and close. The edges end after this: their leases need no more care."""
        self._closed = True
        for task in self._holding:
            task.cancel()
        self.leases.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self.backups is not None:
            await self.backups.stop()
        if self.accesses is not None:
            await self.accesses.close()
        self.orders.stop()
        self.surfaces.end()
        self.outbox.stop()
        await self.database.close()
        self.syncing.shutdown(wait=True)

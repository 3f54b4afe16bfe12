"""The courier process: takes what is due, as much at once as it may."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host, Service
from bulkhead.boundary.messages.facts import WorkDue
from bulkhead.boundary.messages.to_queue import TakeWork, Work
from bulkhead.courier.attempt import Means
from bulkhead.courier.bounce import Notifier
from bulkhead.courier.connection import client_context
from bulkhead.courier.links import HostSlots, Links
from bulkhead.courier.notices import NoticeTeller
from bulkhead.courier.session import Manner
from bulkhead.courier.spool import Budget
from bulkhead.courier.trip import make_trip
from bulkhead.errors import Error
from bulkhead.gate.delivery import Sealer
from bulkhead.identifiers import TenantId, format_id, parse_domain

TAKE_MAX = 16
POLL_SECONDS = 30.0  # facts may be dropped
RETRY_SECONDS = 1.0
STOP_SECONDS = 2.5
_log = logging.getLogger("bulkhead.courier")


class Courier:
    """The loop that takes work, and the trips under way."""

    def __init__(self, host: Host, *, clock: Callable[[], float] = time.time) -> None:
        self._exchange: Exchange = host.exchange
        self._tenant: TenantId = host.tenant
        self._clock = clock
        self._active: dict[bytes, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._budget = Budget()
        self._context = client_context()
        self._concurrency = 0
        self._sessions = asyncio.Semaphore(1)
        self._links = Links()
        self._apply(host.settings)
        host.exchange.serve(self, {}, {WorkDue: _on_work_due})
        self._loop_task = asyncio.get_running_loop().create_task(self._take_forever())
        self._notices = NoticeTeller(lambda: self._means, clock)
        self._telling = asyncio.get_running_loop().create_task(self._notices.tell_forever())

    def wake(self) -> None:
        """There may be work."""
        self._wake.set()

    @property
    def dropped(self) -> int:
        """Notifications that were owed to nobody here, since start or the last reload."""
        return self._notifier.dropped

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New settings hold from the next message on."""
        self._apply(settings)

    async def stop(self) -> None:
        """Take no more, and let what is under way end for a moment; the rest is due again for the next courier."""
        self._loop_task.cancel()
        self._telling.cancel()
        if self._active:
            await asyncio.wait(self._active.values(), timeout=STOP_SECONDS)
        for task in self._active.values():
            task.cancel()
        self._links.close()

    def _apply(self, settings: Mapping[str, Any]) -> None:
        section = settings["courier"]
        if section["concurrency"] != self._concurrency:
            self._concurrency = int(section["concurrency"])
            self._sessions = asyncio.Semaphore(self._concurrency)
        name = parse_domain(settings["names"]["mx"])
        self._means = Means(
            exchange=self._exchange,
            sealer=Sealer(self._tenant, settings["pinned"]["binding_key"]),
            manner=Manner(name, float(section["reply_seconds"]), self._context),
            port=int(section["port"]),
            connect_seconds=float(section["connect_seconds"]),
            sessions=self._sessions,
            hosts=HostSlots(int(section["sessions_per_host_max"])),
            links=self._links,
        )
        self._notifier = Notifier(self._means)

    async def _take_forever(self) -> None:
        while True:
            self._wake.clear()
            seconds = POLL_SECONDS
            if len(self._active) < self._concurrency:
                try:
                    seconds = await self._take()
                except Error as error:
                    _log.warning("queue gives no work now: %s", error.public)
                    seconds = RETRY_SECONDS
            if seconds > 0:
                try:
                    await asyncio.wait_for(self._wake.wait(), seconds)
                except TimeoutError:
                    pass

    async def _take(self) -> float:
        """Take what there is room for; seconds until the next look, 0 when there may be more."""
        limit = min(TAKE_MAX, self._concurrency - len(self._active))
        found = await self._exchange.to("queue").call(TakeWork(limit))
        fresh = [work for work in found.items if work.queue_id not in self._active]  # queue restarted: we still have it
        for work in fresh:
            self._active[work.queue_id] = asyncio.get_running_loop().create_task(self._trip(work))
        if fresh and len(found.items) == limit:
            return 0.0
        if not found.next_due:
            return POLL_SECONDS
        return min(POLL_SECONDS, max(0.05, found.next_due / 1000 - self._clock()))

    async def _trip(self, work: Work) -> None:
        try:
            await make_trip(self._means, self._notifier, self._budget, work, self._clock)
        except Exception:
            _log.exception("fault in an attempt at %s; it stays leased", format_id("que", work.queue_id))
        finally:
            del self._active[work.queue_id]
            self._wake.set()


def _on_work_due(courier: Courier, _: Channel, __: WorkDue) -> None:
    courier.wake()


async def start(host: Host) -> Service:
    """Take work from queue. Raises ConfigError without the pinned binding key."""
    return Courier(host)

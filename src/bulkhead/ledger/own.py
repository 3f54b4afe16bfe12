"""Entries that ledger writes of itself: that it lives, what the supervisor saw, violations on its own edges."""

import asyncio
import contextlib
import hashlib
import time

from bulkhead import __version__
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.happenings import Happening, What
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import AppendEvents, Event
from bulkhead.errors import Error
from bulkhead.holder.violations import Details, watch_violations
from bulkhead.ledger.appending import Ledger

OWN = Channel("ledger", 0, 0)
RETRY_SECONDS = 2.0
VIOLATIONS_MAX = 64  # that wait for a log that takes nothing
SUPERVISOR = "supervisor"


def alive() -> Event:
    """That the log lives."""
    return Event("LedgerAlive", time.time_ns() // 1_000_000, "ledger", b"", {})


def event_of(happening: Happening) -> Event:
    """As an entry. `compartment` of its details is ledger, whatever it is about: that is in the actor and in `who`."""
    details: Details = {"count": happening.count}
    match happening.what:
        case What.STARTED:
            details |= {"processes": details.pop("count"), "build": __version__, "code": happening.digest.hex()}
            return Event("CellStarted", happening.at, SUPERVISOR, b"", details | {"locks": happening.why})
        case What.RESTARTED:
            details |= {"who": happening.compartment, "worker": happening.worker, "why": happening.why}
            return Event("CompartmentRestarted", happening.at, SUPERVISOR, b"", details)
        case What.VIOLATION:
            details |= {"worker": happening.worker, "said_by": happening.why}
            return Event("EdgeViolation", happening.at, f"compartment:{happening.compartment}", b"", details)


class OwnEntries:
    """Writes what the supervisor says and what breaks rules here. Within a running loop."""

    def __init__(self, host: Host, ledger: Ledger) -> None:
        self._ledger, self._host = ledger, host
        self._violations: asyncio.Queue[Event] = asyncio.Queue(VIOLATIONS_MAX)
        watch_violations(host.exchange, self._saw)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write_happenings()), loop.create_task(self._write_violations())]

    def stop(self) -> None:
        """Write no more; the supervisor keeps what was not answered."""
        for task in self._tasks:
            task.cancel()

    def _saw(self, actor: str, details: Details) -> None:
        with contextlib.suppress(asyncio.QueueFull):  # the supervisor's word that the sender was restarted follows
            self._violations.put_nowait(Event("EdgeViolation", time.time_ns() // 1_000_000, actor, b"", details))

    async def _write_violations(self) -> None:
        while True:
            await self._write(Stamp.fresh("ledger"), await self._violations.get())

    async def _write_happenings(self) -> None:
        """Each once, though it may be said again: the request id is its number's."""
        while self._host.happenings is not None:
            happening = await self._host.happenings.get()
            request_id = hashlib.sha256(b"happening" + happening.number.to_bytes(8, "big")).digest()[:16]
            await self._write(Stamp.fresh("ledger", request_id=request_id), event_of(happening))
            self._host.taken(happening.number)

    async def _write(self, stamp: Stamp, event: Event) -> None:
        while True:
            try:
                await self._ledger.append(OWN, AppendEvents(stamp, (event,)))
                return
            except Error:  # a full disk; tried again
                await asyncio.sleep(RETRY_SECONDS)

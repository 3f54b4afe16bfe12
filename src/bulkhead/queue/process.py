"""The queue process: opens what is in its directory, sweeps, serves."""

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host, Service
from bulkhead.errors import IntegrityError
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.backup import Backups
from bulkhead.holder.database import Database
from bulkhead.holder.roster import NOBODY, Pinned
from bulkhead.queue.backup import take
from bulkhead.queue.check import sweep
from bulkhead.queue.files import MessageFiles
from bulkhead.queue.forwards import NO_FORWARDS, Forwards
from bulkhead.queue.handle import HANDLERS
from bulkhead.queue.rows import DATABASE, MIGRATIONS
from bulkhead.queue.schedule import Schedule
from bulkhead.queue.spending import Allowance
from bulkhead.queue.standby import ship
from bulkhead.queue.state import Queue, clock


class QueueService:
    """A started queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New retry times hold from the next attempt on; expiry and warning stay as they were for queued mail."""
        section = settings["queue"]
        self.queue.schedule, self.queue.messages_max = Schedule.configured(section), int(section["messages_max"])
        self.queue.allowance = Allowance.configured(section)
        self.queue.burst.set(section)
        self.queue.forwards = Forwards.configured(self.queue.forwards.tenant, settings)
        if self.queue.accesses is not None:
            self.queue.accesses.configure(settings)

    async def stop(self) -> None:
        """Commit what waits, and close."""
        await self.queue.close()


async def start(host: Host) -> Service:
    """Open and serve. Raises IntegrityError where the database cannot be read."""
    pinned, forwards = Pinned.of(host.tenant, host.settings), Forwards.configured(host.tenant, host.settings)
    service = open_queue(host.exchange, host.settings["queue"], Path(), pinned=pinned, forwards=forwards)
    service.queue.backups = Backups(host, partial(take, service.queue))
    ship(host, service.queue)
    service.queue.accesses = Accesses.where_keyed(host, service.queue.database)
    return service


def open_queue(
    exchange: Exchange,
    section: Mapping[str, Any],
    root: Path,
    *,
    now: Callable[[], int] = clock,
    pinned: Pinned = NOBODY,
    forwards: Forwards = NO_FORWARDS,
) -> QueueService:
    """The queue of directory `root`, served on `exchange`."""
    files = MessageFiles(root)
    files.prepare()
    if not (root / DATABASE).exists() and next(files.names(), None) is not None:
        raise IntegrityError(f"{DATABASE} is missing, but messages are there; restore queue from its backup")
    try:
        database = Database(root / DATABASE, MIGRATIONS, secure_delete=True, reserve=True)
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"{DATABASE} cannot be read ({error}); restore queue from its backup") from None
    files.sync_root()
    sweep(database, files)
    schedule, allowance = Schedule.configured(section), Allowance.configured(section)
    most = int(section["messages_max"])
    queue = Queue(exchange, database, files, schedule, most, allowance, pinned, forwards, now=now)
    queue.burst.set(section)
    exchange.on_departure(queue.depart)
    queue.orders.serve(queue, HANDLERS)
    return QueueService(queue)

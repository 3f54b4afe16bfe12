"""Starts the store: opens what is in the working directory, refuses what has lost something, serves."""

import sqlite3
from collections.abc import Mapping
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
from bulkhead.holder.shipping import Shipping
from bulkhead.holder.standby import is_wanted
from bulkhead.store.backup import take
from bulkhead.store.compaction import Policy
from bulkhead.store.disk import Disk
from bulkhead.store.fsck import highest_witness
from bulkhead.store.handle import HANDLERS
from bulkhead.store.retention import Retention
from bulkhead.store.rows import MESSAGES_MAX
from bulkhead.store.schema import DATABASE, MIGRATIONS
from bulkhead.store.segment import DIRECTORY, Segments, numbers_in, path_of
from bulkhead.store.standby import ShippedDisk, ship
from bulkhead.store.state import State

# How long a transaction waits for more, once the one before was shared. A commit writes the pages it changed and is
# synced twice, whoever shares it: 2 ms take a fifth off store's CPU under load on a disk that syncs in 0.03 ms. On a
# slower disk the last sync is the wait that gathers, and this one adds little to it.
GATHER_SECONDS = 0.002


class Store:
    """The running store."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """A new segment size holds from the next segment on, the rest from now on."""
        mine = settings["store"]
        self.state.segments.segment_bytes = mine["segment_bytes"]
        self.state.compactor.policy = _policy(mine)
        self.state.messages_max = int(mine.get("messages_max", MESSAGES_MAX))
        self.state.keeper.retention = _retention(mine)
        if self.state.accesses is not None:
            self.state.accesses.configure(settings)

    async def stop(self) -> None:
        """Commit what waits, and close."""
        await self.state.close()


async def start(host: Host) -> Service:
    """Open and serve. Raises IntegrityError where the data directory has lost something."""
    settings = host.settings["store"]
    shipping = Shipping(Path(DATABASE)) if is_wanted(host) else None
    store = await open_store(
        host.exchange,
        Disk() if shipping is None else ShippedDisk(shipping),
        int(settings["segment_bytes"]),
        _policy(settings),
        int(settings.get("messages_max", MESSAGES_MAX)),
        _retention(settings),
        Pinned.of(host.tenant, host.settings),
    )
    store.state.backups = Backups(host, partial(take, store.state))
    if shipping is not None:
        ship(host, store.state, store.state.backups, shipping)
    store.state.accesses = Accesses.where_keyed(host, store.state.database)
    return store


def _retention(settings: Mapping[str, Any]) -> Retention:
    days, octets = settings.get("undelete_days", 0), settings.get("undelete_bytes_max", 0)
    return Retention(int(days) * 86_400, int(octets))


def _policy(settings: Mapping[str, Any]) -> Policy:
    usual = Policy()
    return Policy(
        dead_percent=int(settings.get("dead_percent_max", usual.dead_percent)),
        dead_seconds=int(settings.get("dead_seconds_max", usual.dead_seconds)),
        bytes_per_second=int(settings.get("compact_bytes_per_minute", usual.bytes_per_second * 60)) // 60,
        period=int(settings.get("compact_period_seconds", usual.period)),
    )


async def open_store(
    exchange: Exchange,
    disk: Disk,
    segment_bytes: int,
    policy: Policy | None = None,
    messages_max: int = MESSAGES_MAX,
    retention: Retention | None = None,
    pinned: Pinned = NOBODY,
) -> Store:
    """The store of the working directory, served on `exchange`."""
    path = Path(DATABASE)
    disk.make_directory(DIRECTORY)
    numbers = numbers_in(disk)
    if numbers and not disk.size(DATABASE):
        raise IntegrityError(f"{DATABASE} is missing, but segments are there; restore the store from its backup")
    try:
        database = Database(path, MIGRATIONS, secure_delete=True, gather_seconds=GATHER_SECONDS, reserve=True)
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"{DATABASE} cannot be read ({error}); restore the store from its backup") from None
    disk.fsync_directory(".")
    segments = Segments(disk, next_number(database, numbers), segment_bytes)
    segments.witness = _highest_email(database)
    _remove_unnamed(database, disk, numbers, segments.witness)
    state = State(exchange, database, segments, disk, path, policy or Policy(), messages_max, retention, pinned)
    exchange.on_departure(state.depart)
    state.orders.serve(state, HANDLERS)
    state.reap()
    state.compactor.begin()
    state.keeper.begin()
    return Store(state)


def _highest_email(database: Database) -> int:
    row = database.first("SELECT seq FROM sqlite_sequence WHERE name = 'email'")
    return int(row[0]) if row else 0


def next_number(database: Database, numbers: list[int]) -> int:
    """A segment number that was never used: the tail of a segment that a crash left open is not written again."""
    (reaped,) = database.first("SELECT value FROM meta WHERE name = 'reaped'")
    (named,) = database.first("SELECT coalesce(max(number), 0) FROM segment")
    return 1 + max(int(reaped), int(named), *numbers, 0)


def _remove_unnamed(database: Database, disk: Disk, numbers: list[int], highest: int) -> None:
    """Remove segments without a row: left by a crash before their first commit, or after their last.

    Raises IntegrityError where one of them, or the newest, knows of later commits than the database.
    """
    named = {number for (number,) in database.read("SELECT number FROM segment")}
    unnamed = [number for number in numbers if number not in named]
    for number in {*unnamed, *numbers[-1:]}:
        witness = highest_witness(disk, number)
        if witness > highest:
            raise IntegrityError(
                f"segment {number} knows of email {witness}, {DATABASE} only up to {highest}: commits were lost;"
                " restore the store from its backup"
            )
    for number in unnamed:
        disk.unlink(path_of(number))

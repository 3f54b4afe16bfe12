"""Which surfaces of a tenant are closed, and for whom, as one holder keeps it: by surface and set of accounts.

A stop narrows: it holds in memory at once, is written with its event in one transaction, and needs no ledger. A lift,
and the lapse of a stop, widen: the ledger first, then the database, then memory. For one surface and set the newest
epoch wins in any order. A set whose ids are lost counts as everybody.
"""

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from msgspec.structs import replace as replace_fields

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Done, Request, Stamp
from bulkhead.boundary.messages.surfaces import (
    AccountsStaged,
    LiftSurfacesBase,
    ReadSurfacesBase,
    StageAccountsBase,
    StoppedSurface,
    StopSurfacesBase,
    Surface,
    SurfacesStopped,
    SurfaceState,
    WorkerSessions,
)
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Error, Refused
from bulkhead.holder import account_sets
from bulkhead.holder.account_sets import AccountSets
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.session_reach import kind_surface, reset_surface
from bulkhead.holder.stop import EPOCH_AHEAD_MS, in_force, old_epoch, undurable
from bulkhead.holder.witness import ledger_text, witness

SCHEMA = f"""
{account_sets.SCHEMA};
CREATE TABLE surface (
    surface INTEGER NOT NULL, accounts BLOB NOT NULL,   -- one bit; digest of its set, empty: everybody
    epoch INTEGER NOT NULL, closed INTEGER NOT NULL,
    until INTEGER NOT NULL,                             -- ms, when it lapses; 0: it does not
    PRIMARY KEY (surface, accounts)
) WITHOUT ROWID
"""
LOOK_SECONDS = 5.0  # how often a stop that lapses is looked for
STOPS_MAX = 256  # rows of a tenant
_log = logging.getLogger("bulkhead.surfaces")
_Key = tuple[int, bytes]
Details = dict[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class _Stop:
    epoch: int
    closed: bool
    until: int


class Surfaces:
    """reach: sessions and messages that a stop of these surfaces for those accounts concerns; `end`: ends the sessions.

    changed: called when something was closed or opened, in memory.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        exchange: Exchange,
        *,
        reach: Callable[[int, Callable[[bytes], bool], bool], tuple[int, int]] = lambda *_: (0, 0),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._outbox, self._exchange = database, outbox, exchange
        self.reach, self._changed = reach, changed
        self.workers: Callable[[int, Callable[[bytes], bool]], tuple[WorkerSessions, ...]] = lambda *_: ()
        rows = database.read("SELECT surface, accounts, epoch, closed, until FROM surface")
        self._stops = {(row[0], row[1]): _Stop(row[2], bool(row[3]), row[4]) for row in rows}
        self._durable = {key: stop.epoch for key, stop in self._stops.items()}
        self._sets = AccountSets(database, lambda: {key[1] for key, stop in self._stops.items() if stop.closed})
        self._closed: tuple[_Key, ...] = ()
        self._writing = asyncio.Lock()
        self._order()
        self._task = asyncio.get_running_loop().create_task(self._look_forever())

    def closed(self, surfaces: int, account: bytes) -> bool:
        """Whether one of these surfaces is closed to that account."""
        return any(surface & surfaces and self._sets.has(accounts, account) for surface, accounts in self._closed)

    def closed_to_login(self, scope: int, cred: int, account: bytes) -> bool:
        """Whether a login for that scope, by that credential, is."""
        return bool(self._closed) and self.closed(scope | kind_surface(cred), account)

    def voids(self, cred: int, set_at: int, account: bytes | None) -> bool:
        """Whether a credential that was set then is to be replaced. account: None where it is not known whose it is."""
        bit = reset_surface(cred)
        return any(
            surface == bit and set_at <= self._stops[surface, accounts].epoch
            and (not accounts or (account is not None and self._sets.has(accounts, account)))
            for surface, accounts in self._closed
        )  # fmt: skip

    def newest_reset(self, cred: int) -> int:
        """The newest epoch of a reset of such credentials, of whomever: what is set from now on is set after it."""
        bit = reset_surface(cred)
        return max((stop.epoch for (surface, _), stop in self._stops.items() if surface == bit), default=0)

    def closed_to_subject(self, surface: int, digest: bytes) -> bool:
        """Whether that surface is closed to the subject of this digest (rules.py)."""
        stop = self._stops.get((surface, digest))
        return stop is not None and stop.closed

    def count_closed(self, surface: int) -> int:
        """How many stops of it are in force."""
        return sum(one == surface for one, _ in self._closed)

    def any_closed(self, surfaces: int) -> bool:
        """Whether one of these is closed to anybody."""
        return any(surface & surfaces for surface, _ in self._closed)

    def any_closed_to_some(self, surfaces: int) -> bool:
        """Whether one of these is closed to a set."""
        return any(accounts and surface & surfaces for surface, accounts in self._closed)

    def require_open(self, surface: int, account: bytes) -> None:
        """Raises Refused (`contained`)."""
        if self._closed and self.closed(surface, account):
            raise Refused("this is stopped for now", code="contained")

    def end(self) -> None:
        """What lapses does so after the next start."""
        self._task.cancel()

    async def stage(self, request: StageAccountsBase, body: BodyReader | None) -> AccountsStaged:
        """Keep a set."""
        return await self._sets.stage(request, body)

    async def stop(self, request: StopSurfacesBase) -> SurfacesStopped:
        """Close them: in memory, and then on disk, whatever becomes of the caller.

        Raises Refused, TemporaryFailure where it could not be written: it holds until the next restart then.
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        keys = self._keys(request)
        for key in keys:
            self._check(key, request.epoch, self._durable)
        for key in keys:
            there = self._stops.get(key)
            until = request.until
            if there is not None and there.closed:  # one that is in force already does not end sooner
                until = 0 if not (until and there.until) else max(until, there.until)
            epoch = max(request.epoch, there.epoch if there else 0)
            self._stops[key] = _Stop(epoch, not key[0] & Surface.SESSIONS, until)
        self._order()
        member = partial(self._sets.has, request.accounts)
        reply = SurfacesStopped(self.reach(request.surfaces, member, True)[0])
        self._changed()
        return await asyncio.shield(self._write_stop(request, keys, reply))

    async def lift(self, request: LiftSurfacesBase) -> Done:
        """Open them again, once the ledger has it. Raises TemporaryFailure without ledger, Refused (`old-epoch`)."""
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        keys = [key for key in self._keys(request) if key in self._stops]
        newest = {key: stop.epoch for key, stop in self._stops.items()}
        for key in keys:
            self._check(key, request.epoch, newest)
        await witness(self._exchange, request.stamp, "SurfacesLifted", self._details(request))
        return await asyncio.shield(self._write_lift(request, keys))

    def state(self, request: ReadSurfacesBase) -> SurfaceState:
        """What is closed, and what a stop would reach. Raises Refused (`no-such-set`)."""
        if not request.surfaces & Surface.SUBJECTS:
            self._sets.require(request.accounts)
        stopped = tuple(
            StoppedSurface(surface, accounts, self._sets.count(accounts), stop.epoch, stop.until)
            for (surface, accounts), stop in sorted(self._stops.items())
            if stop.closed
        )
        member = partial(self._sets.has, request.accounts)
        return SurfaceState(
            stopped, *self.reach(request.surfaces, member, False), self.workers(request.surfaces, member)
        )

    # --- durable ------------------------------------------------------------------------------------------------------

    async def _write_stop(self, request: StopSurfacesBase, keys: list[_Key], reply: SurfacesStopped) -> SurfacesStopped:
        details = self._details(request) | {"until": request.until, "sessions": reply.sessions}

        def work(connection: sqlite3.Connection) -> SurfacesStopped:
            for key in keys:
                _put(connection, key, self._stops[key])
            note(connection, "SurfacesStopped", request.stamp.actor, details)
            return reply

        async with self._writing:
            with undurable():
                # what a rule stops by itself leaves the room on a full disk to officers
                urgent = not request.surfaces & Surface.SUBJECTS
                written = await self._database.mutate(request, work, urgent=urgent)
            self._durable |= {key: max(request.epoch, self._durable.get(key, 0)) for key in keys}
        self._outbox.wake()
        return written

    async def _write_lift(self, request: LiftSurfacesBase, keys: list[_Key]) -> Done:
        async with self._writing:
            newest = {key: stop.epoch for key, stop in self._stops.items()}
            for key in keys:
                self._check(key, request.epoch, newest)  # a newer stop may have come meanwhile, and holds
            opened = {key: _Stop(request.epoch, False, 0) for key in keys}
            await self._database.mutate(request, partial(_open, opened=opened))
            for key, stop in opened.items():
                self._durable[key] = request.epoch
                if self._stops[key].epoch < request.epoch:
                    self._stops[key] = stop
        self._order()
        self._changed()
        return Done()

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.lapse(int(time.time() * 1000))
            except Error as error:
                _log.warning("a stop that lapses holds on: %s", error.public)
            except Exception as error:  # our bug: it holds on
                log_fault("fault where a stop lapses", error)

    async def lapse(self, now: int) -> None:
        """Open what has come to its end, once the ledger has it. Raises as lift does."""
        for key, stop in list(self._stops.items()):
            if not stop.closed or not stop.until or stop.until > now:
                continue
            ident = b"%d/%d/" % (key[0], stop.epoch) + key[1]
            stamp = Stamp.fresh("cell", request_id=_id(self._exchange.me.compartment, ident))
            details: Details = {
                "reason": "lapsed", "epoch": stop.epoch, "surfaces": key[0], "accounts": key[1].hex(),
                "at": self._exchange.me.compartment,
            }  # fmt: skip
            await witness(self._exchange, stamp, "SurfacesLifted", details)
            async with self._writing:
                if self._stops[key] != stop:
                    continue  # another one came
                ended = replace(stop, closed=False, until=0)
                if key[0] & Surface.SUBJECTS:  # there are many, one after the other: nothing of it is kept
                    await self._database.write(partial(_drop, key=key))
                    del self._stops[key]
                else:
                    await self._database.write(partial(_put, key=key, stop=ended))
                    self._stops[key] = ended
            self._order()
            self._changed()

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _keys(self, request: StopSurfacesBase | LiftSurfacesBase) -> list[_Key]:
        """Raises Refused (`bad-surface`, `no-such-set`, `too-many-stops`)."""
        if not request.surfaces or request.surfaces & ~Surface.ALL or len(request.accounts) not in (0, 32):
            raise Refused("no such surfaces, or no digest of a set", code="bad-surface")
        of_subject = request.surfaces & Surface.SUBJECTS
        if of_subject and (of_subject != request.surfaces or not request.accounts):
            raise Refused("a rule's surface is closed to one subject, and none beside it", code="bad-surface")
        if isinstance(request, StopSurfacesBase) and not of_subject:
            self._sets.require(request.accounts)
        keys = [(bit, request.accounts) for bit in _bits(request.surfaces)]
        if len(self._stops.keys() | keys) > STOPS_MAX:
            for key in [key for key, stop in self._stops.items() if not stop.closed and key not in keys]:
                del self._stops[key]
        if len(self._stops.keys() | keys) > STOPS_MAX:
            raise Refused("too many stops are in force: lift some", code="too-many-stops")
        return keys

    def _details(self, request: StopSurfacesBase | LiftSurfacesBase) -> Details:
        return {
            "reason": ledger_text(request.reason), "epoch": request.epoch, "surfaces": request.surfaces,
            "accounts": request.accounts.hex(), "members": self._sets.count(request.accounts),
            "at": self._exchange.me.compartment,
        }  # fmt: skip

    def _order(self) -> None:
        self._closed = tuple(key for key, stop in self._stops.items() if stop.closed)

    @staticmethod
    def _check(key: _Key, epoch: int, known: Mapping[_Key, int]) -> None:
        if epoch > time.time() * 1000 + EPOCH_AHEAD_MS:
            raise Refused("an epoch is a time, ms since 1970, and that one is to come", code="bad-epoch")
        if epoch <= known.get(key, 0):
            raise old_epoch(known[key])


def _bits(surfaces: int) -> Iterator[int]:
    return (1 << place for place in range(32) if surfaces >> place & 1)


def replay(connection: sqlite3.Connection, stops: Iterable[tuple[int, bytes, int, bool, int]]) -> None:
    """After a restore: (surface, set, epoch, closed, until) of stops and lifts since.

    A stop of a set whose ids did not come back is everybody's. What a stop of sessions ended has ended.
    """
    statement = (
        "INSERT INTO surface VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (surface, accounts) DO UPDATE"
        " SET epoch = excluded.epoch, closed = excluded.closed, until = excluded.until"
        " WHERE excluded.epoch > epoch OR (excluded.epoch = epoch AND NOT excluded.closed)"
    )
    for surface, accounts, epoch, closed, until in stops:
        connection.execute(statement, (surface, accounts, epoch, closed and not surface & Surface.SESSIONS, until))


def carry_resets(before: Database) -> Callable[[sqlite3.Connection], None]:
    """What brings the resets in force of an exported database, with their sets, into that of the cell made from it."""
    resets = before.read(
        "SELECT * FROM surface WHERE closed AND surface & ?", (Surface.RESET_MAIN | Surface.RESET_APP,)
    )

    def write(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO surface VALUES (?, ?, ?, ?, ?)", resets)
        for digest in {row[1] for row in resets if row[1]}:
            account_sets.carry(connection, before, digest)

    return write


def _id(compartment: str, what: bytes) -> bytes:
    return hashlib.sha256(f"lapse/{compartment}/".encode() + what).digest()[:16]


def _put(connection: sqlite3.Connection, key: _Key, stop: _Stop) -> None:
    values = (*key, stop.epoch, stop.closed, stop.until)
    connection.execute("INSERT OR REPLACE INTO surface VALUES (?, ?, ?, ?, ?)", values)


def _drop(connection: sqlite3.Connection, *, key: _Key) -> None:
    connection.execute("DELETE FROM surface WHERE surface = ? AND accounts = ?", key)


def _open(connection: sqlite3.Connection, *, opened: Mapping[_Key, _Stop]) -> Done:
    for key, stop in opened.items():
        _put(connection, key, stop)
    return Done()


def handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `surfaces`. module: its `to_<name>`."""

    async def stage_accounts(state: Any, _: Channel, request: StageAccountsBase, body: BodyReader | None) -> Any:
        """A set for a stop to name."""
        return await state.surfaces.stage(request, body)

    async def stop_surfaces(state: Any, _: Channel, request: StopSurfacesBase, __: BodyReader | None) -> Any:
        """At once; the ledger hears of it when it can."""
        return await state.surfaces.stop(request)

    async def lift_surfaces(state: Any, _: Channel, request: LiftSurfacesBase, __: BodyReader | None) -> Any:
        """Once the ledger knows."""
        return await state.surfaces.lift(request)

    def read_surfaces(state: Any, _: Channel, request: ReadSurfacesBase, __: BodyReader | None) -> Any:
        """What is closed, and what a stop would reach."""
        return replace_fields(state.surfaces.state(request), whole=in_force(state))

    return {
        module.StageAccounts: stage_accounts,
        module.StopSurfaces: stop_surfaces,
        module.LiftSurfaces: lift_surfaces,
        module.ReadSurfaces: read_surfaces,
    }

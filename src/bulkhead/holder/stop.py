"""A tenant's stop, as one holder keeps it: an epoch that only goes up, durable before its effect is answered.

A stop narrows reach: it takes effect in memory at once, is written with its event in one transaction, and needs no
ledger. Lifting widens it: the ledger first, then the database, then memory. The newest epoch wins in any order.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages.fields import Done, Mutation, Reply, Request
from bulkhead.boundary.messages.surfaces import WholeStop
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.witness import ledger_text, witness

LOGINS, OUTBOUND = "logins", "outbound"
OWN = "stop"  # the table of a holder's first stop
OUTBOUND_TABLE = "outbound_stop"  # of keyring, beside its stop of logins


def schema_of(table: str) -> str:
    """The table of one stop."""
    return f"""
    CREATE TABLE {table} (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        epoch INTEGER NOT NULL,     -- of the newest stop or lifting
        stopped INTEGER NOT NULL,   -- whether logins are refused
        ended INTEGER NOT NULL      -- epoch of the newest stop that ended sessions
    );
    INSERT INTO {table} VALUES (1, 0, 0, 0)
    """  # noqa: S608  # a name of this program


SCHEMA, OUTBOUND_SCHEMA = schema_of(OWN), schema_of(OUTBOUND_TABLE)
EPOCH_AHEAD_MS = 30_000  # an epoch is a time: so far ahead of our clock it may lie. store takes twice as much
R = TypeVar("R", bound=Reply)
Held = Mapping[str, tuple[int, bool]]  # epoch, and whether it holds, by table


class TenantStop:
    """epoch, stopped, ended: what holds now, in memory never less strict than on disk.

    what: LOGINS or OUTBOUND, as the ledger has it where it is taken back.
    """

    def __init__(self, database: Database, exchange: Exchange, what: str = LOGINS, table: str = OWN) -> None:
        self._database, self._exchange, self.what, self._table = database, exchange, what, table
        epoch, stopped, ended = database.first(f"SELECT epoch, stopped, ended FROM {table}")  # noqa: S608  # ours
        self.epoch: int = epoch
        self.ended: int = ended
        self.stopped = bool(stopped)
        self._durable: int = epoch
        self._writing = asyncio.Lock()

    async def stop(
        self,
        request: Mutation[R],
        epoch: int,
        reason: str,
        *,
        event: str,
        logins: bool,
        sessions: bool = False,
        effect: Callable[[], R],
    ) -> R:
        """Raise the epoch, refusing logins from now on where `logins`; the reply is what `effect` gives.

        sessions: whether it ends them. effect: the narrowing itself, in memory, before anything is written.
        Raises Refused (`old-epoch`, `bad-epoch`), TemporaryFailure where it could not be written: it holds until the
        next restart then, and the same request may come again.
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        self._check(epoch)
        self.epoch = max(self.epoch, epoch)
        self.stopped = self.stopped or logins
        if sessions:
            self.ended = max(self.ended, epoch)
        reply = effect()
        details: dict[str, str | int | bool | None] = {
            "reason": ledger_text(reason), "epoch": epoch, "holds": self.stopped,
        }  # fmt: skip

        def work(connection: sqlite3.Connection) -> R:
            note(connection, event, request.stamp.actor, details)
            return reply

        # shielded: what is on disk is known here, whether or not the caller is still there
        return await asyncio.shield(self._write_stop(request, epoch, work))

    async def _write_stop(self, request: Mutation[R], epoch: int, work: Callable[[sqlite3.Connection], R]) -> R:
        async with self._writing:
            earlier = await self._database.answered(request)  # the same request, sent twice, may have been before us
            if earlier is not None:
                return earlier
            self._check(epoch)
            write = partial(_write, self._table, epoch=epoch, stopped=self.stopped, ended=self.ended)
            with undurable():
                reply = await self._database.mutate(
                    request, lambda connection: write(connection) or work(connection), urgent=True
                )
            self._durable = epoch
            return reply

    async def lift(self, request: Mutation[R], epoch: int, reason: str, reply: R) -> R:
        """Take logins again, once the ledger has it.

        Raises TemporaryFailure without ledger, Refused (`old-epoch`, `bad-epoch`).
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        self._check_newest(epoch)
        details: dict[str, str | int | bool | None] = {
            "reason": ledger_text(reason),
            "epoch": epoch,
            "at": self._exchange.me.compartment,
            "what": self.what,
        }
        await witness(self._exchange, request.stamp, "StopLifted", details)
        return await asyncio.shield(self._write_lift(request, epoch, reply))

    async def _write_lift(self, request: Mutation[R], epoch: int, reply: R) -> R:
        async with self._writing:
            earlier = await self._database.answered(request)
            if earlier is not None:
                return earlier
            self._check_newest(epoch)  # a newer stop may have come meanwhile, and holds
            write = partial(_write, self._table, epoch=epoch, stopped=False, ended=self.ended)
            await self._database.mutate(request, lambda connection: write(connection) or reply)
            self._durable = epoch
            if epoch > self.epoch:
                self.epoch, self.stopped = epoch, False
        return reply

    def require_none(self) -> None:
        """Raises TemporaryFailure (`stopped`) while it holds."""
        if self.stopped:
            raise TemporaryFailure(f"{self.what} of this tenant: stopped", code="stopped")

    def _check_newest(self, epoch: int) -> None:
        self._check(epoch)
        if epoch <= max(self.epoch, self._durable):
            raise old_epoch(max(self.epoch, self._durable))

    def _check(self, epoch: int) -> None:
        if epoch > time.time() * 1000 + EPOCH_AHEAD_MS:
            raise Refused("an epoch is a time, ms since 1970, and that one is to come", code="bad-epoch")
        if epoch <= self._durable:
            raise old_epoch(self._durable)


async def stop_outbound(state: Any, _: Channel, request: Any, __: object) -> Done:
    """Handles StopOutbound for a state that has `outbound` and `outbox`."""
    stop: TenantStop = state.outbound
    done: Done = await stop.stop(request, request.epoch, request.reason, event="StopOutbound", logins=True, effect=Done)
    state.outbox.wake()
    return done


async def lift_outbound_stop(state: Any, _: Channel, request: Any, __: object) -> Done:
    """Handles LiftOutboundStop; the ledger first."""
    stop: TenantStop = state.outbound
    done: Done = await stop.lift(request, request.epoch, request.reason, Done())
    return done


def outbound_handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """Handlers of both, for the messages of `module`, the holder's `to_<name>`."""
    return {module.StopOutbound: stop_outbound, module.LiftOutboundStop: lift_outbound_stop}


def replay(connection: sqlite3.Connection, epoch: int, *, stopped: bool, table: str = OWN) -> None:
    """After a restore: what the ledger says of a stop since then."""
    change = "stopped = 1, ended = max(ended, ?1)" if stopped else "stopped = 0"
    connection.execute(f"UPDATE {table} SET epoch = ?1, {change} WHERE epoch < ?1", (epoch,))  # noqa: S608  # ours


@contextmanager
def undurable() -> Iterator[None]:
    """Say of a stop that the disk refused what it is: in force, and not durable."""
    try:
        yield
    except TemporaryFailure as failure:
        if failure.code != "storage":
            raise
        raise TemporaryFailure(
            "it holds in memory, and is NOT durable: the disk refused it. A restart of this compartment ends it; make "
            "room and give the command again",
            code="not-durable",
        ) from None


def in_force(state: Any) -> tuple[WholeStop, ...]:
    """Stops of the whole tenant that hold in a compartment of this state: its `stop` and its `outbound`, if any."""
    stops = (getattr(state, name, None) for name in ("stop", "outbound"))
    return tuple(WholeStop(one.what, one.epoch) for one in stops if isinstance(one, TenantStop) and one.stopped)


def old_epoch(epoch: int) -> Refused:
    """Of an epoch that is not above this one."""
    return Refused(f"the epoch only goes up; give one above {epoch}", code="old-epoch")


def _write(table: str, connection: sqlite3.Connection, *, epoch: int, stopped: bool, ended: int) -> None:
    """Raises Refused where the row is not older: on disk, too, the epoch only goes up."""
    changed = connection.execute(
        f"UPDATE {table} SET epoch = ?, stopped = ?, ended = ? WHERE epoch < ?",  # noqa: S608  # ours
        (epoch, stopped, ended, epoch),
    )
    if changed.rowcount != 1:
        raise old_epoch(int(connection.execute(f"SELECT epoch FROM {table}").fetchone()[0]))  # noqa: S608  # ours

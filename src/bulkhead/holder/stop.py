"""A tenant's stop, as one holder keeps it: an epoch that only goes up, durable before its effect is answered.

A stop narrows reach: it takes effect in memory at once, is written with its event in one transaction, and needs no
ledger. Lifting widens it: the ledger first, then the database, then memory. The newest epoch wins in any order.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Mutation, Reply
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.witness import ledger_text, witness

SCHEMA = """
CREATE TABLE stop (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,     -- of the newest stop or lifting
    stopped INTEGER NOT NULL,   -- whether logins are refused
    ended INTEGER NOT NULL      -- epoch of the newest stop that ended sessions
);
INSERT INTO stop VALUES (1, 0, 0, 0)
"""
EPOCH_AHEAD_MS = 30_000  # an epoch is a time: so far ahead of our clock it may lie. store takes twice as much
R = TypeVar("R", bound=Reply)


class TenantStop:
    """epoch, stopped, ended: what holds now, in memory never less strict than on disk."""

    def __init__(self, database: Database, exchange: Exchange) -> None:
        self._database, self._exchange = database, exchange
        epoch, stopped, ended = database.first("SELECT epoch, stopped, ended FROM stop")
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
            write = partial(_write, epoch=epoch, stopped=self.stopped, ended=self.ended)
            with undurable():
                reply = await self._database.mutate(request, lambda connection: write(connection) or work(connection))
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
        }
        await witness(self._exchange, request.stamp, "StopLifted", details)
        return await asyncio.shield(self._write_lift(request, epoch, reply))

    async def _write_lift(self, request: Mutation[R], epoch: int, reply: R) -> R:
        async with self._writing:
            earlier = await self._database.answered(request)
            if earlier is not None:
                return earlier
            self._check_newest(epoch)  # a newer stop may have come meanwhile, and holds
            write = partial(_write, epoch=epoch, stopped=False, ended=self.ended)
            await self._database.mutate(request, lambda connection: write(connection) or reply)
            self._durable = epoch
            if epoch > self.epoch:
                self.epoch, self.stopped = epoch, False
        return reply

    def _check_newest(self, epoch: int) -> None:
        self._check(epoch)
        if epoch <= max(self.epoch, self._durable):
            raise old_epoch(max(self.epoch, self._durable))

    def _check(self, epoch: int) -> None:
        if epoch > time.time() * 1000 + EPOCH_AHEAD_MS:
            raise Refused("an epoch is a time, ms since 1970, and that one is to come", code="bad-epoch")
        if epoch <= self._durable:
            raise old_epoch(self._durable)


def replay(connection: sqlite3.Connection, epoch: int, *, stopped: bool) -> None:
    """After a restore: what the ledger says of a stop since then."""
    if stopped:
        update = "UPDATE stop SET epoch = ?1, stopped = 1, ended = max(ended, ?1) WHERE epoch < ?1"
    else:
        update = "UPDATE stop SET epoch = ?1, stopped = 0 WHERE epoch < ?1"
    connection.execute(update, (epoch,))


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


def old_epoch(epoch: int) -> Refused:
    """Of an epoch that is not above this one."""
    return Refused(f"the epoch only goes up; give one above {epoch}", code="old-epoch")


def _write(connection: sqlite3.Connection, *, epoch: int, stopped: bool, ended: int) -> None:
    """Raises Refused where the row is not older: on disk, too, the epoch only goes up."""
    changed = connection.execute(
        "UPDATE stop SET epoch = ?, stopped = ?, ended = ? WHERE epoch < ?", (epoch, stopped, ended, epoch)
    )
    if changed.rowcount != 1:
        raise old_epoch(int(connection.execute("SELECT epoch FROM stop").fetchone()[0]))

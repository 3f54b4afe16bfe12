"""A tenant's stop, as one holder keeps it: an epoch that only goes up, durable before its effect is answered.

A stop narrows reach: it takes effect in memory at once, is written with its event in one transaction, and needs no
ledger. Lifting widens it: the ledger first, then the database, then memory. The newest epoch wins in any order.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Mutation, Reply
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.witness import ledger_text, witness

SCHEMA = """
CREATE TABLE stop (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, stopped INTEGER NOT NULL);
INSERT INTO stop VALUES (1, 0, 0)
"""
R = TypeVar("R", bound=Reply)


class TenantStop:
    """epoch, stopped: what holds now, in memory never less strict than on disk."""

    def __init__(self, database: Database, exchange: Exchange) -> None:
        self._database, self._exchange = database, exchange
        epoch, stopped = database.first("SELECT epoch, stopped FROM stop")
        self.epoch: int = epoch
        self.stopped = bool(stopped)
        self._durable: int = epoch
        self._writing = asyncio.Lock()

    async def stop(
        self, request: Mutation[R], epoch: int, reason: str, *, event: str, logins: bool, effect: Callable[[], R]
    ) -> R:
        """Raise the epoch, refusing logins from now on where `logins`; the reply is what `effect` gives.

        effect: the narrowing itself, in memory, before anything is written. Raises Refused (`old-epoch`).
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        self._check(epoch)
        self.epoch = max(self.epoch, epoch)
        self.stopped = self.stopped or logins
        reply = effect()
        async with self._writing:
            self._check(epoch)
            work = partial(
                _write, epoch=epoch, stopped=self.stopped, event=event, actor=request.stamp.actor, reason=reason
            )
            await self._database.mutate(request, lambda connection: work(connection) or reply)
            self._durable = epoch
        return reply

    async def lift(self, request: Mutation[R], epoch: int, reason: str, reply: R) -> R:
        """Take logins again, once the ledger has it. Raises TemporaryFailure without ledger, Refused (`old-epoch`)."""
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
        async with self._writing:
            self._check_newest(epoch)  # a newer stop may have come meanwhile, and holds
            work = partial(_write, epoch=epoch, stopped=False)
            await self._database.mutate(request, lambda connection: work(connection) or reply)
            self._durable = epoch
            if epoch > self.epoch:
                self.epoch, self.stopped = epoch, False
        return reply

    def _check_newest(self, epoch: int) -> None:
        if epoch <= max(self.epoch, self._durable):
            raise _old(max(self.epoch, self._durable))

    def _check(self, epoch: int) -> None:
        if epoch <= self._durable:
            raise _old(self._durable)


def _old(epoch: int) -> Refused:
    return Refused(f"the epoch only goes up; give one above {epoch}", code="old-epoch")


def _write(
    connection: sqlite3.Connection, *, epoch: int, stopped: bool, event: str = "", actor: str = "", reason: str = ""
) -> None:
    connection.execute("UPDATE stop SET epoch = ?, stopped = ?", (epoch, stopped))
    if event:
        note(connection, event, ledger_text(actor) or "cell", {"reason": ledger_text(reason), "epoch": epoch})

"""Events on their way to the ledger: durable with the act they tell of, delivered in order, retried for ever.

An act that narrows reach takes effect first and waits here when the ledger is down; the gap is an alarm there.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping
from functools import partial

import msgspec

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import EVENTS_MAX, AppendEvents, Event
from bulkhead.errors import Error, Refused
from bulkhead.holder.database import Database
from bulkhead.identifiers import new_id

SCHEMA = "CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, batch BLOB, event BLOB NOT NULL)"
RETRY_SECONDS = 2.0
_log = logging.getLogger("bulkhead.outbox")


def note(
    connection: sqlite3.Connection,
    kind: str,
    actor: str,
    details: Mapping[str, str | int | bool | None],
    account: bytes = b"",
) -> None:
    """Write an event into the outbox, within the transaction of the act itself. kind: a name of ledger's EVENTS."""
    event = Event(kind, int(time.time() * 1000), actor, account, dict(details))
    connection.execute("INSERT INTO outbox (event) VALUES (?)", (msgspec.msgpack.encode(event),))


class Outbox:
    """Delivers what lies in the outbox table. Call `wake` after a transaction that noted something."""

    def __init__(self, database: Database, exchange: Exchange) -> None:
        self._database, self._exchange = database, exchange
        self._wakened = asyncio.Event()
        self._wakened.set()
        self._task = asyncio.get_running_loop().create_task(self._deliver_forever())

    def wake(self) -> None:
        """There is something to deliver."""
        self._wakened.set()

    def stop(self) -> None:
        """Deliver no more; what is left stays for the next start."""
        self._task.cancel()

    async def _deliver_forever(self) -> None:
        while True:
            await self._wakened.wait()
            self._wakened.clear()
            try:
                while await self._deliver_some():
                    pass
            except Error as error:
                _log.warning("the ledger takes no events now: %s", error.public)
                await asyncio.sleep(RETRY_SECONDS)
                self._wakened.set()
            except Exception as error:  # our bug: the events stay, and are tried again
                log_fault("fault while delivering events", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._wakened.set()

    async def _deliver_some(self) -> bool:
        """Deliver one batch. Its members and request id are durable before it is first sent, so that an answer lost
        on the way, or a restart, neither repeats nor drops an event.
        """
        rows = self._database.read("SELECT number, batch, event FROM outbox WHERE batch IS NOT NULL ORDER BY number")
        if not rows:
            fresh = self._database.read("SELECT number FROM outbox ORDER BY number LIMIT ?", (EVENTS_MAX,))
            if not fresh:
                return False
            await self._database.write(partial(_assign, batch=new_id(), last=fresh[-1][0]))
            return True
        events = tuple(msgspec.msgpack.decode(row[2], type=Event) for row in rows)
        stamp = Stamp.fresh(self._exchange.me.compartment, request_id=rows[0][1])
        try:
            await self._exchange.to("ledger").call(AppendEvents(stamp, events))
        except Refused as error:
            _log.error("the ledger refuses %d events for good: %s", len(events), error.public)
        await self._database.write(partial(_drop, batch=rows[0][1]))
        return True


def _assign(connection: sqlite3.Connection, *, batch: bytes, last: int) -> None:
    connection.execute("UPDATE outbox SET batch = ? WHERE number <= ?", (batch, last))


def _drop(connection: sqlite3.Connection, *, batch: bytes) -> None:
    connection.execute("DELETE FROM outbox WHERE batch = ?", (batch,))

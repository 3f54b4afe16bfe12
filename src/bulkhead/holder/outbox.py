"""Events on their way to the ledger: durable with the act they tell of, delivered in order, retried for ever.

An act that narrows reach takes effect first and waits here when the ledger is down; the gap is an alarm there.
Batches are bounded by number and by bytes. The ledger takes a batch whole or refuses it whole: one that it refuses for
good is sent again event by event, and what is refused alone is dropped and logged, so that it costs no other event.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import MESSAGE_MAX, Stamp
from bulkhead.boundary.messages.to_ledger import EVENTS_MAX, AppendEvents, Event
from bulkhead.errors import Error, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.violations import Details, watch_violations
from bulkhead.holder.witness import actor_text
from bulkhead.identifiers import new_id

SCHEMA = "CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, batch BLOB, event BLOB NOT NULL)"
RETRY_SECONDS = 2.0
BATCH_BYTES_MAX = MESSAGE_MAX - 1024  # of encoded events; the rest is room for the stamp
_log = logging.getLogger("bulkhead.outbox")


def note(
    connection: sqlite3.Connection,
    kind: str,
    actor: str,
    details: Mapping[str, str | int | bool | None],
    account: bytes = b"",
) -> None:
    """Write an event into the outbox, within the transaction of the act itself. kind: a name of ledger's EVENTS.

    actor: whoever asked, as named in the stamp; made into what the ledger takes, as a stranger may have chosen it.
    """
    event = Event(kind, int(time.time() * 1000), actor_text(actor), account, dict(details))
    connection.execute("INSERT INTO outbox (event) VALUES (?)", (msgspec.msgpack.encode(event),))


class Outbox:
    """Delivers what lies in the outbox table. Call `wake` after a transaction that noted something.

    Violations on the edges of this exchange are noted here, too.
    """

    def __init__(self, database: Database, exchange: Exchange) -> None:
        self._database, self._exchange = database, exchange
        self._noting: set[asyncio.Task[None]] = set()
        watch_violations(exchange, self._saw_violation)
        self._wakened = asyncio.Event()
        self._wakened.set()
        self._task = asyncio.get_running_loop().create_task(self._deliver_forever())

    def wake(self) -> None:
        """There is something to deliver."""
        self._wakened.set()

    def stop(self) -> None:
        """Deliver no more; what is left stays for the next start."""
        self._task.cancel()

    def _saw_violation(self, actor: str, details: Details) -> None:
        task = asyncio.get_running_loop().create_task(self._note_violation(actor, details))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note_violation(self, actor: str, details: Details) -> None:
        try:
            await self._database.write(lambda connection: note(connection, "EdgeViolation", actor, details))
        except Error as error:  # the edge has ended all the same, and the supervisor's word follows
            _log.error("a violation by %s is not noted: %s", actor, error.public)
        self.wake()

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
        rows = self._database.read("SELECT number, batch, event FROM outbox ORDER BY number LIMIT ?", (EVENTS_MAX,))
        if not rows:
            return False
        batch = rows[0][1]
        if batch is None:
            await self._database.write(partial(_assign, batch=new_id(), last=rows[_fitting(rows) - 1][0]))
            return True
        members = [row for row in rows if row[1] == batch]  # the first rows, as batches are made from the front
        fault = await self._send(batch, [row[2] for row in members])
        if fault and len(members) > 1:  # nothing of it is in the ledger
            _log.warning("%d events go to the ledger one by one: %s", len(members), fault)
            await self._database.write(partial(_split, numbers=[row[0] for row in members]))
            return True
        if fault:
            _log.error("an event (number %d) never reaches the ledger: %s", members[0][0], fault)
        await self._database.write(partial(_drop, batch=batch))
        return True

    async def _send(self, batch: bytes, encoded: Sequence[bytes]) -> str:
        """Why the ledger will never take these events together, or "" once it has them. Raises as a call does.

        The reason holds a code or a kind of fault, never a value.
        """
        if sum(map(len, encoded)) > BATCH_BYTES_MAX:
            return "over the limit of a message"
        try:
            events = tuple(_event.decode(event) for event in encoded)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "over the limits of an event"
        stamp = Stamp.fresh(self._exchange.me.compartment, request_id=batch)
        try:
            await self._exchange.to("ledger").call(AppendEvents(stamp, events))
        except Refused as error:
            return f"refused ({error.code})"
        return ""


_event = msgspec.msgpack.Decoder(Event)


def _fitting(rows: Sequence[tuple[int, bytes | None, bytes]]) -> int:
    """How many of the first rows make one message; at least one, as what is too large alone must not stay in front."""
    octets = 0
    for count, (_, _, event) in enumerate(rows):
        octets += len(event)
        if octets > BATCH_BYTES_MAX:
            return max(1, count)
    return len(rows)


def _assign(connection: sqlite3.Connection, *, batch: bytes, last: int) -> None:
    connection.execute("UPDATE outbox SET batch = ? WHERE number <= ? AND batch IS NULL", (batch, last))


def _split(connection: sqlite3.Connection, *, numbers: Sequence[int]) -> None:
    """Make each event a batch of its own, under a request id that the ledger has not seen."""
    connection.executemany("UPDATE outbox SET batch = ? WHERE number = ?", [(new_id(), number) for number in numbers])


def _drop(connection: sqlite3.Connection, *, batch: bytes) -> None:
    connection.execute("DELETE FROM outbox WHERE batch = ?", (batch,))

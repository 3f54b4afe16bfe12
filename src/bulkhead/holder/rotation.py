"""Rotation of a holder's version key: every record sealed anew under K[n+1] while it serves, then K[n] destroyed.

    begun      the row `rotation`, with its event for the ledger          one transaction
    made       K[n+1] is in the key file                                  nothing is sealed under it before
    walked     slice by slice, each with the cursor behind it             one transaction each
    verified   every record opened under K[n+1], the same way; K[n] becomes a row of `retired_key`, with its event
    destroyed  the ledger has it; then the key file is sealed anew without K[n], under another root key; then the row

Each step can come again. Cut anywhere, the next start goes on from the row that it finds, and every record opens: until
the last step both keys are there. A record that a mutation sealed under K[n] before K[n+1] was made is written before
the walk begins: from sealing to the writer's queue nothing is awaited, and the writer takes its work in order.

A slice is one transaction of about SLICE_SECONDS on the writer's thread, so that whoever waits for a write waits no
longer than that; every TURN_RECORDS it sleeps for a moment, so that no login waits until the scheduler takes the
interpreter or the processor from it. A record has the length it had: SQLite overwrites it in its place, and with
secure_delete nothing of an older one stays in a page. The write-ahead log is emptied afterwards.
"""

import asyncio
import logging
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.boundary.messages.rotation import (
    RETIRED_MAX,
    DestroyKeyBase,
    ReadRotationBase,
    RetiredKey,
    RotateKeyBase,
    RotationReport,
)
from bulkhead.errors import Error, IntegrityError, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.witness import ledger_text, witness
from bulkhead.records.record import Kind
from bulkhead.records.reseal import Resealer

SCHEMA = """
CREATE TABLE rotation (             -- the one under way
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,       -- of the new key
    step INTEGER NOT NULL,          -- 1 walking, 2 verifying
    part INTEGER NOT NULL,          -- which table
    cursor BLOB NOT NULL,           -- row key up to which the step is done
    done INTEGER NOT NULL,          -- records of this step so far
    unreadable INTEGER NOT NULL,    -- found so far by this step
    lost INTEGER NOT NULL,          -- found by the verification before; -1: there was none
    emergency INTEGER NOT NULL,
    keep_seconds INTEGER NOT NULL
);
CREATE TABLE retired_key (version INTEGER PRIMARY KEY, destroy_after INTEGER NOT NULL, unreadable INTEGER NOT NULL)
"""
SLICE_SECONDS = 0.01
SLICE_MIN, SLICE_MAX = 64, 4096  # records
KEEP_MAX = 10 * 366 * 86_400  # seconds
TURN_RECORDS = 128  # about half a millisecond, after which whoever else waits for interpreter or processor comes first
SWITCH_SECONDS = 0.0005  # how long a thread keeps the interpreter while another waits for it
RETRY_SECONDS = 2.0
WALKING, VERIFYING = 1, 2
Details = dict[str, str | int | bool | None]
_log = logging.getLogger("bulkhead.holder")


@dataclass(frozen=True, slots=True)
class Part:
    """A table of sealed records: column of the row key, the number bound with it (a column, or digits), kind."""

    table: str
    row: str
    number: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Row:
    version: int
    step: int
    part: int
    cursor: bytes
    done: int
    unreadable: int
    lost: int
    emergency: bool
    keep_seconds: int


class Rotation:
    """The rotation of one named key of a holder. One that was cut short goes on by itself."""

    def __init__(
        self, database: Database, keys: KeyFile, name: str, parts: Sequence[Part], outbox: Outbox, exchange: Exchange
    ) -> None:
        self._database, self._keys, self._name, self._parts = database, keys, name, parts
        self._outbox, self._exchange = outbox, exchange
        self._size = SLICE_MIN
        self._last = 0  # records of the last rotation that ended in this process
        self._wakened = asyncio.Event()
        self._destroying = asyncio.Lock()
        self._wakened.set()
        self._task = asyncio.get_running_loop().create_task(self._rotate_forever())

    def stop(self) -> None:
        """Go no further; the next start does."""
        self._task.cancel()

    async def rotate(self, request: RotateKeyBase) -> RotationReport:
        """Begin, or go on: one that is under way, or done by this request, is not begun again."""
        if not 0 <= request.keep_seconds <= KEEP_MAX:
            raise Refused("a retired key is kept for ten years at most", code="bad-date")
        version = self._keys.current(self._name)[0] + 1
        await self._database.mutate(request, partial(self._begin, request=request, version=version))
        self._outbox.wake()
        self._wakened.set()
        return self.report()

    def report(self) -> RotationReport:
        """Where it stands."""
        row, current = self._row(), self._keys.current(self._name)[0]
        retired = self._database.read("SELECT * FROM retired_key ORDER BY version")
        kept = tuple(RetiredKey(*key) for key in retired)[:RETIRED_MAX]
        if row is None:
            return RotationReport(current, 0, self._last, 0, 0, self._keys.root_version, kept)
        passed = row.part * 65_536 + int.from_bytes(row.cursor[:2].ljust(2, b"\0"), "big")  # row keys are as random
        share = passed * 1000 // (len(self._parts) * 65_536)
        return RotationReport(
            row.version, row.step, row.done, min(share, 1000), row.unreadable, self._keys.root_version, kept
        )

    def needed(self) -> dict[str, tuple[int, ...]]:
        """The versions that records may be under now."""
        retired = {version for (version,) in self._database.read("SELECT version FROM retired_key")}
        return {self._name: tuple(v for v in self._keys.versions(self._name) if v not in retired)}

    async def destroy(self, request: DestroyKeyBase) -> Done:
        """Destroy a retired version. Raises Refused, TemporaryFailure without ledger."""
        async with self._destroying:
            version = request.version
            if version in self._keys.versions(self._name):
                details: Details = {
                    "key": self._name, "version": version, "unreadable": self._check_due(version),
                    "custody": ledger_text(request.custody),
                }  # fmt: skip
                await witness(self._exchange, request.stamp, "KeyDestroyed", details)
            await self._database.write(partial(self._destroy, version=version, root=request.root))
            await self._database.truncate_wal()
        return Done()

    def _check_due(self, version: int) -> int:
        """How many records did not open when it was retired. Raises Refused."""
        row = self._database.first("SELECT destroy_after, unreadable FROM retired_key WHERE version = ?", (version,))
        if self._row() is not None:
            raise Refused("records are being sealed anew: destroy the old key when that is done", code="busy")
        if row is None or version == self._keys.current(self._name)[0]:
            raise Refused(f"version {version} is not retired: rotate first", code="not-retired")
        destroy_after, unreadable = row
        if destroy_after > time.time():
            raise Refused(f"version {version} is kept until {destroy_after} (seconds since 1970)", code="not-due")
        if destroy_after and unreadable:
            raise Refused(
                f"{unreadable} records do not open: look with fsck, then rotate with --emergency", code="unreadable"
            )
        return int(unreadable)

    # --- on the writer's thread --------------------------------------------------------------------------------------

    def _begin(self, connection: sqlite3.Connection, *, request: RotateKeyBase, version: int) -> RotationReport:
        under_way = connection.execute("SELECT version FROM rotation").fetchone() is not None
        if request.emergency:
            connection.execute("UPDATE rotation SET emergency = 1, keep_seconds = 0")
            connection.execute("UPDATE retired_key SET destroy_after = 0")
        if not under_way:
            values = (version, WALKING, 0, b"", 0, 0, -1, request.emergency, request.keep_seconds)
            connection.execute("INSERT INTO rotation VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            details: Details = {"key": self._name, "version": version, "emergency": request.emergency}
            note(connection, "KeyRotationBegun", request.stamp.actor, details)
        return RotationReport(version, WALKING, 0, 0, 0, self._keys.root_version, ())  # a receipt; nobody reads it

    def _slice(self, connection: sqlite3.Connection, row: _Row, resealers: Sequence[Resealer]) -> None:
        """One slice of a step, with the cursor behind it."""
        part, resealer, begin = self._parts[row.part], resealers[row.part], time.monotonic()
        found = connection.execute(
            f"SELECT {part.row} FROM {part.table} WHERE {part.row} > ? ORDER BY {part.row} LIMIT 1 OFFSET ?",  # noqa: S608  # names of Part
            (row.cursor, self._size - 1),
        ).fetchone()
        last = found[0] if found else None
        within, bounds = f"{part.row} > ?", [row.cursor]
        if last is not None:
            within, bounds = f"{part.row} > ? AND {part.row} <= ?", [row.cursor, last]
        bad, turn = 0, 0
        act = resealer.resealing() if row.step == WALKING else resealer.checking()

        def touch(record: bytes, key: bytes, number: int) -> bytes:
            nonlocal bad, turn
            turn += 1
            if turn == TURN_RECORDS:
                turn = 0
                time.sleep(0)  # some 50 us: shorter than the scheduler would let a login wait behind twelve walks
            try:
                return act(record, key, number)
            except (IntegrityError, ValueError, struct.error):  # the last: a number that is none of ours
                bad += 1
            return record

        connection.create_function("touch", 3, touch)
        call = f"touch(CAST(record AS BLOB), {part.row}, {part.number})"
        if row.step == WALKING:
            statement = f"UPDATE {part.table} SET record = {call} WHERE {within}"  # noqa: S608  # names of Part
            seen = connection.execute(statement, bounds).rowcount
        else:
            statement = f"SELECT count({call}) FROM {part.table} WHERE {within}"  # noqa: S608  # names of Part
            (seen,) = connection.execute(statement, bounds).fetchone()
        connection.create_function("touch", 3, None)
        place = (row.part, last) if last is not None else (row.part + 1, b"")
        connection.execute(
            "UPDATE rotation SET part = ?, cursor = ?, done = done + ?, unreadable = unreadable + ?",
            (*place, seen, bad),
        )
        took = time.monotonic() - begin
        self._size = max(SLICE_MIN, min(SLICE_MAX, int(self._size * min(2.0, SLICE_SECONDS / max(took, 1e-6)))))

    def _next_step(self, connection: sqlite3.Connection, row: _Row) -> None:
        """Every table is done: on to verification, back to the walk where that found something new, or finished."""
        again = "UPDATE rotation SET step = ?, part = 0, cursor = x'', done = 0, unreadable = 0, lost = ?"
        if row.step == WALKING:
            connection.execute(again, (VERIFYING, row.lost))
        elif row.unreadable and row.unreadable != row.lost:
            connection.execute(again, (WALKING, row.unreadable))
        else:
            (emergency, keep) = connection.execute("SELECT emergency, keep_seconds FROM rotation").fetchone()
            after = 0 if emergency else int(time.time()) + keep
            for version in self._keys.versions(self._name):
                if version < row.version:
                    connection.execute(
                        "INSERT OR IGNORE INTO retired_key VALUES (?, ?, ?)", (version, after, row.unreadable)
                    )
            connection.execute("DELETE FROM rotation")
            self._last = row.done
            details: Details = {
                "key": self._name, "version": row.version, "records": row.done, "unreadable": row.unreadable,
                "destroy_after": after,
            }  # fmt: skip
            note(connection, "KeyRotationVerified", self._exchange.me.compartment, details)

    def _destroy(self, connection: sqlite3.Connection, *, version: int, root: bytes) -> None:
        if version == self._keys.current(self._name)[0]:
            raise Refused("the key in force is not destroyed", code="not-retired")
        self._keys.destroy(self._name, version, root)
        connection.execute("DELETE FROM retired_key WHERE version = ?", (version,))

    # --- the walk ----------------------------------------------------------------------------------------------------

    async def _rotate_forever(self) -> None:
        while True:
            await self._wakened.wait()
            self._wakened.clear()
            try:
                if self._row() is not None:
                    with _short_turns():
                        await self._finish()
            except Error as error:
                _log.warning("the rotation of a key waits: %s", error.public)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wakened.set)
            except Exception as error:  # our bug, or the disk's: what is sealed anew stays, and it is tried again
                log_fault("fault in the rotation of a key", error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wakened.set)

    async def _finish(self) -> None:
        row = self._row()
        if row is None:
            return
        version = row.version
        await self._database.write(lambda _: self._keys.add(self._name, version))
        await self._database.write(lambda _: None)  # whatever was sealed under K[n] until now is written before this
        keys, name = self._keys, self._name
        resealers = [Resealer(part.kind, keys.tenant, keys, name, version) for part in self._parts]
        while (row := self._row()) is not None:
            if row.part < len(self._parts):
                await self._database.write(partial(self._slice, row=row, resealers=resealers))
            else:
                await self._database.write(partial(self._next_step, row=row))
        await self._database.truncate_wal()
        self._outbox.wake()

    def _row(self) -> _Row | None:
        columns = "version, step, part, cursor, done, unreadable, lost, emergency, keep_seconds"
        row = self._database.first(f"SELECT {columns} FROM rotation")  # noqa: S608  # the line above
        return None if row is None else _Row(*row)


def handlers(
    rotate: type[RotateKeyBase], read: type[ReadRotationBase], destroy: type[DestroyKeyBase]
) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `rotation`."""
    return {
        rotate: lambda state, _, request, __: state.rotation.rotate(request),
        read: lambda state, _, __, ___: state.rotation.report(),
        destroy: lambda state, _, request, __: state.rotation.destroy(request),
    }


@contextmanager
def _short_turns() -> Iterator[None]:
    """The writer's thread hands the interpreter to the loop's sooner, so that logins wait less for a slice."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)

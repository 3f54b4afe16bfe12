"""Compaction: live records of a sparse segment are written once more elsewhere, and the segment is removed.

While the store serves. A slice of at most 1 MiB is read and checked in a thread, then a transaction gives each record
that is still named its new place and forgets the old one; its bytes are synced before that commits, as a delivery's are
(segment.py). So a crash at any step leaves either place whole: copies that nothing names yet are waste, a segment that
nothing names any more goes at the next start. A record larger than a slice is streamed, also as a delivery's.

Which segment and when is `choose`: pure, so that the policy can be read and tested. An answer that was begun at the old
places is read to its end: the file stays until then (Segments.hold).
"""

import asyncio
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from bulkhead.boundary.faults import log_fault
from bulkhead.errors import Error, IntegrityError
from bulkhead.holder.database_file import connect
from bulkhead.store.changes import Effects
from bulkhead.store.disk import Disk
from bulkhead.store.rows import forget_records, name_record
from bulkhead.store.segment import (
    HEADER_BYTES,
    Place,
    RecordHeader,
    RecordKind,
    decode_header,
    numbers_in,
    path_of,
    records_in,
)  # fmt: skip

if TYPE_CHECKING:
    from bulkhead.store.state import State

SLICE_BYTES = 1 << 20  # payloads moved by one transaction; a larger record is streamed alone
SLICE_RECORDS = 128  # of one transaction
HEADERS_AT_ONCE = 512  # looked at together
PIECE_BYTES = 1 << 18  # of a streamed record
DAY = 86_400

_log = logging.getLogger("bulkhead.store")


@dataclass(frozen=True, slots=True)
class Policy:
    """When a segment is worth copying, and how fast that may go.

    dead_percent: of a file's bytes, from which on it is compacted in quiet times; half of the rest, at any time.
    dead_seconds: after so long with any dead byte in it, it is compacted whatever the share. bytes_per_second: copied
    while others write; four times as many in quiet times. period: seconds between two looks. dead_bytes_min: less than
    that is left alone until it is old.
    """

    dead_percent: int = 50
    dead_seconds: int = 30 * DAY
    bytes_per_second: int = 8 << 20
    period: float = 60.0
    dead_bytes_min: int = 1 << 20
    quiet_commits: float = 5.0  # a second, up to which the store is quiet


class Usage(NamedTuple):
    """What a segment file holds: its bytes, those that rows name, and since when it is known to hold dead ones."""

    number: int
    size: int
    live: int
    dead_since: int | None

    @property
    def dead(self) -> int:
        """Bytes that no row names."""
        return max(0, self.size - self.live)


def choose(policy: Policy, segments: Iterable[Usage], now: int, *, quiet: bool) -> list[int]:
    """The segments to compact, those that give most for a byte copied first."""
    busy_percent = policy.dead_percent + (100 - policy.dead_percent) // 2
    percent = policy.dead_percent if quiet else busy_percent
    wanted: list[Usage] = []
    for usage in segments:
        if not usage.dead:
            continue
        old = usage.dead_since is not None and now - usage.dead_since >= policy.dead_seconds
        sparse = usage.dead >= policy.dead_bytes_min and usage.dead * 100 >= percent * usage.size
        if old or sparse:
            wanted.append(usage)
    return [usage.number for usage in sorted(wanted, key=lambda usage: usage.live / usage.size)]


class _Found(NamedTuple):
    """A live record at its old place. key: email.seq, or (account.seq, page number)."""

    offset: int
    header: RecordHeader
    key: tuple[int, ...]


class _Moved(NamedTuple):
    found: _Found
    payload: bytes


class Compactor:
    """Looks for sparse segments from time to time, and compacts them one after another."""

    def __init__(self, state: "State", policy: Policy) -> None:
        self._state, self.policy = state, policy
        self._task: asyncio.Task[None] | None = None
        self._damaged: set[int] = set()  # segments with a record that does not match its proof: kept as they are
        self._commits, self._at = 0, 0.0
        self.moved = self.compacted = 0  # bytes copied, segments emptied, since start

    def begin(self) -> None:
        """Look every `period` seconds from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """No further slice; one that is being committed is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.policy.period)
            try:
                await self.look()
            except Error as error:  # a full disk, a store that stops: the next look tries again
                _log.warning("compaction was put off: %s", error.public)
            except Exception as error:
                log_fault("fault in compaction", error)

    def _is_quiet(self) -> bool:
        """Whether others committed little since this was asked last."""
        commits, now = self._state.database.transactions, time.monotonic()
        rate = (commits - self._commits) / max(now - self._at, 0.001)
        self._commits, self._at = commits, now
        return rate <= self.policy.quiet_commits

    async def look(self) -> int:
        """Remove files that nothing names, compact what is worth it: how many segments were emptied."""
        state, loop = self._state, asyncio.get_running_loop()
        sizes = await loop.run_in_executor(state.executor, _sizes, state.disk)
        rows: dict[int, tuple[int, int | None]] = {
            number: (octets, since)
            for number, octets, since in state.database.read("SELECT number, bytes, dead_since FROM segment")
        }
        await self._remove_unnamed([number for number in sizes if number not in rows])
        usages = [Usage(number, size, *rows[number]) for number, size in sizes.items() if number in rows]
        await self._note_dead([usage.number for usage in usages if usage.dead and usage.dead_since is None])
        emptied = 0
        for number in choose(self.policy, usages, int(time.time()), quiet=self._is_quiet()):
            if number not in self._damaged and not state.checking and state.segments.retire(number):
                emptied += await self._compact(number)
        return emptied

    async def _remove_unnamed(self, numbers: list[int]) -> None:
        """Files of uploads that were all given up: no row ever named a record of theirs."""
        if not numbers:
            return
        segments = self._state.segments

        def work(connection: sqlite3.Connection) -> list[int]:
            named = {number for (number,) in connection.execute("SELECT number FROM segment")}
            gone = [n for n in numbers if n not in named and n != segments.current and segments.close_if_empty(n)]
            if gone:
                connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'reaped'", (max(gone),))
            return gone

        gone = await self._state.database.write(work)
        if not self._state.checking:
            for number in gone:
                segments.remove(number)

    async def _note_dead(self, numbers: list[int]) -> None:
        """Bytes of uploads that were given up are dead from now on: expunging notes its own."""
        closed = [number for number in numbers if number != self._state.segments.current]
        if closed:
            now = int(time.time())
            await self._state.database.write(
                lambda connection: connection.executemany(
                    "UPDATE segment SET dead_since = ? WHERE number = ? AND dead_since IS NULL",
                    [(now, number) for number in closed],
                )
            )

    # --- one segment --------------------------------------------------------------------------------------------------

    async def _compact(self, number: int) -> int:
        """Move what lives in this segment; 1 where nothing is left in it."""
        state, loop = self._state, asyncio.get_running_loop()
        try:
            offset = 0
            while offset >= 0:
                headers, offset = await loop.run_in_executor(state.executor, _headers, state.disk, number, offset)
                await self._move_all(number, self._live(number, headers))
            if _names(state, number):
                # Behind a gap that a failed write left, a walk sees nothing: rows say where the rest lies.
                headers = await loop.run_in_executor(state.executor, _named, state, number)
                await self._move_all(number, self._live(number, headers))
        except (IntegrityError, FileNotFoundError) as error:
            if not _names(state, number):
                return 0  # all that was left in it was expunged, and the file went
            self._damaged.add(number)
            _log.error("segment %d is not compacted (%s); run `bulkhead fsck`", number, error)
            return 0
        if _names(state, number):
            return 0
        state.reap()
        self.compacted += 1
        return 1

    def _live(self, number: int, headers: Iterable[tuple[int, RecordHeader]]) -> list[_Found]:
        """Those that a row names where they lie."""
        found: list[_Found] = []
        for offset, header in headers:
            if header.kind == RecordKind.PAGE:
                page = int.from_bytes(header.ident[:4], "little")
                row = self._state.database.first(_PAGE_AT, (header.account, page, number, offset))
            else:
                row = self._state.database.first(_EMAIL_AT, (header.account, header.ident, number, offset))
            if row is not None:
                found.append(_Found(offset, header, row))
        return found

    async def _move_all(self, number: int, found: list[_Found]) -> None:
        at = 0
        while at < len(found):
            if found[at].header.payload > SLICE_BYTES:
                await self._stream(number, found[at])
                moved, at = found[at].header.payload, at + 1
            else:
                moved, taken = 0, 0
                for entry in found[at : at + SLICE_RECORDS]:
                    if taken and moved + entry.header.payload > SLICE_BYTES:
                        break
                    moved, taken = moved + entry.header.payload, taken + 1
                await self._move(number, found[at : at + taken])
                at += taken
            self.moved += moved
            rate = self.policy.bytes_per_second * (4 if self._is_quiet() else 1)
            await asyncio.sleep(moved / rate)

    async def _move(self, number: int, found: list[_Found]) -> None:
        state = self._state
        records = await asyncio.get_running_loop().run_in_executor(
            state.executor, _read_records, state.disk, number, found
        )

        def work(connection: sqlite3.Connection) -> Effects:
            effects = Effects()
            for record in records:
                entry, header = record.found, record.found.header
                if _is_named(connection, number, entry):
                    kind = RecordKind(header.kind)
                    place = state.segments.put(kind, header.account, header.ident, header.sizes, record.payload)
                    _give_place(connection, effects, number, entry, place)
            return effects

        await state.database.write(work, before=state.segments.sync)

    async def _stream(self, number: int, entry: _Found) -> None:
        state, loop = self._state, asyncio.get_running_loop()
        header = entry.header
        stream = state.segments.stream(header.account, header.ident, header.sizes)
        try:
            crc = 0
            for start in range(0, header.payload, PIECE_BYTES):
                offset = entry.offset + HEADER_BYTES + start
                length = min(PIECE_BYTES, header.payload - start)
                data = await loop.run_in_executor(state.executor, _read_piece, state.disk, number, offset, length)
                stream.write(data)
                crc = zlib.crc32(data, crc)
                await asyncio.sleep(len(data) / self.policy.bytes_per_second)
            if crc != header.crc:
                raise IntegrityError("a record's bytes are damaged", detail=f"segment {number} at {entry.offset}")
            stream.finish()

            def work(connection: sqlite3.Connection) -> Effects:
                effects = Effects()
                if _is_named(connection, number, entry):
                    state.segments.require_usable(stream.place)
                    _give_place(connection, effects, number, entry, stream.place)
                return effects

            await state.database.write(work, before=state.segments.sync)
        finally:
            stream.release()


# --- rows ------------------------------------------------------------------------------------------------------------

_EMAIL_AT = (
    "SELECT e.seq FROM account a JOIN email e ON e.account = a.seq"
    " WHERE a.account = ? AND e.email = ? AND e.segment = ? AND e.offset = ?"
)
_PAGE_AT = (
    "SELECT p.account, p.page FROM account a JOIN page p ON p.account = a.seq"
    " WHERE a.account = ? AND p.page = ? AND p.segment = ? AND p.offset = ?"
)
_WHERE: Mapping[int, tuple[str, str]] = {  # by RecordKind: table and key
    RecordKind.MESSAGE: ("email", "seq = ?"),
    RecordKind.PAGE: ("page", "account = ? AND page = ?"),
}


def _names(state: "State", number: int) -> bool:
    """Whether a row still names a record of this segment."""
    return state.database.first("SELECT 1 FROM segment WHERE number = ? AND live > 0", (number,)) is not None


def _is_named(connection: sqlite3.Connection, number: int, entry: _Found) -> bool:
    """Whether the row still says that the record is there: it may have gone since it was looked for."""
    table, key = _WHERE[entry.header.kind]
    row = connection.execute(
        f"SELECT 1 FROM {table} WHERE {key} AND segment = ? AND offset = ?",  # noqa: S608 - names of ours
        (*entry.key, number, entry.offset),
    ).fetchone()
    return row is not None


def _give_place(connection: sqlite3.Connection, effects: Effects, number: int, entry: _Found, place: Place) -> None:
    """The row names the copy from now on, and the original is dead."""
    table, key = _WHERE[entry.header.kind]
    connection.execute(
        f"UPDATE {table} SET segment = ?, offset = ? WHERE {key}",  # noqa: S608 - names of ours
        (place.segment, place.offset, *entry.key),
    )
    name_record(connection, place)
    forget_records(connection, effects, [(number, 1, place.length)])


# --- in a thread -----------------------------------------------------------------------------------------------------


def _sizes(disk: Disk) -> dict[int, int]:
    return {number: disk.size(path_of(number)) for number in numbers_in(disk)}


def _headers(disk: Disk, number: int, offset: int) -> tuple[list[tuple[int, RecordHeader]], int]:
    """The next records' offsets and headers, and where to go on, or -1 at the end."""
    found = list(islice(records_in(disk, number, offset), HEADERS_AT_ONCE))
    if len(found) < HEADERS_AT_ONCE:
        return found, -1
    last, header = found[-1]
    return found, last + HEADER_BYTES + header.payload


def _named(state: "State", number: int) -> list[tuple[int, RecordHeader]]:
    """Headers of all records that rows name in this segment. Raises IntegrityError where they are not there."""
    with closing(connect(state.path, secure_delete=False)) as connection:
        connection.execute("PRAGMA query_only=ON")
        offsets = connection.execute(
            "SELECT offset FROM email WHERE segment = ?1 UNION ALL SELECT offset FROM page WHERE segment = ?1",
            (number,),
        ).fetchall()
    fd = state.disk.open(path_of(number))
    try:
        return [(offset, decode_header(state.disk.pread(fd, HEADER_BYTES, offset))) for (offset,) in offsets]
    finally:
        state.disk.close(fd)


def _read_records(disk: Disk, number: int, found: list[_Found]) -> list[_Moved]:
    """The payloads. Raises IntegrityError where one is not what its header says."""
    fd = disk.open(path_of(number))
    try:
        records: list[_Moved] = []
        for entry in found:
            payload = disk.pread(fd, entry.header.payload, entry.offset + HEADER_BYTES)
            if len(payload) != entry.header.payload or zlib.crc32(payload) != entry.header.crc:
                raise IntegrityError("a record's bytes are damaged", detail=f"segment {number} at {entry.offset}")
            records.append(_Moved(entry, payload))
        return records
    finally:
        disk.close(fd)


def _read_piece(disk: Disk, number: int, offset: int, length: int) -> bytes:
    fd = disk.open(path_of(number))
    try:
        return disk.pread(fd, length, offset)
    finally:
        disk.close(fd)

"""Packed arrays of a mailbox, as they are answered: a cached projection of its rows, exact after every commit.

All of it lives on the loop's thread. A projection is loaded from one snapshot of the database and remembers the
account's MODSEQ of that snapshot, so a change that it already holds is not applied twice. A change of more than 8,192
messages throws the projection away instead of holding the loop.
"""

import asyncio
import sqlite3
import sys
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import compress, count
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_store import Column
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.database_file import connect
from bulkhead.store.changes import MailboxChange
from bulkhead.store.rows import row_slices

ROW_BYTES = 4 + 8 + 4 + 8 + 8 + 16
CACHE_BYTES = 64 << 20
CHANGE_MAX = 8192  # messages of one change that is applied; more: the projection is loaded anew
INLINE_MAX = 1000  # messages that are loaded on the loop's thread
RECENT_MAX = 512  # changes whose UIDs are remembered
RECENT_UIDS_MAX = 1 << 15  # of all of those
RUNS_MAX = 16  # of messages taken out one after another; more are taken out in one go

_HEAD = (
    "SELECT m.uid_validity, m.uid_next, m.modseq, a.modseq"
    " FROM mailbox m JOIN account a ON a.seq = m.account WHERE m.seq = ?"
)
_ROWS = (
    "SELECT m.uid, m.flags, e.size, e.date, m.modseq, e.email"
    " FROM message m CROSS JOIN email e ON e.seq = m.email WHERE m.mailbox = ? ORDER BY m.uid"
)


@dataclass(slots=True)
class MailboxColumns:
    """One mailbox. Flags and MODSEQs are signed here; their 64 bits are the same."""

    uid_validity: int
    uid_next: int
    modseq: int
    as_of: int  # the account's MODSEQ that it shows
    uids: "array[int]" = field(default_factory=lambda: array("I"))
    flags: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    dates: "array[int]" = field(default_factory=lambda: array("q"))
    modseqs: "array[int]" = field(default_factory=lambda: array("q"))
    emails: bytearray = field(default_factory=bytearray)
    recent: "deque[tuple[int, array[int]]]" = field(default_factory=deque)  # MODSEQ, UIDs added or flagged
    recent_uids: int = 0  # in `recent`
    recent_floor: int = 0  # `recent` holds every change above this MODSEQ

    @property
    def bytes_used(self) -> int:
        """What the projection costs, about."""
        return 1000 + ROW_BYTES * len(self.uids)

    def extend(self, rows: Iterable[tuple[int, int, int, int, int, bytes]]) -> None:
        """Take in rows of _ROWS, in UID order."""
        columns = tuple(zip(*rows, strict=True))
        if columns:
            uids, flags, sizes, dates, modseqs, emails = columns
            self.uids.extend(uids)
            self.flags.extend(flags)
            self.sizes.extend(sizes)
            self.dates.extend(dates)
            self.modseqs.extend(modseqs)
            self.emails += b"".join(emails)

    def apply(self, change: MailboxChange) -> None:
        """What a later commit did; one that the projection shows already does nothing."""
        if change.modseq <= self.as_of:
            return
        self.as_of = self.modseq = change.modseq
        self._take_out(_runs_of(self.uids, change.expunged))
        self._set_flags(change.flagged, change.modseq)
        if change.added:
            self.extend((row.uid, row.flags, row.size, row.date, change.modseq, row.email) for row in change.added)
            self.uid_next = change.added[-1].uid + 1
        changed = array("I", [uid for uid, _ in change.flagged])
        changed.extend([row.uid for row in change.added])
        if changed:
            self.recent.append((change.modseq, changed))
            self.recent_uids += len(changed)
            while len(self.recent) > RECENT_MAX or self.recent_uids > RECENT_UIDS_MAX:
                self.recent_floor, gone = self.recent.popleft()
                self.recent_uids -= len(gone)

    def _take_out(self, runs: list[tuple[int, int]]) -> None:
        """Places [start, end), the last first, without which the columns are from now on."""
        if len(runs) <= RUNS_MAX:
            for start, end in runs:
                for column in (self.uids, self.flags, self.sizes, self.dates, self.modseqs):
                    del column[start:end]
                del self.emails[16 * start : 16 * end]
            return
        kept, at = list[tuple[int, int]](), 0
        for start, end in reversed(runs):
            kept.append((at, start))
            at = end
        kept.append((at, len(self.uids)))
        self.uids, self.flags, self.sizes, self.dates, self.modseqs = (
            _only(column, kept) for column in (self.uids, self.flags, self.sizes, self.dates, self.modseqs)
        )
        emails = memoryview(self.emails)
        self.emails = bytearray(b"".join([emails[16 * start : 16 * end] for start, end in kept]))

    def _set_flags(self, flagged: list[tuple[int, int]], modseq: int) -> None:
        if not flagged:
            return
        start = bisect_left(self.uids, flagged[0][0])
        stop = start + len(flagged)
        if stop <= len(self.uids) and self.uids[stop - 1] == flagged[-1][0]:  # all from first to last: one run
            self.flags[start:stop] = array("q", [flags for _, flags in flagged])
            self.modseqs[start:stop] = array("q", [modseq]) * len(flagged)
            return
        for uid, flags in flagged:
            at = bisect_left(self.uids, uid)
            self.flags[at] = flags
            self.modseqs[at] = modseq

    def packed(self, columns: int, first_uid: int) -> tuple[int, list[bytes]]:
        """How many messages from `first_uid` on, and the chosen columns (bits of Column), little-endian."""
        start = bisect_left(self.uids, first_uid) if first_uid > 1 else 0
        parts: list[bytes] = []
        for bit, column in (
            (Column.UID, self.uids), (Column.FLAGS, self.flags), (Column.SIZE, self.sizes), (Column.DATE, self.dates),
            (Column.MODSEQ, self.modseqs),
        ):  # fmt: skip
            if columns & bit:
                parts.append(packed(column[start:] if start else column))
        if columns & Column.EMAIL:
            parts.append(bytes(self.emails[16 * start :]))
        return len(self.uids) - start, parts

    def remembers(self, since: int) -> bool:
        """Whether `changed_since` need not look at every message."""
        return since >= self.recent_floor or since >= self.modseq

    def changed_since(self, since: int) -> list[int]:
        """The places, ascending, of messages whose MODSEQ is above `since`."""
        if since >= self.modseq:
            return []
        if since < self.recent_floor:
            return places_above(self.modseqs, since)
        uids: set[int] = set()
        for modseq, changed in reversed(self.recent):
            if modseq <= since:
                break
            uids.update(changed)
        places = []
        for uid in sorted(uids):
            at = bisect_left(self.uids, uid)
            if at < len(self.uids) and self.uids[at] == uid:
                places.append(at)
        return places


def places_above(modseqs: "array[int]", since: int) -> list[int]:
    """The places whose MODSEQ is above `since`: of a million a fifth of a second."""
    return list(compress(count(), map(since.__lt__, modseqs)))


def _only(column: "array[int]", places: list[tuple[int, int]]) -> "array[int]":
    """These places [start, end) of a column."""
    kept = array(column.typecode)
    for start, end in places:
        kept += column[start:end]
    return kept


def packed(column: "array[int]") -> bytes:
    """The array's values, little-endian."""
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def unpacked(typecode: str, data: bytes) -> "array[int]":
    """Little-endian values as an array. Raises ValueError where the bytes are no whole number of them."""
    column: array[int] = array(typecode)
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _runs_of(uids: "array[int]", gone: list[int]) -> list[tuple[int, int]]:
    """Places [start, end) of the UIDs in `gone` (ascending, all present) as runs, the last first."""
    runs: list[tuple[int, int]] = []
    for uid in reversed(gone):
        at = bisect_left(uids, uid)
        if runs and runs[-1][0] == at + 1:
            runs[-1] = (at, runs[-1][1])
        else:
            runs.append((at, at + 1))
    return runs


class ColumnCache:
    """The projections in use, least recently used out first. `settle` hands over what was committed meanwhile."""

    def __init__(self, database: Database, path: Path, executor: Executor, settle: Callable[[], None]) -> None:
        self._database, self._path, self._executor, self._settle = database, path, executor, settle
        self._cached: OrderedDict[int, MailboxColumns] = OrderedDict()
        self._bytes = 0
        self._loads: dict[int, tuple[asyncio.Task[MailboxColumns], list[MailboxChange]]] = {}

    def apply(self, change: MailboxChange) -> None:
        """Bring the mailbox's projection to what this commit made of it."""
        if change.mailbox in self._loads:
            self._loads[change.mailbox][1].append(change)
        columns = self._cached.get(change.mailbox)
        if columns is None:
            return
        if change.dropped or len(change) > CHANGE_MAX:
            self._bytes -= self._cached.pop(change.mailbox).bytes_used
            return
        self._bytes -= columns.bytes_used
        columns.apply(change)
        self._bytes += columns.bytes_used

    def get(self, mailbox: int) -> MailboxColumns | None:
        """The projection where it is at hand, showing everything that was answered so far."""
        self._settle()
        columns = self._cached.get(mailbox)
        if columns is not None:
            self._cached.move_to_end(mailbox)
        return columns

    async def load(self, mailbox: int) -> MailboxColumns:
        """The projection, loaded if need be. Raises Refused (`no-such-mailbox`) where the mailbox is gone."""
        while True:
            columns = self.get(mailbox)
            if columns is not None:
                return columns
            if mailbox not in self._loads:
                task = asyncio.get_running_loop().create_task(self._load(mailbox))
                self._loads[mailbox] = (task, [])
            await asyncio.shield(self._loads[mailbox][0])
            # Loaded and cached, unless a great change came meanwhile: then once more.

    async def _load(self, mailbox: int) -> MailboxColumns:
        try:
            (messages,) = self._database.first("SELECT messages FROM mailbox WHERE seq = ?", (mailbox,)) or (0,)
            if messages <= INLINE_MAX:
                columns = self._read_inline(mailbox)
            else:
                loop = asyncio.get_running_loop()
                columns = await loop.run_in_executor(self._executor, _read_in_thread, self._path, mailbox)
            self._settle()
            missed = [change for change in self._loads[mailbox][1] if change.modseq > columns.as_of]
            if any(change.dropped or len(change) > CHANGE_MAX for change in missed):
                return columns
            for change in missed:
                columns.apply(change)
            self._keep(mailbox, columns)
            return columns
        finally:
            del self._loads[mailbox]

    def _read_inline(self, mailbox: int) -> MailboxColumns:
        self._database.read("BEGIN")
        try:
            columns = _head(self._database.first(_HEAD, (mailbox,)))
            columns.extend(self._database.read(_ROWS, (mailbox,)))
        finally:
            self._database.read("COMMIT")
        return columns

    def _keep(self, mailbox: int, columns: MailboxColumns) -> None:
        self._cached[mailbox] = columns
        self._bytes += columns.bytes_used
        while self._bytes > CACHE_BYTES and len(self._cached) > 1:
            _, oldest = self._cached.popitem(last=False)
            self._bytes -= oldest.bytes_used


def _head(row: Any) -> MailboxColumns:
    if row is None:
        raise Refused("there is no such mailbox", code="no-such-mailbox")
    uid_validity, uid_next, modseq, as_of = row
    return MailboxColumns(uid_validity, uid_next, modseq, as_of, recent_floor=as_of)


def _read_in_thread(path: Path, mailbox: int) -> MailboxColumns:
    """The projection from a connection of its own, so that the loop goes on meanwhile."""
    connection: sqlite3.Connection = connect(path, secure_delete=False)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        columns = _head(connection.execute(_HEAD, (mailbox,)).fetchone())
        for rows in row_slices(connection, mailbox):
            columns.extend(
                (row.uid, row.flags, row.size, row.date, row.modseq, bytes.fromhex(row.email)) for row in rows
            )
        connection.execute("COMMIT")
        return columns
    finally:
        connection.close()

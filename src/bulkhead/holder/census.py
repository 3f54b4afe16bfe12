"""The records of a holder of credentials opened, checked and counted: in the order of row keys, or by account.

Both go on while logins do: a slice of rows at a time, the loop free in between.
"""

import asyncio
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bulkhead.boundary.messages.census import PROBLEMS_MAX, SORTS_MAX, WALK_ROWS_MAX, AccountRecords, RecordCount
from bulkhead.boundary.messages.census import RecordPage as Page
from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.walk import SLICE, decode_cursor, encode_cursor, walk
from bulkhead.identifiers import ID_BYTES, AccountId
from bulkhead.records.record import Kind

Sort = tuple[int, str, int, int]
"""Kind of the record, scheme, state, key version: what records are counted by."""
SLICE_ACCOUNTS = 128  # a millisecond, too
HALVES_AT_ONCE = 1 << 16  # row keys in memory
_HALVES = struct.Struct(">BBIHI")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of sealed records. open: (row, what the account's id is where it is known) to its sort.

    key: the primary key, row key and number; columns: what `open` needs, behind them. owner: names the account.
    open raises IntegrityError.
    """

    name: str
    kind: Kind
    key: tuple[str, str]
    columns: tuple[str, ...]
    owner: str
    open: Callable[[Sequence[Any], AccountId | None], tuple[str, int, int]]

    def select(self) -> str:
        """Key, columns and owner of its rows."""
        return f"SELECT {', '.join((*self.key, *self.columns, self.owner))} FROM {self.name}"  # noqa: S608  names of our schema


@dataclass(slots=True)
class Tally:
    """Of one request. A sort too many for a reply is counted as scheme `other`; faults: all, problems: the first."""

    counts: Counter[Sort] = field(default_factory=Counter)
    faults: int = 0
    problems: list[str] = field(default_factory=list)

    def open(self, table: Table, rows: Sequence[Sequence[Any]], accounts: Mapping[bytes, AccountId]) -> None:
        """Open some records, and count each as what it is or as `unreadable`. accounts: by the owner's row key, which
        then is the row's last column; none where the owners are not known.
        """
        found = Counter[tuple[str, int, int]]()
        for row in rows:
            try:
                found[table.open(row, accounts[row[-1]] if accounts else None)] += 1
            except IntegrityError as error:
                found["unreadable", 0, 0] += 1
                self.faults += 1
                if len(self.problems) < PROBLEMS_MAX:
                    self.problems.append(f"{table.name} row {row[0].hex()}: {error.public}")
        for part, count in found.items():
            sort = (int(table.kind), *part)
            if sort not in self.counts and len(self.counts) >= SORTS_MAX - 2 * len(Kind):
                sort = (int(table.kind), "other", 0, 0)
            self.counts[sort] += count

    def rows(self) -> tuple[RecordCount, ...]:
        """The counts, for a reply."""
        return tuple(RecordCount(*sort, count) for sort, count in sorted(self.counts.items()))


@dataclass(frozen=True, slots=True)
class Census:
    """owner_row, main_row: row keys of an account, and of its main password. absent: state of an account unknown here.

    tables: the first holds the halves.
    """

    database: Database
    tables: tuple[Table, ...]
    owner_row: Callable[[AccountId], bytes]
    main_row: Callable[[AccountId], bytes]
    absent: int

    async def page(self, cursor: bytes, limit: int) -> Page:
        """Up to `limit` rows from the cursor on. Raises Refused (`bad-cursor`)."""
        after: tuple[Any, ...] = ()
        match decode_cursor(cursor):
            case ():
                number = 0
            case (int(number), bytes(row), int(last)) if 0 <= number < len(self.tables):
                after = (row, last)
            case (int(number),) if 0 <= number < len(self.tables):
                pass
            case _:
                raise Refused("that is no place in a walk", code="bad-cursor")
        table, tally, left = self.tables[number], Tally(), min(limit, WALK_ROWS_MAX)
        slice_rows = max(1, min(left, SLICE))
        async for rows in walk(self.database, table.name, table.key, table.columns, after, slice_rows=slice_rows):
            tally.open(table, rows, {})
            left -= len(rows)
            if left <= 0:
                return Page(tally.rows(), tally.faults, tuple(tally.problems), encode_cursor(number, *rows[-1][:2]))
        more = encode_cursor(number + 1) if number + 1 < len(self.tables) else b""
        return Page(tally.rows(), tally.faults, tuple(tally.problems), more)

    async def of_accounts(self, packed: bytes) -> AccountRecords:
        """Every record of these accounts, and how their halves stand. Raises Refused (`bad-account`).

        Row keys are as random, and a tree of millions is deep: they are looked up in their order, so that one page
        serves what lies near. That holds for halves only by their own row keys, so those come first and alone.
        """
        if len(packed) % ID_BYTES:
            raise Refused("an account id has 16 bytes", code="bad-account")
        ids = [AccountId(packed[at : at + ID_BYTES]) for at in range(0, len(packed), ID_BYTES)]
        tally, halves = Tally(), dict[bytes, bytes]()
        accounts: dict[bytes, AccountId] = {}
        async for some in _slices(ids):
            accounts |= {self.owner_row(account): account for account in some}
        met, rows = dict[bytes, int](), set[bytes]()
        async for owners in _slices(sorted(accounts)):
            met |= dict.fromkeys(owners, self.absent) | self._states(owners)
            rows |= self._rows_of_halves(owners)
            self._open_others(owners, accounts, tally)
            if len(rows) >= HALVES_AT_ONCE:
                halves |= await self._open_halves(sorted(rows), met, accounts, tally)
                met, rows = {}, set()
        halves |= await self._open_halves(sorted(rows), met, accounts, tally)
        return AccountRecords(
            tally.rows(), tally.faults, tuple(tally.problems), b"".join([halves[owner] for owner in accounts])
        )

    def _states(self, owners: Sequence[bytes]) -> dict[bytes, int]:
        owner = self.tables[0].owner
        return dict(self._read(f"SELECT {owner}, state FROM account WHERE {owner} IN", owners))  # noqa: S608  names of our schema

    def _rows_of_halves(self, owners: Sequence[bytes]) -> set[bytes]:
        """Their row keys, from the index of owners alone."""
        table = self.tables[0]
        found = self._read(f"SELECT {table.key[0]} FROM {table.name} WHERE {table.owner} IN", owners)  # noqa: S608  as above
        return {row for (row,) in found}

    def _open_others(self, owners: Sequence[bytes], accounts: Mapping[bytes, AccountId], tally: Tally) -> None:
        for table in self.tables[1:]:
            tally.open(table, self._read(f"{table.select()} WHERE {table.owner} IN", owners), accounts)

    async def _open_halves(
        self, rows: Sequence[bytes], met: Mapping[bytes, int], accounts: Mapping[bytes, AccountId], tally: Tally
    ) -> dict[bytes, bytes]:
        """How the halves of those in `met` stand, by owner. met: their states; whoever else has a row there waits."""
        table, held = self.tables[0], defaultdict[bytes, list[tuple[bytes, int]]](list)
        async for some in _slices(rows):
            found = [row for row in self._read(f"{table.select()} WHERE {table.key[0]} IN", some) if row[-1] in met]
            tally.open(table, found, accounts)
            for row in found:
                held[row[-1]].append(row[:2])
        standing: dict[bytes, bytes] = {}
        async for owners in _slices(list(met)):
            for owner in owners:
                standing[owner] = self._halves(met[owner], self.main_row(accounts[owner]), held.get(owner, []))
        return standing

    def _read(self, query: str, rows: Sequence[bytes]) -> list[Any]:
        return self.database.read(f"{query} ({', '.join('?' * len(rows))})", rows)

    @staticmethod
    def _halves(state: int, main: bytes, held: list[tuple[bytes, int]]) -> bytes:
        if len(held) == 1 and held[0][0] == main:  # nearly all
            return _HALVES.pack(state, 1, held[0][1], 0, 0)
        mains = [g for bid, g in held if bid == main]
        others = [g for bid, g in held if bid != main]
        newest = max(mains, default=0)
        return _HALVES.pack(state, min(len(mains), 255), newest, min(len(others), 0xFFFF), sum(others) & 0xFFFFFFFF)


async def _slices(whole: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """SLICE_ACCOUNTS of it at a time, the loop free in between."""
    for at in range(0, len(whole), SLICE_ACCOUNTS):
        yield whole[at : at + SLICE_ACCOUNTS]
        await asyncio.sleep(0)

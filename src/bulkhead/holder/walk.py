"""Rows of a table in the order of their key, a slice at a time, with the loop free in between.

A walk is no snapshot: a row written meanwhile is met or not, a row that stays is met exactly once.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from bulkhead.errors import Refused
from bulkhead.holder.database import Database

ASKED = 500  # keys in one query
SLICE = 100  # rows between pauses: opened, about a millisecond
Cursor = bytes
"""Where a walk stood: the key of the last row, encoded; empty: before the first."""


async def walk(
    database: Database, table: str, key: Sequence[str], columns: Sequence[str], after: Sequence[Any] = (), *,
    slice_rows: int = SLICE,
) -> AsyncIterator[list[Any]]:  # fmt: skip
    """Slices of rows behind `after`, the key's values first in each row, so that `row[:len(key)]` is the next `after`.

    table, key, columns: names from our own schema; key: its primary key.
    """
    names = ", ".join(key)
    start = f"SELECT {', '.join((*key, *columns))} FROM {table}"  # noqa: S608  names of our own schema, never a peer's
    more = f"{start} WHERE ({names}) > ({', '.join('?' * len(key))}) ORDER BY {names} LIMIT ?"
    first = f"{start} ORDER BY {names} LIMIT ?"
    last = tuple(after)
    while rows := database.read(more if last else first, (*last, slice_rows)):
        yield rows
        last = rows[-1][: len(key)]
        await asyncio.sleep(0)


async def walk_rows(database: Database, table: str, key: Sequence[str], columns: Sequence[str]) -> AsyncIterator[Any]:
    """Every row, one by one: the key's values, then the columns'."""
    async for rows in walk(database, table, key, columns):
        for row in rows:
            yield row


def read_of(
    database: Database, table: str, key: str, columns: Sequence[str], values: Sequence[bytes]
) -> Iterator[tuple[Any, ...]]:
    """The rows whose key is one of `values`, ASKED at a time. table, key, columns: as walk's."""
    for start in range(0, len(values), ASKED):
        some = values[start : start + ASKED]
        places = ", ".join("?" * len(some))
        statement = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} IN ({places})"  # noqa: S608  as above
        yield from database.read(statement, tuple(some))


async def count_keys(database: Database, table: str, key: Sequence[str]) -> int:
    """How many values the first column of the key has; reads keys only."""
    count, last = 0, None
    async for rows in walk(database, table, key, (), slice_rows=10 * SLICE):
        for row in rows:
            if row[0] != last:
                count, last = count + 1, row[0]
    return count


def encode_cursor(*values: int | bytes) -> Cursor:
    """A place in a walk as bytes, for a message."""
    return msgspec.msgpack.encode(values)


def decode_cursor(cursor: Cursor) -> tuple[int | bytes, ...]:
    """The values again; none for an empty cursor. Raises Refused (`bad-cursor`)."""
    try:
        return msgspec.msgpack.decode(cursor, type=tuple[int | bytes, ...]) if cursor else ()
    except msgspec.DecodeError:
        raise Refused("that is no place in a walk", code="bad-cursor") from None

"""A walk meets every row that stays exactly once, wherever it is cut."""

import asyncio
from pathlib import Path

import pytest

from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.walk import count_keys, decode_cursor, encode_cursor, walk

SCHEMA = ("CREATE TABLE half (bid BLOB, g INTEGER, record BLOB, PRIMARY KEY (bid, g)) WITHOUT ROWID",)
ROWS = [(bytes((number // 2,)) * 16, number % 2, bytes((number,))) for number in range(25)]


def test_a_walk_cut_after_any_slice_goes_on_behind_it(tmp_path: Path) -> None:
    async def work() -> None:
        database = Database(tmp_path / "a.sqlite", SCHEMA)
        await database.write(lambda connection: connection.executemany("INSERT INTO half VALUES (?, ?, ?)", ROWS))
        for slice_rows in (1, 3, 25, 100):
            met, after = [], b""
            while True:
                place = decode_cursor(after)
                async for rows in walk(database, "half", ("bid", "g"), ("record",), place, slice_rows=slice_rows):
                    met += rows
                    after = encode_cursor(*rows[-1][:2])
                    break
                else:
                    break
            assert met == ROWS
        assert await count_keys(database, "half", ("bid", "g")) == 13
        await database.close()

    asyncio.run(work())


def test_rows_added_and_removed_meanwhile_hide_no_other(tmp_path: Path) -> None:
    async def work() -> None:
        database = Database(tmp_path / "a.sqlite", SCHEMA)
        await database.write(lambda connection: connection.executemany("INSERT INTO half VALUES (?, ?, ?)", ROWS))
        met = []
        async for rows in walk(database, "half", ("bid", "g"), ("record",), slice_rows=2):
            met += rows
            await database.write(lambda connection: connection.execute("DELETE FROM half WHERE bid < x'01'"))
            await database.write(
                lambda connection: connection.execute("INSERT OR IGNORE INTO half VALUES (?, 7, x'')", (bytes(16),))
            )
        assert set(ROWS) <= set(met) and len(met) == len(set(met)) <= len(ROWS) + 1
        await database.close()

    asyncio.run(work())


@pytest.mark.parametrize("cursor", [b"\xc1", b"\x91\xa1a", b"\x90\x90", b"\x01"])
def test_what_is_no_place_in_a_walk_is_refused(cursor: bytes) -> None:
    with pytest.raises(Refused):
        decode_cursor(cursor)

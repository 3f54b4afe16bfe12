"""Access records: found by who, where, when and what; sealed by day; nothing readable once the day has expired."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.boundary.messages.accesses import CountAccessesBase, Cursor, SearchAccessesBase
from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder import accesses as module
from bulkhead.holder.access_search import _search_aside, count, search
from bulkhead.holder.accesses import DAY_MS, Accesses, frames
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.access import Access, Act, Block, Outcome, Place, source_octets, source_text, unpack_rows
from bulkhead.records.keyfile import KeySet

ROOT = bytes(range(32))
A, B = AccountId(b"a" * 16), AccountId(b"b" * 16)
WHOLE = 1 << 62


def _key_file(folder: Path) -> KeyFile:
    path = folder / "keys.sealed"
    if not path.exists():
        path.write_bytes(KeySet().seal(TenantId("kddi"), "auth", 1, ROOT))
    keys = KeySet.open(path.read_bytes(), TenantId("kddi"), "auth", ROOT)
    return KeyFile(path, TenantId("kddi"), "auth", keys, 1, ROOT)


@contextlib.asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Accesses]:
    database = Database(folder / "x.sqlite", ("CREATE TABLE t (x)",))
    accesses = Accesses("kddi", "auth", database, _key_file(folder), folder / "accesses")
    try:
        yield accesses
    finally:
        await accesses.close()
        await database.close()


def _found(accesses: Accesses, **asked: object) -> list[Access]:
    page = search(accesses, SearchAccessesBase(**{"since": 0, "until": WHOLE, **asked}))  # type: ignore[arg-type]
    return list(unpack_rows(b"".join(page.rows)))


def test_a_record_is_found_by_who_where_when_and_what(tmp_path: Path) -> None:
    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            before = time.time_ns() // 1_000_000
            accesses.note(Act.LOGIN, A, gate=3, number=1, source=source_octets("192.0.2.7"))
            accesses.note(Act.LOGIN, B, Outcome.REFUSED, gate=2, source=source_octets("2001:db8::1"))
            accesses.note(Act.SESSION_BEGUN, A, gate=3)
            await accesses.flush()
            after = time.time_ns() // 1_000_000 + 1
            assert [one.act for one in _found(accesses, account=A)] == [Act.LOGIN, Act.SESSION_BEGUN]
            (refused,) = _found(accesses, source=source_octets("2001:db8::9")[:8])
            assert (refused.account, refused.outcome, source_text(refused.source)) == (
                B,
                Outcome.REFUSED,
                "2001:db8::1",
            )
            assert len(_found(accesses, source=source_octets("192.0.2.0")[:15])) == 1
            assert len(_found(accesses, acts=1 << Act.SESSION_BEGUN)) == 1
            assert len(_found(accesses, gate=2)) == 1
            assert len(_found(accesses, since=before, until=after)) == 3
            assert _found(accesses, since=0, until=before) == [] == _found(accesses, since=after + 1)
            counts = count(accesses, CountAccessesBase(0, WHOLE))
            assert (counts.records, counts.accounts, counts.damaged) == (3, 2, 0)
            for bad in ({"since": 5, "until": 5}, {"account": b"short"}):
                with pytest.raises(Refused):
                    _found(accesses, **bad)

    asyncio.run(work())


def test_a_search_goes_on_from_its_cursor_and_misses_and_repeats_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            for number in range(10_000):
                accesses.note(Act.LOGIN, A if number % 3 else B, number=number)
            await accesses.flush()
            cursor, seen = Cursor(), list[int]()
            for _ in range(100):
                page = search(accesses, SearchAccessesBase(0, WHOLE, account=A, cursor=cursor, limit=700))
                seen += [one.number for one in unpack_rows(b"".join(page.rows))]
                cursor = page.cursor
                if not page.more:
                    break
            assert seen == [number for number in range(10_000) if number % 3]

    asyncio.run(work())


def test_records_outlive_a_restart_and_a_torn_block_is_cut_off(tmp_path: Path) -> None:
    async def write(number: int) -> list[int]:
        async with _opened(tmp_path) as accesses:
            accesses.note(Act.LOGIN, A, number=number)
            await accesses.flush()
            return [one.number for one in _found(accesses)]

    assert asyncio.run(write(1)) == [1]
    (day,) = (path for path in (tmp_path / "accesses").iterdir() if not path.suffix)
    whole = day.read_bytes()
    day.write_bytes(whole + whole[: len(whole) - 1])
    assert asyncio.run(write(2)) == [1, 2]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_octet_of_a_block_is_found_and_the_others_still_open(data: st.DataObject) -> None:
    block = Block.of([Access(5, Act.LOGIN, 0, 3, 1, A, source_octets("192.0.2.7"))] * 3)
    place = Place("kddi", "auth", 7, 0)
    head, record = place.seal(bytes(32), block)
    assert place.open(bytes(32), head, record) == block
    whole = bytearray(head + record)
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        place.open(bytes(32), bytes(whole[: len(head)]), bytes(whole[len(head) :]))
    for other in (Place("stnet", "auth", 7, 0), Place("kddi", "store", 7, 0), Place("kddi", "auth", 8, 0),
                  Place("kddi", "auth", 7, 1)):  # fmt: skip
        with pytest.raises(IntegrityError):
            other.open(bytes(32), head, record)


def test_damage_is_counted_and_the_rest_is_found(tmp_path: Path) -> None:
    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            for number in range(3):
                accesses.note(Act.LOGIN, A, number=number)
                await accesses.flush()
            (day,) = accesses.days()
            path = tmp_path / "accesses" / str(day)
            with path.open("rb") as file:
                second = list(frames(file.fileno()))[1]
            content = bytearray(path.read_bytes())
            content[second.at + 30] ^= 1
            path.write_bytes(content)
            page = search(accesses, SearchAccessesBase(0, WHOLE))
            assert [one.number for one in unpack_rows(b"".join(page.rows))] == [0, 2] and page.damaged == 1

    asyncio.run(work())


def test_an_expired_day_is_gone_with_its_key_and_a_copy_of_its_file_opens_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            accesses.note(Act.LOGIN, A)
            await accesses.flush()
            (day,) = accesses.days()
            key, path = tmp_path / "accesses" / f"{day}.key", tmp_path / "accesses" / str(day)
            copy, sealed = path.read_bytes(), key.read_bytes()
            assert A not in copy
            later = (day + accesses.keep_days + 1) * DAY_MS * 1_000_000
            monkeypatch.setattr(module.time, "time_ns", lambda: later)
            assert await accesses.expire() == 1
            assert not key.exists() and not path.exists() and accesses.days() == []
            path.write_bytes(copy)
            assert _found(accesses) == []
            assert sealed not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())

    asyncio.run(work())


def test_what_finds_no_room_is_counted_and_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(module, "WAITING_MAX", 5)
        async with _opened(tmp_path) as accesses:
            for _ in range(8):
                accesses.note(Act.LOGIN, A)
            assert accesses.dropped == 3
            await accesses.flush()
            assert len(_found(accesses)) == 5

    asyncio.run(work())


def test_a_search_says_since_when_records_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            asked, before = SearchAccessesBase(0, WHOLE), time.time_ns() // 1_000_000
            ask = partial(_search_aside, accesses, asked)
            accesses.note(Act.LOGIN, A)
            with monkeypatch.context() as patched:
                patched.setattr(accesses, "_append", full)
                waiting, found = await accesses.aside(ask)
            assert found.rows == [] and before <= waiting <= time.time_ns() // 1_000_000
            waiting, found = await accesses.aside(ask)
            assert (waiting, len(found.rows)) == (0, 1)

    asyncio.run(work())


def test_a_time_that_no_calendar_has_is_refused() -> None:
    row = Block.of([Access(1, Act.LOGIN, Outcome.DONE, 0, 0, A, bytes(16))]).row(0)
    assert len(list(unpack_rows(row))) == 1
    with pytest.raises(IntegrityError, match="beyond the year 9999"):
        list(unpack_rows(b"\xff" * 8 + row[8:]))


def test_the_root_of_a_minute_follows_from_its_blocks(tmp_path: Path) -> None:
    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            assert accesses.root_details() == {}
            accesses.note(Act.LOGIN, A)
            await accesses.flush()
            first = accesses.root_details()
            accesses.note(Act.LOGIN, A)
            await accesses.flush()
            second = accesses.root_details()
            assert (first["blocks"], second["blocks"]) == (1, 1) and first["blocks_root"] != second["blocks_root"]

    asyncio.run(work())


class Day:
    """The time of day, which somebody sets."""

    def __init__(self, day: int) -> None:
        self.day, self.since = day, 0

    def time_ns(self) -> int:
        self.since += 1_000_000
        return self.day * DAY_MS * 1_000_000 + self.since


def test_no_record_is_lost_or_written_twice_where_the_clock_goes_back_over_midnight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Day(20_000)

    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            monkeypatch.setattr(module.time, "time_ns", day.time_ns)
            for number, when in enumerate((20_001, 20_000, 20_001, 20_000)):
                day.day = when
                accesses.note(Act.LOGIN, A, number=number)
            await accesses.flush()
            assert sorted(one.number for one in _found(accesses)) == [0, 1, 2, 3]

    asyncio.run(work())


def test_records_are_taken_again_where_the_clock_was_far_ahead_and_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day that is being written had expired: every record after it waited for a file that was gone."""
    day = Day(20_000)

    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            monkeypatch.setattr(module.time, "time_ns", day.time_ns)
            accesses.note(Act.LOGIN, A, number=1)
            await accesses.flush()
            day.day += module.KEEP_DAYS + 1
            assert await accesses.expire() == 1
            day.day = 20_000
            accesses.note(Act.LOGIN, A, number=2)
            await accesses.flush()
            assert [one.number for one in _found(accesses)] == [2]

    asyncio.run(work())


def test_a_days_key_that_opens_no_more_keeps_nobody_from_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Day(20_000)

    async def work() -> None:
        monkeypatch.setattr(module.time, "time_ns", day.time_ns)
        async with _opened(tmp_path) as accesses:
            accesses.note(Act.LOGIN, A, number=1)
        (tmp_path / "accesses/20000.key").write_bytes(b"rotten" * 20)
        async with _opened(tmp_path) as accesses:
            accesses.note(Act.LOGIN, A, number=2)
            await accesses.flush()
            assert [one.number for one in _found(accesses)] == [2]
            assert len(list(tmp_path.glob("accesses/*.damaged"))) == 2
            day.day += module.KEEP_DAYS + 1
            await accesses.expire()
            assert list(tmp_path.glob("accesses/*")) == []

    asyncio.run(work())

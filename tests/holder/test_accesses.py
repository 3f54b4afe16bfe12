"""Access records: found by who, where, when and what; sealed by day; nothing readable once the day has expired."""

import asyncio
import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.boundary.messages.accesses import CountAccessesBase, Cursor, SearchAccessesBase
from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder import access_counts
from bulkhead.holder import accesses as module
from bulkhead.holder.access_counts import Tally
from bulkhead.holder.access_frames import Frame, frames
from bulkhead.holder.access_search import Selector, _search_aside, count, search
from bulkhead.holder.accesses import DAY_MS, Accesses
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.access import (
    HEAD,
    Access,
    Act,
    Block,
    DayOpener,
    Outcome,
    Place,
    source_octets,
    source_text,
    unpack_rows,
)
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
            assert (refused.account, refused.outcome, source_text(refused)) == (
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
                if len(seen) % 3:  # another process asks: where it left off is not known
                    accesses._left_off.clear()
            assert seen == [number for number in range(10_000) if number % 3]
            assert search(accesses, SearchAccessesBase(0, WHOLE, cursor=Cursor(accesses.days()[0], 1))).damaged == 0

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
    assert DayOpener("kddi", "auth", 7, bytes(32)).open(0, head, record) == block
    whole = bytearray(head + record)
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        DayOpener("kddi", "auth", 7, bytes(32)).open(0, bytes(whole[: len(head)]), bytes(whole[len(head) :]))
    for tenant, compartment, day, number in (
        ("stnet", "auth", 7, 0), ("kddi", "store", 7, 0), ("kddi", "auth", 8, 0), ("kddi", "auth", 7, 1),
    ):  # fmt: skip
        with pytest.raises(IntegrityError):
            DayOpener(tenant, compartment, day, bytes(32)).open(number, head, record)


@given(st.binary(max_size=80), st.binary(max_size=24))
def test_what_is_no_block_raises_an_integrity_error_alone(record: bytes, head: bytes) -> None:
    with pytest.raises(IntegrityError):
        DayOpener("kddi", "auth", 7, bytes(32)).open(0, head, record)
    block = Block.of([Access(5, Act.LOGIN, 0, 3, 1, A)])
    _, whole = Place("kddi", "auth", 7, 0).seal(bytes(32), block)
    with pytest.raises(IntegrityError):
        DayOpener("kddi", "auth", 7, bytes(32)).open(0, bytes(20), whole[: len(record)])


_SOURCES = [source_octets(text) for text in ("192.0.2.7", "192.0.2.8", "192.0.3.7", "2001:db8::1", "")]
_RECORDS = st.builds(
    Access, st.integers(0, 30), st.integers(1, 18), st.integers(0, 17), st.integers(0, 3), st.integers(0, 9),
    st.sampled_from([A, B, AccountId(bytes(16)), AccountId(b"ab" * 8)]), st.sampled_from(_SOURCES),
)  # fmt: skip


@given(
    st.lists(st.lists(_RECORDS, min_size=1, max_size=9), max_size=4),
    st.integers(0, 30), st.integers(1, 31), st.sampled_from([b"", A, AccountId(b"ab" * 8)]),
    st.sampled_from([b"", *(source[:length] for source in _SOURCES for length in (1, 15, 16))]),
    st.sampled_from([0xFFFF, 0, 2, 6, 1 << 15]), st.integers(0, 3),
)  # fmt: skip
def test_a_count_is_what_a_look_at_each_record_gives(
    blocks: list[list[Access]], since: int, length: int, account: bytes, source: bytes, acts: int, gate: int
) -> None:
    asked = CountAccessesBase(since, since + length, account, source, acts, gate)
    tally, selector, wanted = Tally(), Selector(asked), list[Access]()
    for records in blocks:
        block = Block.of(records)
        tally.add(block, selector.of(block, Frame(0, 0, HEAD.pack(*block.span(), block.count), 24, 1, b"")))
        wanted += [
            one for one in records
            if since <= one.at < since + length and one.account.startswith(account) and one.source.startswith(source)
            and (acts == 0xFFFF or acts >> one.act & 1) and gate in {0, one.gate}
        ]  # fmt: skip
    assert {(act, outcome): many for act, outcome, many in tally.pairs()} == Counter(
        (one.act, one.outcome) for one in wanted
    )
    assert tally.accounts() == len({one.account for one in wanted} - {bytes(16)})


def test_accounts_are_told_apart_where_more_come_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_counts, "IDS_MAX", 5000)
    tally = Tally()
    tally._keep = 5000
    ids = [AccountId(hashlib.sha256(bytes((number >> 8, number & 255))).digest()[:16]) for number in range(9000)]
    for start in (*range(0, 9000, 1000), *range(0, 9000, 3000)):
        records = [Access(1, Act.LOGIN, 0, 0, 0, one) for one in ids[start : start + 1000]]
        tally.add(Block.of(records), None)
    assert (tally.accounts(), tally.pairs()) == (9000, [(Act.LOGIN, 0, 12_000)])
    assert tally._kept < 18_001


def test_large_blocks_among_small_ones_are_read_whole(tmp_path: Path) -> None:
    async def work() -> None:
        async with _opened(tmp_path) as accesses:
            many = [1, 3, 4096, 1, 1, 2000, 700, 1, 4096, 4096, 2] + [1] * 300
            for size in many:
                for number in range(size):
                    accesses.note(Act.LOGIN, A, number=number)
                await accesses.flush()
            counts = count(accesses, CountAccessesBase(0, WHOLE))
            assert (counts.records, counts.damaged) == (sum(many), 0)
            (day,) = accesses.days()
            with (tmp_path / "accesses" / str(day)).open("rb") as file:
                found = list(frames(file.fileno()))
                again = list(frames(file.fileno(), number=7, offset=found[7].offset))
                assert [frame[:5] for frame in again] == [frame[:5] for frame in found[7:]]
                assert [frame.number for frame in found] == list(range(len(many)))

    asyncio.run(work())


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


def test_a_clock_that_jumps_ahead_destroys_nothing_until_it_has_held_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day, ran = Day(20_000), [1000.0]

    async def work() -> None:
        monkeypatch.setattr(module.time, "time_ns", day.time_ns)
        monkeypatch.setattr(module, "steady", lambda: ran[0])
        async with _opened(tmp_path) as accesses:
            accesses.note(Act.LOGIN, A)
            await accesses.flush()
            assert not accesses.dated()
            day.day += 2
            assert accesses.dated()  # there are records that are more than a day old
            day.day += 1000
            assert not accesses.dated()
            accesses.note(Act.LOGIN, A)
            await accesses.flush()
            assert not accesses.dated()
            day.day += 1  # its midnight came minutes later
            assert not accesses.dated()
        async with _opened(tmp_path) as accesses:  # which knows of no jump
            accesses.note(Act.LOGIN, A)
            await accesses.flush()
            assert not accesses.dated()
            ran[0] += DAY_MS / 1000 + 1
            day.day += 1
            assert accesses.dated()

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

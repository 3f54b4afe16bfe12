"""The outbox against a real ledger: every event once and in order, and none held up or lost by another."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.holder.conftest import Cell

from bulkhead.boundary.codec import encode_request
from bulkhead.boundary.messages.fields import MESSAGE_MAX, Stamp
from bulkhead.boundary.messages.to_ledger import EVENTS_MAX, AppendEvents, Event
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder import outbox as module
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import BATCH_BYTES_MAX, SCHEMA, Outbox, note
from bulkhead.identifiers import new_id
from bulkhead.ledger.files import DirectoryFiles

DATABASE, MIGRATIONS = Path("auth.sqlite"), (f"{SCHEMA}; CREATE TABLE act (number INTEGER)",)
SECRET = "subscriber@kddi.example"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


@asynccontextmanager
async def opened() -> AsyncIterator[Database]:
    database = Database(DATABASE, MIGRATIONS)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def delivering(database: Database, cell: Cell) -> AsyncIterator[Outbox]:
    outbox = Outbox(database, cell.auth)
    try:
        yield outbox
    finally:
        outbox.stop()


def noting(*numbers: int, kind: str = "StopLogins", **details: Any) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        for number in numbers:
            note(connection, kind, "officer:abc", {"number": number, **details})

    return work


def raw(event: bytes) -> Callable[[sqlite3.Connection], None]:
    """An event as a build with a fault might have left it."""
    return lambda connection: connection.execute("INSERT INTO outbox (event) VALUES (?)", (event,)) and None


def waiting(database: Database) -> int:
    return int(database.first("SELECT count(*) FROM outbox")[0])


async def emptied(database: Database) -> None:
    async with asyncio.timeout(60):
        while waiting(database):
            await asyncio.sleep(0.01)


async def numbers(cell: Cell) -> list[Any]:
    return [event.details["number"] for event in await cell.entries()]


async def test_every_event_is_logged_once_and_in_order_by_its_compartment(make_cell: Any) -> None:
    account = new_id()
    async with make_cell() as cell, opened() as database, delivering(database, cell) as outbox:
        await database.write(noting(*range(2 * EVENTS_MAX + 1)))
        await database.write(lambda c: note(c, "PasswordSet", "auth", {"number": -1}, account))
        outbox.wake()
        await emptied(database)
        assert await numbers(cell) == [*range(2 * EVENTS_MAX + 1), -1]
        last = (await cell.entries())[-1]
        assert last.kind.name == "PasswordSet" and last.details["compartment"] == "auth" and len(last.subjects) == 1


async def test_what_lies_there_at_the_start_goes_out_without_being_waked(make_cell: Any) -> None:
    async with make_cell() as cell, opened() as database:
        await database.write(noting(1, 2))
        async with delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == [1, 2]


async def test_an_act_that_fails_leaves_no_event(make_cell: Any) -> None:
    def act(connection: sqlite3.Connection) -> None:
        noting(1)(connection)
        raise Refused("no")

    async with make_cell(ledger=False), opened() as database:
        with pytest.raises(Refused):
            await database.write(act)
        assert waiting(database) == 0


# --- events that the ledger never takes ------------------------------------------------------------------------------


def _unfit() -> dict[str, Callable[[sqlite3.Connection], None]]:
    longest = Event("StopLogins", 1, "x" * 65, b"", {})
    return {
        "unknown kind": noting(999, kind="NoSuchEvent"),
        "an address": noting(999, reason=SECRET),
        "17 KB": noting(999, **{f"d{number}": "x" * 1024 for number in range(15)}),
        "a number too large": noting(1 << 60),
        "an account of 5 bytes": lambda c: note(c, "StopLogins", "auth", {"number": 999}, b"short"),
        "an actor over the limit of its field": raw(msgspec.msgpack.encode(longest)),
        "no event at all": raw(b"\xff\x00" + SECRET.encode()),
        "too large for any message": raw(b"x" * (MESSAGE_MAX + 1)),
    }


@pytest.mark.parametrize("unfit", _unfit().values(), ids=_unfit().keys())
async def test_one_event_that_is_never_taken_costs_no_other_and_is_logged_without_its_values(
    make_cell: Any, caplog: pytest.LogCaptureFixture, unfit: Callable[[sqlite3.Connection], None]
) -> None:
    place = 7
    async with make_cell() as cell, opened() as database:
        await database.write(noting(*range(place)))
        await database.write(unfit)
        await database.write(noting(*range(place, 20)))
        async with delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == list(range(20))
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert f"number {place + 1})" in error.getMessage()
    assert SECRET not in caplog.text and "officer:abc" not in caplog.text and "xxx" not in caplog.text


@pytest.mark.parametrize("place", [0, EVENTS_MAX - 1, EVENTS_MAX])
async def test_the_place_of_an_unfit_event_changes_nothing(make_cell: Any, place: int) -> None:
    async with make_cell() as cell, opened() as database:
        await database.write(noting(*range(place)))
        await database.write(noting(999, kind="NoSuchEvent"))
        await database.write(noting(*range(place, EVENTS_MAX + 20)))
        async with delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == list(range(EVENTS_MAX + 20))


async def test_a_batch_of_nothing_but_unfit_events_holds_up_no_later_one(make_cell: Any) -> None:
    async with make_cell() as cell, opened() as database, delivering(database, cell) as outbox:
        await database.write(noting(*range(30), kind="NoSuchEvent"))
        await database.write(noting(30))
        outbox.wake()
        await emptied(database)
        assert await numbers(cell) == [30]


@pytest.mark.parametrize("actor", ["@" * 64, "", "\x00\r\n", "user@kddi.example", "長" * 64])
async def test_whatever_name_asked_for_an_act_its_event_is_logged(make_cell: Any, actor: str) -> None:
    async with make_cell() as cell, opened() as database, delivering(database, cell) as outbox:
        await database.write(lambda c: note(c, "StopLogins", actor, {}))
        outbox.wake()
        await emptied(database)
        (event,) = await cell.entries()
        assert event.actor and "@" not in event.actor


# --- bytes -----------------------------------------------------------------------------------------------------------


async def test_a_hundred_large_events_go_in_messages_within_the_limit(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    send = Outbox._send

    async def counted(self: Outbox, batch: bytes, encoded: Sequence[bytes]) -> str:
        counts.append(len(encoded))
        return await send(self, batch, encoded)

    monkeypatch.setattr(Outbox, "_send", counted)
    async with make_cell() as cell, opened() as database:
        for first in range(0, 100, 10):
            await database.write(noting(*range(first, first + 10), **{f"d{n}": "x" * 1000 for n in range(7)}))
        async with delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == list(range(100))
    assert sum(counts) == 100 and max(counts) > 30  # none twice, and no more messages than it needs


async def test_a_message_of_events_up_to_the_limit_fits_and_the_next_byte_goes_to_the_next_message() -> None:
    def rows(*sizes: int) -> list[tuple[int, bytes | None, bytes]]:
        return [(number, None, b"x" * size) for number, size in enumerate(sizes)]

    half = BATCH_BYTES_MAX // 2
    assert module._fitting(rows(half, BATCH_BYTES_MAX - half)) == 2
    assert module._fitting(rows(half, BATCH_BYTES_MAX - half + 1)) == 1
    assert module._fitting(rows(BATCH_BYTES_MAX + 1, 1)) == 1
    assert module._fitting(rows(1, BATCH_BYTES_MAX, 1)) == 1
    assert module._fitting(rows(*[1] * EVENTS_MAX)) == EVENTS_MAX

    def event(size: int) -> Event:
        return Event("StopLogins", 2**63 - 1, "x", b"", {"a": "x" * 900, "b": "x" * 900, "c": "x" * size})

    frame = len(msgspec.msgpack.encode(event(300))) - 300
    each, rest = divmod(BATCH_BYTES_MAX - EVENTS_MAX * frame, EVENTS_MAX)
    events = tuple(event(each + (rest if last else 0)) for last in (False,) * (EVENTS_MAX - 1) + (True,))
    assert sum(len(msgspec.msgpack.encode(event)) for event in events) == BATCH_BYTES_MAX
    stamp = Stamp("長" * 64, new_id(), 2**63 - 1)  # type: ignore[arg-type]
    assert len(encode_request(AppendEvents(stamp, events))) <= MESSAGE_MAX


async def test_a_batch_over_the_limit_left_by_an_older_build_is_delivered_too(make_cell: Any) -> None:
    async with make_cell() as cell, opened() as database:
        for first in range(0, 100, 10):
            await database.write(noting(*range(first, first + 10), **{f"d{n}": "x" * 1000 for n in range(7)}))
        await database.write(lambda c: c.execute("UPDATE outbox SET batch = ?", (new_id(),)) and None)
        await database.write(noting(100))
        async with delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == list(range(101))


# --- what is down, and comes back ------------------------------------------------------------------------------------


async def test_events_wait_for_a_ledger_that_is_not_there_across_a_restart(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.05)
    async with make_cell(ledger=False) as cell:
        async with opened() as database, delivering(database, cell) as outbox:
            await database.write(noting(1))
            outbox.wake()
            await asyncio.sleep(0.2)
            await database.write(noting(2))
            assert waiting(database) == 2
        async with opened() as database, delivering(database, cell):
            await cell.start_ledger()
            await emptied(database)
            assert await numbers(cell) == [1, 2]


async def test_an_event_is_logged_once_though_the_answer_was_lost_and_the_holder_restarted(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_cell() as cell:
        async with opened() as database:
            with monkeypatch.context() as patch:
                patch.setattr(module, "_drop", _storage_fails)
                async with delivering(database, cell) as outbox:
                    await database.write(noting(1, 2))
                    outbox.wake()
                    await cell.logged(2)
                    await asyncio.sleep(0.1)  # and sent several times more
                    await database.write(noting(3))
                    assert waiting(database) == 3
        await cell.stop_ledger()
        await cell.start_ledger()
        async with opened() as database, delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == [1, 2, 3]


async def test_a_restart_amid_the_single_events_of_a_refused_batch_neither_repeats_nor_drops_one(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = module._drop
    left = [5]

    def drop_five(connection: sqlite3.Connection, *, batch: bytes) -> None:
        if not left[0]:
            raise TemporaryFailure("no")
        left[0] -= 1
        drop(connection, batch=batch)

    async with make_cell() as cell:
        async with opened() as database:
            await database.write(noting(0, 1, 2))
            await database.write(noting(3, kind="NoSuchEvent"))
            await database.write(noting(*range(4, 20)))
            with monkeypatch.context() as patch:
                patch.setattr(module, "_drop", drop_five)
                async with delivering(database, cell):
                    await cell.logged(5)
                    await asyncio.sleep(0.05)
                    assert waiting(database) == 15
        async with opened() as database, delivering(database, cell):
            await emptied(database)
            assert await numbers(cell) == [0, 1, 2, *range(4, 20)]


def _storage_fails(*_: Any, **__: Any) -> None:
    raise TemporaryFailure("storage failed", code="storage")


async def test_a_ledger_whose_disk_is_full_loses_no_event_and_logs_none_twice(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    async with make_cell() as cell, opened() as database, delivering(database, cell) as outbox:
        await database.write(noting(*range(10)))
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryFiles, "sync", full)
            outbox.wake()
            await asyncio.sleep(0.15)
            assert waiting(database) == 10
        await emptied(database)
        assert await numbers(cell) == list(range(10))


async def test_a_fault_of_ours_while_delivering_ends_no_delivery(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ZeroDivisionError(), sqlite3.OperationalError("disk I/O error")]
    send = Outbox._send

    async def failing(self: Outbox, batch: bytes, encoded: Sequence[bytes]) -> str:
        if faults:
            raise faults.pop()
        return await send(self, batch, encoded)

    monkeypatch.setattr(Outbox, "_send", failing)
    async with make_cell() as cell, opened() as database, delivering(database, cell) as outbox:
        await database.write(noting(1))
        outbox.wake()
        await emptied(database)
        assert await numbers(cell) == [1] and not faults


_CRASH = """
import asyncio, os
from pathlib import Path
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import SCHEMA, note

def act(connection):
    connection.execute("INSERT INTO act VALUES (1)")
    note(connection, "StopLogins", "officer:abc", {"number": 7})

async def main():
    database = Database(Path("auth.sqlite"), (f"{SCHEMA}; CREATE TABLE act (number INTEGER)",))
    await database.write(act, after=lambda _: os._exit(9))

asyncio.run(main())
"""


async def test_an_event_of_an_act_that_was_committed_at_the_moment_of_a_crash_is_delivered(make_cell: Any) -> None:
    async with make_cell() as cell:
        assert subprocess.run([sys.executable, "-c", _CRASH], check=False, timeout=30).returncode == 9
        async with opened() as database, delivering(database, cell):
            await emptied(database)
            assert database.read("SELECT number FROM act") == [(1,)]
            assert await numbers(cell) == [7]

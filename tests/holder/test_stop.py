"""A tenant's stop in one holder: at once, durable, only upward, and lifted only with the ledger's knowledge."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.holder.conftest import Cell

from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_auth import LiftTenantStop, StopTenantLogins
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder import outbox, stop
from bulkhead.holder.database import Database
from bulkhead.holder.stop import EPOCH_AHEAD_MS, TenantStop
from bulkhead.identifiers import new_id

MIGRATIONS = (f"{outbox.SCHEMA}; {stop.SCHEMA}",)


class Holder:
    """A database with its stop; the stop's requests as auth asks them."""

    def __init__(self, cell: Cell) -> None:
        self.database = Database(Path("auth.sqlite"), MIGRATIONS)
        self.stop = TenantStop(self.database, cell.auth)
        self.effects = 0

    def effect(self) -> Done:
        self.effects += 1
        return Done()

    async def ask(self, request: Any, *, logins: bool = True, sessions: bool = False, effect: Any = None) -> Done:
        if isinstance(request, LiftTenantStop):
            return await self.stop.lift(request, request.epoch, request.reason, Done())
        return await self.stop.stop(
            request,
            request.epoch,
            request.reason,
            event="StopLogins",
            logins=logins,
            sessions=sessions,
            effect=effect or self.effect,
        )

    def now(self) -> tuple[int, bool, int]:
        return self.stop.epoch, self.stop.stopped, self.stop.ended

    def disk(self) -> tuple[int, bool, int]:
        epoch, stopped, ended = self.database.first("SELECT epoch, stopped, ended FROM stop")
        return epoch, bool(stopped), ended

    def noted(self) -> int:
        return int(self.database.first("SELECT count(*) FROM outbox")[0])


@asynccontextmanager
async def holding(cell: Cell) -> AsyncIterator[Holder]:
    holder = Holder(cell)
    try:
        yield holder
    finally:
        await holder.database.close()


def stopping(epoch: int, reason: str = "drill", actor: str = "officer:abc") -> StopTenantLogins:
    return StopTenantLogins(Stamp.fresh(actor), epoch, reason)


def lifting(epoch: int) -> LiftTenantStop:
    return LiftTenantStop(Stamp.fresh("officer:abc"), epoch, "over")


async def refused(holder: Holder, request: Any) -> str:
    with pytest.raises(Refused) as caught:
        await holder.ask(request)
    return caught.value.code


async def test_a_stop_needs_no_ledger_and_survives_a_restart_with_its_event(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell:
        async with holding(cell) as holder:
            assert holder.now() == (0, False, 0)
            await holder.ask(stopping(5), sessions=True)
            assert holder.now() == holder.disk() == (5, True, 5) and holder.noted() == 1
        async with holding(cell) as holder:
            assert holder.now() == (5, True, 5) and holder.noted() == 1


async def test_a_stop_holds_in_memory_before_anything_is_written(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        seen: list[Any] = []

        def effect() -> Done:
            seen.append((holder.now(), holder.disk()))
            return Done()

        await holder.ask(stopping(5), effect=effect)
        assert seen == [((5, True, 0), (0, False, 0))]


@pytest.mark.parametrize("epoch", [0, 4, 5])
async def test_an_epoch_that_is_not_above_the_last_one_is_refused_without_effect_also_after_a_restart(
    make_cell: Any, epoch: int
) -> None:
    async with make_cell() as cell:
        async with holding(cell) as holder:
            await holder.ask(stopping(5))
            for request in (stopping(epoch), lifting(epoch)):
                assert await refused(holder, request) == "old-epoch"
        async with holding(cell) as holder:
            for request in (stopping(epoch), lifting(epoch)):
                assert await refused(holder, request) == "old-epoch"
            assert holder.effects == 0 and holder.now() == holder.disk() == (5, True, 0)
            await holder.ask(stopping(6))
        assert await cell.entries() == []  # nor did the ledger hear of a lift that was not to be


async def test_an_epoch_of_now_is_taken_and_one_of_the_future_is_refused_without_effect(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        now = int(time.time() * 1000)
        for epoch in (now + 2 * EPOCH_AHEAD_MS, 2**53 - 1, 2**63 - 1):
            assert await refused(holder, stopping(epoch)) == "bad-epoch"
            assert await refused(holder, lifting(epoch)) == "bad-epoch"
        assert holder.now() == (0, False, 0) and holder.effects == 0
        await holder.ask(stopping(now))
        await holder.ask(lifting(now + 1))
        assert holder.now() == holder.disk() == (now + 1, False, 0)


async def test_a_stop_of_sessions_alone_leaves_logins_as_they_were(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        await holder.ask(stopping(5), logins=False, sessions=True)
        assert holder.now() == holder.disk() == (5, False, 5)
        await holder.ask(stopping(6), logins=True)
        await holder.ask(stopping(7), logins=False, sessions=True)
        assert holder.now() == holder.disk() == (7, True, 7)
        await holder.ask(lifting(8))
        assert holder.now() == holder.disk() == (8, False, 7)  # what ended stays ended


# --- lifting ---------------------------------------------------------------------------------------------------------


async def test_a_lift_is_in_the_ledger_before_it_is_anywhere_else(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    async with make_cell() as cell, holding(cell) as holder:
        await holder.ask(stopping(5))
        witness = stop.witness

        async def observed(*what: Any) -> None:
            seen.append((holder.now(), holder.disk(), len(await cell.entries())))
            await witness(*what)
            seen.append((holder.now(), holder.disk(), len(await cell.entries())))

        monkeypatch.setattr(stop, "witness", observed)
        await holder.ask(lifting(6))
        assert seen == [((5, True, 0), (5, True, 0), 0), ((5, True, 0), (5, True, 0), 1)]
        assert holder.now() == holder.disk() == (6, False, 0)
        (event,) = await cell.entries()
        assert event.kind.name == "StopLifted" and event.details["epoch"] == 6 and event.details["at"] == "auth"


async def test_without_a_ledger_nothing_is_lifted_and_the_same_request_lifts_once_it_is_there(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.05)
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        await holder.ask(stopping(5))
        request = lifting(6)
        with pytest.raises(TemporaryFailure):
            await holder.ask(request)
        assert holder.now() == holder.disk() == (5, True, 0)
        await cell.start_ledger()
        await holder.ask(request)
        assert holder.now() == holder.disk() == (6, False, 0) and len(await cell.entries()) == 1


async def test_a_stop_that_comes_while_a_lift_is_under_way_holds(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        await holder.ask(stopping(5))
        witness = stop.witness

        async def interrupted(*what: Any) -> None:
            await witness(*what)
            await holder.ask(stopping(7))

        monkeypatch.setattr(stop, "witness", interrupted)
        assert await refused(holder, lifting(6)) == "old-epoch"
        assert holder.now() == holder.disk() == (7, True, 0)


# --- in any order, and at once ---------------------------------------------------------------------------------------


async def test_of_many_stops_and_lifts_at_once_the_newest_holds_and_disk_and_memory_agree(make_cell: Any) -> None:
    async with make_cell() as cell:
        async with holding(cell) as holder:
            requests = [stopping(epoch) for epoch in (3, 9, 1, 7, 10)] + [lifting(epoch) for epoch in (2, 8, 6)]
            await asyncio.gather(*map(holder.ask, requests), return_exceptions=True)
            assert holder.now() == holder.disk() == (10, True, 0)
            assert holder.effects >= 1
        async with holding(cell) as holder:
            assert holder.now() == (10, True, 0)


async def test_on_disk_the_epoch_goes_up_only_whoever_writes(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        await holder.ask(stopping(5))
        for epoch in (4, 5):
            with pytest.raises(Refused, match="give one above 5"):
                await holder.database.write(lambda c, e=epoch: stop._write("stop", c, epoch=e, stopped=False, ended=0))  # type: ignore[misc]
        assert holder.disk() == (5, True, 0)


# --- retries, cancelled callers, a disk that refuses -----------------------------------------------------------------


@pytest.mark.parametrize("make", [stopping, lifting])
async def test_a_request_that_comes_twice_is_answered_twice_and_done_once(
    make_cell: Any, make: Callable[[int], Any]
) -> None:
    async with make_cell() as cell:
        request = make(5)
        async with holding(cell) as holder:
            both = await asyncio.gather(holder.ask(request), holder.ask(request))  # a retry that overtakes the answer
            assert both == [Done(), Done()] == [await holder.ask(request), Done()]
            assert holder.noted() + len(await cell.entries()) == 1
        async with holding(cell) as holder:
            assert await holder.ask(request) == Done()
            assert holder.effects == 0 and holder.now()[0] == 5
            assert holder.noted() + len(await cell.entries()) == 1


async def test_a_caller_that_goes_away_leaves_memory_as_the_disk_and_its_retry_is_true(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        for request, state in ((stopping(5), (5, True, 0)), (lifting(6), (6, False, 0))):
            gone = asyncio.create_task(holder.ask(request))
            while not holder.stop._writing.locked():
                await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            while holder.disk() != state or holder.stop._writing.locked():  # on disk a moment before the loop knows
                await asyncio.sleep(0.001)
            assert await holder.ask(request) == Done()
            assert holder.now() == holder.disk() == state
        assert await refused(holder, stopping(3)) == "old-epoch"


async def test_a_stop_that_cannot_be_written_holds_in_memory_and_its_retry_makes_it_durable(make_cell: Any) -> None:
    async with make_cell() as cell:
        async with holding(cell) as holder:
            await _limit(holder.database, above=0)
            request = stopping(5, reason="x" * 200)
            await _fill(holder.database)
            with pytest.raises(TemporaryFailure):
                await holder.ask(request)
            assert holder.now() == (5, True, 0) and holder.disk() == (0, False, 0)
            assert await refused(holder, lifting(5)) == "old-epoch"
            await _limit(holder.database, above=1000)
            assert await holder.ask(request) == Done()
            assert holder.now() == holder.disk() == (5, True, 0) and holder.noted() > 0
        async with holding(cell) as holder:
            assert holder.now() == (5, True, 0)


async def _limit(database: Database, *, above: int) -> None:
    (pages,) = database.first("PRAGMA page_count")
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages + above}") and None)


async def _fill(database: Database) -> None:
    """Leave no room for one more event in the outbox's last page."""
    for size in (1000, 100, 1):
        with pytest.raises(TemporaryFailure):
            while True:
                await database.write(partial(_put, size=size))


def _put(connection: sqlite3.Connection, *, size: int) -> None:
    connection.execute("INSERT INTO outbox (event) VALUES (?)", (bytes(size),))


_CRASH = """
import asyncio, os, sys
from pathlib import Path
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_auth import StopTenantLogins
from bulkhead.boundary.terms import Channel
from bulkhead.holder import database, outbox, stop

async def main():
    holder = database.Database(Path("auth.sqlite"), (f"{outbox.SCHEMA}; {stop.SCHEMA}",))
    held = stop.TenantStop(holder, Exchange(Channel("auth", 0, 1), print))
    holder._deliver = lambda *_: os._exit(9)  # committed, and not yet answered
    request = StopTenantLogins(Stamp.fresh("test", request_id=bytes.fromhex(sys.argv[1])), 5, "drill")
    await held.stop(request, 5, "drill", event="StopLogins", logins=True, effect=Done)

asyncio.run(main())
"""


async def test_a_stop_whose_holder_died_before_its_answer_holds_and_its_retry_is_answered(make_cell: Any) -> None:
    request_id = new_id()
    async with make_cell() as cell:
        child = subprocess.run([sys.executable, "-c", _CRASH, request_id.hex()], check=False, timeout=30)
        assert child.returncode == 9
        async with holding(cell) as holder:
            assert holder.now() == (5, True, 0) and holder.noted() == 1
            request = StopTenantLogins(Stamp.fresh("test", request_id=request_id), 5, "drill")
            assert await holder.ask(request) == Done()
            assert holder.effects == 0 and holder.noted() == 1


async def test_reason_and_officer_of_a_stop_reach_the_log_without_an_address(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        await holder.ask(stopping(5, reason="call from user@kddi.example\n" + "x" * 990, actor="@" * 64))
        delivery = outbox.Outbox(holder.database, cell.auth)
        (event,) = await cell.logged(1)
        delivery.stop()
        assert str(event.details["reason"]).startswith("call from user at kddi.example x")
        assert event.details["epoch"] == 5 and "@" not in event.actor

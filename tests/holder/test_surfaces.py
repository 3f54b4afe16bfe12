"""Surfaces that a holder closes: by set of accounts, at once, durable, only upward, lifted with the ledger alone."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.holder.conftest import Cell

from bulkhead.boundary.body import WINDOW, BodyReader
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_auth import LiftSurfaces, ReadSurfaces, StageAccounts, StopSurfaces
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder import account_sets, outbox, surfaces
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.session_reach import concerns
from bulkhead.holder.stop import EPOCH_AHEAD_MS
from bulkhead.holder.surfaces import Surfaces
from bulkhead.identifiers import new_id

MIGRATIONS = (outbox.SCHEMA, surfaces.SCHEMA)
_DRAWN = random.Random(7)
ACCOUNTS = sorted(_DRAWN.randbytes(16) for _ in range(9000))  # more than a piece has
IDS = b"".join(ACCOUNTS)
DIGEST = hashlib.sha256(IDS).digest()
OTHER = bytes(16)


class Holder:
    """Surfaces with their database, as auth has them."""

    def __init__(self, cell: Cell) -> None:
        self.database = Database(Path("auth.sqlite"), MIGRATIONS)
        self.outbox = Outbox(self.database, cell.auth)
        self.ended: list[int] = []
        self.surfaces = Surfaces(self.database, self.outbox, cell.auth, reach=self.reach)

    def reach(self, bits: int, member: Any, act: bool) -> tuple[int, int]:
        if act:
            self.ended.append(bits)
        return sum(member(account) for account in (*ACCOUNTS[:5], OTHER)), 0

    async def stage(self, ids: bytes = IDS, digest: bytes = DIGEST, split: int = 65536) -> Any:
        owed = [WINDOW]
        body = BodyReader(1 << 30, owed.append)
        work = asyncio.create_task(self.surfaces.stage(StageAccounts(Stamp.fresh("cli"), digest), body))
        for start in range(0, max(len(ids), 1), split):
            while sum(owed) <= start // split:
                await asyncio.sleep(0)
            body.feed(ids[start : start + split], start + split >= len(ids))
        return await work

    async def stop(self, epoch: int, bits: int = Surface.IMAP, accounts: bytes = b"", until: int = 0) -> Any:
        return await self.surfaces.stop(StopSurfaces(Stamp.fresh("cli"), epoch, bits, accounts, until, "case 7"))

    async def lift(self, epoch: int, bits: int = Surface.IMAP, accounts: bytes = b"") -> Any:
        return await self.surfaces.lift(LiftSurfaces(Stamp.fresh("cli"), epoch, bits, accounts, "over"))

    def closed(self, account: bytes, bits: int = Surface.IMAP) -> bool:
        return self.surfaces.closed(bits, account)

    def noted(self) -> int:
        return int(self.database.first("SELECT count(*) FROM outbox")[0])


@asynccontextmanager
async def holding(cell: Cell) -> AsyncIterator[Holder]:
    holder = Holder(cell)
    try:
        yield holder
    finally:
        holder.surfaces.end()
        holder.outbox.stop()
        await holder.database.close()


async def code_of(work: Any) -> str:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value.code


async def test_a_stop_of_a_set_closes_its_surface_to_each_of_its_accounts_and_to_nobody_else(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell:
        async with holding(cell) as holder:
            staged = await holder.stage()
            assert staged.accounts == 9000 and staged.durable and not holder.surfaces.any_closed(Surface.ALL)
            assert (await holder.stop(5, Surface.IMAP | Surface.OUTBOUND, DIGEST)).sessions == 5
            assert all(holder.closed(account) for account in ACCOUNTS)
            assert not holder.closed(OTHER) and not holder.closed(new_id()) and not holder.closed(ACCOUNTS[0], 2)
        async with holding(cell) as holder:
            assert all(holder.closed(account, Surface.OUTBOUND) for account in ACCOUNTS) and not holder.closed(OTHER)
            assert holder.noted() == 1


async def test_a_stop_of_everybody_needs_no_set_and_survives_a_restart_without_ledger(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell:
        async with holding(cell) as holder:
            await holder.stop(5)
            assert holder.closed(OTHER)
        async with holding(cell) as holder:
            assert holder.closed(OTHER) and not holder.closed(OTHER, Surface.POP)


async def test_an_old_epoch_changes_nothing(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        await holder.stop(5)
        assert await code_of(holder.stop(5)) == "old-epoch" and await code_of(holder.lift(5)) == "old-epoch"
        ahead = int(time.time() * 1000) + EPOCH_AHEAD_MS + 9999
        assert await code_of(holder.stop(ahead)) == "bad-epoch" and await code_of(holder.lift(ahead)) == "bad-epoch"
        assert holder.closed(OTHER)


async def test_a_lift_opens_the_surface_and_the_set_that_it_names_alone(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        await holder.stage()
        await holder.stop(5, Surface.IMAP | Surface.POP)
        await holder.stop(5, Surface.IMAP, DIGEST)
        await holder.lift(6)
        assert holder.closed(ACCOUNTS[0]) and not holder.closed(OTHER) and holder.closed(OTHER, Surface.POP)
        await holder.lift(6, Surface.IMAP, DIGEST)
        assert not holder.closed(ACCOUNTS[0])
        assert [event.kind.name for event in await cell.entries()].count("SurfacesLifted") == 2


async def test_a_lift_waits_for_the_ledger(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        await holder.stop(5)
        with pytest.raises(TemporaryFailure):
            await holder.lift(6)
        assert holder.closed(OTHER)
        await cell.start_ledger()
        await holder.lift(7)
        assert not holder.closed(OTHER)


async def test_a_stop_lapses_at_its_time_with_the_ledger_and_not_before_one_that_lasts_longer(make_cell: Any) -> None:
    async with make_cell() as cell, holding(cell) as holder:
        await holder.stop(5, until=1000)
        await holder.stop(6, until=2000)
        await holder.surfaces.lapse(1999)
        assert holder.closed(OTHER)
        await cell.stop_ledger()
        with pytest.raises(TemporaryFailure):
            await holder.surfaces.lapse(2000)
        assert holder.closed(OTHER)
        await cell.start_ledger()
        await holder.surfaces.lapse(2000)
        assert not holder.closed(OTHER)
        await holder.stop(7)
        await holder.stop(8, until=1)
        await holder.surfaces.lapse(1 << 50)
        assert holder.closed(OTHER)  # one without an end holds too


async def test_sessions_end_once_and_nothing_stays_closed(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        assert (await holder.stop(5, Surface.SESSIONS)).sessions == 6
        assert holder.ended == [Surface.SESSIONS] and not holder.surfaces.any_closed(Surface.ALL)
        assert await code_of(holder.stop(5, Surface.SESSIONS)) == "old-epoch"


@pytest.mark.parametrize(
    ("ids", "digest"),
    [
        (IDS[:-1], DIGEST),
        (IDS, bytes(32)),
        (b"", hashlib.sha256(b"").digest()),
        (IDS[:16] * 2, hashlib.sha256(IDS[:16] * 2).digest()),
        (IDS[16:32] + IDS[:16], hashlib.sha256(IDS[16:32] + IDS[:16]).digest()),
    ],
)
async def test_what_is_not_the_sorted_set_of_its_digest_is_refused(make_cell: Any, ids: bytes, digest: bytes) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        assert await code_of(holder.stage(ids, digest)) == "bad-set"
        assert await code_of(holder.stop(5, accounts=digest)) == "no-such-set"


async def test_a_set_does_not_depend_on_how_its_bytes_are_split(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        for split in (1, 15, 17, 33):
            ids = IDS[: 320 + 16 * split]
            await holder.stage(ids, hashlib.sha256(ids).digest(), split)


async def test_sets_that_no_stop_names_make_room_and_others_do_not(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_sets, "SETS_MAX", 2)
    monkeypatch.setattr(account_sets, "UNUSED_SECONDS", -1.0)

    def cut(number: int) -> tuple[bytes, bytes]:
        ids = IDS[16 * number : 16 * number + 16]
        return ids, hashlib.sha256(ids).digest()

    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        for number in range(4):
            await holder.stage(*cut(number))
        assert await code_of(holder.stop(5, accounts=cut(0)[1])) == "no-such-set"
        await holder.stop(5, accounts=cut(3)[1])
        await holder.stage(*cut(4))
        await holder.stop(6, accounts=cut(4)[1])
        assert await code_of(holder.stage(*cut(5))) == "too-many-sets"
        assert holder.closed(ACCOUNTS[3]) and holder.closed(ACCOUNTS[4])


async def test_where_the_disk_refuses_a_stop_it_holds_in_memory_and_says_that_it_is_not_durable(
    make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        pages = int(holder.database.first("PRAGMA page_count")[0])

        def fill(connection: Any) -> None:
            connection.execute("CREATE TABLE fill (x)")

        await holder.database.write(fill)
        await holder.database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}") and None)
        staged = await holder.stage()
        assert staged.accounts == 9000 and not staged.durable
        with pytest.raises(TemporaryFailure) as caught:
            await holder.stop(5, Surface.IMAP, DIGEST)
            for epoch in range(6, 300):  # free space within the last page is used first
                await holder.stop(epoch, Surface.IMAP, DIGEST)
        assert caught.value.code == "not-durable" and "NOT durable" in caught.value.public
        assert holder.closed(ACCOUNTS[0]) and not holder.closed(OTHER)


async def test_what_is_closed_can_be_read_with_what_a_stop_would_reach(make_cell: Any) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        await holder.stage()
        await holder.stop(5, Surface.POP, DIGEST, until=1 << 50)
        state = holder.surfaces.state(ReadSurfaces(Surface.IMAP, DIGEST))
        (row,) = state.stopped
        assert (row.surface, row.accounts, row.members, row.epoch, row.until) == (2, DIGEST, 9000, 5, 1 << 50)
        assert state.sessions == 5 and holder.ended == [Surface.POP]


@pytest.mark.parametrize("bits", [0, 1 << 6, 1 << 16, 1 << 31])
async def test_a_surface_that_does_not_exist_is_refused(make_cell: Any, bits: int) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        assert await code_of(holder.stop(5, bits)) == "bad-surface"


def test_a_session_is_concerned_by_its_protocol_its_credential_or_a_stop_of_sessions() -> None:
    assert concerns(Surface.IMAP, 1, 0) and not concerns(Surface.POP, 1, 0)
    assert concerns(Surface.APP_PASSWORD, 1, 3) and not concerns(Surface.APP_PASSWORD, 1, 0)
    assert concerns(Surface.MAIN_PASSWORD, 4, 0) and concerns(Surface.SESSIONS, 2, 9)
    assert not concerns(Surface.OUTBOUND | Surface.INBOUND, 1, 0)


async def test_a_reset_goes_along_to_another_database_with_its_set_and_no_other_stop_does(
    make_cell: Any, tmp_path: Path
) -> None:
    async with make_cell(ledger=False) as cell, holding(cell) as holder:
        await holder.stage()
        await holder.stop(5, Surface.RESET_MAIN | Surface.IMAP, DIGEST)
        await holder.stop(6, Surface.RESET_APP)
        other = Database(tmp_path / "other.sqlite", MIGRATIONS)
        try:
            await other.write(surfaces.carry_resets(holder.database))
            moved = Surfaces(other, holder.outbox, cell.auth)
            moved.end()
            assert moved.voids(0, 5, ACCOUNTS[0]) and not moved.voids(0, 6, ACCOUNTS[0])
            assert not moved.voids(0, 5, OTHER) and not moved.voids(0, 5, None)
            assert moved.voids(3, 6, OTHER) and moved.voids(3, 6, None)
            assert not moved.any_closed(Surface.IMAP) and moved.newest_reset(0) == 5
        finally:
            await other.close()

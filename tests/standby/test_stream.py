"""What a store ships, applied elsewhere, is that store: after every group, across checkpoints, and cut anywhere."""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.standby.shipped import OPERATOR, PARTNER, ShippedStore, Standby

from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.holder import shipping
from bulkhead.records.backup import PrivateKeys
from bulkhead.standby.apply import Applier
from bulkhead.store.restore import problems_of


def rows(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT seq, email, segment, offset FROM email ORDER BY seq").fetchall()
    finally:
        connection.close()


@pytest.fixture
def standby(tmp_path: Path) -> Standby:
    return Standby(tmp_path)


async def test_a_store_that_is_shipped_is_the_same_store_elsewhere(standby: Standby) -> None:
    async with ShippedStore(standby).running() as store:
        await store.deliver(20)
        stream = await store.begin()
        await store.deliver(20)
        await store.ship(stream)
        standby.take("store")
        assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
        for _ in range(5):
            await store.deliver(7)
            await store.state.database.truncate_wal()  # the log begins anew
            await store.deliver(300)  # past a checkpoint
            await store.ship(stream)
            standby.take("store")
            assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
    assert problems_of(standby.home) == (20 + 20 + 5 * 307, [])


async def test_what_is_written_while_the_base_is_read_is_in_the_stream(standby: Standby) -> None:
    async with ShippedStore(standby).running() as store:
        await store.deliver(100)
        stream = await store.begin()
        while await store.ship_one(stream):
            await store.deliver(10)
            if store.after > 8:
                break
        await store.ship(stream)
        standby.take()
        assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
    assert problems_of(standby.home)[1] == []


async def test_a_standby_that_is_cut_anywhere_ends_with_the_same(
    standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "PIECE_BYTES", 20_000)
    async with ShippedStore(standby).running() as store:
        await store.deliver(30)
        stream = await store.begin()
        await store.ship(stream)
        await store.deliver(30)
        await store.ship(stream)
        await store.deliver(30)
        await store.ship(stream)
        expected = rows(store.home / "store.sqlite")
    shutil.copytree(standby.base, whole := standby.base.with_name("whole"))
    applied, ended = Applier._apply, False
    for cut in range(1, 200):
        if ended:
            break
        shutil.rmtree(standby.base)
        shutil.copytree(whole, standby.base)
        left = cut

        def apply(self: Applier, ops: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            applied(self, ops if left else ops[: len(ops) // 2])  # torn
            if not left:
                raise KeyboardInterrupt

        standby.start()
        with monkeypatch.context() as patch:
            patch.setattr(Applier, "_apply", apply)
            try:
                standby.take()
                standby.take()
                ended = True
            except KeyboardInterrupt:
                pass
        standby.start()
        while standby.take():
            pass
        assert rows(standby.home / "store.sqlite") == expected
        assert problems_of(standby.home) == (90, [])
    assert ended
    assert cut > 10


async def test_a_new_base_leaves_out_what_the_standby_has_and_takes_the_place_of_the_old(standby: Standby) -> None:
    async with ShippedStore(standby).running() as store:
        await store.deliver(100)
        stream = await store.begin()
        await store.ship(stream)
        standby.take()
        standby.follower._say_have()
        lineage, have = standby.place.have()
        assert have
        await store.deliver(10)
        again = await store.begin(have, lineage)
        assert not await store.ship_or_refused(stream)
        before = store.octets
        await store.ship(again)
        assert store.octets - before < 300_000
        standby.take()
        assert standby.place.streams("store") == [again]
        assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
        other = await store.begin(have, lineage + 1)  # another store's numbers
        before = store.octets
        await store.ship(other)
        assert store.octets - before > 300_000
    assert problems_of(standby.home) == (110, [])


async def test_a_piece_that_is_changed_moved_or_missing_is_noticed_and_nothing_of_it_applied(standby: Standby) -> None:
    async with ShippedStore(standby).running() as store:
        stream = await store.begin()
        await store.ship(stream)
        standby.take()
        for _ in range(3):
            await store.deliver(5)
            await store.ship(stream)
        expected = rows(store.home / "store.sqlite")
    before = rows(standby.home / "store.sqlite")
    folder = standby.place.stream("store", stream)
    first, second, third = (folder.path / f"{number:012d}.piece" for number in folder.numbers()[-3:])
    for path, content in ((first, second.read_bytes()), (first, first.read_bytes()[:-1] + b"x"), (first, b"x" * 99)):
        kept = first.read_bytes()
        path.write_bytes(content)
        standby.start()
        with pytest.raises(IntegrityError):
            standby.take()
        assert rows(standby.home / "store.sqlite") == before
        first.write_bytes(kept)
    hidden = second.rename(second.with_suffix(".away"))
    standby.start()
    standby.take()
    assert before != rows(standby.home / "store.sqlite") != expected
    hidden.rename(second)
    standby.take()
    assert rows(standby.home / "store.sqlite") == expected
    assert third.exists()


async def test_without_the_standbys_key_nothing_opens_until_both_recovery_keys_do(standby: Standby) -> None:
    async with ShippedStore(standby, warm=False).running() as store:
        await store.deliver(20)
        stream = await store.begin()
        await store.ship(stream)
        standby.take()
        assert not standby.home.exists()
        expected = rows(store.home / "store.sqlite")
    standby.start(PrivateKeys(PARTNER, PARTNER))
    with pytest.raises(IntegrityError):
        standby.take()
    standby.start(PrivateKeys(PARTNER, OPERATOR))
    standby.take()
    assert rows(standby.home / "store.sqlite") == expected


async def test_a_carrier_that_is_away_too_long_costs_a_base_and_no_mail(
    standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "BACKLOG_MAX", 100_000)
    async with ShippedStore(standby).running() as store:
        stream = await store.begin()
        await store.ship(stream)
        await store.deliver(200)
        with pytest.raises(Refused):
            await store.ship_one(stream)
        again = await store.begin()
        await store.ship(again)
        standby.take()
        assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
    assert problems_of(standby.home) == (200, [])


async def test_in_sync_mode_an_answer_waits_for_the_standby_and_is_none_without_it(standby: Standby) -> None:
    async with ShippedStore(standby, "sync").running(leased=False) as store:
        with pytest.raises(TemporaryFailure):
            await store.deliver(1)
        await store.lease()
        with pytest.raises(TemporaryFailure):
            await store.world.account()  # no stream is shipped
        stream = await store.begin()
        await store.ship(stream)
        account = asyncio.create_task(store.world.account())
        await asyncio.sleep(0.05)
        assert not account.done()
        await store.ship(stream)
        store.account = await account
        answer = asyncio.create_task(store.deliver_one())
        while not rows(store.home / "store.sqlite"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert not answer.done()
        assert await store.ship_one(stream)
        await asyncio.sleep(0.05)
        assert not answer.done()  # the standby may not have it yet: it has said nothing
        await store.ship_one(stream)
        await answer
        standby.take()
        assert rows(standby.home / "store.sqlite") == rows(store.home / "store.sqlite")
        late = asyncio.create_task(store.deliver_one())
        await asyncio.sleep(0.05)
        await store.begin()  # what it waited for is never shipped in that stream
        with pytest.raises(TemporaryFailure):
            await late


async def test_a_change_that_a_lease_ended_over_is_answered_as_none(standby: Standby) -> None:
    async with ShippedStore(standby).running() as store:
        await store.deliver(1)
        store.state.lease._until = 0.0
        with pytest.raises(TemporaryFailure):
            await store.deliver(1)
        await store.lease()
        await store.deliver(1)

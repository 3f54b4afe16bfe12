"""Compaction: what is chosen, what is moved, what stays readable, what a crash leaves."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from tests.store.world import MX, World, copy_for, payload, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Error, Refused
from bulkhead.store import compaction as module
from bulkhead.store.compaction import DAY, SLICE_BYTES, Policy, Usage, choose
from bulkhead.store.disk import Disk
from bulkhead.store.segment import HEADER_BYTES, path_of, records_in

EAGER = Policy(dead_percent=10, period=1e9, bytes_per_second=1 << 34, dead_bytes_min=1)
NOW = 1_800_000_000


def usage(number, size, live, since=None):
    return Usage(number, size, live, since)


def test_the_sparsest_segment_comes_first_and_dense_ones_are_left_alone():
    segments = [usage(1, 10 << 20, 4 << 20), usage(2, 10 << 20, 6 << 20), usage(3, 10 << 20, 1 << 20)]
    assert choose(Policy(), segments, NOW, quiet=True) == [3, 1]


def test_while_others_write_only_what_is_three_quarters_dead_is_compacted():
    segments = [usage(1, 10 << 20, 4 << 20), usage(3, 10 << 20, 2 << 20)]
    assert choose(Policy(), segments, NOW, quiet=False) == [3]


def test_a_dead_byte_is_gone_after_its_days_whatever_the_share():
    young, old = NOW - 30 * DAY + 1, NOW - 30 * DAY
    segments = [usage(1, 1000, 999, young), usage(2, 1000, 999, old), usage(3, 1000, 1000, old)]
    assert choose(Policy(), segments, NOW, quiet=False) == [2]


async def filled(world, count=30, size=3000):
    """A session, and an INBOX of `count` messages of `size` octets each."""
    client = await world.session(await world.account())
    copies = [copy_for(client.account, sealed=(40, 60, size)) for _ in range(count)]
    for copy in copies:
        await world.deliver(copy)
    return client, copies


async def read_body(client, copy):
    return (await client.open(to_store.ReadPart, copy.email, to_store.Part.BODY))[1]


async def expunge(client, *uids):
    await client.change_open(to_store.Expunge, client.inbox, tuple((uid, uid) for uid in uids), deleted_only=False)


async def reaped():
    await asyncio.sleep(0.05)
    return sorted(path.name for path in Path("segments").iterdir())


def test_what_lives_in_sparse_segments_is_moved_and_reads_as_before(run):
    async def scenario(world):
        client, copies = await filled(world)
        await expunge(client, *range(1, 30, 2))
        before = await client.columns()
        names = await reaped()
        assert await world.store.state.compactor.look() >= 2
        assert not set(names) & set(await reaped())
        assert await client.columns() == before
        for copy in copies[1::2]:
            assert await read_body(client, copy) == payload(copy)[100:]
        report = await world.check()
        assert (report.problems, report.unreferenced) == ((), 0)

    run(scenario, segment_bytes=1 << 15, policy=EAGER)


def test_a_record_larger_than_a_slice_is_streamed_to_its_new_place(run):
    async def scenario(world):
        client, (_, large) = await filled(world, 2, 2 * SLICE_BYTES + 77)
        await expunge(client, 1)
        assert await world.store.state.compactor.look() == 1
        assert await read_body(client, large) == payload(large)[100:]
        await reaped()
        assert (await world.check()).unreferenced == 0

    run(scenario, policy=EAGER)


def test_pages_are_moved_too(run):
    async def scenario(world):
        client, copies = await filled(world, 2)
        entries = (to_store.FiledEntry(copies[0].email, 0, b"slot"),)
        data = os.urandom(900)
        await client.change(to_store.FileMessages, 1, 1, 0, 1, entries, body=data)
        await expunge(client, 2)
        assert await world.store.state.compactor.look() == 1
        assert (await client.open(to_store.ReadPages, (1,)))[1] == data

    run(scenario, policy=EAGER)


def test_a_listing_begun_before_a_compaction_is_read_to_its_end_and_only_then_the_file_goes(run):
    async def scenario(world):
        client, copies = await filled(world, 200, 100)
        emails = tuple(copy.email for copy in copies[1::2])
        state = world.store.state
        wanted = [
            (*state.database.first("SELECT segment, offset FROM email WHERE email = ?", (email,)), HEADER_BYTES)
            for email in emails
        ]
        hold = state.segments.hold(segment for segment, _, _ in wanted)
        await expunge(client, *range(1, 201, 2))
        await state.compactor.look()
        await reaped()
        assert all(Path(path_of(segment)).exists() for segment, _, _ in wanted)
        assert all(len(state.segments.read(*place)) == HEADER_BYTES for place in wanted)
        del hold
        assert not any(Path(path_of(segment)).exists() for segment, _, _ in wanted)

    run(scenario, segment_bytes=1 << 14, policy=EAGER)


def test_readers_and_writers_meet_no_fault_while_segments_are_compacted(run):
    async def scenario(world):
        client, copies = await filled(world, 60, 500)
        live = dict(enumerate(copies, 1))
        done = asyncio.Event()

        async def read():
            while not done.is_set():
                for uid, copy in list(live.items()):
                    try:
                        assert await read_body(client, copy) == payload(copy)[100:]
                    except Refused as refused:
                        assert refused.code == "no-such-message" and uid not in live

        async def write():
            for turn in range(30):
                copy = copy_for(client.account, sealed=(40, 60, 500))
                await world.deliver(copy)
                live[61 + turn] = copy
                for uid in list(live)[:2]:
                    del live[uid]
                    await expunge(client, uid)
                await world.store.state.compactor.look()
            done.set()

        await asyncio.gather(read(), write())
        assert {row[4] for row in (await client.columns()).values()} == {copy.email for copy in live.values()}
        assert world.store.state.compactor.compacted > 5

    run(scenario, segment_bytes=1 << 13, policy=EAGER)


def test_a_message_expunged_while_its_copy_is_made_stays_expunged(run):
    async def scenario(world):
        client, _ = await filled(world, 4)
        await expunge(client, 1)
        state = world.store.state
        state.compactor.policy = Policy(dead_percent=10, bytes_per_second=1, dead_bytes_min=1)
        looking = asyncio.create_task(state.compactor.look())
        await expunge(client, 2, 3)
        await asyncio.sleep(0.1)
        looking.cancel()
        assert len(await client.columns()) == 1

    run(scenario)


def test_a_segment_that_is_expunged_whole_while_it_is_compacted_is_no_damage(run, caplog, monkeypatch):
    async def scenario(world):
        client, _ = await filled(world, 4)
        await expunge(client, 1)
        state, look = world.store.state, module._read_records
        began, go_on = threading.Event(), threading.Event()

        def slowly(*what):
            began.set()
            assert go_on.wait(60)
            return look(*what)

        monkeypatch.setattr(module, "_read_records", slowly)
        looking = asyncio.create_task(state.compactor.look())
        while not began.is_set():
            await asyncio.sleep(0.001)
        await expunge(client, 2, 3, 4)
        assert await reaped() == []
        go_on.set()
        assert await looking == 0
        assert not state.compactor._damaged and "fsck" not in caplog.text

    run(scenario, policy=EAGER)


def test_uploads_that_were_given_up_are_waste_that_goes(run):
    async def scenario(world):
        account = await world.account()
        big = copy_for(account, sealed=(40, 60, 2 << 20))
        with pytest.raises(Error):
            await world.peer(MX).call(to_store.DeliverMail(stamp(), (big,)), bytes(1 << 20), timeout=0.5)
        world.violations.clear()
        state = world.store.state
        state.segments.retire(1)
        await state.compactor.look()
        assert await reaped() == []

    run(scenario, policy=EAGER)


def test_a_damaged_record_is_kept_where_it_is_and_reported(run, caplog):
    async def scenario():
        world = await World(policy=EAGER).start()
        client, _ = await filled(world, 4)
        await expunge(client, 1)
        place = world.store.state.database.first("SELECT offset FROM email LIMIT 1")[0]
        with Path(path_of(1)).open("r+b") as file:
            file.seek(place + HEADER_BYTES + 200)
            file.write(b"damage")
        assert await world.store.state.compactor.look() == 0
        assert Path(path_of(1)).exists()
        assert len((await world.check()).problems) == 1
        await world.stop()

    asyncio.run(scenario())
    assert "is not compacted" in caplog.text


def test_rows_behind_a_gap_that_no_walk_passes_are_moved_as_well(run):
    async def scenario(world):
        client, copies = await filled(world, 3)
        await expunge(client, 1)
        with Path(path_of(1)).open("r+b") as file:
            file.write(bytes(HEADER_BYTES))
        assert list(records_in(Disk(), 1)) == []
        assert await world.store.state.compactor.look() == 1
        assert await read_body(client, copies[2]) == payload(copies[2])[100:]

    run(scenario, policy=EAGER)


def test_a_running_check_finds_every_segment_that_its_snapshot_names(run):
    async def scenario(world):
        client, _ = await filled(world)
        await expunge(client, *range(1, 30, 2))
        state = world.store.state
        state.checking += 1
        assert await state.compactor.look() == 0
        state.checking -= 1
        assert await state.compactor.look() >= 1

    run(scenario, segment_bytes=1 << 15, policy=EAGER)


def test_expunging_notes_since_when_a_segment_holds_dead_bytes(run):
    async def scenario(world):
        client, _ = await filled(world, 3)
        query = "SELECT dead_since FROM segment"
        assert world.store.state.database.first(query) == (None,)
        await expunge(client, 1)
        (since,) = world.store.state.database.first(query)
        await asyncio.sleep(1.1)
        await expunge(client, 2)
        assert world.store.state.database.first(query) == (since,)

    run(scenario)


def test_a_store_that_stops_while_it_compacts_loses_nothing(run):
    async def scenario():
        policy = Policy(dead_percent=10, period=0.01, bytes_per_second=200_000, dead_bytes_min=1)
        world = await World(segment_bytes=1 << 15, policy=policy).start()
        client, _ = await filled(world, 40)
        await expunge(client, *range(1, 40, 2))
        await asyncio.sleep(0.1)
        await world.stop()
        world = await World(segment_bytes=1 << 15, policy=EAGER).start()
        assert (await world.check()).problems == ()
        assert (await world.counts()).messages == 20
        names = {number for (number,) in world.store.state.database.read("SELECT number FROM segment")}
        await reaped()
        assert {int(path.stem) for path in Path("segments").iterdir()} <= names
        await world.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("sealed", [(40, 60, 400), (1 << 20, 60, 100), (40, 20_000, 100)])
def test_sealed_parts_larger_than_the_claimed_message_are_refused(run, sealed):
    async def scenario(world):
        account = await world.account(quota=10_000)
        copy = to_store.Copy(account, stamp().request_id, b"box", 100, *sealed, 0)
        with pytest.raises(Refused) as refused:
            await world.deliver(copy)
        assert refused.value.code == "bad-sizes"
        client = await world.session(account)
        with pytest.raises(Refused) as refused:
            await client.append(client.inbox, copy)
        assert refused.value.code == "bad-sizes"
        assert (await world.counts()).bytes_stored == 0

    run(scenario)

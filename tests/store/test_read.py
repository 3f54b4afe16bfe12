"""ReadColumns, ReadRows, ReadPart, ReadParts and their counts."""

import asyncio
import gc
import struct
import time

import pytest
from tests.store.world import copy_for, payload, unpack_columns

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id

ALL = ((1, 0xFFFFFFFF),)


def test_columns_come_in_order_from_the_uid_asked_for(run):
    async def scenario(world):
        client = await world.session(await world.account())
        copies = [copy_for(client.account, 50 + n, date=1001 + n) for n in range(6)]
        for copy in copies:
            await client.append(client.inbox, copy, flags=2)
        appended = [row[3] for row in (await client.columns()).values()]
        reply, body = await client.open(to_store.ReadColumns, client.inbox, 63, first_uid=4)
        assert unpack_columns(reply.messages, body) == {
            uid: (2, 49 + uid, 1000 + uid, appended[uid - 1], copies[uid - 1].email) for uid in (4, 5, 6)
        }
        reply, body = await client.open(
            to_store.ReadColumns, client.inbox, to_store.Column.UID | to_store.Column.SIZE, first_uid=6
        )
        assert body == (6).to_bytes(4, "little") + (55).to_bytes(4, "little")
        assert (await client.open(to_store.ReadColumns, client.inbox, 63, first_uid=7))[1] == b""

    run(scenario)


def test_recent_messages_are_claimed_by_one_session(run):
    async def scenario(world):
        account = await world.account()
        client = await world.session(account)
        reader = await world.session(account, rights=to_store.Rights.READ)
        await world.deliver(copy_for(account))
        await world.deliver(copy_for(account))
        assert (await client.row(client.inbox)).recent == 2
        for session, claim, expected in ((client, False, 1), (reader, True, 1), (client, True, 1), (client, True, 3)):
            reply, _ = await session.open(to_store.ReadColumns, client.inbox, 1, claim_recent=claim)
            assert (reply.recent_from, reply.recent_to) == (expected, 3)
        await world.deliver(copy_for(account))
        reply, _ = await client.open(to_store.ReadChanges, client.inbox, 0, claim_recent=True)
        assert (reply.recent_from, reply.recent_to) == (3, 4)
        assert (await client.row(client.inbox)).recent == 0

    run(scenario)


def test_no_message_is_recent_for_two_sessions_however_deliveries_fall_between(run):
    async def scenario(world):
        account = await world.account()
        sessions = [await world.session(account) for _ in range(4)]
        claimed: list[int] = []

        async def deliver() -> None:
            for _ in range(30):
                await world.deliver(copy_for(account))

        async def look(session) -> None:
            for _ in range(30):
                reply, _ = await session.open(to_store.ReadChanges, session.inbox, 0, claim_recent=True)
                assert reply.recent_from <= reply.recent_to <= reply.uid_next
                claimed.extend(range(reply.recent_from, reply.recent_to))

        await asyncio.gather(deliver(), *map(look, sessions))
        await look(sessions[0])
        assert sorted(claimed) == list(range(1, 31))

    run(scenario)


def test_rows_of_ranges_come_in_uid_order_within_the_limit(run):
    async def scenario(world):
        client = await world.session(await world.account())
        copies = [copy_for(client.account) for _ in range(8)]
        for copy in copies:
            await client.append(client.inbox, copy)
        reply = await client.ask(to_store.ReadRows, client.inbox, ((7, 9), (1, 2), (2, 3), (5, 4)))
        assert [row.uid for row in reply.rows] == [1, 2, 3, 7, 8]
        assert not reply.more
        row = reply.rows[0]
        assert (row.email, row.page, row.sealed_key, row.body_size) == (copies[0].email, 0, copies[0].box, 200)
        reply = await client.ask(to_store.ReadRows, client.inbox, ALL, limit=3)
        assert ([row.uid for row in reply.rows], reply.more) == ([1, 2, 3], True)
        many = tuple((uid, uid) for uid in range(1, 16_384, 2))
        assert [row.uid for row in (await client.ask(to_store.ReadRows, client.inbox, many)).rows] == [1, 3, 5, 7]

    run(scenario)


def test_places_are_packed_in_uid_order_and_those_not_filed_have_page_0(run):
    async def scenario(world):
        client = await world.session(await world.account())
        for _ in range(5):
            await client.append(client.inbox, copy_for(client.account))
        reply, body = await client.open(to_store.ReadPlaces, client.inbox, ((1, 2), (5, 9)))
        assert reply.messages == 3
        assert body == struct.pack("<3I3I3B", 1, 2, 5, 0, 0, 0, 0, 0, 0)
        assert (await client.open(to_store.ReadPlaces, client.inbox, ()))[0].messages == 0

    run(scenario)


def test_rows_with_the_largest_keys_fit_one_message(run):
    async def scenario(world):
        client = await world.session(await world.account())
        await asyncio.gather(
            *(
                client.append(
                    client.inbox,
                    to_store.Copy(client.account, new_id(), b"b" * 256, 2**32 - 1, 1, 1, 1, -(2**53)),
                )
                for _ in range(800)
            )
        )
        uids: list[int] = []
        while True:
            reply = await client.ask(to_store.ReadRows, client.inbox, ((len(uids) + 1, 0xFFFFFFFF),))
            uids += [row.uid for row in reply.rows]
            if not reply.more:
                break
        assert uids == list(range(1, 801))

    run(scenario)


def test_a_range_of_a_part_is_cut_at_its_end(run):
    async def scenario(world):
        client = await world.session(await world.account())
        copy = copy_for(client.account, sealed=(10, 20, 200_000))
        await client.append(client.inbox, copy)
        body = payload(copy)[30:]
        for offset, length in ((0, 1), (70_000, 66_000), (199_999, 5), (200_000, 5), (300_000, 0), (5, 0)):
            reply, data = await client.open(to_store.ReadPart, copy.email, 3, offset, length)
            assert (reply.size, data) == (200_000, body[offset : offset + length if length else None])
        with pytest.raises(Refused):
            await client.open(to_store.ReadPart, copy.email, 4)

    run(scenario)


def test_parts_of_many_messages_follow_one_another(run):
    async def scenario(world):
        client = await world.session(await world.account())
        copies = [copy_for(client.account, sealed=(1000 + n, 700, 5)) for n in range(100)]
        await asyncio.gather(*(client.append(client.inbox, copy) for copy in copies))
        emails = (*(copy.email for copy in copies), new_id())
        before = (await world.counts()).reads
        reply, body = await client.open(to_store.ReadParts, to_store.Part.SUMMARY, emails)
        assert reply.sizes == (*(1000 + n for n in range(100)), 0)
        assert body == b"".join(payload(copy)[: copy.summary_size] for copy in copies)
        assert (await world.counts()).reads == before + 100
        await client.columns()
        await client.ask(to_store.ReadRows, client.inbox, ALL)
        assert (await world.counts()).reads == before + 100
        with pytest.raises(Refused):
            await client.open(to_store.ReadParts, to_store.Part.BODY, emails)

    run(scenario)


def test_a_mailbox_of_20_000_messages_never_holds_the_loop_for_long(run):
    async def scenario(world):
        client = await world.session(await world.account())
        copy = copy_for(client.account, sealed=(1, 1, 1))
        await client.append(client.inbox, copy)
        for _ in range(5):
            await client.change_open(to_store.CopyMessages, client.inbox, ALL, client.inbox, False)
        target = await client.create()
        for _ in range(625):
            await client.change_open(to_store.CopyMessages, client.inbox, ALL, target, False)
        longest, stop = 0.0, False
        gc.collect()
        gc.freeze()  # as the image does before it forks: else the collector walks all that pytest loaded

        async def heart() -> None:
            nonlocal longest
            while not stop:
                before = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - before)

        beating = asyncio.create_task(heart())
        world.store.state.columns._cached.clear()
        reply, body = await client.open(to_store.ReadColumns, target, 63)
        await client.open(to_store.ReadChanges, target, 0)
        await client.ask(to_store.ReadRows, target, ALL)
        stop = True
        await beating
        gc.unfreeze()
        assert len(unpack_columns(reply.messages, body)) == 20_000
        assert longest < 0.02

    run(scenario)

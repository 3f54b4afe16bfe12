"""StoreFlags, Expunge, CopyMessages, and what ReadChanges tells of them."""

import struct
from pathlib import Path

import pytest
from tests.store.world import copy_for, payload, stamp, u32s

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.store import rows

SEEN, DELETED = 1, 8
ALL = ((1, 0xFFFFFFFF),)


async def filled(world, count, quota=0):
    client = await world.session(await world.account(quota))
    copies = [copy_for(client.account, 100 + n) for n in range(count)]
    for copy in copies:
        await client.append(client.inbox, copy)
    return client, copies


async def flags(client, uids, mode, value, **named):
    reply, body = await client.change_open(to_store.StoreFlags, client.inbox, uids, mode, value, **named)
    count = reply.changed
    listed = dict(zip(u32s(body[: 4 * count]), struct.unpack_from(f"<{count}Q", body, 4 * count), strict=True))
    return reply, listed, u32s(body[12 * count :])


def test_flags_are_replaced_added_removed(run):
    async def scenario(world):
        client, _ = await filled(world, 3)
        mode = to_store.FlagMode
        assert (await flags(client, ALL, mode.REPLACE, 1))[1] == {1: 1, 2: 1, 3: 1}
        assert (await flags(client, ((2, 2), (9, 12)), mode.ADD, 8))[1] == {2: 9}
        assert (await flags(client, ((2, 3), (1, 2)), mode.REMOVE, 1))[1] == {1: 0, 2: 8, 3: 0}
        row = await client.row(client.inbox)
        assert (row.unseen, row.deleted, row.messages, row.size) == (3, 1, 3, 303)

    run(scenario)


def test_a_message_that_has_the_flags_already_keeps_its_modseq(run):
    async def scenario(world):
        client, _ = await filled(world, 2)
        first, _, _ = await flags(client, ((1, 1),), 0, SEEN)
        again, listed, _ = await flags(client, ((1, 1),), 0, SEEN)
        assert (again.modseq, listed) == (first.modseq, {1: SEEN})
        assert [row[3] for row in (await client.columns()).values()] == [first.modseq, first.modseq - 1]

    run(scenario)


def test_unchanged_since_refuses_what_changed(run):
    async def scenario(world):
        client, _ = await filled(world, 3)
        since = (await client.row(client.inbox)).modseq
        await flags(client, ((2, 2),), 1, SEEN)
        _, listed, refused = await flags(client, ALL, 1, 2, unchanged_since=since)
        assert (listed, refused) == ({1: 2, 3: 2}, [2])

    run(scenario)


def test_a_retried_change_gets_its_first_answer_with_its_body(run):
    async def scenario(world):
        client, _ = await filled(world, 4)
        request = to_store.StoreFlags(stamp(), client.handle, client.inbox, ((1, 2),), 1, DELETED)
        first = await client.peer.open(request)
        expunge = to_store.Expunge(stamp(), client.handle, client.inbox, (), True)
        gone = await client.peer.open(expunge)
        assert u32s(gone[1]) == [1, 2]
        assert await client.peer.open(request) == first
        assert await client.peer.open(expunge) == gone
        copy = to_store.CopyMessages(stamp(), client.handle, client.inbox, ALL, client.inbox, False)
        copied = await client.peer.open(copy)
        assert await client.peer.open(copy) == copied
        assert list(await client.columns()) == [3, 4, 5, 6]

    run(scenario)


def test_expunge_removes_only_what_is_deleted_and_named(run):
    async def scenario(world):
        client, copies = await filled(world, 5)
        await flags(client, ((2, 4),), 1, DELETED)
        reply, body = await client.change_open(to_store.Expunge, client.inbox, ((1, 2),))
        assert (reply.expunged, u32s(body)) == (1, [2])
        reply, body = await client.change_open(to_store.Expunge, client.inbox, (), deleted_only=False)
        assert (reply.expunged, body) == (0, b"")
        _, body = await client.change_open(to_store.Expunge, client.inbox, ())
        assert u32s(body) == [3, 4]
        _, body = await client.change_open(to_store.Expunge, client.inbox, ((5, 5),), deleted_only=False)
        assert u32s(body) == [5]
        assert list(await client.columns()) == [1]
        assert await client.ask(to_store.ReadQuota) == to_store.Quota(100, 0, 1, 4_000_000)
        with pytest.raises(Refused):
            await client.open(to_store.ReadPart, copies[1].email, 1)
        await client.append(client.inbox, copy_for(client.account))
        assert list(await client.columns()) == [1, 6]

    run(scenario)


def test_a_copy_shares_the_email_and_survives_its_source(run):
    async def scenario(world):
        client, copies = await filled(world, 3, quota=500)
        target = await client.create()
        await flags(client, ((2, 2),), 0, SEEN | DELETED)
        before = (await world.counts()).bytes_stored
        reply, body = await client.change_open(to_store.CopyMessages, client.inbox, ((2, 2), (7, 7)), target, False)
        assert (reply.copied, u32s(body)) == (1, [2, 1])
        assert (await world.counts()).bytes_stored == before
        assert (await client.columns(target))[1][::4] == (SEEN | DELETED, copies[1].email)
        with pytest.raises(Refused) as refused:
            await client.change_open(to_store.CopyMessages, client.inbox, ALL, target, False)
        assert refused.value.code == "over-quota"
        await client.change_open(to_store.Expunge, client.inbox, ())
        _, data = await client.open(to_store.ReadPart, copies[1].email, 3)
        assert data == payload(copies[1])[100:]

    run(scenario)


def test_a_move_takes_the_source_rows_away_in_the_same_change(run):
    async def scenario(world):
        client, _ = await filled(world, 4, quota=500)
        target = await client.create()
        since = (await client.row(client.inbox)).modseq
        await client.columns()
        reply, body = await client.change_open(to_store.CopyMessages, client.inbox, ((2, 3),), target, True)
        assert u32s(body) == [2, 3, 1, 2]
        changes, told = await client.open(to_store.ReadChanges, client.inbox, since)
        assert (changes.modseq, changes.expunged, changes.changed, u32s(told)) == (reply.modseq, 2, 0, [2, 3])
        assert list(await client.columns()) == [1, 4]
        assert list(await client.columns(target)) == [1, 2]
        _, body = await client.change_open(to_store.CopyMessages, target, ALL, target, True)
        assert u32s(body) == [1, 2, 3, 4]
        assert list(await client.columns(target)) == [3, 4]

    run(scenario)


def test_changes_tell_what_was_added_flagged_and_expunged(run):
    async def scenario(world):
        client, _ = await filled(world, 4)
        for warm in (False, True):
            since = (await client.row(client.inbox)).modseq
            if warm:
                await client.columns()
            uids = list(await client.columns())
            await flags(client, ((uids[1], uids[1]),), 1, 4)
            await flags(client, ((uids[0], uids[0]),), 1, DELETED)
            await client.change_open(to_store.Expunge, client.inbox, ())
            appended = await client.append(client.inbox, copy_for(client.account))
            reply, body = await client.open(to_store.ReadChanges, client.inbox, since)
            assert reply.complete and (reply.expunged, reply.changed) == (1, 2)
            layout = struct.Struct("<I2I2Q2Q")
            assert layout.unpack(body) == (
                uids[0], uids[1], appended.uid, 4, 0, since + 1, appended.modseq,
            )  # fmt: skip
            assert (await client.open(to_store.ReadChanges, client.inbox, reply.modseq))[0].changed == 0
            await flags(client, ALL, 2, 4)

    run(scenario)


def test_changes_are_incomplete_once_the_log_was_trimmed(run, monkeypatch):
    monkeypatch.setattr(rows, "LOG_MAX", 10)

    async def scenario(world):
        client, _ = await filled(world, 20)
        since = (await client.row(client.inbox)).modseq
        for uid in range(1, 13):
            await client.change_open(to_store.Expunge, client.inbox, ((uid, uid),), deleted_only=False)
        assert not (await client.open(to_store.ReadChanges, client.inbox, since))[0].complete
        reply, body = await client.open(to_store.ReadChanges, client.inbox, since + 9)
        assert reply.complete
        assert u32s(body) == [10, 11, 12]

    run(scenario)


def test_a_segment_whose_every_record_is_dead_is_removed(run):
    async def scenario(world):
        client, copies = await filled(world, 5)
        await client.change_open(to_store.Expunge, client.inbox, ALL, deleted_only=False)
        for _ in range(50):
            await world.deliver(copy_for((await world.session(await world.account())).account))
            found = b"".join(path.read_bytes() for path in Path("segments").iterdir())
            if not any(copy.email in found for copy in copies):
                break
        assert not any(copy.email in found for copy in copies)
        assert (await world.counts()).segments == 1

    run(scenario)


def test_an_account_has_at_most_so_many_messages_however_small(run):
    async def scenario(world):
        world.store.state.messages_max = 3
        client, _ = await filled(world, 2)
        for copies in (0, 1):
            if copies:
                await client.append(client.inbox, copy_for(client.account))
            with pytest.raises(Refused) as refused:
                await client.change_open(to_store.CopyMessages, client.inbox, ALL, client.inbox, False)
            assert refused.value.code == "over-quota"
        with pytest.raises(Refused) as refused:
            await world.deliver(copy_for(client.account))
        assert refused.value.code == "over-quota"
        await client.change_open(to_store.CopyMessages, client.inbox, ALL, client.inbox, True)  # a move adds none
        assert (await client.ask(to_store.ReadQuota)).messages == 3

    run(scenario)

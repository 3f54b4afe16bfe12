"""Changes to more messages than one transaction takes."""

import asyncio
import struct
import threading

import pytest
from tests.store.world import copy_for, stamp, u32s

from bulkhead.boundary.messages import to_store
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id
from bulkhead.store.columns import CHANGE_MAX, RUNS_MAX, places_above
from bulkhead.store.state import PACKED_MIN, _kept_body, _restored_body
from bulkhead.store.sweep import STEP_ROWS

ALL = ((1, 0xFFFFFFFF),)
MANY = 20_480


async def large(world, count=MANY):
    """A session whose INBOX has `count` rows of 5 messages."""
    client = await world.session(await world.account())
    for _ in range(5):
        await world.deliver(copy_for(client.account))
    have = 5
    while have < count:
        await client.change_open(to_store.CopyMessages, client.inbox, ((1, count - have),), client.inbox, False)
        have = (await client.row(client.inbox)).messages
    return client


def test_a_step_is_no_larger_than_what_columns_follow():
    assert STEP_ROWS <= CHANGE_MAX


def test_flags_of_all_are_stored_in_steps_and_every_count_follows(run):
    async def scenario(world):
        client = await large(world)
        reply, body = await client.change_open(to_store.StoreFlags, client.inbox, ALL, 1, 1)
        assert (reply.changed, reply.refused) == (MANY, 0)
        assert u32s(body[: 4 * MANY]) == list(range(1, MANY + 1))
        columns = await client.columns()
        assert {row[0] for row in columns.values()} == {1}
        assert len({row[3] for row in columns.values()}) == -(-MANY // STEP_ROWS)
        assert (await client.row(client.inbox)).unseen == 0
        world.store.state.columns._cached.clear()
        assert await client.columns() == columns

    run(scenario)


@pytest.mark.parametrize("apart", [1, 2, 3])
def test_columns_follow_whatever_is_taken_out_or_flagged(run, apart):
    async def scenario(world):
        client = await large(world, 300)
        await client.columns()
        uids = tuple((uid, uid) for uid in range(1, 200, apart))
        assert apart == 1 or len(uids) > RUNS_MAX
        await client.change_open(to_store.StoreFlags, client.inbox, ((1, 299),), 1, 4)
        await client.change_open(to_store.StoreFlags, client.inbox, uids, 1, 2)
        await client.change_open(to_store.Expunge, client.inbox, uids, deleted_only=False)
        followed = await client.columns()
        world.store.state.columns._cached.clear()
        assert await client.columns() == followed
        assert len(followed) == 300 - len(uids)

    run(scenario)


def test_half_is_expunged_in_steps_and_told(run):
    async def scenario(world):
        client = await large(world)
        before = (await client.row(client.inbox)).modseq
        await client.change_open(to_store.StoreFlags, client.inbox, ((1, MANY // 2),), 1, 8)
        reply, body = await client.change_open(to_store.Expunge, client.inbox, ())
        assert reply.expunged == MANY // 2
        assert u32s(body) == list(range(1, MANY // 2 + 1))
        changes, body = await client.open(to_store.ReadChanges, client.inbox, before)
        assert changes.complete and changes.expunged == MANY // 2
        assert list(await client.columns()) == list(range(MANY // 2 + 1, MANY + 1))

    run(scenario)


def test_a_move_of_all_loses_and_doubles_none(run):
    async def scenario(world):
        client = await large(world)
        target = await client.create()
        reply, body = await client.change_open(to_store.CopyMessages, client.inbox, ALL, target, True)
        assert reply.copied == MANY
        assert u32s(body) == 2 * list(range(1, MANY + 1))
        assert (await client.row(client.inbox)).messages == 0
        assert (await client.row(target)).messages == MANY
        again, _ = await client.change_open(to_store.CopyMessages, target, ALL, target, True)
        assert again.copied == MANY
        assert min(await client.columns(target)) == MANY + 1

    run(scenario)


def test_a_copy_is_all_or_none_however_many(run):
    async def scenario(world):
        client = await large(world)
        target = await client.create()
        world.store.state.messages_max = 2 * MANY - 1
        with pytest.raises(Refused) as refused:
            await client.change_open(to_store.CopyMessages, client.inbox, ALL, target, False)
        assert refused.value.code == "over-quota"
        assert (await client.row(target)).messages == 0
        world.store.state.messages_max = 2 * MANY
        reply, _ = await client.change_open(to_store.CopyMessages, client.inbox, ALL, target, False)
        assert reply.copied == MANY == len(await client.columns(target))

    run(scenario)


def test_a_sweep_asked_for_again_is_answered_as_it_was(run):
    async def scenario(world):
        client = await large(world)
        same = stamp()
        request = to_store.StoreFlags(same, client.handle, client.inbox, ALL, 1, 1)
        first = await client.peer.open(request)
        await client.change_open(to_store.StoreFlags, client.inbox, ((1, 1),), 0, 2)
        assert await client.peer.open(request) == first
        assert (await client.columns())[1][0] == 2

    run(scenario)


def test_messages_that_changed_since_are_refused_in_every_step(run):
    async def scenario(world):
        client = await large(world)
        since = (await client.row(client.inbox)).modseq
        for uid in (7, MANY - 7):
            await client.change_open(to_store.StoreFlags, client.inbox, ((uid, uid),), 1, 4)
        reply, body = await client.change_open(to_store.StoreFlags, client.inbox, ALL, 1, 1, unchanged_since=since)
        assert (reply.changed, u32s(body[-8:])) == (MANY - 2, [7, MANY - 7])

    run(scenario)


def test_a_session_that_ends_meanwhile_changes_no_more(run):
    async def scenario(world):
        client = await large(world)
        state = world.store.state
        steps = 0
        commit_step = state.commit_step

        async def ending(step):
            nonlocal steps
            steps += 1
            more = await commit_step(step)
            state.grants.revoke(client.handle)
            return more

        state.commit_step = ending
        with pytest.raises(Refused) as refused:
            await client.change_open(to_store.StoreFlags, client.inbox, ALL, 1, 1)
        assert (refused.value.code, steps) == ("no-session", 1)
        other = await world.session(client.account)
        assert (await other.row(client.inbox)).unseen == MANY - STEP_ROWS

    run(scenario)


def test_others_commit_between_the_steps_of_a_sweep(run):
    async def scenario(world):
        client = await large(world)
        other = await world.account()
        sweep = asyncio.create_task(client.change_open(to_store.StoreFlags, client.inbox, ALL, 1, 1))
        await asyncio.sleep(0)
        before = world.store.state.database.transactions
        for _ in range(3):
            await world.deliver(copy_for(other))
        await sweep
        assert world.store.state.database.transactions > before + 3
        assert (await client.row(client.inbox)).unseen == 0

    run(scenario)


@pytest.mark.parametrize("size", [0, 3, 4, PACKED_MIN - 4, PACKED_MIN, PACKED_MIN + 2, 5 * PACKED_MIN])
def test_a_kept_body_comes_back_as_it_was(size):
    body = b"".join(number.to_bytes(4, "little") for number in range(size // 4)) + bytes(size % 4)
    kept, packed = _kept_body(body)
    assert _restored_body(kept, packed) == body
    assert packed == (size >= PACKED_MIN and size % 4 == 0)
    assert not packed or len(kept) * 10 < len(body)


def test_a_mailbox_that_is_deleted_and_an_inbox_that_is_renamed_are_done_in_slices_and_add_up(run):
    async def scenario(world):
        client = await large(world)
        renamed = new_id()
        reply = await client.change(to_store.RenameInbox, renamed, b"sealed name", new_id())
        assert (reply.messages, reply.uid_next) == (MANY, MANY + 1)
        assert (await client.row(client.inbox)).messages == 0
        row = await client.row(renamed)
        assert (row.messages, row.unseen, row.recent, row.uid_next) == (MANY, MANY, MANY, MANY + 1)
        columns = await client.columns(renamed)
        assert list(columns) == list(range(1, MANY + 1)) and len({row[3] for row in columns.values()}) == 1
        assert (await world.check()).problems == ()
        await client.change(to_store.DeleteMailbox, renamed)
        quota = await client.ask(to_store.ReadQuota)
        assert (quota.used, quota.messages) == (0, 0)
        assert (await world.check()).problems == ()

    run(scenario)


def test_a_maildrop_of_many_is_emptied_in_slices_and_adds_up(run):
    async def scenario(world):
        client = await large(world)
        before = (await client.row(client.inbox)).modseq
        await client.columns()
        await client.ask(to_store.LockMaildrop)
        runs = b"".join(struct.pack("<II", uid, uid) for uid in range(MANY, 1, -2))
        reply = await client.change(to_store.UpdateMaildrop, client.inbox, body=runs)
        assert reply.expunged == MANY // 2
        assert list(await client.columns()) == list(range(1, MANY, 2))
        changes, body = await client.open(to_store.ReadChanges, client.inbox, before)
        assert changes.complete and u32s(body) == list(range(2, MANY + 1, 2))
        assert (await client.ask(to_store.ReadQuota)).messages == MANY // 2
        assert (await world.check()).problems == ()

    run(scenario)


def test_bodies_that_one_worker_never_sends_keep_no_other_waiting(run):
    async def scenario(world):
        slow = await world.session(await world.account())
        honest = await world.session(await world.account(), Channel("access", 1, 1))
        await world.deliver(copy_for(honest.account))
        await honest.ask(to_store.LockMaildrop)
        never = asyncio.Event()

        async def body():
            yield b"\0" * 8
            await never.wait()

        held = [asyncio.create_task(slow.change(to_store.UpdateMaildrop, slow.inbox, body=body)) for _ in range(20)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):  # a third of what a body may take
            reply = await honest.change(to_store.UpdateMaildrop, honest.inbox, body=struct.pack("<II", 1, 1))
        assert reply.expunged == 1
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    run(scenario)


def test_what_changed_long_ago_is_looked_for_beside_other_work_and_is_of_one_moment(run, monkeypatch):
    async def scenario(world):
        client = await large(world, 2000)
        world.store.state.columns._cached.clear()
        began, go_on = threading.Event(), threading.Event()

        def slowly(modseqs, since):
            began.set()
            assert go_on.wait(60)
            return places_above(modseqs, since)

        monkeypatch.setattr("bulkhead.store.handle_read.places_above", slowly)
        asked = asyncio.create_task(client.open(to_store.ReadChanges, client.inbox, 1))
        while not began.is_set():
            await asyncio.sleep(0.001)
        await client.change_open(to_store.StoreFlags, client.inbox, ((5, 5),), 1, 1)  # others are answered
        await client.change_open(to_store.Expunge, client.inbox, ((1, 3),), deleted_only=False)
        go_on.set()
        reply, body = await asked
        changes = struct.unpack("<2000I2000Q2000Q", body)
        assert (reply.messages, reply.changed, reply.expunged) == (2000, 2000, 0)
        assert changes[:2000] == tuple(range(1, 2001)) and set(changes[2000:4000]) == {0}
        assert max(changes[4000:]) == reply.modseq
        after, _ = await client.open(to_store.ReadChanges, client.inbox, reply.modseq)
        assert (after.changed, after.expunged) == (1, 3)

    run(scenario)

"""PlanFiling, FileMessages, ReadPages."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.store.world import CLI, copy_for, stamp

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id
from bulkhead.store.rows import generation_of

ALL = ((1, 0xFFFFFFFF),)


async def arrived(world, count):
    client = await world.session(await world.account())
    copies = [copy_for(client.account) for _ in range(count)]
    await asyncio.gather(*(client.append(client.inbox, copy) for copy in copies))
    return client, [copy.email for copy in copies]


async def file(client, page, version, replaces, entries, used=None, data=None):
    rows = tuple(to_store.FiledEntry(email, index, slot) for email, index, slot in entries)
    data = data or os.urandom(500)
    used = len(rows) if used is None else used
    await client.change(to_store.FileMessages, page, version, replaces, used, rows, body=data)
    return data


async def refused_with(code, call):
    with pytest.raises(Refused) as refused:
        await call
    assert refused.value.code == code


def test_filing_gives_slots_and_changes_no_uid_and_no_modseq(run):
    async def scenario(world):
        client, emails = await arrived(world, 3)
        before = await client.columns()
        plan = await client.ask(to_store.PlanFiling)
        assert (plan.newest.page, plan.next_page) == (0, 1)
        data = await file(client, 1, 1, 0, [(email, at, b"slot%d" % at) for at, email in enumerate(emails)])
        assert await client.columns() == before
        rows = (await client.ask(to_store.ReadRows, client.inbox, ALL)).rows
        assert sorted((row.email, row.page, row.index, row.sealed_key) for row in rows) == sorted(
            (email, 1, at, b"slot%d" % at) for at, email in enumerate(emails)
        )
        reply, body = await client.open(to_store.ReadPages, (1, 2))
        assert (reply.pages[0].live, reply.pages[1].size, body) == (3, 0, data)
        assert (await client.ask(to_store.PlanFiling)).next_page == 2

    run(scenario)


def test_of_two_sessions_that_file_at_once_one_is_refused_and_nothing_is_half_written(run):
    async def scenario(world):
        client, emails = await arrived(world, 4)
        other = await world.session(client.account, Channel("access", 1, 1))
        await file(client, 1, 1, 0, [(emails[0], 0, b"a")])
        await refused_with("page-changed", file(other, 1, 1, 0, [(emails[1], 0, b"b")]))
        await refused_with("page-changed", file(other, 3, 1, 0, [(emails[1], 0, b"b")]))
        await file(client, 1, 2, 1, [(emails[0], 0, b""), (emails[1], 1, b"c")])
        await refused_with("page-changed", file(other, 1, 2, 1, [(emails[2], 2, b"d")], used=3))
        await refused_with("page-changed", file(other, 1, 3, 2, [(emails[3], 2, b"")], used=3))
        rows = {row.email: row for row in (await client.ask(to_store.ReadRows, client.inbox, ALL)).rows}
        assert [rows[email].page for email in emails] == [1, 1, 0, 0]
        assert rows[emails[0]].sealed_key == b"a"

    run(scenario)


def test_no_more_messages_name_a_page_than_it_has_summaries(run):
    async def scenario(world):
        client, emails = await arrived(world, 4)
        await refused_with("bad-page", file(client, 1, 1, 0, [(email, 0, b"a") for email in emails], used=3))
        await file(client, 1, 1, 0, [(emails[0], 0, b"a"), (emails[1], 1, b"b")])
        await refused_with("bad-page", file(client, 1, 2, 1, [(emails[2], 1, b"c")], used=2))
        await file(client, 1, 2, 1, [(emails[2], 2, b"c")], used=3)

    run(scenario)


def test_a_message_filed_twice_lies_in_the_later_page(run):
    async def scenario(world):
        client, emails = await arrived(world, 2)
        await file(client, 1, 1, 0, [(emails[0], 0, b"a")])
        await file(client, 2, 1, 0, [(emails[0], 0, b"b"), (emails[1], 1, b"c")])
        reply, _ = await client.open(to_store.ReadPages, (1, 2))
        assert [page.live for page in reply.pages] == [0, 2]

    run(scenario)


def test_a_page_goes_with_its_last_message(run):
    async def scenario(world):
        client, emails = await arrived(world, 3)
        await file(client, 1, 1, 0, [(email, at, b"s") for at, email in enumerate(emails)])
        await client.change_open(to_store.Expunge, client.inbox, ((1, 2),), deleted_only=False)
        assert (await client.open(to_store.ReadPages, (1,)))[0].pages[0].live == 1
        await client.change_open(to_store.Expunge, client.inbox, ALL, deleted_only=False)
        assert (await client.open(to_store.ReadPages, (1,)))[0].pages[0] == to_store.PageRow(1, 0, 0, 0, 0)
        await asyncio.sleep(0.05)
        assert (await world.counts()).segments == 0

    run(scenario)


def test_messages_expunged_meanwhile_are_left_out(run):
    async def scenario(world):
        client, emails = await arrived(world, 1)
        await file(client, 1, 1, 0, [(new_id(), 0, b"s")])
        assert (await client.ask(to_store.PlanFiling)).newest.page == 0
        await file(client, 2, 1, 0, [(new_id(), 0, b"s"), (emails[0], 1, b"t")])
        assert (await client.open(to_store.ReadPages, (2,)))[0].pages[0].live == 1

    run(scenario)


def test_another_accounts_messages_cannot_be_filed(run):
    async def scenario(world):
        client, emails = await arrived(world, 1)
        thief = await world.session(await world.account())
        await file(thief, 1, 1, 0, [(emails[0], 0, b"stolen")])
        assert (await client.ask(to_store.ReadRows, client.inbox, ALL)).rows[0].page == 0
        await refused_with("bad-page", file(client, 1, 1, 0, [(emails[0], 5, b"s")], used=5))
        await refused_with("bad-page", file(client, 1, 1, 1, [(emails[0], 0, b"s")]))

    run(scenario)


def test_a_destroyed_account_leaves_no_page_and_no_segment(run):
    async def scenario(world):
        client, emails = await arrived(world, 2)
        await file(client, 1, 1, 0, [(emails[0], 0, b"s")])
        await world.peer(CLI).call(to_store.DestroyAccount(stamp(), client.account))
        await asyncio.sleep(0.05)
        assert (await world.counts()).segments == 0
        assert list(Path("segments").iterdir()) == []
        assert client.account not in Path("store.sqlite").read_bytes() + Path("store.sqlite-wal").read_bytes()

    run(scenario)


async def rewrite(client, page, version, replaces, kept, data=b"page"):
    await client.change(to_store.RewritePage, page, version, replaces, bytes(kept), body=data)


async def half_dead(world, count=6):
    """A page of `count` messages of which the first half are gone; the emails that live."""
    client, emails = await arrived(world, count)
    await file(client, 1, 1, 0, [(email, at, b"s") for at, email in enumerate(emails)])
    columns = await client.columns()
    gone = [uid for uid, row in columns.items() if row[4] in emails[: count // 2]]
    await client.change_open(to_store.Expunge, client.inbox, tuple((uid, uid) for uid in gone), deleted_only=False)
    return client, emails[count // 2 :]


def test_a_half_dead_page_is_listed_and_rewritten_without_moving_a_message(run):
    async def scenario(world):
        client, _ = await half_dead(world)
        (sparse,) = (await client.ask(to_store.ListSparsePages)).pages
        assert sparse == to_store.SparsePage(1, 1, 6, bytes((3, 4, 5)))
        columns = await client.columns()
        rows = (await client.ask(to_store.ReadRows, client.inbox, ALL)).rows
        await rewrite(client, 1, 2, 1, sparse.live, b"sealed anew")
        assert await client.columns() == columns
        assert (await client.ask(to_store.ReadRows, client.inbox, ALL)).rows == rows
        reply, body = await client.open(to_store.ReadPages, (1,))
        assert (reply.pages[0], body) == (
            to_store.PageRow(1, 2, 3, 6, 11, generation_of(b"sealed anew")),
            b"sealed anew",
        )
        assert (await client.ask(to_store.ListSparsePages)).pages == ()

    run(scenario)


def test_a_page_with_more_than_half_alive_is_left_alone(run):
    async def scenario(world):
        client, emails = await arrived(world, 3)
        await file(client, 1, 1, 0, [(email, at, b"s") for at, email in enumerate(emails)])
        await client.change_open(to_store.Expunge, client.inbox, ((1, 1),), deleted_only=False)
        assert (await client.ask(to_store.ListSparsePages)).pages == ()

    run(scenario)


def test_of_two_sessions_that_rewrite_a_page_at_once_one_is_refused(run):
    async def scenario(world):
        client, _ = await half_dead(world)
        other = await world.session(client.account, Channel("access", 1, 1))
        await rewrite(client, 1, 2, 1, (3, 4, 5))
        await refused_with("page-changed", rewrite(other, 1, 2, 1, (3, 4, 5), b"other"))
        assert (await client.open(to_store.ReadPages, (1,)))[1] == b"page"

    run(scenario)


def test_no_rewritten_page_forgets_a_live_summary(run):
    async def scenario(world):
        client, _ = await half_dead(world)
        await refused_with("page-changed", rewrite(client, 1, 2, 1, (3, 4)))
        await refused_with("bad-page", rewrite(client, 1, 2, 1, (3, 4, 5, 6)))
        await refused_with("bad-page", rewrite(client, 1, 1, 1, (3, 4, 5)))
        await refused_with("bad-page", rewrite(client, 1, 2, 1, (3, 4, 5), None))
        await refused_with("page-changed", rewrite(client, 2, 2, 1, (3, 4, 5)))
        assert (await client.open(to_store.ReadPages, (1,)))[0].pages[0].version == 1

    run(scenario)


def test_a_page_rewritten_is_filled_further(run):
    async def scenario(world):
        client, _ = await half_dead(world)
        await rewrite(client, 1, 2, 1, (3, 4, 5))
        copy = copy_for(client.account)
        await client.append(client.inbox, copy)
        await file(client, 1, 3, 2, [(copy.email, 6, b"s")], used=7)
        (page,) = (await client.open(to_store.ReadPages, (1,)))[0].pages
        assert (page.live, page.used) == (4, 7)
        await refused_with("bad-page", file(client, 1, 4, 3, [(copy.email, 0, b"s")], used=1))

    run(scenario)

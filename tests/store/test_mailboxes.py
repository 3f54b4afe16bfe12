"""Mailboxes, keywords, subscriptions."""

import pytest
from tests.store.world import copy_for, payload, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id


async def refused_with(code, call):
    with pytest.raises(Refused) as refused:
        await call
    assert refused.value.code == code


def test_a_new_account_has_an_inbox_and_uidvalidity_only_goes_up(run):
    async def scenario(world):
        client = await world.session(await world.account())
        (inbox,) = (await client.ask(to_store.ListMailboxes)).rows
        assert (inbox.role, inbox.sealed_name, inbox.uid_next) == (to_store.Role.INBOX, b"", 1)
        seen = [inbox.uid_validity]
        for _ in range(3):
            mailbox = await client.create()
            seen.append((await client.row(mailbox)).uid_validity)
            await client.change(to_store.DeleteMailbox, mailbox)
        assert seen == sorted(set(seen))

    run(scenario)


def test_names_are_unique_by_tag_and_renames_are_all_or_none(run):
    async def scenario(world):
        client = await world.session(await world.account())
        one, two, tag, other = [new_id() for _ in range(4)]
        await client.change(to_store.CreateMailbox, one, b"one", tag)
        await client.change(to_store.CreateMailbox, two, b"two", other)
        await refused_with("mailbox-exists", client.change(to_store.CreateMailbox, new_id(), b"x", tag))
        await refused_with("mailbox-exists", client.change(to_store.CreateMailbox, one, b"x", new_id()))
        swap = (to_store.NameChange(one, b"TWO", other), to_store.NameChange(two, b"ONE", tag))
        await client.change(to_store.RenameMailboxes, swap)
        names = {row.mailbox: row.sealed_name for row in (await client.ask(to_store.ListMailboxes)).rows}
        assert (names[one], names[two]) == (b"TWO", b"ONE")
        clash = (to_store.NameChange(one, b"new", new_id()), to_store.NameChange(two, b"clash", tag))
        await client.change(to_store.RenameMailboxes, clash)
        await refused_with(
            "mailbox-exists", client.change(to_store.RenameMailboxes, (to_store.NameChange(one, b"x", tag),))
        )
        missing = (to_store.NameChange(two, b"gone", new_id()), to_store.NameChange(new_id(), b"x", new_id()))
        await refused_with("no-such-mailbox", client.change(to_store.RenameMailboxes, missing))
        assert (await client.row(two)).sealed_name == b"clash"
        await refused_with(
            "is-inbox", client.change(to_store.RenameMailboxes, (to_store.NameChange(client.inbox, b"x", new_id()),))
        )

    run(scenario)


def test_deleting_a_mailbox_keeps_what_other_mailboxes_name(run):
    async def scenario(world):
        client = await world.session(await world.account())
        mailbox = await client.create(to_store.Role.TRASH)
        kept, lost = copy_for(client.account), copy_for(client.account)
        for copy in (kept, lost):
            await client.append(mailbox, copy)
        await client.change_open(to_store.CopyMessages, mailbox, ((1, 1),), client.inbox, False)
        await client.change(to_store.DeleteMailbox, mailbox)
        _, body = await client.open(to_store.ReadPart, kept.email, 1)
        assert body == payload(kept)[:40]
        await refused_with("no-such-message", client.open(to_store.ReadPart, lost.email, 1))
        assert (await client.ask(to_store.ReadQuota)).used == 100
        await refused_with("no-such-mailbox", client.open(to_store.ReadColumns, mailbox, 63))
        await refused_with("is-inbox", client.change(to_store.DeleteMailbox, client.inbox))
        await refused_with("bad-role", client.change(to_store.CreateMailbox, new_id(), b"", new_id(), role=1))

    run(scenario)


def test_the_1001st_mailbox_is_refused_and_1000_fit_one_answer(run):
    async def scenario(world):
        client = await world.session(await world.account())
        for _ in range(999):
            await client.change(to_store.CreateMailbox, new_id(), b"n" * 90, new_id())
        assert len((await client.ask(to_store.ListMailboxes)).rows) == 1000
        await refused_with("too-many-mailboxes", client.change(to_store.CreateMailbox, new_id(), b"n", new_id()))

    run(scenario)


def test_a_keyword_keeps_its_bit_and_the_60th_is_refused(run):
    async def scenario(world):
        client = await world.session(await world.account())
        tags = [new_id() for _ in range(60)]
        bits = [(await client.change(to_store.AddKeyword, tag, b"k")).bit for tag in tags[:59]]
        assert bits == list(range(5, 64))
        assert (await client.change(to_store.AddKeyword, tags[7], b"other")).bit == 12
        await refused_with("too-many-keywords", client.change(to_store.AddKeyword, tags[59], b"k"))
        assert [row.tag for row in (await client.ask(to_store.ListKeywords)).rows] == tags[:59]
        await client.append(client.inbox, copy_for(client.account), flags=(1 << 63) | 1)
        assert (await client.columns())[1][0] == (1 << 63) | 1

    run(scenario)


def test_a_flag_that_is_no_keyword_is_refused(run):
    async def scenario(world):
        client = await world.session(await world.account())
        await refused_with("unknown-keyword", client.append(client.inbox, copy_for(client.account), flags=32))
        await client.append(client.inbox, copy_for(client.account))
        for mode in (to_store.FlagMode.ADD, to_store.FlagMode.REPLACE):
            await refused_with(
                "unknown-keyword", client.change_open(to_store.StoreFlags, client.inbox, ((1, 1),), mode, 1 << 63)
            )
        await client.change_open(to_store.StoreFlags, client.inbox, ((1, 1),), to_store.FlagMode.REMOVE, 1 << 63)

    run(scenario)


def test_subscriptions_are_kept_by_tag(run):
    async def scenario(world):
        client = await world.session(await world.account())
        tag = new_id()
        for name in (b"one", b"two"):
            await client.change(to_store.SetSubscription, tag, name, True)
        assert [row.sealed_name for row in (await client.ask(to_store.ListSubscriptions)).rows] == [b"two"]
        await client.change(to_store.SetSubscription, tag, b"", False)
        assert (await client.ask(to_store.ListSubscriptions)).rows == ()

    run(scenario)


# --- RENAME of INBOX -------------------------------------------------------------------------------------------------


def test_renaming_inbox_moves_everything_into_a_new_mailbox_once(run):
    async def scenario(world):
        client = await world.session(await world.account())
        await world.deliver(*(copy_for(client.account, size=100 + n) for n in range(3)))
        await client.change_open(to_store.StoreFlags, client.inbox, ((2, 2),), to_store.FlagMode.ADD, 8)
        inbox, new = await client.row(client.inbox), new_id()
        request = to_store.RenameInbox(stamp(), client.handle, new, b"old", new_id())
        made = await client.peer.call(request)
        again = await client.peer.call(request)
        assert made == again
        target, left = await client.row(new), await client.row(client.inbox)
        assert (made.mailbox, made.messages, made.uid_validity) == (new, 3, target.uid_validity)
        assert (target.messages, target.deleted, target.deleted_size, target.size) == (3, 1, 101, 303)
        assert (left.messages, left.deleted_size, left.uid_next) == (0, 0, inbox.uid_next)
        assert target.uid_validity != left.uid_validity == inbox.uid_validity
        assert (await world.check()).problems == ()

    run(scenario)


def test_renaming_inbox_onto_a_mailbox_moves_nothing(run):
    async def scenario(world):
        client = await world.session(await world.account())
        await world.deliver(copy_for(client.account))
        tag = new_id()
        await client.change(to_store.CreateMailbox, new_id(), b"there", tag)
        await refused_with("mailbox-exists", client.change(to_store.RenameInbox, new_id(), b"x", tag))
        assert (await client.row(client.inbox)).messages == 1
        assert (await world.check()).problems == ()

    run(scenario)


# --- counts ----------------------------------------------------------------------------------------------------------


def test_octets_of_deleted_messages_follow_flags_copies_and_expunges(run):
    async def scenario(world):
        client = await world.session(await world.account())
        other = await client.create()
        await client.append(client.inbox, copy_for(client.account, size=10), flags=8)
        await world.deliver(*(copy_for(client.account, size=size) for size in (20, 40)))

        async def counted():
            return [(await client.row(mailbox)).deleted_size for mailbox in (client.inbox, other)]

        assert await counted() == [10, 0]
        await client.change_open(to_store.StoreFlags, client.inbox, ((1, 2),), to_store.FlagMode.ADD, 8)
        assert await counted() == [30, 0]
        await client.change_open(to_store.CopyMessages, client.inbox, ((1, 3),), other, False)
        assert await counted() == [30, 30]
        await client.change_open(to_store.CopyMessages, client.inbox, ((1, 1),), other, True)
        assert await counted() == [20, 40]
        await client.change_open(to_store.StoreFlags, other, ((1, 1),), to_store.FlagMode.REPLACE, 0)
        await client.change_open(to_store.Expunge, client.inbox, ())
        assert await counted() == [0, 30]
        assert (await world.check()).problems == ()

    run(scenario)


def test_quota_tells_how_many_messages_there_may_be(run):
    async def scenario(world):
        client = await world.session(await world.account(quota=5000))
        await world.deliver(copy_for(client.account, size=70))
        quota = await client.ask(to_store.ReadQuota)
        assert (quota.used, quota.allowed, quota.messages, quota.messages_allowed) == (70, 5000, 1, 4_000_000)

    run(scenario)


def test_names_are_replaced_by_their_old_tags_and_those_that_are_gone_are_left_out(run):
    async def scenario(world):
        client = await world.session(await world.account())
        one, two, old, other, new = [new_id() for _ in range(5)]
        await client.change(to_store.CreateMailbox, one, b"one", old)
        await client.change(to_store.CreateMailbox, two, b"two", other)
        modseq = (await client.row(one)).modseq
        changes = (to_store.NewName(old, new, b"ONE"), to_store.NewName(new_id(), new_id(), b"gone"))
        for _ in range(2):  # again changes nothing
            await client.change(to_store.ReplaceNames, to_store.NameTable.MAILBOX, changes)
        row = await client.row(one)
        assert (row.sealed_name, row.modseq) == (b"ONE", modseq)
        clash = (to_store.NewName(new, old, b"x"), to_store.NewName(other, old, b"x"))
        await refused_with("mailbox-exists", client.change(to_store.ReplaceNames, to_store.NameTable.MAILBOX, clash))
        assert (await client.row(one)).sealed_name == b"ONE"
        await client.change(to_store.SetSubscription, old, b"inbox", True)
        await client.change(to_store.SetSubscription, new, b"INBOX", True)
        both = (to_store.NewName(old, new, b"again"),)
        await client.change(to_store.ReplaceNames, to_store.NameTable.SUBSCRIPTION, both)
        (subscribed,) = (await client.ask(to_store.ListSubscriptions)).rows
        assert (subscribed.tag, subscribed.sealed_name) == (new, b"again")
        await client.change(to_store.AddKeyword, old, b"word")
        await client.change(to_store.ReplaceNames, to_store.NameTable.KEYWORD, both)
        (keyword,) = (await client.ask(to_store.ListKeywords)).rows
        assert (keyword.bit, keyword.tag, keyword.sealed_name) == (5, new, b"again")
        await refused_with("bad-table", client.change(to_store.ReplaceNames, 4, both))

    run(scenario)

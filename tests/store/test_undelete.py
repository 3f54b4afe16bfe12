"""What a subscriber deleted is nowhere to be seen, comes back whole, and dies with its time or its account."""

from typing import Any

import pytest
from tests.store.world import CLI, KEYRING, Client, World, copy_for, payload, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.store.retention import Retention
from bulkhead.store.rows import DELETED

KEEP = Retention(86_400, 1 << 20)


async def start(world: World, count: int = 3, quota: int = 0, retention: Retention = KEEP) -> tuple[Client, list[Any]]:
    world.store.state.keeper.retention = retention
    account = await world.account(quota)
    client = await world.session(account)
    copies = [copy_for(account) for _ in range(count)]
    for copy in copies:
        await client.append(client.inbox, copy, 1)
    return client, copies


async def expunge(client: Client, mailbox: bytes) -> None:
    await client.change_open(to_store.Expunge, mailbox, ((1, 0xFFFFFFFF),), False)


async def groups(world: World, account: bytes, since: int = 0) -> tuple[to_store.DeletedGroup, ...]:
    reply = await world.peer(CLI).call(to_store.ListDeleted(account, since))
    found: tuple[to_store.DeletedGroup, ...] = reply.groups
    return found


async def undelete(world: World, account: bytes, mailbox: bytes, since: int = 0) -> to_store.Undeleted:
    reply: to_store.Undeleted = await world.peer(CLI).call(
        to_store.UndeleteMessages(stamp(), account, mailbox, since)  # type: ignore[arg-type]
    )
    return reply


async def read(client: Client, email: bytes) -> bytes:
    return (await client.open(to_store.ReadPart, email, to_store.Part.BODY))[1]


def test_an_expunged_message_shows_nowhere_and_comes_back_whole_under_a_new_uid(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world)
        await expunge(client, client.inbox)
        row = await client.row(client.inbox)
        assert (row.messages, row.size) == (0, 0) and await client.columns() == {}
        assert (await client.ask(to_store.ReadQuota)).used == 0
        (group,) = await groups(world, client.account)
        assert (group.mailbox, group.gone, group.messages) == (client.inbox, False, 3)
        assert (await world.check()).problems == ()
        assert await undelete(world, client.account, client.inbox) == to_store.Undeleted(3, False)
        columns = await client.columns()
        assert sorted(columns) == [4, 5, 6] and {one[0] for one in columns.values()} == {1}
        assert {one[4] for one in columns.values()} == {copy.email for copy in copies}
        for copy in copies:
            assert await read(client, copy.email) == payload(copy)[copy.summary_size + copy.header_size :]
        assert await groups(world, client.account) == ()
        assert (await client.ask(to_store.ReadQuota)).used == sum(copy.size for copy in copies)

    run(scenario)


def test_without_retention_an_expunged_message_is_gone_at_once(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, retention=Retention())
        await expunge(client, client.inbox)
        assert await groups(world, client.account) == ()
        with pytest.raises(Refused):
            await read(client, copies[0].email)

    run(scenario)


def test_a_deleted_mailbox_is_made_again_under_its_name_or_joins_the_one_that_has_it(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, _ = await start(world, 0)
        mailbox, tag = b"m" * 16, b"t" * 16
        for again in (False, True):
            await client.change(to_store.CreateMailbox, mailbox, b"sealed", tag)
            await client.append(mailbox, copy_for(client.account), DELETED)
            await client.change(to_store.DeleteMailbox, mailbox)
            (group,) = await groups(world, client.account)
            assert group.gone and group.mailbox == mailbox
            if again:
                await client.change(to_store.CreateMailbox, b"n" * 16, b"another sealing", tag)
            assert (await undelete(world, client.account, mailbox)).messages == 1
            (row,) = [row for row in (await client.ask(to_store.ListMailboxes)).rows if row.role == 0]
            assert (row.messages, row.deleted, row.mailbox == b"n" * 16) == (1, 0, again)
            assert row.sealed_name == (b"another sealing" if again else b"sealed")
            await client.change(to_store.DeleteMailbox, row.mailbox)
            world.store.state.keeper.retention = Retention()
            await world.store.state.keeper.look()
            world.store.state.keeper.retention = KEEP

    run(scenario)


def test_what_was_kept_long_enough_is_released_with_its_parts(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world)
        await expunge(client, client.inbox)
        keeper = world.store.state.keeper
        await keeper.look()
        assert (await groups(world, client.account))[0].messages == 3
        await world.store.state.database.write(lambda connection: connection.execute("UPDATE deleted SET at = 1"))
        await keeper.look()
        assert await groups(world, client.account) == ()
        assert (await world.counts()).bytes_stored == 0
        with pytest.raises(Refused):
            await read(client, copies[0].email)

    run(scenario)


def test_what_is_over_the_bound_of_an_account_is_not_kept(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, retention=Retention(86_400, 250))
        for uid in (1, 2, 3):
            await client.change_open(to_store.Expunge, client.inbox, ((uid, uid),), False)
        (group,) = await groups(world, client.account)
        assert (group.octets, group.messages) == (200, 2) and len(copies) == 3

    run(scenario)


def test_undeleting_over_the_quota_is_refused_and_leaves_everything(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, quota=1000)
        await expunge(client, client.inbox)
        await client.append(client.inbox, copy_for(client.account, 900))
        with pytest.raises(Refused) as refused:
            await undelete(world, client.account, client.inbox)
        assert refused.value.code == "over-quota"
        assert (await groups(world, client.account))[0].messages == len(copies)

    run(scenario)


def test_a_destroyed_account_takes_along_what_was_kept(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, _ = await start(world)
        await expunge(client, client.inbox)
        await world.peer(CLI).call(to_store.DestroyAccount(stamp(), client.account))  # type: ignore[arg-type]
        for request in (to_store.ListDeleted, lambda account: to_store.UndeleteMessages(stamp(), account, b"m" * 16)):
            with pytest.raises(Refused) as refused:
                await world.peer(CLI).call(request(client.account))
            assert refused.value.code == "no-such-account"
        assert (await world.counts()).bytes_stored == 0

    run(scenario)


def test_only_what_was_deleted_since_then_and_there_comes_back(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, _ = await start(world)
        other = await client.create()
        await client.change_open(to_store.CopyMessages, client.inbox, ((1, 3),), other, False)
        for mailbox in (client.inbox, other):
            await expunge(client, mailbox)
        await world.store.state.database.write(
            lambda connection: connection.execute("UPDATE deleted SET at = 1000 WHERE number <= 2")
        )
        assert (await undelete(world, client.account, client.inbox, 2000)).messages == 1
        assert {(group.mailbox, group.messages) for group in await groups(world, client.account)} == {
            (client.inbox, 2), (other, 3),
        }  # fmt: skip
        with pytest.raises(Refused):
            await undelete(world, client.account, b"x" * 16)

    run(scenario)


def test_what_is_kept_holds_up_no_renewal_of_the_mailbox_key(run: Any) -> None:
    def name(generation: int) -> bytes:
        return b"t" * 16 + b"\x16\x01\x01" + generation.to_bytes(4, "big") + b"sealed"

    async def scenario(world: World) -> None:
        client, copies = await start(world, 0)
        copy = copy_for(client.account)
        copies = [to_store.Copy(*(b"\x10\x01\x03\0\0\0\1" + b"b" * 80 if f == "box" else getattr(copy, f)
                                  for f in copy.__struct_fields__))]  # fmt: skip
        await client.change(to_store.CreateMailbox, b"m" * 16, name(1), b"t" * 16)
        await client.append(b"m" * 16, copies[0])
        end = to_store.EndGenerations(client.account, 2)  # type: ignore[arg-type]
        assert (await world.peer(KEYRING).call(end)).left
        await client.append(client.inbox, copy_for(client.account))
        await client.change_open(to_store.Expunge, client.inbox, ((1, 1),), False)
        await client.change(to_store.DeleteMailbox, b"m" * 16)
        await client.change(to_store.CreateMailbox, b"n" * 16, name(2), b"u" * 16)
        assert {group.mailbox for group in await groups(world, client.account)} == {b"m" * 16, client.inbox}
        assert not (await world.peer(KEYRING).call(end)).left
        assert {group.mailbox for group in await groups(world, client.account)} == {client.inbox}

    run(scenario)


def test_a_mailbox_whose_name_is_under_an_older_key_comes_back_into_inbox(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, _ = await start(world, 0)
        await client.change(to_store.CreateMailbox, b"m" * 16, b"t" * 19 + b"\0\0\0\1", b"t" * 16)
        await client.append(b"m" * 16, copy_for(client.account))
        await client.change(to_store.DeleteMailbox, b"m" * 16)
        await client.change(to_store.CreateMailbox, b"n" * 16, b"u" * 19 + b"\0\0\0\2", b"u" * 16)
        assert (await undelete(world, client.account, b"m" * 16)).messages == 1
        assert (await client.row(client.inbox)).messages == 1

    run(scenario)

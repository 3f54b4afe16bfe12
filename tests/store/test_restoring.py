"""Mail of a backup comes back once, whole, under new UIDs, into its folder; what is there stays as it is."""

import os
import time
from typing import Any

import pytest
from tests.store.test_undelete import KEEP, expunge, start
from tests.store.world import CLI, Client, World, copy_for, payload, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.to_store import Found, MessagesRestored, RestoredRow
from bulkhead.errors import Refused
from bulkhead.store.retention import Retention

NOT_KEPT = Retention(0, 0)


async def restore(world: World, _: bytes, copies: list[to_store.Copy], rows: list[RestoredRow]) -> MessagesRestored:
    reply: MessagesRestored = await world.peer(CLI).call(
        to_store.RestoreMessages(stamp(), tuple(copies), tuple(rows)),  # type: ignore[arg-type]
        b"".join(payload(copy) for copy in copies),
    )
    return reply


async def mailbox(world: World, account: bytes, ident: bytes, tag: bytes, role: int = 0) -> to_store.RestoredMailbox:
    reply: to_store.RestoredMailbox = await world.peer(CLI).call(
        to_store.RestoreMailbox(stamp(), account, ident, role, b"sealed name", tag)  # type: ignore[arg-type]
    )
    return reply


async def states(world: World, account: bytes, copies: list[to_store.Copy]) -> list[int]:
    reply = await world.peer(CLI).call(to_store.FindMessages(account, tuple(copy.email for copy in copies)))  # type: ignore[arg-type]
    return list(reply.states)


def rows_in(client: Client, count: int, flags: int = 1) -> list[RestoredRow]:
    return [RestoredRow(index, client.inbox, flags) for index in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("retention", [KEEP, NOT_KEPT])
def test_an_expunged_message_comes_back_once_under_a_new_uid_kept_or_not(run: Any, retention: Retention) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, retention=retention)
        await client.change_open(to_store.Expunge, client.inbox, ((1, 2),), False)
        gone = Found.DELETED if retention is KEEP else Found.NOWHERE
        assert await states(world, client.account, copies) == [gone, gone, Found.MAILBOX]
        assert await restore(world, client.account, copies, rows_in(client, 3, 5)) == MessagesRestored(2, 1, 0)
        assert await restore(world, client.account, copies, rows_in(client, 3, 5)) == MessagesRestored(0, 3, 0)
        columns = await client.columns()
        assert sorted(columns) == [3, 4, 5]
        assert [columns[uid][0] for uid in (3, 4, 5)] == [1, 5, 5]
        assert {one[4] for one in columns.values()} == {copy.email for copy in copies}
        for copy in copies:
            _, body = await client.open(to_store.ReadPart, copy.email, to_store.Part.BODY)
            assert payload(copy).endswith(body)
        assert (await client.ask(to_store.ReadQuota)).used == sum(copy.size for copy in copies)
        assert (await world.check()).problems == ()

    run(scenario)


def test_a_message_of_two_mailboxes_comes_back_into_both_and_a_moved_one_stays_where_it_is(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, count=2, retention=NOT_KEPT)
        other = await client.create()
        await client.change_open(to_store.CopyMessages, client.inbox, ((2, 2),), other, True)
        await expunge(client, client.inbox)
        rows = [
            RestoredRow(0, client.inbox, 3, "uidl-of-before"),  # type: ignore[arg-type]
            RestoredRow(0, other, 1 << 40),  # type: ignore[arg-type]
            RestoredRow(1, client.inbox, 1),  # type: ignore[arg-type]
        ]
        assert await restore(world, client.account, copies, rows) == MessagesRestored(1, 1, 0)
        assert [one[4] for one in (await client.columns()).values()] == [copies[0].email]
        found = await client.columns(other)
        assert [found[uid][4] for uid in sorted(found)] == [copies[1].email, copies[0].email]
        assert found[max(found)][0] == 0  # a keyword that the account has not
        assert (await world.check()).problems == ()

    run(scenario)


def test_a_folder_that_is_gone_is_made_again_and_one_of_its_name_is_taken(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, _ = await start(world)
        ident, tag = os.urandom(16), os.urandom(16)
        made = await mailbox(world, client.account, ident, tag)
        assert (made.mailbox, made.made) == (ident, True)
        assert await mailbox(world, client.account, os.urandom(16), tag) == to_store.RestoredMailbox(ident, False)
        assert (await mailbox(world, client.account, os.urandom(16), b"")).mailbox == client.inbox
        assert (await world.check()).problems == ()

    run(scenario)


def test_what_does_not_fit_or_is_of_a_renewed_key_or_another_account_does_not_come_back(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, retention=NOT_KEPT, quota=sum([copy_for(bytes(16)).size] * 3))
        await expunge(client, client.inbox)
        more = [*copies, copy_for(client.account)]
        with pytest.raises(Refused) as refused:
            await restore(world, client.account, more, rows_in(client, 4))
        assert refused.value.code == "over-quota"
        assert await client.columns() == {}
        await world.store.state.database.write(lambda c: c.execute("UPDATE account SET generation = 4294967295"))
        assert await restore(world, client.account, copies, rows_in(client, 3)) == MessagesRestored(0, 0, 3)
        with pytest.raises(Refused) as refused:
            await restore(world, client.account, copies, rows_in(client, 4))
        assert refused.value.code == "bad-rows"
        await world.peer(CLI).call(to_store.DestroyAccount(stamp(), client.account))  # type: ignore[arg-type]
        with pytest.raises(Refused) as refused:
            await restore(world, client.account, copies, rows_in(client, 3))
        assert refused.value.code == "no-such-account"
        assert (await world.check()).problems == ()

    run(scenario)


def test_a_unique_id_of_ours_is_kept_only_where_its_uid_was_given_out(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, copies = await start(world, count=2, retention=NOT_KEPT)
        validity = (await client.row(client.inbox)).uid_validity
        await expunge(client, client.inbox)
        kept, refused = f"{validity:08x}{1:08x}", f"{validity:08x}{int(time.time()):08x}"
        rows = [RestoredRow(0, client.inbox, 0, kept), RestoredRow(1, client.inbox, 0, refused)]  # type: ignore[arg-type]
        assert (await restore(world, client.account, copies, rows)).restored == 2
        assert world.store.state.database.read("SELECT uid, uidl FROM uidl") == [(3, kept)]
        assert (await world.check()).problems == ()

    run(scenario)

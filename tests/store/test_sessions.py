"""Grants: whose handle is served, from when, until when."""

import asyncio
import time

import pytest
from tests.store.world import ACCESS, FAR, KEYRING, Client, Peer, copy_for, running, stamp

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import new_id
from bulkhead.store import grants, state

OTHER_WORKER = Channel("access", 1, 1)
NEXT_LIFE = Channel("access", 0, 2)


async def refused_with(code, call):
    with pytest.raises(Refused) as refused:
        await call
    assert refused.value.code == code


@pytest.mark.parametrize("channel", [OTHER_WORKER, NEXT_LIFE])
def test_a_handle_is_refused_on_any_other_channel(run, channel):
    async def scenario(world):
        client = await world.session(await world.account())
        stolen = Client(world.peer(channel), client.handle, client.account)
        await refused_with("no-session", stolen.ask(to_store.ReadQuota))
        await refused_with("no-session", stolen.change(to_store.Expunge, client.inbox, (), True))
        await client.ask(to_store.ReadQuota)

    run(scenario)


def test_a_strangers_messages_cannot_be_named(run):
    async def scenario(world):
        victim, thief = [await world.session(await world.account()) for _ in range(2)]
        copy = copy_for(victim.account)
        await world.deliver(copy)
        await refused_with("no-such-message", thief.open(to_store.ReadPart, copy.email, 1))
        assert (await thief.open(to_store.ReadParts, 1, (copy.email,)))[0].sizes == (0,)
        await refused_with("no-such-mailbox", thief.open(to_store.ReadColumns, victim.inbox, 63))
        everything = ((1, 0xFFFFFFFF),)
        await refused_with("no-such-mailbox", thief.change(to_store.Expunge, victim.inbox, everything, False))
        await refused_with(
            "no-such-mailbox", thief.change(to_store.CopyMessages, victim.inbox, everything, thief.inbox, True)
        )
        assert list(await victim.columns()) == [1]

    run(scenario)


def test_an_expired_or_revoked_handle_is_refused(run):
    async def scenario(world):
        account = await world.account()
        expired = to_store.Grant(new_id(), account, 3, *ACCESS, int(time.time() * 1000) - 1)
        await world.grant(expired)
        await refused_with("no-session", Client(world.peer(ACCESS), expired.handle, account).ask(to_store.ReadQuota))
        one, two, three = [await world.session(account) for _ in range(3)]
        await world.peer(KEYRING).call(to_store.RevokeSessions((one.handle,), False, 0))
        await refused_with("no-session", one.ask(to_store.ReadQuota))
        await two.ask(to_store.ReadQuota)
        await world.peer(KEYRING).call(to_store.RevokeSessions((), True, 1))
        for client in (two, three):
            await refused_with("no-session", client.ask(to_store.ReadQuota))

    run(scenario)


def test_rights_are_checked(run):
    async def scenario(world):
        account = await world.account()
        reader = await world.session(account, rights=to_store.Rights.READ)
        await refused_with("no-right", reader.change(to_store.StoreFlags, reader.inbox, ((1, 1),), 0, 1))
        writer = await world.session(account)
        only_write = to_store.Grant(new_id(), account, to_store.Rights.WRITE, *ACCESS, FAR)
        await world.grant(only_write)
        await refused_with("no-right", Client(writer.peer, only_write.handle, account).ask(to_store.ReadQuota))

    run(scenario)


def test_nothing_is_served_before_keyring_said_complete(run):
    async def scenario(world):
        account = await world.account()
        handle = new_id()
        grant = to_store.Grant(handle, account, 3, *ACCESS, FAR)
        await world.grant(grant, complete=False)
        client = Client(world.peer(ACCESS), handle, account)
        waiting = asyncio.create_task(client.ask(to_store.ReadQuota))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await world.grant(complete=True)
        assert (await waiting).messages == 0

    run(scenario)


def test_a_request_gives_up_when_keyring_stays_silent(run, monkeypatch):
    monkeypatch.setattr(grants, "READY_SECONDS", 0.1)

    async def scenario(world):
        with pytest.raises(TemporaryFailure) as failure:
            await Client(world.peer(ACCESS), new_id(), b"").ask(to_store.ReadQuota)
        assert failure.value.code == "starting"

    run(scenario)


def test_grants_end_with_keyring(run, monkeypatch):
    monkeypatch.setattr(grants, "READY_SECONDS", 0.1)

    async def scenario(world):
        account = await world.account()
        client = await world.session(account)
        await client.open(to_store.ReadColumns, client.inbox, 1, watch=True)
        world.peers.pop(KEYRING).exchange.close()
        await asyncio.sleep(0.02)
        with pytest.raises(TemporaryFailure):
            await client.ask(to_store.ReadQuota)
        await world.deliver(copy_for(account))
        await asyncio.sleep(0.1)
        assert client.peer.facts == []
        again = Channel("keyring", 0, 2)
        world.peers[KEYRING] = Peer(again, world.exchange)
        await world.grant()
        await refused_with("no-session", client.ask(to_store.ReadQuota))

    run(scenario)


def test_an_old_keyring_that_departs_late_takes_no_newer_grants_along(run):
    async def scenario(world):
        account = await world.account()
        await world.session(account)
        old = world.peers.pop(KEYRING)
        world.peers[KEYRING] = Peer(Channel("keyring", 0, 2), world.exchange)
        client = await world.session(account)
        old.exchange.close()
        await asyncio.sleep(0.02)
        await client.ask(to_store.ReadQuota)

    run(scenario)


def test_grants_outlive_their_channels_edge_for_a_moment_only(run, monkeypatch):
    monkeypatch.setattr(state, "ABSENT_SECONDS", 0.05)

    async def scenario(world):
        account = await world.account()
        await world.session(account)
        other = await world.session(account, OTHER_WORKER)
        world.peers.pop(ACCESS).exchange.close()
        await asyncio.sleep(0.02)
        assert len(world.store.state.grants) == 2
        await asyncio.sleep(0.1)
        assert len(world.store.state.grants) == 1
        await other.ask(to_store.ReadQuota)

    run(scenario)


def test_the_epoch_is_durable_and_only_goes_up():
    async def main():
        async with running() as world:
            account = await world.account()
            client = await world.session(account)
            await world.peer(KEYRING).call(to_store.GrantSessions((), True, 7))
            await refused_with("no-session", client.ask(to_store.ReadQuota))
            await refused_with("old-epoch", world.peer(KEYRING).call(to_store.GrantSessions((), True, 6)))
        async with running() as world:
            await refused_with("old-epoch", world.peer(KEYRING).call(to_store.RevokeSessions((), True, 6)))
            await world.grant(epoch=7)

    asyncio.run(main())


def test_an_epoch_of_the_future_is_refused_so_no_keyring_can_lock_out_its_successor(run):
    async def scenario(world):
        client = await world.session(await world.account())
        for epoch in (2**63 - 1, 2**53 - 1, int(time.time() * 1000) + 120_000):
            for request in (to_store.GrantSessions((), True, epoch), to_store.RevokeSessions((), False, epoch)):
                await refused_with("bad-epoch", world.peer(KEYRING).call(request))
        await client.ask(to_store.ReadQuota)
        await world.grant(epoch=int(time.time() * 1000))
        await refused_with("no-session", client.ask(to_store.ReadQuota))

    run(scenario)


def test_watchers_are_told_once_in_50_ms_and_never_too_few_times(run):
    async def scenario(world):
        account = await world.account()
        client, other = await world.session(account), await world.session(account, OTHER_WORKER)
        for watcher in (client, other):
            await watcher.open(to_store.ReadColumns, watcher.inbox, 1, watch=True)
        start = time.monotonic()
        await asyncio.gather(*(world.deliver(copy_for(account)) for _ in range(100)))
        for _ in range(20):
            await world.deliver(copy_for(account))
        spent = time.monotonic() - start
        await asyncio.sleep(0.15)
        assert 2 <= len(client.peer.facts) <= spent / 0.05 + 2
        assert {fact.handle for fact in client.peer.facts} == {client.handle}
        assert {fact.handle for fact in other.peer.facts} == {other.handle}
        told = len(client.peer.facts)
        await world.deliver(copy_for(await world.account()))
        await asyncio.sleep(0.1)
        assert len(client.peer.facts) == told

    run(scenario)


def test_a_destroyed_account_ends_its_sessions(run):
    async def scenario(world):
        account = await world.account()
        client = await world.session(account)
        await world.deliver(copy_for(account))
        await world.peer(Channel("cli", 0, 1)).call(to_store.DestroyAccount(stamp(), account))
        await refused_with("no-session", client.ask(to_store.ReadQuota))
        await refused_with("no-such-account", world.deliver(copy_for(account)))
        counts = await world.counts()
        assert (counts.accounts, counts.mailboxes, counts.messages, counts.bytes_stored) == (0, 0, 0, 0)

    run(scenario)

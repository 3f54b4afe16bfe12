"""Listings that nobody reads: they pile up neither in memory nor in another worker's way."""

import asyncio
import gc

from tests.store.world import ACCESS, Client, copy_for

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages import to_store
from bulkhead.store import loans

OTHER = Channel("access", 1, 1)
LISTING = 4 << 20  # room for two of them, not for three


async def large(world):
    """A mailbox whose listing is far over what leaves without credit."""
    client = await world.session(await world.account())
    await world.deliver(copy_for(client.account))
    for _ in range(15):
        await client.change_open(to_store.CopyMessages, client.inbox, ((1, 0xFFFFFFFF),), client.inbox, False)
    return client


def begin(client, count):
    request = to_store.ReadColumns(client.handle, client.inbox, 63)
    return [asyncio.create_task(client.peer.exchange.to("store").open(request)) for _ in range(count)]


async def answered(calls, count):
    for _ in range(12_000):
        await asyncio.sleep(0.005)
        if sum(call.done() for call in calls) >= count:
            break
    await asyncio.sleep(0.05)
    return sum(call.done() for call in calls)


def test_a_worker_that_reads_no_listing_gets_no_more_of_them_and_the_others_get_theirs(run, monkeypatch):
    monkeypatch.setattr(loans, "CHANNEL_BYTES_MAX", LISTING)

    async def scenario(world):
        client = await large(world)
        calls = begin(client, 20)
        assert await answered(calls, 2) == 2
        assert 0 < world.store.state.loans.out[ACCESS] <= LISTING
        grant = to_store.Grant(b"other worker 123", client.account, 3, *OTHER, 1 << 60)
        await world.grant(grant)
        other = Client(world.peer(OTHER), grant.handle, client.account)
        assert len(await other.columns(client.inbox)) == 1 << 15
        for call in calls:  # read one after the other, each makes room for the next
            _, reader = await call
            assert len(await reader.read_all()) == 48 * (1 << 15)
        del calls, call
        await asyncio.sleep(0.05)
        gc.collect()
        assert not world.store.state.loans.out

    run(scenario)


def test_listings_that_are_broken_off_leave_nothing_lent(run, monkeypatch):
    monkeypatch.setattr(loans, "CHANNEL_BYTES_MAX", LISTING)

    async def scenario(world):
        client = await large(world)
        calls = begin(client, 6)
        assert await answered(calls, 2) == 2
        for call in calls[3:]:
            call.cancel()
        for call in calls[:2]:
            (await call)[1].close()
        (await calls[2])[1].close()
        await asyncio.gather(*calls, return_exceptions=True)
        del calls, call
        await asyncio.sleep(0.1)
        gc.collect()
        assert not world.store.state.loans.out and not world.store.state.loans._waiting

    run(scenario)

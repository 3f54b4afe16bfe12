"""Request ids: a retry is answered by its own sender's receipt, and by nobody else's."""

from tests.store.world import copy_for, payload, stamp, u32s

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages import to_store
from bulkhead.identifiers import new_id

COURIER, OTHER_WORKER = Channel("courier", 0, 1), Channel("access", 1, 1)


def test_a_request_id_that_another_compartment_used_up_loses_no_message(run):
    """courier's ids follow from the queue's, which submit knows: using one first must not make a delivery vanish."""

    async def scenario(world):
        stranger, client, known = await world.account(), await world.session(await world.account()), new_id()
        await world.deliver(copy_for(stranger), request_id=known)
        copy = copy_for(client.account)
        await world.peer(COURIER).call(to_store.DeliverMail(stamp(known), (copy,)), payload(copy))
        assert list(await client.columns()) == [1]

    run(scenario)


def test_a_retry_by_the_next_life_of_the_same_compartment_is_answered_and_not_repeated(run):
    async def scenario(world):
        client, known = await world.session(await world.account()), new_id()
        for channel in (COURIER, Channel("courier", 0, 2)):
            copy = copy_for(client.account)
            await world.peer(channel).call(to_store.DeliverMail(stamp(known), (copy,)), payload(copy))
        assert list(await client.columns()) == [1]

    run(scenario)


def test_a_strangers_request_id_answers_nothing_of_what_it_answered_to_him(run):
    async def scenario(world):
        victim = await world.session(await world.account())
        thief = await world.session(await world.account(), OTHER_WORKER)
        known, everything = new_id(), ((1, 0xFFFFFFFF),)
        await world.deliver(copy_for(victim.account))
        flag = [to_store.FlagMode.ADD, 8]
        first = await victim.peer.open(
            to_store.StoreFlags(stamp(known), victim.handle, victim.inbox, everything, *flag)
        )
        assert first[0].changed == 1
        replayed, body = await thief.peer.open(
            to_store.StoreFlags(stamp(known), thief.handle, thief.inbox, everything, *flag)
        )
        assert (replayed.changed, body) == (0, b"")
        again = await victim.peer.open(
            to_store.StoreFlags(stamp(known), victim.handle, victim.inbox, everything, *flag)
        )
        assert again == first and u32s(again[1][:4]) == [1]

    run(scenario)


def test_one_request_id_serves_requests_of_two_kinds(run):
    async def scenario(world):
        client, known = await world.session(await world.account()), new_id()
        await world.deliver(copy_for(client.account), request_id=known)
        keyword = to_store.AddKeyword(stamp(known), client.handle, new_id(), b"sealed")
        assert (await client.peer.call(keyword)).bit == 5
        created = to_store.CreateMailbox(stamp(known), client.handle, new_id(), b"sealed", new_id())
        assert (await client.peer.call(created)).uid_next == 1

    run(scenario)

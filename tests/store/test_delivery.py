from tests.store.world import copy_for, payload

from bulkhead.boundary.messages import to_store


def test_a_delivered_message_is_read_back_whole(run):
    async def scenario(world):
        account = await world.account()
        copy = copy_for(account)
        await world.deliver(copy)
        client = await world.session(account)
        columns = await client.columns()
        assert [row[4] for row in columns.values()] == [copy.email]
        data = payload(copy)
        for part, start, end in ((1, 0, 40), (2, 40, 100), (3, 100, 300)):
            reply, body = await client.open(to_store.ReadPart, copy.email, part)
            assert (reply.size, body) == (end - start, data[start:end])

    run(scenario)

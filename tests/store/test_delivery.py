"""CheckRoom, DeliverMail, AppendMessage."""

import asyncio
from pathlib import Path

import pytest
from tests.store.world import ACCESS, CLI, KEYRING, MX, copy_for, payload, running, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import new_id
from bulkhead.store import intake

BIG = (700, 3000, 3 << 20)


@pytest.mark.parametrize("sealed", [(40, 60, 200), (0, 0, 0), (1000, 2000, 70_000), (700, 900, 900_000), BIG])
def test_a_delivered_message_is_read_back_whole(run, sealed):
    async def scenario(world):
        account = await world.account()
        copy = copy_for(account, sealed=sealed)
        await world.deliver(copy)
        client = await world.session(account)
        assert [row[4] for row in (await client.columns()).values()] == [copy.email]
        data, start = payload(copy), 0
        for part, size in zip((1, 2, 3), sealed, strict=True):
            reply, body = await client.open(to_store.ReadPart, copy.email, part)
            assert (reply.size, body) == (size, data[start : start + size])
            start += size

    run(scenario)


def test_copies_of_one_delivery_go_to_their_own_accounts(run):
    async def scenario(world):
        accounts = [await world.account() for _ in range(3)]
        copies = [copy_for(account, sealed=(10, 20, 30 + n)) for n, account in enumerate(accounts)]
        await world.deliver(*copies)
        for account, copy in zip(accounts, copies, strict=True):
            client = await world.session(account)
            assert [row[4] for row in (await client.columns()).values()] == [copy.email]
            _, body = await client.open(to_store.ReadPart, copy.email, 3)
            assert body == payload(copy)[30:]

    run(scenario)


def test_large_copies_of_one_delivery_are_cut_at_their_sizes(run):
    async def scenario(world):
        accounts = [await world.account() for _ in range(3)]
        copies = [copy_for(account, sealed=(333, 777, 700_001 + n)) for n, account in enumerate(accounts)]
        await world.deliver(*copies)
        for account, copy in zip(accounts, copies, strict=True):
            client = await world.session(account)
            _, body = await client.open(to_store.ReadPart, copy.email, 3, 650_000, 50_000)
            assert body == payload(copy)[1110 + 650_000 : 1110 + 700_000]

    run(scenario)


def test_a_delivery_is_all_or_none(run):
    async def scenario(world):
        account = await world.account()
        with pytest.raises(Refused) as refused:
            await world.deliver(copy_for(account), copy_for(new_id()))
        assert refused.value.code == "no-such-account"
        assert (await world.counts()).messages == 0
        assert await (await world.session(account)).columns() == {}

    run(scenario)


@pytest.mark.parametrize(("unit", "sealed"), [(1, (40, 60, 200)), (10_000, BIG)])
def test_quota_counts_rfc822_size_to_the_octet(run, unit, sealed):
    async def scenario(world):
        account = await world.account(quota=1000 * unit)
        await world.deliver(copy_for(account, 600 * unit, sealed=sealed))
        await world.peer(MX).call(to_store.CheckRoom(account, 400 * unit))
        for call in (
            world.peer(MX).call(to_store.CheckRoom(account, 400 * unit + 1)),
            world.deliver(copy_for(account, 400 * unit + 1, sealed=sealed)),
        ):
            with pytest.raises(Refused) as refused:
                await call
            assert refused.value.code == "over-quota"
        await world.deliver(copy_for(account, 400 * unit, sealed=sealed))
        client = await world.session(account)
        assert await client.ask(to_store.ReadQuota) == to_store.Quota(1000 * unit, 1000 * unit, 2, 4_000_000)

    run(scenario)


def test_concurrent_deliveries_never_pass_the_quota(run):
    async def scenario(world):
        account = await world.account(quota=1000)
        results = await asyncio.gather(
            *(world.deliver(copy_for(account, 100)) for _ in range(30)), return_exceptions=True
        )
        assert sum(isinstance(result, Refused) for result in results) == 20
        assert (await world.counts()).messages == 10

    run(scenario)


@pytest.mark.parametrize("sealed", [(40, 60, 200), BIG])
def test_a_retried_delivery_is_answered_and_not_repeated_across_a_restart(sealed):
    async def main():
        request_id = new_id()
        async with running() as world:
            account = await world.account()
            copy = copy_for(account, sealed=sealed)
            await world.deliver(copy, request_id=request_id)
            await world.deliver(copy, request_id=request_id)
        async with running() as world:
            await world.deliver(copy, request_id=request_id)
            client = await world.session(account)
            assert list(await client.columns()) == [1]
            assert (await world.check()).problems == ()

    asyncio.run(main())


def test_a_retried_append_gets_its_first_answer(run):
    async def scenario(world):
        client = await world.session(await world.account())
        copy = copy_for(client.account)
        request = to_store.AppendMessage(stamp(), client.handle, client.inbox, copy, 0)
        first = await client.peer.call(request, payload(copy))
        await client.append(client.inbox, copy_for(client.account))
        assert await client.peer.call(request, payload(copy)) == first
        assert list(await client.columns()) == [1, 2]

    run(scenario)


@pytest.mark.parametrize("sealed", [(40, 60, 200), BIG])
@pytest.mark.parametrize("wrong", [b"", b"short", b"one more"])
def test_a_body_of_another_length_ends_the_edge(sealed, wrong):
    async def main():
        async with running() as world:
            account = await world.account()
            copy = copy_for(account, sealed=sealed)
            body = payload(copy) + wrong if wrong == b"one more" else wrong
            with pytest.raises(TemporaryFailure):
                await world.peer(MX).edge.call(to_store.DeliverMail(stamp(), (copy,)), body, 10)
            assert [violation[0] for violation in world.violations] == [MX]
            assert (await world.counts()).messages == 0
            assert (await world.check()).problems == ()

    asyncio.run(main())


def test_an_abandoned_large_delivery_leaves_only_waste(run):
    async def scenario(world):
        account = await world.account()
        copy = copy_for(account, sealed=BIG)

        async def half():
            yield payload(copy)[: 1 << 20]
            raise TemporaryFailure("the connection broke")

        with pytest.raises(TemporaryFailure):
            await world.peer(MX).call(to_store.DeliverMail(stamp(), (copy,)), half)
        await world.deliver(copy_for(account))
        await asyncio.sleep(0.05)
        report = await world.check()
        assert report.unreferenced > 3 << 20
        assert (await world.counts()).messages == 1
        assert world.store.state.segments._streams == {}

    run(scenario)


def test_an_existing_email_id_is_refused(run):
    async def scenario(world):
        account = await world.account()
        copy = copy_for(account)
        await world.deliver(copy)
        with pytest.raises(Refused) as refused:
            await world.deliver(copy)
        assert refused.value.code == "duplicate-email"

    run(scenario)


def test_append_goes_only_into_the_sessions_own_account(run):
    async def scenario(world):
        client = await world.session(await world.account())
        stranger = await world.session(await world.account())
        with pytest.raises(Refused) as refused:
            await client.append(client.inbox, copy_for(stranger.account))
        assert refused.value.code == "no-right"
        with pytest.raises(Refused) as refused:
            await client.append(stranger.inbox, copy_for(client.account))
        assert refused.value.code == "no-such-mailbox"

    run(scenario)


def test_uids_and_modseqs_strictly_increase_under_concurrency(run):
    async def scenario(world):
        account = await world.account()
        client = await world.session(account)
        seen: list[tuple[int, int]] = []

        async def one():
            reply = await client.append(client.inbox, copy_for(account))
            seen.append((reply.uid, reply.modseq))

        await asyncio.gather(*(one() for _ in range(200)), *(world.deliver(copy_for(account)) for _ in range(200)))
        columns = await client.columns()
        assert list(columns) == list(range(1, 401))
        modseqs = [row[3] for row in columns.values()]
        assert modseqs == sorted(set(modseqs))
        assert seen == sorted(seen)

    run(scenario)


def test_a_group_of_deliveries_shares_its_syncs(run):
    async def scenario(world):
        account = await world.account()
        before = await world.counts()
        await asyncio.gather(*(world.deliver(copy_for(account)) for _ in range(200)))
        after = await world.counts()
        assert (after.syncs - before.syncs) / 200 < 0.3

    run(scenario)


def test_gathered_bytes_stay_within_their_limit(run, monkeypatch):
    monkeypatch.setattr("bulkhead.store.handle_delivery.GATHERED_MAX", 2000)

    async def scenario(world):
        account = await world.account()
        await asyncio.gather(*(world.deliver(copy_for(account, sealed=(300, 300, 300))) for _ in range(20)))
        assert world.store.state.buffered == 0
        assert len(await (await world.session(account)).columns()) == 20

    run(scenario)
    assert intake.GATHERED_MAX == 32 << 20


def test_segments_are_closed_at_their_size(run):
    async def scenario(world):
        account = await world.account()
        for _ in range(5):
            await world.deliver(copy_for(account, sealed=(1000, 1000, 40_000)))
        assert len(list(Path("segments").iterdir())) == 3

    run(scenario, segment_bytes=1 << 16)


def test_peers_refuses_what_a_compartment_may_not_send():
    async def main():
        async with running() as world:
            client = await world.session(await world.account())
            for channel, request in (
                (MX, to_store.ReadQuota(client.handle)),
                (MX, to_store.GrantSessions((), True, 0)),
                (ACCESS, to_store.DeliverMail(stamp(), (copy_for(client.account),))),
                (ACCESS, to_store.CountStore()),
                (CLI, to_store.ReadQuota(client.handle)),
                (KEYRING, to_store.CountStore()),
            ):
                edge = world.peer(channel).edge if channel != CLI else world.peer(CLI).edge
                with pytest.raises(TemporaryFailure):
                    await edge.call(request, None, 5)
                assert world.violations[-1][0] == channel
                world.peers.pop(channel)

    asyncio.run(main())


def test_several_messages_are_appended_under_uids_in_a_row_once(run):
    async def scenario(world):
        client = await world.session(await world.account())
        await world.deliver(copy_for(client.account))
        copies = tuple(copy_for(client.account, size=size) for size in (10, 20, 30))
        body = b"".join(payload(copy) for copy in copies)
        request = to_store.AppendMessages(stamp(), client.handle, client.inbox, copies, (8, 0, 1))
        reply = await client.peer.call(request, body)
        assert reply == await client.peer.call(request, body)
        columns = await client.columns()
        assert reply.first_uid == 2
        assert [(columns[uid][0], columns[uid][1], columns[uid][4]) for uid in (2, 3, 4)] == [
            (8, 10, copies[0].email), (0, 20, copies[1].email), (1, 30, copies[2].email)
        ]  # fmt: skip
        assert len(columns) == 4
        assert (await world.check()).problems == ()

    run(scenario)


def test_messages_of_one_append_go_in_all_or_none(run):
    async def scenario(world):
        client = await world.session(await world.account(quota=50))
        other = await world.account()

        async def refused(code, copies, flags):
            with pytest.raises(Refused) as error:
                body = b"".join(payload(copy) for copy in copies)
                await client.change(to_store.AppendMessages, client.inbox, tuple(copies), flags, body=body)
            assert error.value.code == code

        fits, too_much = copy_for(client.account, size=40), copy_for(client.account, size=11)
        await refused("over-quota", (fits, too_much), (0, 0))
        await refused("unknown-keyword", (fits, copy_for(client.account, size=1)), (0, 1 << 40))
        await refused("no-right", (fits, copy_for(other, size=1)), (0, 0))
        await refused("bad-flags", (fits,), (0, 0))
        assert (await client.row(client.inbox)).messages == 0
        assert (await client.ask(to_store.ReadQuota)).used == 0
        assert (await world.check()).problems == ()

    run(scenario)

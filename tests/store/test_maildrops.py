"""Who holds a maildrop, what UpdateMaildrop removes, unique-ids from a former system, messages read together."""

import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, msgpack
from tests.store.world import ACCESS, KEYRING, Client, World, copy_for, payload, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id

OTHER_WORKER = Channel("access", 1, 1)


async def refused(code: str, work: Any) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.code == code


def runs(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


async def filled(world: World, messages: int = 5) -> tuple[bytes, Client]:
    account = await world.account()
    for _ in range(messages):
        await world.deliver(copy_for(account))
    return account, await world.session(account)


def test_one_session_of_all_workers_holds_a_maildrop(run: Callable[..., Any]) -> None:
    async def scenario(world: World) -> None:
        account, first = await filled(world)
        second = await world.session(account, OTHER_WORKER)
        await first.ask(to_store.LockMaildrop)
        await first.ask(to_store.LockMaildrop)
        await refused("in-use", second.ask(to_store.LockMaildrop))
        await second.ask(to_store.UnlockMaildrop)  # not its own
        await refused("in-use", second.ask(to_store.LockMaildrop))
        await first.ask(to_store.UnlockMaildrop)
        await second.ask(to_store.LockMaildrop)
        await refused("in-use", first.ask(to_store.LockMaildrop))

    run(scenario)


def test_a_hold_ends_with_its_worker_its_session_and_its_time(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.store.state.ABSENT_SECONDS", 0.05)

    async def scenario(world: World) -> None:
        account, first = await filled(world)
        second = await world.session(account, OTHER_WORKER)
        await first.ask(to_store.LockMaildrop)
        first.peer.edge.close(None)  # the worker died
        while True:
            try:
                await second.ask(to_store.LockMaildrop)
                break
            except Refused as error:
                assert error.code == "in-use"
        world.peers.pop(ACCESS)
        third = await world.session(account, Channel("access", 0, 2))
        await refused("in-use", third.ask(to_store.LockMaildrop))
        await world.peer(KEYRING).call(to_store.RevokeSessions((second.handle,), False, 0))
        await third.ask(to_store.LockMaildrop)
        expired = to_store.Grant(third.handle, account, to_store.Rights.ALL, *third.peer.channel, 1)
        await world.grant(expired)
        fourth = await world.session(account, OTHER_WORKER)
        await fourth.ask(to_store.LockMaildrop)

    run(scenario)


def test_only_who_holds_the_maildrop_removes_from_it(run: Callable[..., Any]) -> None:
    async def scenario(world: World) -> None:
        account, first = await filled(world)
        await refused("not-locked", first.change(to_store.UpdateMaildrop, first.inbox, body=runs((1, 5))))
        await first.ask(to_store.LockMaildrop)
        second = await world.session(account, OTHER_WORKER)
        await refused("not-locked", second.change(to_store.UpdateMaildrop, first.inbox, body=runs((1, 5))))
        await refused("bad-runs", first.change(to_store.UpdateMaildrop, first.inbox, body=b"1234"))
        await refused("no-such-mailbox", first.change(to_store.UpdateMaildrop, new_id(), body=runs((1, 5))))
        assert len(await first.columns()) == 5
        reply = await first.change(to_store.UpdateMaildrop, first.inbox, body=runs((4, 9), (2, 2), (9, 3)))
        assert reply == to_store.MaildropUpdated(3)
        assert list(await first.columns()) == [1, 3]

    run(scenario)


def test_an_update_asked_again_is_answered_though_the_hold_is_gone(run: Callable[..., Any]) -> None:
    async def scenario(world: World) -> None:
        _, client = await filled(world)
        await client.ask(to_store.LockMaildrop)
        request = to_store.UpdateMaildrop(stamp(), client.handle, client.inbox)
        first = await client.peer.call(request, runs((1, 2)))
        await client.ask(to_store.UnlockMaildrop)
        assert await client.peer.call(request, runs((1, 2))) == first
        assert len(await client.columns()) == 3

    run(scenario)


def test_a_refused_update_may_be_asked_again_under_its_own_id(run: Callable[..., Any]) -> None:
    async def scenario(world: World) -> None:
        _, client = await filled(world)
        request = to_store.UpdateMaildrop(stamp(), client.handle, client.inbox)
        await refused("not-locked", client.peer.call(request, runs((1, 2))))
        await client.ask(to_store.LockMaildrop)
        assert (await client.peer.call(request, runs((1, 2)))).expunged == 2

    run(scenario)


def test_holds_of_sessions_that_are_gone_are_swept_out(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.store.maildrops.SWEEP_FROM", 3)

    async def scenario(world: World) -> None:
        world.store.state.maildrops._sweep_at = 3
        for _ in range(10):
            client = await world.session(await world.account())
            await client.ask(to_store.LockMaildrop)
            await world.peer(KEYRING).call(to_store.RevokeSessions((client.handle,), False, 0))
        assert len(world.store.state.maildrops) <= 4

    run(scenario)


async def append(client: Client, uidl: str, mailbox: bytes | None = None) -> Any:
    copy = copy_for(client.account)
    return await client.change(
        to_store.AppendMessage, mailbox or client.inbox, copy, 0, uidl=uidl, body=payload(copy)
    )  # fmt: skip


async def uidls(client: Client, first: int = 1) -> dict[int, str]:
    page = await client.ask(to_store.ReadUidls, client.inbox, first)
    return {row.uid: row.uidl for row in page.rows}


def test_unique_ids_come_along_are_unique_and_go_with_their_message(run: Callable[..., Any]) -> None:
    async def scenario(world: World) -> None:
        _, client = await filled(world, 1)
        own = (await client.row(client.inbox)).uid_validity
        assert (await append(client, "0000001A5F3C9D11")).uid == 2
        assert (await append(client, "old-2")).uid == 3
        await refused("duplicate-uidl", append(client, "old-2"))
        await refused("bad-uidl", append(client, f"{own:08x}00000001"))
        await refused("bad-uidl", append(client, "elsewhere", await client.create()))
        assert await uidls(client) == {2: "0000001A5F3C9D11", 3: "old-2"}
        assert await uidls(client, 3) == {3: "old-2"}
        await client.ask(to_store.LockMaildrop)
        await client.change(to_store.UpdateMaildrop, client.inbox, body=runs((3, 3)))
        assert await uidls(client) == {2: "0000001A5F3C9D11"}
        assert (await append(client, "old-2")).uid == 4
        await client.change_open(to_store.CopyMessages, client.inbox, ((1, 9),), await client.create(), True)
        assert await uidls(client) == {}

    run(scenario)


@given(st.text(max_size=72))
def test_a_unique_id_has_70_printable_characters_of_ascii_at_most(text: str) -> None:
    fits = len(text) <= 70 and all("!" <= character <= "~" for character in text)
    encoded = msgpack.encode([1, text])
    if fits:
        assert msgpack.decode(encoded, type=to_store.UidlRow).uidl == text
    else:
        with pytest.raises(ValidationError):
            msgpack.decode(encoded, type=to_store.UidlRow)


def test_messages_are_read_together_and_one_that_is_gone_has_no_size(run: Callable[..., Any]) -> None:
    async def scenario(world: World) -> None:
        account = await world.account()
        copies = [copy_for(account) for _ in range(3)]
        for copy in copies:
            await world.deliver(copy)
        client = await world.session(account)
        wanted: Iterable[bytes] = (copies[2].email, new_id(), copies[0].email)
        reply, body = await client.open(to_store.ReadMessages, tuple(wanted))
        whole = [payload(copy)[copy.summary_size :] for copy in (copies[2], copies[0])]
        assert reply.sizes == (len(whole[0]), 0, len(whole[1]))
        assert body == b"".join(whole)

    run(scenario)

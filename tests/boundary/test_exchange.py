"""All edges of one process: callers that outlive generations, reports, handlers that fail."""

import asyncio
import socket
import time
from typing import Any

import pytest
from tests.boundary.edges import RawPeer, hello, open_descriptors

from bulkhead.boundary import exchange as module
from bulkhead.boundary.codec import FrameKind, encode, frame
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import WorkDue
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_directory import AddDomain, FindLogin, LoginAccount, ResolveRecipient
from bulkhead.boundary.messages.to_queue import ReportAttempt, TakeWork
from bulkhead.boundary.terms import Channel
from bulkhead.errors import BoundaryViolation, Refused, TemporaryFailure

ACCOUNT = bytes(range(16))
Reports = list[tuple[Channel, int, str]]


def exchange(compartment: str, incarnation: int = 1, reports: Reports | None = None) -> Exchange:
    def report(peer: Channel, generation: int, violation: BoundaryViolation) -> None:
        assert reports is not None, violation
        reports.append((peer, generation, violation.public))

    return Exchange(Channel(compartment, 0, incarnation), report)


def join(one: Exchange, other: Exchange, generation: int = 1) -> None:
    left, right = socket.socketpair()
    one.attach(left, other.me, generation)
    other.attach(right, one.me, generation)


def found(_: Any, __: Channel, ___: FindLogin, ____: object) -> LoginAccount:
    return LoginAccount(ACCOUNT)  # type: ignore[arg-type]


async def test_a_caller_waits_for_its_receiver_to_be_attached_and_to_serve() -> None:
    gate, directory = exchange("access"), exchange("directory")
    call = asyncio.create_task(gate.to("directory").call(FindLogin("a@b")))
    await asyncio.sleep(0.02)
    join(gate, directory)
    await asyncio.sleep(0.02)
    assert not call.done()
    directory.serve(None, {FindLogin: found})
    assert (await call).account == ACCOUNT
    gate.close()
    directory.close()


async def test_a_caller_gives_up_when_its_receiver_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTACH_SECONDS", 0.05)
    with pytest.raises(TemporaryFailure, match="directory is not there"):
        await exchange("access").to("directory").call(FindLogin("a@b"))


async def test_a_call_cut_off_by_a_restart_is_sent_once_more_under_the_same_request_id() -> None:
    seen: list[bytes] = []
    cli, first, second = exchange("cli"), exchange("directory", 1), exchange("directory", 2)

    async def dies(_: Any, __: Channel, request: AddDomain, ___: object) -> Done:
        seen.append(request.stamp.request_id)
        first.close()
        await asyncio.sleep(5)
        return Done()

    def answers(_: Any, __: Channel, request: AddDomain, ___: object) -> Done:
        seen.append(request.stamp.request_id)
        return Done()

    first.serve(None, {AddDomain: dies})
    second.serve(None, {AddDomain: answers})
    join(cli, first)
    call = asyncio.create_task(cli.to("directory").call(AddDomain(Stamp.fresh("test"), "kddi.example")))
    await asyncio.sleep(0.02)
    join(cli, second, 2)
    await call
    assert len(seen) == 2 and seen[0] == seen[1]
    cli.close()
    second.close()


async def test_a_call_cut_off_again_and_again_is_a_temporary_failure() -> None:
    cli = exchange("cli")
    calls = 0

    def dying(incarnation: int) -> None:
        directory = exchange("directory", incarnation)

        def answers(_: Any, __: Channel, request: AddDomain, ___: object) -> Done:
            nonlocal calls
            calls += 1
            directory.close()
            raise Refused("never sent")

        directory.serve(None, {AddDomain: answers})
        join(cli, directory, incarnation)

    dying(1)
    cli.on_departure(lambda peer: dying(peer.incarnation + 1) if peer.incarnation < 9 else None)
    with pytest.raises(TemporaryFailure) as caught:
        await cli.to("directory").call(AddDomain(Stamp.fresh("test"), "kddi.example"))
    assert (caught.value.code, calls) == ("edge-ended", module.SENDINGS_MAX)
    cli.close()


async def test_a_call_whose_receiver_dies_twice_is_answered_by_the_third() -> None:
    cli, ids = exchange("cli"), list[bytes]()

    def begin(incarnation: int) -> Exchange:
        directory = exchange("directory", incarnation)

        def answers(_: Any, __: Channel, request: AddDomain, ___: object) -> Done:
            ids.append(request.stamp.request_id)
            if incarnation < 3:
                directory.close()
            return Done()

        directory.serve(None, {AddDomain: answers})
        join(cli, directory, incarnation)
        return directory

    begin(1)
    directories: list[Exchange] = []
    cli.on_departure(lambda peer: directories.append(begin(peer.incarnation + 1)) if peer.incarnation < 3 else None)
    await cli.to("directory").call(AddDomain(Stamp.fresh("test"), "kddi.example"))
    assert len(ids) == 3 and len(set(ids)) == 1
    cli.close()
    directories[-1].close()


async def test_a_refusal_is_not_retried() -> None:
    calls = 0

    def refuse(_: Any, __: Channel, ___: FindLogin, ____: object) -> LoginAccount:
        nonlocal calls
        calls += 1
        raise Refused("no", code="x")

    gate, directory = exchange("access"), exchange("directory")
    directory.serve(None, {FindLogin: refuse})
    join(gate, directory)
    with pytest.raises(Refused):
        await gate.to("directory").call(FindLogin("a@b"))
    assert calls == 1
    gate.close()
    directory.close()


async def test_a_mutation_after_its_deadline_is_refused_unserved() -> None:
    cli, directory = exchange("cli"), exchange("directory")
    served: list[object] = []
    directory.serve(None, {AddDomain: lambda *_: served.append(1)})
    join(cli, directory)
    with pytest.raises(TemporaryFailure) as caught:
        await cli.to("directory").call(AddDomain(Stamp.fresh("test", seconds=-1), "kddi.example"))
    assert (caught.value.code, served) == ("deadline", [])
    cli.close()
    directory.close()


async def test_handlers_get_state_channel_and_request_and_their_bugs_stay_out_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[object] = []

    def note(state: object, peer: Channel, request: FindLogin, body: object) -> LoginAccount:
        seen.extend((state, peer, request, body))
        raise KeyError(request.login)

    gate, directory = exchange("access", 7), exchange("directory")
    directory.serve("state", {FindLogin: note})
    join(gate, directory)
    with pytest.raises(TemporaryFailure, match="internal fault"):
        await gate.to("directory").call(FindLogin("secret-name@b"))
    assert seen == ["state", Channel("access", 0, 7), FindLogin("secret-name@b"), None]
    assert "KeyError at note" in caplog.text and "secret-name" not in caplog.text
    submit = exchange("submit")
    join(submit, directory)
    with pytest.raises(TemporaryFailure, match="not served"):  # allowed by PEERS, so no violation
        await submit.to("directory").call(ResolveRecipient("a@b"))
    submit.close()
    gate.close()
    directory.close()


async def test_the_newest_of_several_incarnations_is_asked() -> None:
    gate = exchange("access")
    for incarnation in (1, 2):
        directory = exchange("directory", incarnation)
        directory.serve(
            incarnation, {FindLogin: lambda state, *_: LoginAccount(bytes([state]) * 16)}  # type: ignore[arg-type]
        )  # fmt: skip
        join(gate, directory, incarnation)
    assert (await gate.to("directory").call(FindLogin("a@b"))).account == b"\2" * 16
    assert len(gate.edges()) == 2
    gate.close()


async def test_a_new_generation_replaces_the_old_edge_and_departures_are_told() -> None:
    before = open_descriptors()
    gone: list[Channel] = []
    gate, directory = exchange("access"), exchange("directory")
    directory.serve(None, {FindLogin: found})
    directory.on_departure(lambda peer: 1 / 0)  # type: ignore[arg-type, return-value]
    directory.on_departure(gone.append)
    for generation in (1, 2, 3):
        join(gate, directory, generation)
        assert (await gate.to("directory").call(FindLogin("a@b"))).account == ACCOUNT
    assert gone == [gate.me, gate.me]
    assert len(gate.edges()) == len(directory.edges()) == 1
    gate.close()
    directory.close()
    assert open_descriptors() == before


async def test_arrivals_are_told_for_those_there_and_those_to_come() -> None:
    gate, directory = exchange("access"), exchange("directory")
    join(gate, directory)
    seen: list[Channel] = []
    directory.on_arrival("access", seen.append)
    directory.on_arrival("mx", seen.append)
    other = exchange("access", 2)
    join(other, directory, 2)
    assert seen == [gate.me, other.me]
    for one in (gate, other, directory):
        one.close()


async def test_an_edge_that_peers_does_not_name_is_not_attached() -> None:
    one, two = socket.socketpair()
    with one, two, pytest.raises(ValueError, match="no edge between mx and auth"):
        exchange("mx").attach(one, Channel("auth", 0, 1), 1)


async def test_what_peers_does_not_let_this_client_ask_is_a_violation_that_is_reported_once() -> None:
    reports: Reports = []
    directory = exchange("directory", reports=reports)
    directory.serve(None, {FindLogin: found})
    ours, theirs = socket.socketpair()
    directory.attach(theirs, Channel("mx", 3, 9), 5)  # mx may resolve recipients, not find logins
    peer = RawPeer(ours)
    await peer.send(hello(5), frame(FrameKind.REQUEST, 1, encode(FindLogin("a@b"))))
    assert await peer.expect(FrameKind.HELLO) and await peer.next_frame() is None
    assert reports == [(Channel("mx", 3, 9), 5, "a message that cannot be decoded")]
    assert directory.edges() == []
    ours.close()


async def test_a_stream_is_not_sent_twice_when_the_receiver_restarts() -> None:
    courier, queue = exchange("courier"), exchange("queue")

    def end(*_: object) -> None:
        queue.close()

    queue.serve(None, {TakeWork: end, ReportAttempt: end})
    join(courier, queue)
    pieces = iter([b"x"] * 3)
    with pytest.raises(TemporaryFailure) as caught:
        started = time.monotonic()
        await courier.to("queue").call(TakeWork(1), pieces)
    assert caught.value.code == "edge-ended" and time.monotonic() - started < 20
    courier.close()


async def test_facts_go_to_every_process_that_should_know_and_to_none_that_is_gone() -> None:
    learnt: list[object] = []
    queue, courier = exchange("queue"), exchange("courier")
    courier.serve("mine", {}, {WorkDue: lambda state, peer, fact: learnt.append((state, peer, fact))})
    queue.serve(None, {})
    join(queue, courier)
    assert queue.tell(courier.me, WorkDue())
    assert not queue.tell(Channel("courier", 9, 9), WorkDue())
    await asyncio.sleep(0.02)
    assert learnt == [("mine", queue.me, WorkDue())]
    courier.close()
    await asyncio.sleep(0.02)
    assert not queue.tell(courier.me, WorkDue())
    queue.close()

"""One side of an edge against honest and hostile others: nothing leaks, nothing hangs, nothing grows."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.boundary.edges import (
    BODY_MAX,
    GATE,
    HOLDER,
    Download,
    Echo,
    Echoed,
    Happened,
    RawPeer,
    Upload,
    ends_with_violation,
    hello,
    open_descriptors,
    pair,
    raw_client,
    raw_server,
    request_frame,
    side,
)

from bulkhead.boundary.body import WINDOW, BodyReader
from bulkhead.boundary.codec import FrameKind, decode_failure, encode, encode_credit, encode_failure, frame
from bulkhead.boundary.edge import CALLS_MAX, OUTBOX_HIGH, Edge
from bulkhead.boundary.messages.fields import CHUNK_MAX
from bulkhead.boundary.terms import Answer, Handed, Served
from bulkhead.errors import BoundaryViolation, Error, IntegrityError, PeerError, Refused, TemporaryFailure

CHUNK = b"c" * CHUNK_MAX


def idle(edge: Edge) -> bool:
    """Whether the edge remembers no call of either direction and waits for nothing."""
    return not edge._calls and not edge._serving and edge._slots._value == CALLS_MAX and not edge._outlet.size


async def settle(*edges: Edge) -> None:
    """Wait until every edge is idle, a minute at most."""
    for _ in range(6000):
        if all(map(idle, edges)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError([(edge._calls, edge._serving, edge._outlet.size) for edge in edges])


async def read_upload(request: Upload, body: BodyReader | None) -> Echoed:
    assert body is not None
    return Echoed(str(len(await body.read_all())))


async def test_a_call_is_answered() -> None:
    async with pair() as (asking, serving):
        assert await asking.edge.call(Echo("hi"), None, 5) == (Echoed("hi"), None)
        await settle(asking.edge, serving.edge)


async def test_many_calls_at_once_are_answered_each_with_its_own() -> None:
    async def answer(request: Echo, _: BodyReader | None) -> Echoed:
        await asyncio.sleep(0.001 * (int(request.text) % 7))
        return Echoed(request.text)

    async with pair(answer) as (asking, serving):
        found = await asyncio.gather(*(asking.edge.call(Echo(str(i)), None, 10) for i in range(1000)))
        assert [reply.text for reply, _ in found] == [str(i) for i in range(1000)]
        assert asking.ended == serving.ended == []
        await settle(asking.edge, serving.edge)


@pytest.mark.parametrize("kind", [Refused, TemporaryFailure, IntegrityError, PeerError])
@pytest.mark.parametrize("later", [False, True])
async def test_failures_reach_the_caller_as_they_were_raised(kind: type[Error], later: bool) -> None:
    async def fail() -> Served:
        raise kind("public words", detail="inner", code="the-code")

    def answer(_: object, __: object) -> Served:
        if later:
            return fail()  # type: ignore[return-value]
        raise kind("public words", detail="inner", code="the-code")

    async with pair(answer) as (asking, serving):
        with pytest.raises(kind) as caught:
            await asking.edge.call(Echo("x"), None, 5)
        assert (caught.value.public, caught.value.code, caught.value.detail) == ("public words", "the-code", "")
        await settle(asking.edge, serving.edge)


@pytest.mark.parametrize("later", [False, True])
async def test_a_bug_in_a_handler_is_an_internal_fault_without_values_in_the_log(
    later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> Served:
        raise KeyError("hunter2")

    def answer(_: object, __: object) -> Served:
        if later:
            return fail()  # type: ignore[return-value]
        raise KeyError("hunter2")

    async with pair(answer) as (asking, serving):
        with pytest.raises(TemporaryFailure, match="internal fault"):
            await asking.edge.call(Echo("x"), None, 5)
        await settle(asking.edge, serving.edge)
    assert "KeyError at" in caplog.text and "hunter2" not in caplog.text


async def test_an_answer_of_another_type_is_an_internal_fault_and_leaks_no_call() -> None:
    for wrong in (lambda *_: Answer(Echoed("a"), b""), lambda *_: Happened(1), lambda *_: None):
        async with pair(wrong) as (asking, serving):
            with pytest.raises(TemporaryFailure, match="internal fault"):
                await asking.edge.call(Echo("x"), None, 5)
            await settle(asking.edge, serving.edge)
            assert asking.edge.alive and serving.edge.alive


async def test_a_reply_over_the_message_limit_is_an_internal_fault_and_leaks_no_call() -> None:
    async with pair(lambda *_: Echoed("a" * 300_000)) as (asking, serving):
        with pytest.raises(TemporaryFailure, match="internal fault"):
            await asking.edge.call(Echo("x"), None, 5)
        await settle(asking.edge, serving.edge)


async def test_a_request_over_its_own_limits_is_not_sent_and_leaks_no_call() -> None:
    async with pair() as (asking, serving):
        for _ in range(CALLS_MAX + 1):
            with pytest.raises(ValueError, match="limits"):
                await asking.edge.call(Echo("a" * 1001), None, 5)
        assert await asking.edge.call(Echo("x"), None, 5)
        await settle(asking.edge, serving.edge)


async def test_a_call_without_answer_ends_after_its_time_and_its_entry_when_the_answer_comes() -> None:
    gate = asyncio.Event()

    async def answer(_: object, __: object) -> Echoed:
        await gate.wait()
        return Echoed("late")

    async with pair(answer) as (asking, serving):
        with pytest.raises(TemporaryFailure) as caught:
            await asking.edge.call(Echo("x"), None, 0.05)
        assert caught.value.code == "timeout"
        assert len(asking.edge._calls) == 1
        gate.set()
        await settle(asking.edge, serving.edge)
        assert await asking.edge.call(Echo("x"), None, 5)


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    gate = asyncio.Event()

    async def answer(_: object, __: object) -> Echoed:
        await gate.wait()
        return Echoed("late")

    async with pair(answer) as (asking, serving):
        tasks = [asyncio.create_task(asking.edge.call(Echo("x"), None, 5)) for _ in range(10)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        gate.set()
        assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*tasks, return_exceptions=True))
        await settle(asking.edge, serving.edge)


async def test_calls_beyond_the_most_wait_on_the_callers_side() -> None:
    gate, running, most = asyncio.Event(), 0, 0

    async def answer(request: Echo, _: object) -> Echoed:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return Echoed(request.text)

    async with pair(answer) as (asking, serving):
        tasks = [asyncio.create_task(asking.edge.call(Echo("x"), None, 10)) for _ in range(CALLS_MAX + 50)]
        await asyncio.sleep(0.1)
        assert most == CALLS_MAX
        with pytest.raises(TemporaryFailure) as caught:  # its time runs while it waits for a place
            await asking.edge.call(Echo("y"), None, 0.05)
        assert caught.value.code == "timeout"
        gate.set()
        await asyncio.gather(*tasks)
        assert serving.ended == []
        await settle(asking.edge, serving.edge)


async def test_calls_beyond_the_most_are_a_violation_when_forced() -> None:
    async def answer(_: object, __: object) -> Echoed:
        await asyncio.sleep(60)
        return Echoed("")

    async with raw_client(answer) as (peer, serving):
        await peer.send(*(request_frame(n, Echo("x")) for n in range(1, CALLS_MAX + 1)))
        await asyncio.sleep(0.05)
        assert serving.edge.alive
        await peer.send(request_frame(1000, Echo("x")))
        assert "too many calls" in str(await ends_with_violation(serving))


# --- bodies -------------------------------------------------------------------------------------------------------


def parts(total: int, size: int = CHUNK_MAX) -> Iterator[bytes]:
    for start in range(0, total, size):
        yield bytes([start // size % 251]) * min(size, total - start)


@pytest.mark.parametrize("total", [0, 1, CHUNK_MAX, CHUNK_MAX + 1, 40 * CHUNK_MAX + 7, BODY_MAX])
async def test_bodies_arrive_whole_both_ways(total: int) -> None:
    whole = b"".join(parts(total))

    async def stream() -> AsyncIterator[bytes]:
        for part in parts(total, 1000 if total < 10**6 else 50_000):
            yield part

    seen: list[bytes] = []

    async def answer(request: Upload | Download, body: BodyReader | None) -> Served:
        if isinstance(request, Download):
            return Answer(Echoed(""), whole)
        assert body is not None
        seen.append(await body.read_all())
        return Echoed("")

    async with pair(answer) as (asking, serving):
        for form in (whole, list(parts(total)), stream()):
            await asking.edge.call(Upload(""), form, 20)
            assert b"".join(parts(total, 50_000)) and len(seen[-1]) == total if total else seen[-1] == b""
        assert seen[0] == seen[1] == whole
        _, reader = await asking.edge.call(Download(""), None, 20)
        assert reader is not None and await reader.read_all() == whole
        await settle(asking.edge, serving.edge)


async def test_no_more_chunks_than_the_window_wait_at_a_reader_that_does_not_read() -> None:
    readers: list[BodyReader] = []
    gate = asyncio.Event()

    async def answer(request: Upload | Download, body: BodyReader | None) -> Served:
        if isinstance(request, Download):
            return Answer(Echoed(""), parts(BODY_MAX))
        assert body is not None
        readers.append(body)
        await gate.wait()
        return Echoed(str(len(await body.read_all())))

    async with pair(answer) as (asking, serving):
        up = asyncio.create_task(asking.edge.call(Upload(""), parts(BODY_MAX), 20))
        _, down = await asking.edge.call(Download(""), None, 5)
        assert down is not None
        await asyncio.sleep(0.1)
        assert (readers[0].waiting, down.waiting) == (WINDOW, WINDOW)
        gate.set()
        assert (await up)[0] == Echoed(str(BODY_MAX))
        assert len(await down.read_all()) == BODY_MAX
        await settle(asking.edge, serving.edge)


async def test_more_chunks_than_credit_are_a_violation() -> None:
    async def answer(_: object, __: object) -> Echoed:
        await asyncio.sleep(60)
        return Echoed("")

    async with raw_client(answer) as (peer, serving):
        await peer.send(request_frame(1, Upload("")), frame(FrameKind.CHUNK, 1, b"x") * WINDOW)
        await asyncio.sleep(0.05)
        assert serving.edge.alive
        await peer.send(frame(FrameKind.CHUNK, 1, b"x"))
        assert "credit" in str(await ends_with_violation(serving))


async def test_a_body_over_its_limit_is_a_violation_and_one_at_it_is_not() -> None:
    async with raw_client(read_upload) as (peer, serving):
        await peer.send(request_frame(1, Upload("")))
        credit, sent = WINDOW, 0
        while sent < BODY_MAX:
            if not credit:
                credit = int.from_bytes((await peer.expect(FrameKind.CREDIT)).payload, "little")
            await peer.send(frame(FrameKind.CHUNK, 1, CHUNK))
            credit, sent = credit - 1, sent + CHUNK_MAX
        await asyncio.sleep(0.05)
        assert serving.edge.alive
        await peer.send(frame(FrameKind.LAST, 1, b"x"))
        assert "limit" in str(await ends_with_violation(serving))


@pytest.mark.parametrize("how", ["refuses", "answers", "closes the reader, then refuses"])
async def test_an_early_answer_stops_the_body_and_neither_side_is_blamed(how: str) -> None:
    async def answer(_: object, body: BodyReader | None) -> Echoed:
        assert body is not None
        await body.read()
        if how == "answers":
            return Echoed("enough")
        if "closes" in how:
            body.close()
            await asyncio.sleep(0.05)  # chunks that were on their way arrive now
        raise Refused("no room", code="over-quota")

    sent = 0

    def source() -> Iterator[bytes]:
        nonlocal sent
        for part in parts(BODY_MAX):
            sent += 1
            yield part

    async with pair(answer) as (asking, serving):
        for _ in range(20):
            if how == "answers":
                assert await asking.edge.call(Upload(""), source(), 5) == (Echoed("enough"), None)
            else:
                with pytest.raises(Refused, match="no room"):
                    await asking.edge.call(Upload(""), source(), 5)
        await settle(asking.edge, serving.edge)
        assert asking.ended == serving.ended == []
        assert sent < 20 * 2 * WINDOW + 20


async def test_early_answers_while_every_place_is_taken_blame_nobody() -> None:
    """The next request may only follow the sign that the rest of the body will not come."""

    async def answer(_: object, body: BodyReader | None) -> Echoed:
        assert body is not None
        await body.read()
        raise Refused("no")

    async with pair(answer) as (asking, serving):
        calls = (asking.edge.call(Upload(""), parts(20 * CHUNK_MAX), 20) for _ in range(3 * CALLS_MAX))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in found} == {Refused}
        assert serving.ended == []
        await settle(asking.edge, serving.edge)


async def test_an_early_answer_reaches_a_caller_whose_source_is_silent() -> None:
    closed = []

    async def silent() -> AsyncIterator[bytes]:
        try:
            yield b"some"
            yield b"more"
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def answer(_: object, body: BodyReader | None) -> Echoed:
        raise Refused("no")

    async with pair(answer) as (asking, serving):
        with pytest.raises(Refused):
            await asyncio.wait_for(asking.edge.call(Upload(""), silent(), 20), 2)
        with pytest.raises(TemporaryFailure) as caught:
            await asyncio.wait_for(asking.edge.call(Upload(""), silent(), 0.0), 2)
        assert caught.value.code in {"timeout", "refused"}
        assert closed == [True, True]
        await settle(asking.edge, serving.edge)


async def test_a_source_that_fails_ends_the_call_with_its_own_error_and_the_handler_learns_it() -> None:
    seen: list[BaseException] = []

    async def answer(_: object, body: BodyReader | None) -> Echoed:
        assert body is not None
        try:
            await body.read_all()
        except TemporaryFailure as failure:
            seen.append(failure)
            raise
        return Echoed("")

    def source(error: Exception) -> Iterator[bytes]:
        yield CHUNK
        yield CHUNK
        raise error

    async with pair(answer) as (asking, serving):
        for error in (PeerError("the client left"), OSError(5, "disk")):
            with pytest.raises(type(error)):
                await asking.edge.call(Upload(""), source(error), 5)
        await settle(asking.edge, serving.edge)
        assert [failure.code for failure in seen] == ["aborted", "aborted"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [TemporaryFailure("gone"), OSError(5, "disk"), KeyError("x")])
async def test_a_reply_whose_body_fails_ends_early_for_its_reader_and_leaks_nothing(error: Exception) -> None:
    def source() -> Iterator[bytes]:
        yield CHUNK
        yield CHUNK
        raise error

    async with pair(lambda *_: Answer(Echoed(""), source())) as (asking, serving):
        _, reader = await asking.edge.call(Download(""), None, 5)
        assert reader is not None
        with pytest.raises(TemporaryFailure) as caught:
            await asyncio.wait_for(reader.read_all(), 5)
        assert caught.value.code == "aborted"
        await settle(asking.edge, serving.edge)


async def test_a_reader_that_stops_early_stops_the_sender() -> None:
    sent = 0

    def source() -> Iterator[bytes]:
        nonlocal sent
        for part in parts(BODY_MAX):
            sent += 1
            yield part

    async with pair(lambda *_: Answer(Echoed(""), source())) as (asking, serving):
        for _ in range(5):
            _, reader = await asking.edge.call(Download(""), None, 5)
            assert reader is not None
            await reader.read()
            reader.close()
            with pytest.raises(TemporaryFailure):
                await reader.read()
        await settle(asking.edge, serving.edge)
        assert sent < 5 * 3 * WINDOW


async def test_a_body_whose_caller_timed_out_before_it_began_is_not_sent_into_the_void() -> None:
    gate = asyncio.Event()

    async def answer(_: object, __: object) -> Answer:
        await gate.wait()
        return Answer(Echoed(""), parts(BODY_MAX))

    async with pair(answer) as (asking, serving):
        with pytest.raises(TemporaryFailure):
            await asking.edge.call(Download(""), None, 0.02)
        await asyncio.sleep(0.02)
        gate.set()
        await settle(asking.edge, serving.edge)


async def test_a_caller_cancelled_just_as_its_body_begins_leaves_nothing() -> None:
    async with pair(lambda *_: Answer(Echoed(""), parts(BODY_MAX))) as (asking, serving):
        for delay in range(20):
            task = asyncio.create_task(asking.edge.call(Download(""), None, 5))
            for _ in range(delay):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                _, reader = await task
                assert reader is not None
                reader.close()
        await settle(asking.edge, serving.edge)


async def test_chunks_after_an_answer_are_dropped_not_kept() -> None:
    async with raw_client(lambda *_: Echoed("no need")) as (peer, serving):
        for number in range(1, CALLS_MAX + 1):
            await peer.send(request_frame(number, Upload("")), frame(FrameKind.CHUNK, number, b"z" * 1000) * WINDOW)
            await peer.expect(FrameKind.REPLY)
        await asyncio.sleep(0.05)
        assert serving.edge.alive and len(serving.edge._serving) == CALLS_MAX
        assert sum(found.reader.waiting for found in serving.edge._serving.values() if found.reader) == 0
        await peer.send(*(frame(FrameKind.LAST, number) for number in range(1, 100)))
        await peer.send(*(frame(FrameKind.CANCEL, number) for number in range(100, CALLS_MAX + 1)))
        await settle(serving.edge)


async def test_uploads_and_downloads_together_never_wait_for_each_other() -> None:
    """Both sides have more to send than the kernel and the outboxes take."""

    async def answer(request: Upload | Download, body: BodyReader | None) -> Served:
        if isinstance(request, Download):
            return Answer(Echoed(""), parts(BODY_MAX))
        assert body is not None
        return Echoed(str(len(await body.read_all())))

    async with pair(answer) as (asking, serving):

        async def down() -> int:
            _, reader = await asking.edge.call(Download(""), None, 30)
            assert reader is not None
            return len(await reader.read_all())

        ups = [asking.edge.call(Upload(""), parts(BODY_MAX), 30) for _ in range(30)]
        found = await asyncio.wait_for(asyncio.gather(*ups, *(down() for _ in range(30))), 30)
        assert found[30:] == [BODY_MAX] * 30
        assert asking.ended == serving.ended == []
        await settle(asking.edge, serving.edge)


# --- back-pressure ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
async def test_a_peer_that_does_not_read_its_answers_is_not_read_from(later: bool) -> None:
    async def slow(request: Echo) -> Echoed:
        return Echoed(request.text)

    def answer(request: Echo, _: object) -> Served:
        return slow(request) if later else Echoed(request.text)  # type: ignore[return-value]

    async with raw_client(answer) as (peer, serving):
        text, number, sent = "x" * 1000, 0, 0
        rest = b""
        for _ in range(400):
            for _ in range(20):
                if not rest:
                    number += 1
                    rest = request_frame(number, Echo(text))
                gone = peer.fill(rest)
                rest, sent = rest[gone:], sent + gone
            await asyncio.sleep(0)
            assert serving.edge._outlet.size < OUTBOX_HIGH + (1 << 20)
        assert sent < 6 << 20 and rest  # the kernel's buffers and one outbox, then it waits
        answers = 0
        while answers < number - 1:
            await peer.expect(FrameKind.REPLY)
            answers += 1
            if rest:
                rest = rest[peer.fill(rest) :]
        if not rest:
            await peer.expect(FrameKind.REPLY)
        await settle(serving.edge)


async def test_a_flood_of_cheap_requests_on_one_edge_leaves_the_others_their_turn() -> None:
    order: list[str] = []

    def serve(name: str) -> Callable[[Any, object], Served]:
        def answer(request: Echo, _: object) -> Served:
            order.append(name)
            return Echoed("")

        return answer

    async with raw_client(serve("flood")) as (hostile, flooded), raw_client(serve("honest")) as (honest, served):
        flood = b"".join(request_frame(number, Echo("")) for number in range(4000))
        assert hostile.fill(flood) > 20_000
        await honest.send(request_frame(1, Echo("")))
        await honest.expect(FrameKind.REPLY)
        assert order.index("honest") <= 64
        assert flooded.edge.alive and served.edge.alive


async def test_facts_are_dropped_when_the_peer_does_not_keep_up() -> None:
    async with raw_server() as (peer, asking):
        told = 0
        while asking.edge.tell(Happened(told)):
            told += 1
            if told % 100 == 0:
                await asyncio.sleep(0)
            assert told < 3_000_000
        assert asking.edge._outlet.size <= OUTBOX_HIGH + 100
        assert not asking.edge.tell(Happened(0))
        assert peer.sock.fileno() > 0
    assert not asking.edge.tell(Happened(0))  # an ended edge takes none


async def test_facts_arrive_in_order_both_ways_and_a_bug_in_their_learner_ends_nothing() -> None:
    async with pair() as (asking, serving):
        for number in range(100):
            assert asking.edge.tell(Happened(number)) and serving.edge.tell(Happened(number + 1000))
        await asking.edge.call(Echo(""), None, 5)
        assert [fact.number for fact in serving.facts] == list(range(100))  # type: ignore[attr-defined]
        assert [fact.number for fact in asking.facts] == list(range(1000, 1100))  # type: ignore[attr-defined]
        serving.facts = None  # type: ignore[assignment]  # the learner's append fails from now on
        asking.edge.tell(Happened(1))
        assert await asking.edge.call(Echo("still"), None, 5) == (Echoed("still"), None)


async def test_a_held_edge_serves_what_waited_once_it_is_resumed() -> None:
    one, two = socket.socketpair()
    asking, serving = side(one, HOLDER), side(two, GATE, answering=lambda r, _: Echoed(r.text), held=True)
    call = asyncio.create_task(asking.edge.call(Echo("early"), None, 5))
    await asyncio.sleep(0.05)
    assert not call.done()
    serving.edge.resume()
    assert await call == (Echoed("early"), None)
    asking.edge.close(None)
    serving.edge.close(None)


# --- the end of an edge -------------------------------------------------------------------------------------------


async def test_everything_in_flight_ends_as_a_temporary_failure_when_the_peer_dies() -> None:
    before = open_descriptors()

    async def answer(request: Upload | Echo, body: BodyReader | None) -> Echoed:
        await asyncio.sleep(60)
        return Echoed("")

    async with pair(answer) as (asking, serving):
        calls = [asyncio.create_task(asking.edge.call(Echo(""), None, 20)) for _ in range(CALLS_MAX - 10)]
        calls += [asyncio.create_task(asking.edge.call(Upload(""), parts(BODY_MAX), 20)) for _ in range(10)]
        calls += [asyncio.create_task(asking.edge.call(Echo("waits"), None, 20)) for _ in range(300)]
        await asyncio.sleep(0.05)
        serving.edge.close(None)
        found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
        assert {(type(e), getattr(e, "code", "")) for e in found} == {(TemporaryFailure, "edge-ended")}
        with pytest.raises(TemporaryFailure):
            await asking.edge.call(Echo(""), None, 5)
        assert (asking.ended, serving.ended) == ([None], [None])
        assert not asking.edge._calls and asking.edge._slots._value == CALLS_MAX
    assert open_descriptors() == before


async def test_a_reader_in_the_middle_of_a_body_learns_the_end_of_the_edge() -> None:
    async with pair(lambda *_: Answer(Echoed(""), parts(BODY_MAX))) as (asking, serving):
        _, reader = await asking.edge.call(Download(""), None, 5)
        assert reader is not None
        await reader.read()
        serving.edge.close(None)
        with pytest.raises(TemporaryFailure) as caught:
            await asyncio.wait_for(reader.read_all(), 5)
        assert caught.value.code == "edge-ended"


async def test_closing_an_edge_from_within_its_own_callbacks_is_safe() -> None:
    one, two = socket.socketpair()
    asking = side(one, HOLDER)

    def answer(_: object, __: object) -> Served:
        serving.edge.close(BoundaryViolation("by the handler"))
        return Echoed("never sent")

    serving = side(two, GATE, answering=answer)
    with pytest.raises(TemporaryFailure):
        await asking.edge.call(Echo(""), None, 5)
    serving.edge.close(None)
    assert [str(end) for end in serving.ended] == ["by the handler"]


async def test_a_handler_that_finds_a_violation_in_what_was_asked_ends_the_edge_with_it() -> None:
    async def answer(_: object, __: object) -> Served:
        raise BoundaryViolation("a handle of another channel")

    async with pair(answer) as (asking, serving):
        with pytest.raises(TemporaryFailure):
            await asking.edge.call(Echo(""), None, 5)
        assert str(await ends_with_violation(serving)) == "a handle of another channel"


VIOLATIONS_OF_A_CLIENT = {
    "a second Hello": hello(),
    "an unknown kind": b"\0\0\0\0\x63\0\0\0\0",
    "a length over the limit": b"\xff\xff\xff\xff\x02\0\0\0\0",
    "an undecodable request": frame(FrameKind.REQUEST, 1, b"\xc1"),
    "a leftover byte": frame(FrameKind.REQUEST, 1, encode(Echo("")) + b"\0"),
    "a body where none is allowed": frame(FrameKind.REQUEST_BODY, 1, encode(Echo(""))),
    "a number in use": request_frame(1, Upload("")) + request_frame(1, Upload("")),
    "a chunk of no body": frame(FrameKind.CHUNK, 5, b"x"),
    "a chunk after the last": request_frame(1, Upload("")) + frame(FrameKind.LAST, 1) + frame(FrameKind.CHUNK, 1, b""),
    "a chunk after a cancel": request_frame(1, Upload("")) + frame(FrameKind.CANCEL, 1) + frame(FrameKind.CHUNK, 1),
    "a credit that cannot be decoded": frame(FrameKind.CREDIT, 1, b"\1\0\0"),
    "an answer to nothing": frame(FrameKind.REPLY, 1, encode(Echoed(""))),
    "a failure of nothing": frame(FrameKind.FAILURE, 1, encode_failure(Refused(""))),
    "an undecodable fact": frame(FrameKind.FACT, 0, b"\x91\x63"),
}


@pytest.mark.parametrize("what", VIOLATIONS_OF_A_CLIENT)
async def test_a_client_that_breaks_the_rules_ends_its_edge(what: str) -> None:
    async def answer(_: object, body: BodyReader | None) -> Echoed:
        await asyncio.sleep(60)
        return Echoed("")

    async with raw_client(answer) as (peer, serving):
        await peer.send(VIOLATIONS_OF_A_CLIENT[what])
        await ends_with_violation(serving)
        assert not serving.edge._serving


@pytest.mark.parametrize(
    "first", [request_frame(1, Echo("")), hello(generation=2), hello(protocol=9), frame(FrameKind.CANCEL, 0)]
)
async def test_the_first_frame_must_be_a_hello_of_this_protocol_and_generation(first: bytes) -> None:
    one, two = socket.socketpair()
    serving = side(two, GATE, answering=lambda r, _: Echoed(r.text))
    await RawPeer(one).send(first)
    await ends_with_violation(serving)
    one.close()


VIOLATIONS_OF_A_SERVER = {
    "a request": request_frame(1, Echo("")),
    "an answer to nothing": frame(FrameKind.REPLY, 9, encode(Echoed(""))),
    "a second answer": frame(FrameKind.REPLY, 1, encode(Echoed(""))) * 2,
    "an undecodable reply": frame(FrameKind.REPLY, 1, b"\x91\x01"),
    "a reply of another shape": frame(FrameKind.REPLY, 1, encode(Happened(1)) + b"\0"),
    "a body where none is allowed": frame(FrameKind.REPLY_BODY, 1, encode(Echoed(""))),
    "a failure of an unknown kind": frame(FrameKind.FAILURE, 1, b"\x93\x09\xa0\xa0"),
    "the end of no body": frame(FrameKind.CANCEL, 1),
    "a chunk of no body": frame(FrameKind.CHUNK, 1, b"x"),
}


@pytest.mark.parametrize("what", VIOLATIONS_OF_A_SERVER)
async def test_a_server_that_breaks_the_rules_ends_its_edge_and_the_call(what: str) -> None:
    async with raw_server() as (peer, asking):
        call = asyncio.create_task(asking.edge.call(Echo(""), None, 5))
        await peer.expect(FrameKind.REQUEST)
        await peer.send(VIOLATIONS_OF_A_SERVER[what])
        await ends_with_violation(asking)
        with contextlib.suppress(TemporaryFailure):
            assert what == "a second answer" or await call
        await asyncio.gather(call, return_exceptions=True)


async def test_more_credit_than_the_window_is_a_violation() -> None:
    async with raw_server() as (peer, asking):
        call = asyncio.create_task(asking.edge.call(Upload(""), parts(BODY_MAX), 5))
        await peer.expect(FrameKind.REQUEST_BODY)
        for _ in range(WINDOW):
            await peer.expect(FrameKind.CHUNK)
        await peer.send(frame(FrameKind.CREDIT, 1, encode_credit(WINDOW)))
        for _ in range(WINDOW):
            await peer.expect(FrameKind.CHUNK)
        await peer.send(frame(FrameKind.CREDIT, 1, encode_credit(WINDOW + 1)))
        await ends_with_violation(asking)
        with pytest.raises(TemporaryFailure):
            await call


async def test_a_server_that_sends_beyond_credit_or_limit_ends_its_edge() -> None:
    for chunks in (WINDOW + 1, BODY_MAX // CHUNK_MAX + 1):
        async with raw_server() as (peer, asking):
            call = asyncio.create_task(asking.edge.call(Download(""), None, 5))
            await peer.expect(FrameKind.REQUEST)
            await peer.send(frame(FrameKind.REPLY_BODY, 1, encode(Echoed(""))))
            _, reader = await call
            assert reader is not None
            reading = asyncio.create_task(reader.read_all()) if chunks > WINDOW + 1 else None
            for _ in range(chunks):
                await peer.send(frame(FrameKind.CHUNK, 1, CHUNK))
                if reading is not None:
                    await asyncio.sleep(0.001)
            await ends_with_violation(asking)
            if reading is not None:
                with pytest.raises(TemporaryFailure):
                    await reading


async def test_a_failure_is_cut_to_its_limits_on_the_wire() -> None:
    async def answer(_: object, __: object) -> Served:
        raise Refused("ü" * 5000)

    async with raw_client(answer) as (peer, serving):
        await peer.send(request_frame(1, Echo("")))
        assert len(decode_failure((await peer.expect(FrameKind.FAILURE)).payload).public) == 512
        await settle(serving.edge)


# --- descriptors --------------------------------------------------------------------------------------------------


def hand(_: object, __: object) -> Served:
    inner, outer = socket.socketpair()
    outer.send(b"from within")
    outer.close()
    return Handed(Echoed("connected"), inner)


async def test_exactly_one_socket_comes_with_each_reply_and_none_is_left_open() -> None:
    before = open_descriptors()

    async def later(request: Echo, _: object) -> Served:
        await asyncio.sleep(0.001 * (int(request.text) % 5))
        if request.text.endswith("3"):
            raise Refused("not this one")
        return hand(None, None)

    async with pair(later, receives_descriptors=True) as (asking, serving):
        calls = (asking.edge.call(Echo(str(i)), None, 10) for i in range(400))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, Refused) for outcome in found) == 40
        for outcome in found:
            if not isinstance(outcome, BaseException):
                reply, _ = outcome
                assert isinstance(reply, Handed) and reply.sock.recv(100) == b"from within"
                reply.sock.close()
        await settle(asking.edge, serving.edge)
    assert open_descriptors() == before


async def test_sockets_of_calls_that_nobody_waits_for_are_closed() -> None:
    before = open_descriptors()
    gate = asyncio.Event()

    async def late(_: object, __: object) -> Served:
        await gate.wait()
        return hand(None, None)

    async with pair(late, receives_descriptors=True) as (asking, serving):
        with pytest.raises(TemporaryFailure):
            await asking.edge.call(Echo(""), None, 0.01)
        gate.set()
        await settle(asking.edge, serving.edge)
        for delay in range(12):
            task = asyncio.create_task(asking.edge.call(Echo(""), None, 5))
            for _ in range(delay):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                reply, _ = await task
                assert isinstance(reply, Handed)
                reply.sock.close()
        await settle(asking.edge, serving.edge)
        gate.clear()
        last = asyncio.create_task(asking.edge.call(Echo(""), None, 5))
        await asyncio.sleep(0.02)
        serving.edge.close(None)  # the answer comes to an edge that has ended
        gate.set()
        with pytest.raises(TemporaryFailure):
            await last
    assert open_descriptors() == before


async def test_descriptors_sent_on_an_ordinary_edge_are_discarded() -> None:
    before = open_descriptors()
    async with raw_client() as (peer, serving):
        with socket.socket() as extra:
            for number in range(1, 50):
                socket.send_fds(peer.sock, [request_frame(number, Echo("x"))], [extra.fileno()] * 4)
                await peer.expect(FrameKind.REPLY)
        assert serving.edge.alive
        assert open_descriptors() == before + 2
    assert open_descriptors() == before


@pytest.mark.parametrize("descriptors", [0, 2, 60])
async def test_a_reply_with_another_number_of_descriptors_is_a_violation_and_leaks_none(descriptors: int) -> None:
    before = open_descriptors()
    async with raw_server(receives_descriptors=True) as (peer, asking):
        call = asyncio.create_task(asking.edge.call(Echo(""), None, 5))
        await peer.expect(FrameKind.REQUEST)
        with socket.socket() as extra:
            socket.send_fds(
                peer.sock, [frame(FrameKind.REPLY, 1, encode(Echoed("")))], [extra.fileno()] * descriptors
            )  # fmt: skip
        await ends_with_violation(asking)
        with pytest.raises(TemporaryFailure):
            await call
    assert open_descriptors() == before


async def test_a_descriptor_with_anything_but_a_reply_is_a_violation_and_leaks_none() -> None:
    before = open_descriptors()
    for other in (
        frame(FrameKind.FACT, 0, encode(Happened(1))),
        frame(FrameKind.FAILURE, 1, encode_failure(Refused(""))),
    ):
        async with raw_server(receives_descriptors=True) as (peer, asking):
            call = asyncio.create_task(asking.edge.call(Echo(""), None, 5))
            await peer.expect(FrameKind.REQUEST)
            with socket.socket() as extra:
                socket.send_fds(peer.sock, [other], [extra.fileno()])
            await ends_with_violation(asking)
            await asyncio.gather(call, return_exceptions=True)
    assert open_descriptors() == before


def test_the_log_of_faults_has_no_text_of_the_error(caplog: pytest.LogCaptureFixture) -> None:
    from bulkhead.boundary.faults import log_fault

    with caplog.at_level(logging.ERROR):
        try:
            {}["secret"]
        except KeyError as error:
            log_fault("trying", error)
    assert "trying: KeyError at test_the_log" in caplog.text and "secret" not in caplog.text

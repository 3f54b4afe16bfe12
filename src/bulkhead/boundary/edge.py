"""One side of an edge: calls out, calls in, bodies with credits, facts, deadlines, back-pressure.

Reads with `recv`, which discards descriptors, but on `dialer`'s edges. Any violation ends the edge; calls in flight end
as TemporaryFailure. A side that serves reads no further while its answers are not taken, and takes
a few requests at a time; a side that asks always reads, so the two never wait for each other. No exception of ours may
leave a callback: each becomes an answer or the end.
"""

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from typing import Any

from bulkhead.boundary.body import BodyReader, BodySource, BodyWriter, cut
from bulkhead.boundary.codec import (
    PROTOCOL,
    Fact,
    Frame,
    FrameKind,
    FrameReader,
    Hello,
    decode_credit,
    decode_failure,
    decode_hello,
    decode_reply,
    decode_with,
    encode,
    encode_credit,
    encode_failure,
    encode_reply,
    encode_request,
    frame,
    frame_header,
)
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import CHUNK_MAX, Reply, Request
from bulkhead.boundary.outlet import OUTBOX_HIGH, Outlet
from bulkhead.boundary.terms import Answer, Channel, Handed, Serve, Served, Terms
from bulkhead.errors import BoundaryViolation, Error, TemporaryFailure

__all__ = ["CALLS_MAX", "OUTBOX_HIGH", "Answer", "Channel", "Edge", "Handed", "Serve", "Served", "Terms"]

CALLS_MAX = 256  # requests in flight on one edge
TURN_REQUESTS = 16  # taken from one edge before the others have their turn: no client starves another
DESCRIPTORS_MAX = 4  # room for those that one read may bring; more than one is a violation
RECEIVE_SIZE = 1 << 18
APART_MIN = 4096  # bytes of a payload that is queued behind its frame's head, not copied together with it

# Python 3.11 takes 150 ns for a member of an Enum and 10 for a name, and every frame asks for several.
_CANCEL = FrameKind.CANCEL
_CHUNK = FrameKind.CHUNK
_CREDIT = FrameKind.CREDIT
_FACT = FrameKind.FACT
_FAILURE = FrameKind.FAILURE
_HELLO = FrameKind.HELLO
_LAST = FrameKind.LAST
_REPLY = FrameKind.REPLY
_REPLY_BODY = FrameKind.REPLY_BODY
_REQUEST = FrameKind.REQUEST
_REQUEST_BODY = FrameKind.REQUEST_BODY

_Outcome = tuple[Reply | Handed, BodyReader | None]


class _Call:
    """A request of ours that has no final answer yet."""

    __slots__ = ("body", "cancelled", "done", "ends", "request", "writer")

    def __init__(self, request: type[Request[Any]], done: "asyncio.Future[_Outcome]", ends: float) -> None:
        self.request = request
        self.done = done
        self.ends = ends  # of the loop's clock; inf once an answer began or nobody waits
        self.body: BodyReader | None = None
        self.writer: BodyWriter | None = None
        self.cancelled = False

    def fail(self, error: Error) -> None:
        """Whoever waits gets this error; a caller that went away leaves no warning."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()


class _Incoming:
    """A request of the peer that has no final answer yet, or whose body is still coming."""

    __slots__ = ("answered", "cancelled", "coming", "reader", "request", "task", "writer")

    def __init__(self, request: type[Request[Any]], reader: BodyReader | None) -> None:
        self.request, self.reader = request, reader
        self.coming = reader is not None  # neither the last chunk nor a CANCEL has come
        self.writer: BodyWriter | None = None
        self.task: asyncio.Task[None] | None = None
        self.answered = self.cancelled = False


class Edge:
    """One side of one socketpair. Made by an Exchange; lives until either side dies or breaks the rules.

    held: read nothing until `resume`, so that requests wait in the kernel while the handlers are not there yet.
    """

    def __init__(
        self, sock: socket.socket, peer: Channel, generation: int, build: str, terms: Terms, *, held: bool = False
    ) -> None:
        self.peer, self.generation = peer, generation
        self.alive = True
        self._sock, self._terms, self._held = sock, terms, held
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._outlet = Outlet(sock, lambda: self.close(None), self._on_drained)
        self._handed: list[int] = []  # a descriptor that came and belongs to a reply of the same read
        self._greeted = False
        self._paused = True
        self._resting = False  # it has taken its few requests of this turn
        self._calls: dict[int, _Call] = {}
        self._serving: dict[int, _Incoming] = {}
        self._next_call = 0
        self._slots = asyncio.Semaphore(CALLS_MAX)
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = math.inf
        sock.setblocking(False)
        self._send(_HELLO, 0, encode(Hello(PROTOCOL, build, generation)))
        self._on_drained()

    # --- calling -------------------------------------------------------------------------------------------------

    async def call(self, request: Request[Any], body: BodySource | None, timeout: float) -> _Outcome:
        """Send a request and wait for its reply, at most `timeout` seconds in all; a body of the reply may come later.

        Raises what the peer answered, TemporaryFailure on end or time-out, what the body's source raised, and
        ValueError for a request over its own limits: our bug, which must not end the edge.
        """
        payload = encode_request(request)
        ends = self._loop.time() + timeout
        if self._slots.locked():
            await self._take_slot(timeout)
        else:
            await self._slots.acquire()
        if not self.alive:
            self._slots.release()
            raise _gone()
        number = self._number()
        call = self._calls[number] = _Call(type(request), self._loop.create_future(), ends)
        if ends < self._sweep_at:
            self._sweep_by(ends)
        self._send(_REQUEST if body is None else _REQUEST_BODY, number, payload)
        try:
            if isinstance(body, bytes) and len(body) <= CHUNK_MAX:
                self._send(_LAST, number, body)
            elif body is not None:
                call.writer = BodyWriter()
                await self._send_request_body(number, call, body)
            return await call.done
        except BaseException as error:
            self._abandon(number, call)
            if isinstance(error, asyncio.CancelledError):
                _drop(call)
            call.done.cancel()  # where it is still open: an answer that comes is nobody's
            raise

    def tell(self, fact: Fact) -> bool:
        """Send a fact, or drop it (False) when the peer does not keep up."""
        if not self.alive or self._outlet.full:
            return False
        self._send(_FACT, 0, encode(fact))
        return True

    async def _take_slot(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise TemporaryFailure("too many requests are under way", code="timeout") from None

    def _number(self) -> int:
        while True:
            self._next_call = (self._next_call + 1) & 0xFFFFFFFF
            if self._next_call not in self._calls:
                return self._next_call

    async def _send_request_body(self, number: int, call: _Call, body: BodySource) -> None:
        """Pump the body until it is sent or the call has its answer, whichever is first."""
        assert call.writer is not None
        pump = self._loop.create_task(self._pump(number, body, call.writer))
        try:
            await asyncio.wait((pump, call.done), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not pump.done():
                pump.cancel()
                await asyncio.wait((pump,))
        error = None if pump.cancelled() else pump.exception()
        if error is not None and not call.done.done():  # our source failed, not the call
            raise error

    async def _pump(self, number: int, body: BodySource, writer: BodyWriter) -> None:
        last: bytes | memoryview | None = None  # one behind, so that the last chunk carries the end
        async with contextlib.aclosing(_pieces(body)) as pieces:
            async for piece in pieces:
                for chunk in cut(piece):
                    if last is not None:
                        await writer.take()
                        self._send(_CHUNK, number, last)
                        await self._outlet.room()
                    last = chunk
        await writer.take()
        writer.finished = True
        self._send(_LAST, number, last or b"")

    def _sweep_by(self, moment: float) -> None:
        """Look for calls out of time at `moment`: one timer for all, as one for each took 2 us."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_at = moment
        self._sweep = None if moment == math.inf else self._loop.call_at(moment, self._expire_calls)

    def _expire_calls(self) -> None:
        for number, call in list(self._calls.items()):
            if call.ends <= self._sweep_at:
                call.ends = math.inf
                self._abandon(number, call)
                call.fail(TemporaryFailure("no answer in time", code="timeout"))
        self._sweep_by(min((call.ends for call in self._calls.values()), default=math.inf))

    def _abandon(self, number: int, call: _Call) -> None:
        """Nobody waits any more; the entry stays until the peer's final frame."""
        if call.writer is not None:
            call.writer.fail()
        if self._calls.get(number) is call and not call.cancelled:
            call.cancelled = True
            self._send(_CANCEL, number)

    def _finish(self, number: int) -> None:
        if self._calls.pop(number, None) is not None:
            self._slots.release()

    # --- receiving -----------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Read from now on, where the edge was held."""
        self._held = False
        self._on_drained()

    def _on_readable(self) -> None:
        try:
            if self._terms.receives_descriptors:
                data, descriptors, flags, _ = socket.recv_fds(self._sock, RECEIVE_SIZE, DESCRIPTORS_MAX)
                self._handed += descriptors
                if len(descriptors) > 1 or flags & socket.MSG_CTRUNC:
                    self.close(BoundaryViolation("more descriptors than one with a reply"))
                    return
            else:
                data = self._sock.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close(None)
            return
        self._reader.receive_data(data)
        self._take_frames()

    def _take_frames(self) -> None:
        turn = TURN_REQUESTS
        try:
            while self.alive and not self._paused and (received := self._reader.next_frame()) is not None:
                self._on_frame(received)
                turn -= received.kind in (_REQUEST, _REQUEST_BODY)
                if self.alive and (turn == 0 or self._outlet.full) and self._terms.requests is not None:
                    self._paused = True
                    self._loop.remove_reader(self._sock.fileno())
                    if turn == 0:
                        self._resting = True
                        self._loop.call_soon(self._on_next_turn)
            if self._handed:
                raise BoundaryViolation("a descriptor without its reply")
        except BoundaryViolation as violation:
            self.close(violation)
        except Exception as error:  # our bug: the stream is not read on in a state that nobody has thought of
            log_fault(f"fault on the edge to {self.peer}", error)
            self.close(None)

    def _on_drained(self) -> None:
        """A peer that does not read its answers is not read from either; now it has, or nothing waited yet."""
        if self.alive and self._paused and not self._held and not self._resting and not self._outlet.full:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._on_readable)
            self._take_frames()

    def _on_next_turn(self) -> None:
        """The other edges had their turn."""
        self._resting = False
        self._on_drained()

    def _on_frame(self, received: Frame) -> None:
        kind, number, payload = received
        if not self._greeted:
            if kind != _HELLO or decode_hello(payload).generation != self.generation:
                raise BoundaryViolation("the first frame is no Hello of this generation")
            self._greeted = True
        elif kind in (_REQUEST, _REQUEST_BODY):
            self._on_request(number, payload, kind == _REQUEST_BODY)
        elif kind in (_REPLY, _REPLY_BODY, _FAILURE):
            self._on_answer(kind, number, payload)
        elif kind in (_CHUNK, _LAST):
            self._on_chunk(number, payload, kind == _LAST)
        elif kind == _CREDIT:
            self._on_credit(number, decode_credit(payload))
        elif kind == _CANCEL:
            self._on_cancel(number)
        elif kind == _FACT:
            self._learn(decode_with(self._terms.facts, payload))
        else:
            raise BoundaryViolation("a second Hello")

    def _learn(self, fact: Fact) -> None:
        try:
            self._terms.learn(self.peer, fact)
        except Exception as error:  # a fact may be dropped, also by our own bug
            log_fault(f"fault at {type(fact).__name__}", error)

    def _on_answer(self, kind: int, number: int, payload: bytes) -> None:
        call = self._calls.get(number)
        if call is None or call.body is not None:
            raise BoundaryViolation("an answer to nothing that was asked")
        if kind == _FAILURE:
            error = decode_failure(payload)
            self._end_request_body(number, call)
            self._finish(number)
            call.fail(error)
            return
        if kind == _REPLY_BODY and not call.request.reply_body_max:
            raise BoundaryViolation("a body where none is allowed")
        reply: Reply | Handed = decode_reply(call.request, payload)
        if self._terms.receives_descriptors:
            if not self._handed:
                raise BoundaryViolation("a reply without its descriptor")
            reply = Handed(decode_reply(call.request, payload), socket.socket(fileno=self._handed.pop()))
        self._end_request_body(number, call)
        reader = None
        if kind == _REPLY_BODY:
            reader = call.body = BodyReader(
                call.request.reply_body_max,
                lambda n: self._grant(number, n),
                lambda: self._abandon(number, call),
            )
            call.ends = math.inf
        else:
            self._finish(number)
        if not call.done.done():
            call.done.set_result((reply, reader))
        elif reader is not None:
            reader.close()
        elif isinstance(reply, Handed):
            reply.sock.close()

    def _end_request_body(self, number: int, call: _Call) -> None:
        """An early answer: the rest of the body is not sent, and the peer knows before it sees another request."""
        if call.writer is not None and not call.writer.finished:
            self._abandon(number, call)

    def _on_chunk(self, number: int, payload: bytes, last: bool) -> None:
        served = self._serving.get(number)
        if served is not None and served.coming and served.reader is not None:
            served.reader.feed(payload, last)
            if last:
                self._end_incoming_body(number, served)
            return
        call = self._calls.get(number)
        if call is None or call.body is None:
            raise BoundaryViolation("a chunk of no body")
        call.body.feed(payload, last)
        if last:
            self._finish(number)

    def _on_credit(self, number: int, chunks: int) -> None:
        call, served = self._calls.get(number), self._serving.get(number)
        if call is not None and call.writer is not None:
            call.writer.grant(chunks)
        elif served is not None and served.writer is not None:
            served.writer.grant(chunks)
        # else: it crossed the end of that body

    def _on_cancel(self, number: int) -> None:
        if self._terms.requests is None:  # the server cannot finish the body of its reply
            call = self._calls.get(number)
            if call is None or call.body is None:
                raise BoundaryViolation("the end of no body")
            call.body.fail(TemporaryFailure("the body ended early", code="aborted"))
            self._finish(number)
            return
        served = self._serving.get(number)
        if served is None:
            return  # it crossed our answer
        served.cancelled = True
        if served.reader is not None:
            served.reader.fail(TemporaryFailure("the body ended early", code="aborted"))
        if served.writer is not None:
            served.writer.fail()
        self._end_incoming_body(number, served)

    def _end_incoming_body(self, number: int, served: _Incoming) -> None:
        served.coming = False
        if served.answered:
            self._serving.pop(number, None)

    # --- serving -------------------------------------------------------------------------------------------------

    def _on_request(self, number: int, payload: bytes, with_body: bool) -> None:
        if number in self._serving or len(self._serving) >= CALLS_MAX:
            raise BoundaryViolation("a call number in use, or too many calls")
        request = decode_with(self._terms.requests, payload)
        limit = type(request).body_max
        if with_body and not limit:
            raise BoundaryViolation("a body where none is allowed")
        reader = BodyReader(limit, lambda n: self._grant(number, n)) if with_body else None
        served = self._serving[number] = _Incoming(type(request), reader)
        try:
            result = self._terms.serve(self.peer, request, reader)
            if isinstance(result, (Reply, Handed)):
                self._answer(number, served, result)
                return
        except Exception as error:
            self._fail(number, served, error)
            return
        served.task = self._loop.create_task(self._run(number, served, result))

    async def _run(self, number: int, served: _Incoming, work: Answer | Awaitable[Served]) -> None:
        try:
            result = work if isinstance(work, Answer) else await work
            if isinstance(result, Answer):
                await self._answer_with_body(number, served, result)
            else:
                self._answer(number, served, result)
        except Exception as error:
            self._fail(number, served, error)

    def _answer(self, number: int, served: _Incoming, result: Reply | Handed) -> None:
        sock, reply = (result.sock, result.reply) if isinstance(result, Handed) else (None, result)
        try:
            data = frame(_REPLY, number, encode_reply(served.request, reply))
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        self._outlet.put(data, sock)
        self._settle(number, served)

    async def _answer_with_body(self, number: int, served: _Incoming, answer: Answer) -> None:
        self._send(_REPLY_BODY, number, encode_reply(served.request, answer.reply, with_body=True))
        writer = served.writer = BodyWriter()
        if served.cancelled or not self.alive:
            writer.fail()
        try:
            await self._pump(number, answer.body, writer)
        except BaseException as error:  # the reply is out, so no failure can follow: the body ends early
            self._send(_CANCEL, number)
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, Error):
                log_fault(f"fault in the body for {served.request.__name__}", error)
        finally:
            served.writer = None
            self._settle(number, served)

    def _fail(self, number: int, served: _Incoming, error: Exception) -> None:
        if isinstance(error, BoundaryViolation):
            self.close(error)
            return
        if not isinstance(error, Error):
            log_fault(f"fault while serving {served.request.__name__}", error)
            error = TemporaryFailure("internal fault", code="fault")
        self._send(_FAILURE, number, encode_failure(error))
        self._settle(number, served)

    def _settle(self, number: int, served: _Incoming) -> None:
        """Answered: forget the call, unless the rest of its body is still on the way; that is dropped as it comes."""
        served.answered = True
        if served.coming and served.reader is not None:
            served.reader.close()
        elif self._serving.get(number) is served:
            del self._serving[number]

    # --- sending and ending --------------------------------------------------------------------------------------

    def _grant(self, number: int, chunks: int) -> None:
        self._send(_CREDIT, number, encode_credit(chunks))

    def _send(self, kind: FrameKind, number: int, payload: bytes | memoryview = b"") -> None:
        if not self.alive:
            return
        if len(payload) < APART_MIN and isinstance(payload, bytes):
            self._outlet.put(frame(kind, number, payload))
        else:
            self._outlet.put(frame_header(kind, number, len(payload)))
            self._outlet.put(payload)

    def close(self, violation: BoundaryViolation | None) -> None:
        """End this edge. Everything in flight on it ends as TemporaryFailure."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._sock.fileno())
        self._sweep_by(math.inf)
        self._outlet.close()
        self._sock.close()
        for descriptor in self._handed:
            os.close(descriptor)
        self._handed = []
        for number, call in list(self._calls.items()):
            self._finish(number)
            call.fail(_gone())
            if call.body is not None:
                call.body.fail(_gone())
            if call.writer is not None:
                call.writer.fail(_gone())
        serving, self._serving = self._serving, {}
        for served in serving.values():
            if served.reader is not None:
                served.reader.fail(_gone())
            if served.writer is not None:
                served.writer.fail(_gone())
        try:
            self._terms.ended(self, violation)
        except Exception as error:
            log_fault(f"fault at the end of the edge to {self.peer}", error)


def _gone() -> TemporaryFailure:
    return TemporaryFailure("the other side restarted", code="edge-ended")


def _drop(call: _Call) -> None:
    """Close what an answer brought that its caller, cancelled meanwhile, will never see."""
    if call.done.done() and not call.done.cancelled() and call.done.exception() is None:
        reply, reader = call.done.result()
        if isinstance(reply, Handed):
            reply.sock.close()
        if reader is not None:
            reader.close()


async def _pieces(body: BodySource) -> AsyncGenerator[bytes, None]:
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, AsyncIterable):
        close = getattr(body, "aclose", None)
        try:
            async for piece in body:
                yield piece
        finally:
            if close is not None:
                await close()
    else:
        for piece in body:
            yield piece

"""One side of an edge: calls out, calls in, bodies with credits, facts, deadlines, back-pressure.

Reads with `recv`, which discards descriptors, and writes with `send`: asyncio's own transports write with `sendmsg`
from Python 3.12 on, which the sandbox denies. Any violation ends the edge; calls in flight end as TemporaryFailure.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    frame,
)
from bulkhead.boundary.messages.fields import CHUNK_MAX, Reply, Request
from bulkhead.errors import BoundaryViolation, Error, TemporaryFailure

CALLS_MAX = 256  # requests in flight on one edge
DESCRIPTORS_MAX = 16  # that one read may bring
OUTBOX_HIGH = 1 << 20  # bytes waiting to be sent: above it nothing more is read, facts are dropped
RECEIVE_SIZE = 1 << 18


class Channel(NamedTuple):
    """Who is at the other end: the same name on every edge of that process, given by the supervisor."""

    compartment: str
    worker: int
    incarnation: int

    def __str__(self) -> str:
        return f"{self.compartment}/{self.worker}#{self.incarnation}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with the body that follows it."""

    reply: Reply
    body: BodySource


@dataclass(frozen=True, slots=True)
class Handed:
    """A reply with a connected socket: `dialer` gives it, and owns it no longer."""

    reply: Reply
    sock: socket.socket


Served = Reply | Answer | Handed
Serve = Callable[[Channel, Request[Any], BodyReader | None], Served | Awaitable[Served]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What may arrive on this side: decoders made from PEERS, and who takes it."""

    requests: Any  # msgspec Decoder or None
    facts: Any
    serve: Serve
    learn: Callable[[Channel, Fact], None]
    ended: "Callable[[Edge, BoundaryViolation | None], None]"
    receives_descriptors: bool = False


_Outcome = tuple[Reply | Handed, BodyReader | None]


class _Call:
    """A request of ours that has no final answer yet."""

    __slots__ = ("body", "done", "request", "timer", "writer")

    def __init__(self, request: type[Request[Any]], done: "asyncio.Future[_Outcome]") -> None:
        self.request = request
        self.done = done
        self.timer: asyncio.TimerHandle | None = None
        self.body: BodyReader | None = None
        self.writer: BodyWriter | None = None


class _Served:
    """A request of the peer that has no final answer yet, or whose body is still coming."""

    __slots__ = ("answered", "reader", "task", "writer")

    def __init__(self, reader: BodyReader | None) -> None:
        self.reader = reader
        self.writer: BodyWriter | None = None
        self.task: asyncio.Task[None] | None = None
        self.answered = False


class Edge:
    """One side of one socketpair. Made by an Exchange; lives until either side dies or breaks the rules."""

    def __init__(self, sock: socket.socket, peer: Channel, generation: int, build: str, terms: Terms) -> None:
        self.peer, self.generation = peer, generation
        self._sock, self._terms = sock, terms
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._outbox: list[bytes] = []
        self._handing: list[tuple[int, socket.socket]] = []  # sockets to go with the frame at that place in _outbox
        self._handed: list[int] = []  # descriptors that came and belong to the next replies
        self._outbox_size = 0
        self._flushing = self._writing = self._paused = self._greeted = False
        self.alive = True
        self._calls: dict[int, _Call] = {}
        self._serving: dict[int, _Served] = {}
        self._next_call = 0
        self._room: asyncio.Future[None] | None = None
        self._slots = asyncio.Semaphore(CALLS_MAX)
        sock.setblocking(False)
        self._send(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, build, generation)))
        self._loop.add_reader(sock.fileno(), self._on_readable)

    # --- calling -------------------------------------------------------------------------------------------------

    async def call(self, request: Request[Any], body: BodySource | None, timeout: float) -> _Outcome:
        """Send a request and wait for its reply. Raises what the peer answered, TemporaryFailure on end or time-out."""
        await self._slots.acquire()
        if not self.alive:
            self._slots.release()
            raise _gone()
        number = self._number()
        call = self._calls[number] = _Call(type(request), self._loop.create_future())
        call.timer = self._loop.call_later(timeout, self._expire, number)
        payload = encode(request)
        if body is None:
            self._send(FrameKind.REQUEST, number, payload)
        else:
            self._send(FrameKind.REQUEST_BODY, number, payload)
            if isinstance(body, bytes) and len(body) <= CHUNK_MAX:
                self._send(FrameKind.LAST, number, body)
            else:
                call.writer = BodyWriter()
                await self._send_request_body(number, call, body)
        try:
            return await call.done
        except asyncio.CancelledError:
            self._abandon(number, call)
            raise

    def tell(self, fact: Fact) -> bool:
        """Send a fact, or drop it (False) when the peer does not keep up."""
        if not self.alive or self._outbox_size > OUTBOX_HIGH:
            return False
        self._send(FrameKind.FACT, 0, encode(fact))
        return True

    def _number(self) -> int:
        while True:
            self._next_call = (self._next_call + 1) & 0xFFFFFFFF
            if self._next_call not in self._calls:
                return self._next_call

    async def _send_request_body(self, number: int, call: _Call, body: BodySource) -> None:
        assert call.writer is not None
        try:
            await self._pump(number, body, call.writer)
        except Error:
            if not call.done.done():  # our source failed, not the call
                self._abandon(number, call)
                raise
            if self.alive:
                self._send(FrameKind.CANCEL, number)
        except BaseException:
            self._abandon(number, call)
            raise

    async def _pump(self, number: int, body: BodySource, writer: BodyWriter) -> None:
        last: bytes | None = None  # one behind, so that the last chunk carries the end
        async for piece in _pieces(body):
            for chunk in cut(piece):
                if last is not None:
                    await self._send_chunk(number, last, writer)
                last = chunk
        await writer.take()
        self._send(FrameKind.LAST, number, last or b"")

    async def _send_chunk(self, number: int, chunk: bytes, writer: BodyWriter) -> None:
        await writer.take()
        self._send(FrameKind.CHUNK, number, chunk)
        while self._outbox_size > OUTBOX_HIGH and self.alive:
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def _expire(self, number: int) -> None:
        call = self._calls.get(number)
        if call is not None:
            self._abandon(number, call)
            if not call.done.done():
                call.done.set_exception(TemporaryFailure("no answer in time", code="timeout"))
                call.done.exception()  # fetched: a caller that went away leaves no warning

    def _abandon(self, number: int, call: _Call) -> None:
        """Nobody waits any more; the entry stays until the peer's final frame."""
        if call.writer is not None:
            call.writer.fail()
        if number in self._calls and self.alive:
            self._send(FrameKind.CANCEL, number)

    def _finish(self, number: int) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            if call.timer is not None:
                call.timer.cancel()
            self._slots.release()

    # --- receiving -----------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            if self._terms.receives_descriptors:
                data, descriptors, _, _ = socket.recv_fds(self._sock, RECEIVE_SIZE, DESCRIPTORS_MAX)
                self._handed += descriptors
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
        try:
            while self.alive and (received := self._reader.next_frame()) is not None:
                self._on_frame(received)
        except BoundaryViolation as violation:
            self.close(violation)

    def _on_frame(self, received: Frame) -> None:
        kind, number, payload = received
        if not self._greeted:
            if kind != FrameKind.HELLO or decode_hello(payload).generation != self.generation:
                raise BoundaryViolation("the first frame is no Hello of this generation")
            self._greeted = True
        elif kind in (FrameKind.REQUEST, FrameKind.REQUEST_BODY):
            self._on_request(number, payload, kind == FrameKind.REQUEST_BODY)
        elif kind in (FrameKind.REPLY, FrameKind.REPLY_BODY, FrameKind.FAILURE):
            self._on_answer(kind, number, payload)
        elif kind in (FrameKind.CHUNK, FrameKind.LAST):
            self._on_chunk(number, payload, kind == FrameKind.LAST)
        elif kind == FrameKind.CREDIT:
            self._on_credit(number, decode_credit(payload))
        elif kind == FrameKind.CANCEL:
            self._on_cancel(number)
        elif kind == FrameKind.FACT:
            self._terms.learn(self.peer, decode_with(self._terms.facts, payload))
        else:
            raise BoundaryViolation("a second Hello")

    def _on_answer(self, kind: int, number: int, payload: bytes) -> None:
        call = self._calls.get(number)
        if call is None or call.body is not None:
            raise BoundaryViolation("an answer to nothing that was asked")
        if kind == FrameKind.FAILURE:
            error = decode_failure(payload)
            self._finish(number)
            if not call.done.done():
                call.done.set_exception(error)
                call.done.exception()
            if call.writer is not None:
                call.writer.fail(error)
            return
        reply: Reply | Handed = decode_reply(call.request, payload)
        if self._terms.receives_descriptors:
            if not self._handed:
                raise BoundaryViolation("a reply without its descriptor")
            reply = Handed(decode_reply(call.request, payload), socket.socket(fileno=self._handed.pop(0)))
        reader = None
        if kind == FrameKind.REPLY_BODY:
            if not call.request.reply_body_max:
                raise BoundaryViolation("a body where none is allowed")
            reader = call.body = BodyReader(
                call.request.reply_body_max,
                lambda n: self._grant(number, n),
                lambda: self._send(FrameKind.CANCEL, number),
            )
            if call.timer is not None:
                call.timer.cancel()
        else:
            self._finish(number)
        if not call.done.done():
            call.done.set_result((reply, reader))
        elif reader is not None:
            reader.close()
        elif isinstance(reply, Handed):
            reply.sock.close()
        if call.writer is not None and reader is None:
            call.writer.fail()

    def _on_chunk(self, number: int, payload: bytes, last: bool) -> None:
        served = self._serving.get(number)
        if served is not None and served.reader is not None and not served.reader.ended:
            served.reader.feed(payload, last)
            if last and served.answered:
                del self._serving[number]
            return
        call = self._calls.get(number)
        if call is None or call.body is None:
            raise BoundaryViolation("a chunk of no body")
        if not call.body.ended:
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
        call = self._calls.get(number)
        if call is not None and call.body is not None:  # the server cannot finish the body
            call.body.fail(TemporaryFailure("the body ended early", code="aborted"))
            self._finish(number)
            return
        served = self._serving.get(number)
        if served is None:
            return
        if served.reader is not None:
            served.reader.fail(TemporaryFailure("the body ended early", code="aborted"))
        if served.writer is not None:
            served.writer.fail()
        if served.answered and served.writer is None:
            del self._serving[number]

    # --- serving -------------------------------------------------------------------------------------------------

    def _on_request(self, number: int, payload: bytes, with_body: bool) -> None:
        if number in self._serving or len(self._serving) >= CALLS_MAX:
            raise BoundaryViolation("a call number in use, or too many calls")
        request = decode_with(self._terms.requests, payload)
        limit = type(request).body_max
        if with_body and not limit:
            raise BoundaryViolation("a body where none is allowed")
        reader = BodyReader(limit, lambda n: self._grant(number, n)) if with_body else None
        served = self._serving[number] = _Served(reader)
        try:
            result = self._terms.serve(self.peer, request, reader)
        except Error as error:
            self._fail(number, served, error)
            return
        if isinstance(result, (Reply, Answer, Handed)):
            self._answer(number, served, result)
        else:
            served.task = self._loop.create_task(self._run(number, served, result))

    async def _run(self, number: int, served: _Served, work: Awaitable[Served]) -> None:
        try:
            result = await work
        except Error as error:
            self._fail(number, served, error)
            return
        if not self.alive:
            return
        if isinstance(result, Answer):
            await self._answer_with_body(number, served, result)
        else:
            self._answer(number, served, result)

    def _answer(self, number: int, served: _Served, result: Served) -> None:
        if isinstance(result, Answer):
            served.task = self._loop.create_task(self._answer_with_body(number, served, result))
            return
        if isinstance(result, Handed):
            self._handing.append((len(self._outbox), result.sock))
            result = result.reply
        self._send(FrameKind.REPLY, number, encode(result))
        self._settle(number, served)

    async def _answer_with_body(self, number: int, served: _Served, answer: Answer) -> None:
        served.writer = BodyWriter()
        self._send(FrameKind.REPLY_BODY, number, encode(answer.reply))
        try:
            await self._pump(number, answer.body, served.writer)
        except Error:
            if self.alive:
                self._send(FrameKind.CANCEL, number)
        finally:
            served.writer = None
        self._settle(number, served)

    def _fail(self, number: int, served: _Served, error: Error) -> None:
        if isinstance(error, BoundaryViolation):
            self.close(error)
            return
        if self.alive:
            self._send(FrameKind.FAILURE, number, encode_failure(error))
        self._settle(number, served)

    def _settle(self, number: int, served: _Served) -> None:
        """Answered: forget the call, unless the rest of its body is still on the way."""
        served.answered = True
        if served.reader is None or served.reader.ended:
            self._serving.pop(number, None)

    def _grant(self, number: int, chunks: int) -> None:
        if self.alive:
            self._send(FrameKind.CREDIT, number, encode_credit(chunks))

    # --- sending -------------------------------------------------------------------------------------------------

    def _send(self, kind: FrameKind, number: int, payload: bytes = b"") -> None:
        if not self.alive:
            return
        data = frame(kind, number, payload)
        self._outbox.append(data)
        self._outbox_size += len(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self.alive or not self._outbox:
            return
        if self._handing and self._hand_over() is None:
            return
        data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
        try:
            sent = self._sock.send(data) if data else 0
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close(None)
            return
        rest = data[sent:]
        self._outbox = [rest] if rest else []
        self._outbox_size = len(rest)
        if rest:
            self._flushing = True  # the writer callback flushes next
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._sock.fileno(), self._flush)
        elif self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock.fileno())
        if self._outbox_size <= OUTBOX_HIGH and self._room is not None:
            self._room.set_result(None)
            self._room = None
        self._throttle()

    def _hand_over(self) -> bool | None:
        """Send the frames up to the last that carries a socket, one by one. None when the edge ended or must wait."""
        while self._handing:
            place, sock = self._handing[0]
            ahead = b"".join(self._outbox[:place])
            try:
                if ahead:
                    self._sock.sendall(ahead)
                socket.send_fds(self._sock, [self._outbox[place]], [sock.fileno()])
            except OSError:  # a full buffer too: dialer's answers are tiny, whoever leaves them unread is broken
                self.close(None)
                return None
            sock.close()
            self._outbox_size -= sum(map(len, self._outbox[: place + 1]))
            del self._outbox[: place + 1], self._handing[0]
            self._handing = [(later - place - 1, other) for later, other in self._handing]
        return True

    def _throttle(self) -> None:
        """A peer that does not read its answers is not read from either."""
        if not self._paused and self._outbox_size > OUTBOX_HIGH:
            self._paused = True
            self._loop.remove_reader(self._sock.fileno())
        elif self._paused and self._outbox_size <= OUTBOX_HIGH:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._on_readable)

    def close(self, violation: BoundaryViolation | None) -> None:
        """End this edge. Everything in flight on it ends as TemporaryFailure."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, sock in self._handing:
            sock.close()
        for descriptor in self._handed:
            os.close(descriptor)
        self._handing, self._handed = [], []
        for number, call in list(self._calls.items()):
            self._finish(number)
            if not call.done.done():
                call.done.set_exception(_gone())
                call.done.exception()
            if call.body is not None:
                call.body.fail(_gone())
            if call.writer is not None:
                call.writer.fail(_gone())
        for served in self._serving.values():
            if served.reader is not None:
                served.reader.fail(_gone())
            if served.writer is not None:
                served.writer.fail(_gone())
        self._serving.clear()
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        self._terms.ended(self, violation)


def _gone() -> TemporaryFailure:
    return TemporaryFailure("the other side restarted", code="edge-ended")


async def _pieces(body: BodySource) -> AsyncIterable[bytes]:
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, AsyncIterable):
        async for piece in body:
            yield piece
    elif isinstance(body, Iterable):
        for piece in body:
            yield piece

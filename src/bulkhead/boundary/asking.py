"""The side of an edge that asks: its calls in flight, their deadlines and what answers them."""

import asyncio
import math
import socket
from typing import Any

from bulkhead.boundary.body import BodyReader, BodySource, BodyWriter
from bulkhead.boundary.codec import FrameKind, decode_failure, decode_reply, encode_request
from bulkhead.boundary.messages.fields import CHUNK_MAX, Reply, Request
from bulkhead.boundary.sending import Sending
from bulkhead.boundary.terms import CALLS_MAX, Channel, Handed, Terms
from bulkhead.errors import BoundaryViolation, Error, TemporaryFailure
from bulkhead.wipe import wipe

_CANCEL = FrameKind.CANCEL  # names, as in sending.py
_FAILURE = FrameKind.FAILURE
_LAST = FrameKind.LAST
_REPLY_BODY = FrameKind.REPLY_BODY
_REQUEST = FrameKind.REQUEST
_REQUEST_BODY = FrameKind.REQUEST_BODY

Outcome = tuple[Reply | Handed, BodyReader | None]


class _Call:
    """A request of ours that has no final answer yet."""

    __slots__ = ("body", "cancelled", "done", "ends", "request", "writer")

    def __init__(self, request: type[Request[Any]], done: "asyncio.Future[Outcome]", ends: float) -> None:
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


class Asking(Sending):
    """The calls that this side makes; each keeps its number until the peer's final frame."""

    def __init__(self, sock: socket.socket, peer: Channel, terms: Terms) -> None:
        super().__init__(sock, peer, terms)
        self._handed: list[int] = []  # a descriptor that came and belongs to a reply of the same read
        self._calls: dict[int, _Call] = {}
        self._next_call = 0
        self._slots = asyncio.Semaphore(CALLS_MAX)
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = math.inf

    async def call(self, request: Request[Any], body: BodySource | None, timeout: float) -> Outcome:
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
            raise gone()
        number = self._number()
        call = self._calls[number] = _Call(type(request), self._loop.create_future(), ends)
        if ends < self._sweep_at:
            self._sweep_by(ends)
        if request.secrets:
            self._outlet.wipes = True
        self._send(_REQUEST if body is None else _REQUEST_BODY, number, payload)
        if request.secrets:
            wipe(payload)  # it was copied behind its head: a request with secrets is small
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


def gone() -> TemporaryFailure:
    """What everything in flight on an edge ends as."""
    return TemporaryFailure("the other side restarted", code="edge-ended")


def _drop(call: _Call) -> None:
    """Close what an answer brought that its caller, cancelled meanwhile, will never see."""
    if call.done.done() and not call.done.cancelled() and call.done.exception() is None:
        reply, reader = call.done.result()
        if isinstance(reply, Handed):
            reply.sock.close()
        if reader is not None:
            reader.close()

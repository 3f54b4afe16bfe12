"""The side of an edge that serves: requests under way, their answers and the bodies that go with both."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

from bulkhead.boundary.body import BodyReader, BodyWriter
from bulkhead.boundary.codec import FrameKind, FrameReader, decode_with, encode_failure, encode_reply, frame
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Reply, Request
from bulkhead.boundary.sending import Sending
from bulkhead.boundary.terms import CALLS_MAX, Answer, Channel, Handed, Served, Terms
from bulkhead.errors import BoundaryViolation, Error, TemporaryFailure
from bulkhead.wipe import wipe, wipe_fields

_CANCEL = FrameKind.CANCEL  # names, as in sending.py
_FAILURE = FrameKind.FAILURE
_REPLY = FrameKind.REPLY
_REPLY_BODY = FrameKind.REPLY_BODY


class _Incoming:
    """A request of the peer that has no final answer yet, or whose body is still coming."""

    __slots__ = ("answered", "cancelled", "coming", "reader", "request", "task", "writer")

    def __init__(self, request: type[Request[Any]], reader: BodyReader | None) -> None:
        self.request, self.reader = request, reader
        self.coming = reader is not None  # neither the last chunk nor a CANCEL has come
        self.writer: BodyWriter | None = None
        self.task: asyncio.Task[None] | None = None
        self.answered = self.cancelled = False


class Serving(Sending):
    """The requests of the peer; each is answered once, and no exception of a handler leaves its callback."""

    def __init__(self, sock: socket.socket, peer: Channel, terms: Terms) -> None:
        super().__init__(sock, peer, terms)
        self._serving: dict[int, _Incoming] = {}
        self._reader = FrameReader()

    def _on_request(self, number: int, payload: bytes, with_body: bool) -> None:
        if number in self._serving or len(self._serving) >= CALLS_MAX:
            raise BoundaryViolation("a call number in use, or too many calls")
        request = decode_with(self._terms.requests, payload)
        if request.secrets:
            wipe(payload)
            self._reader.wipe_last()
        limit = type(request).body_max
        if with_body and not limit:
            raise BoundaryViolation("a body where none is allowed")
        reader = BodyReader(limit, lambda n: self._grant(number, n)) if with_body else None
        served = self._serving[number] = _Incoming(type(request), reader)
        try:
            result = self._terms.serve(self.peer, request, reader)
            if isinstance(result, (Reply, Handed)):
                self._answer(number, served, result)
                wipe_fields(request, request.secrets)
                return
        except Exception as error:
            self._fail(number, served, error)
            wipe_fields(request, request.secrets)
            return
        served.task = self._loop.create_task(self._run(number, served, result))
        if request.secrets:
            served.task.add_done_callback(lambda _: wipe_fields(request, request.secrets))

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

    def _end_incoming_body(self, number: int, served: _Incoming) -> None:
        served.coming = False
        if served.answered:
            self._serving.pop(number, None)

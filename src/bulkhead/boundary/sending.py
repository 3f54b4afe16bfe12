"""What both sides of a call on an edge do: send frames, and pump bodies no faster than credit comes."""

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable

from bulkhead.boundary.body import BodySource, BodyWriter, cut
from bulkhead.boundary.codec import FrameKind, encode_credit, frame, frame_header
from bulkhead.boundary.outlet import Outlet
from bulkhead.boundary.terms import Channel, Terms
from bulkhead.errors import BoundaryViolation

APART_MIN = 4096  # bytes of a payload that is queued behind its frame's head, not copied together with it

# Python 3.11 takes 150 ns for a member of an Enum and 10 for a name, and every frame asks for several.
_CHUNK = FrameKind.CHUNK
_CREDIT = FrameKind.CREDIT
_LAST = FrameKind.LAST


class Sending(ABC):
    """The sending half of an edge: frames go out in order, bodies between them."""

    def __init__(self, sock: socket.socket, peer: Channel, terms: Terms) -> None:
        self.peer = peer
        self.alive = True
        self._terms = terms
        self._loop = asyncio.get_running_loop()
        self._outlet = Outlet(sock, lambda: self.close(None), self._on_drained)

    @abstractmethod
    def close(self, violation: BoundaryViolation | None) -> None:
        """End this edge. Everything in flight on it ends as TemporaryFailure."""

    @abstractmethod
    def _on_drained(self) -> None:
        """Little waits to be sent again."""

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

"""Edges for tests: two sides in this process, or one side against raw frames, over small messages of their own."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.codec import (
    PROTOCOL,
    Fact,
    Frame,
    FrameKind,
    FrameReader,
    Hello,
    encode,
    frame,
    union_decoder,
)
from bulkhead.boundary.edge import Edge
from bulkhead.boundary.messages.fields import Reply, Request
from bulkhead.boundary.terms import Channel, Served, Terms
from bulkhead.errors import BoundaryViolation

BODY_MAX = 4 << 20
GATE, HOLDER = Channel("mx", 0, 1), Channel("store", 0, 1)


class Echoed(Reply, frozen=True):
    """The text again."""

    text: Annotated[str, Meta(max_length=1000)]


class Echo(Request[Echoed], frozen=True, tag=1):
    """Say it again."""

    text: Annotated[str, Meta(max_length=1000)]


class Upload(Request[Echoed], frozen=True, tag=2):
    """Takes a body."""

    body_max: ClassVar[int] = BODY_MAX
    text: Annotated[str, Meta(max_length=1000)]


class Download(Request[Echoed], frozen=True, tag=3):
    """Gives a body."""

    reply_body_max: ClassVar[int] = BODY_MAX
    text: Annotated[str, Meta(max_length=1000)]


class Happened(Fact, frozen=True, tag=1):
    """Something."""

    number: Annotated[int, Meta(ge=0, le=1 << 32)]


REQUESTS = union_decoder((Echo, Upload, Download))
FACTS = union_decoder((Happened,))
Answering = Callable[[Any, BodyReader | None], Served | Awaitable[Served]]


@dataclass(slots=True)
class Side:
    """One edge, with what it learnt and how it ended."""

    edge: Edge = field(init=False)
    facts: list[Fact] = field(default_factory=list)
    ended: list[BoundaryViolation | None] = field(default_factory=list)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def on_end(self, _: Edge, violation: BoundaryViolation | None) -> None:
        self.ended.append(violation)
        self.ending.set()


def _echo(request: Any, _: BodyReader | None) -> Served:
    return Echoed(request.text)


def side(
    sock: socket.socket, peer: Channel, *, answering: Answering | None = None, generation: int = 1, **more: Any
) -> Side:
    """One side of an edge; it serves where `answering` is given, and asks where not."""
    found = Side()
    serve = answering or _echo
    terms = Terms(
        requests=REQUESTS if answering else None,
        facts=FACTS,
        serve=lambda _, request, body: serve(request, body),
        learn=lambda _, fact: found.facts.append(fact),
        ended=found.on_end,
        receives_descriptors=more.pop("receives_descriptors", False),
    )
    found.edge = Edge(sock, peer, generation, "test", terms, **more)
    return found


@contextlib.asynccontextmanager
async def pair(answering: Answering = _echo, **more: Any) -> AsyncIterator[tuple[Side, Side]]:
    """(asking side, serving side)."""
    one, two = socket.socketpair()
    asking, serving = side(one, HOLDER, **more), side(two, GATE, answering=answering)
    try:
        yield asking, serving
    finally:
        asking.edge.close(None)
        serving.edge.close(None)
        await asyncio.sleep(0)


class RawPeer:
    """The other end as bare frames, to say what an honest side never says."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._reader = FrameReader()

    async def send(self, *frames: bytes) -> None:
        """Send these bytes; an end that closed meanwhile is no error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(frames))

    async def next_frame(self) -> Frame | None:
        """The next frame, or None at the end."""
        while (found := self._reader.next_frame()) is None:
            try:
                data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 1 << 18), 5)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._reader.receive_data(data)
        return found

    async def expect(self, kind: FrameKind) -> Frame:
        """The next frame, which must be of this kind."""
        found = await self.next_frame()
        assert found is not None and found.kind == kind, (found, kind)
        return found

    def fill(self, data: bytes) -> int:
        """Send without waiting until the kernel takes no more; how many bytes went."""
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < len(data):
                sent += self.sock.send(data[sent:])
        return sent


def hello(generation: int = 1, protocol: int = PROTOCOL) -> bytes:
    """A Hello frame."""
    return frame(FrameKind.HELLO, 0, encode(Hello(protocol, "test", generation)))


def request_frame(number: int, request: Request[Any]) -> bytes:
    """A request, with the sign that a body follows where its type takes one."""
    kind = FrameKind.REQUEST_BODY if type(request).body_max else FrameKind.REQUEST
    return frame(kind, number, encode(request))


@contextlib.asynccontextmanager
async def raw_client(answering: Answering = _echo) -> AsyncIterator[tuple[RawPeer, Side]]:
    """A raw peer that has said Hello, and the serving side that it talks to."""
    one, two = socket.socketpair()
    serving = side(two, GATE, answering=answering)
    peer = RawPeer(one)
    await peer.send(hello())
    await peer.expect(FrameKind.HELLO)
    try:
        yield peer, serving
    finally:
        one.close()
        serving.edge.close(None)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def raw_server(**more: Any) -> AsyncIterator[tuple[RawPeer, Side]]:
    """A raw peer that has said Hello, and the asking side that calls it."""
    one, two = socket.socketpair()
    asking = side(two, HOLDER, **more)
    peer = RawPeer(one)
    await peer.send(hello())
    await peer.expect(FrameKind.HELLO)
    try:
        yield peer, asking
    finally:
        one.close()
        asking.edge.close(None)
        await asyncio.sleep(0)


async def ends_with_violation(found: Side) -> BoundaryViolation:
    """The violation that the edge ends with, within 5 s."""
    await asyncio.wait_for(found.ending.wait(), 5)
    assert not found.edge.alive
    (violation,) = found.ended
    assert violation is not None
    return violation


def open_descriptors() -> int:
    """How many descriptors this process has open, without those that only the collector can still close."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count, without the paths)

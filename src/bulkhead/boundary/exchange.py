"""All edges of one process: who is attached now, what they may send, and stable callers that survive generations."""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from bulkhead import __version__
from bulkhead.boundary.body import BodyReader, BodySource
from bulkhead.boundary.codec import reply_decoder, union_decoder
from bulkhead.boundary.edge import Edge
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Fact, Mutation, Reply, Request
from bulkhead.boundary.messages.registry import facts_of, requests_of
from bulkhead.boundary.peers import PEERS, between
from bulkhead.boundary.terms import ASKER, Channel, Handed, Served, Terms
from bulkhead.errors import BoundaryViolation, TemporaryFailure

Handler = Callable[[Any, Channel, Any, BodyReader | None], Served | Awaitable[Served]]
Learner = Callable[[Any, Channel, Any], None]
R = TypeVar("R", bound=Reply)
CALL_SECONDS = 30.0
ATTACH_SECONDS = 10.0  # how long a call waits for its receiver to come back
SENDINGS_MAX = 4  # of one request: what ends its receiver every time is not sent for ever

_log = logging.getLogger("bulkhead.boundary")


def prepare_decoders() -> None:
    """Make every decoder that PEERS asks for, before the fork: compartments then share their memory."""
    for rule in PEERS:
        for types in (requests_of(rule), facts_of(rule.facts), facts_of(rule.announces)):
            union_decoder(types)
        for request in requests_of(rule):
            reply_decoder(request)


class Caller:
    """Calls one compartment, whichever incarnation of it is attached at the moment."""

    def __init__(self, exchange: "Exchange", server: str) -> None:
        self._exchange, self._server = exchange, server

    async def call(
        self,
        request: Request[R],
        body: BodySource | Callable[[], BodySource] | None = None,
        *,
        timeout: float = CALL_SECONDS,
    ) -> R:
        """The reply to `request`. Raises Refused, TemporaryFailure, IntegrityError or PeerError as answered.

        Where the receiver restarts meanwhile, the request is sent again under the same request id, up to 4 times in
        all within `timeout` seconds, unless its body is a stream that cannot be begun again: give bytes, or a function
        that makes the body. What it was sent to may have done it, so the answer is worth waiting for.
        """
        repeatable = body is None or isinstance(body, bytes) or callable(body)
        ends, patience = time.monotonic() + timeout, ATTACH_SECONDS
        for sending in range(1, SENDINGS_MAX + 1):
            edge = self._exchange.edge_to(self._server)
            if edge is None:
                edge = await self._exchange.attached(self._server, min(patience, ends - time.monotonic()))
            left = max(0.0, ends - time.monotonic())
            try:
                reply, reader = await edge.call(request, body() if callable(body) else body, left)
                break
            except TemporaryFailure as failure:
                if failure.code != "edge-ended" or not repeatable or sending == SENDINGS_MAX:
                    raise
            patience = timeout
        if reader is not None:
            reader.close()
            raise ValueError(f"the reply to {type(request).__name__} has a body: use open")
        return reply  # type: ignore[return-value]  # decode_reply gave exactly the request's reply type

    async def dial(self, request: Request[R], *, timeout: float = CALL_SECONDS) -> tuple[R, socket.socket]:
        """The reply and the connected socket that came with it. Raises as call."""
        edge = await self._exchange.attached(self._server)
        reply, _ = await edge.call(request, None, timeout)
        if not isinstance(reply, Handed):
            raise ValueError(f"no descriptor comes with the reply to {type(request).__name__}: use call")
        return reply.reply, reply.sock  # type: ignore[return-value]  # as in call

    async def open(self, request: Request[R], *, timeout: float = CALL_SECONDS) -> tuple[R, BodyReader]:
        """The reply and the reader of its body. Close the reader when you stop early. Raises as call."""
        edge = await self._exchange.attached(self._server)
        reply, reader = await edge.call(request, None, timeout)
        if reader is None:
            reader = BodyReader(0, lambda _: None)
            reader.feed(b"", last=True)
        return reply, reader  # type: ignore[return-value]  # as in call

    def tell(self, fact: Fact) -> bool:
        """Send a fact if the receiver is there and keeps up."""
        edge = self._exchange.edge_to(self._server)
        return edge is not None and edge.tell(fact)


class Exchange:
    """The edges of this process. `report` tells the supervisor of a violation by a peer.

    lost: told the peer and the generation of an edge that ended otherwise and was not replaced.
    """

    def __init__(
        self,
        me: Channel,
        report: Callable[[Channel, int, BoundaryViolation], None],
        lost: Callable[[Channel, int], None] = lambda *_: None,
    ) -> None:
        self.me = me
        self._report, self._lost = report, lost
        self._edges: dict[Channel, Edge] = {}
        self._arrivals: dict[str, asyncio.Event] = {}
        self._state: Any = None
        self._serving = False
        self._handlers: Mapping[type[Request[Any]], Handler] = {}
        self._learners: Mapping[type[Fact], Learner] = {}
        self._departures: list[Callable[[Channel], None]] = []
        self._on_violations: list[Callable[[BoundaryViolation, Channel], None]] = []
        self._on_arrivals: list[tuple[str, Callable[[Channel], None]]] = []

    def serve(
        self,
        state: Any,
        handlers: Mapping[type[Request[Any]], Handler],
        learners: Mapping[type[Fact], Learner] | None = None,
    ) -> None:
        """Answer requests with `handlers[type](state, channel, request, body)` and take facts with `learners`.

        Until this is called requests wait unread, so that a restart is a pause to those who ask and no failure.
        """
        self._state, self._handlers, self._learners = state, handlers, learners or {}
        self._serving = True
        for edge in self.edges():
            edge.resume()

    def on_departure(self, callback: Callable[[Channel], None]) -> None:
        """Call back with the channel whenever an edge has ended."""
        self._departures.append(callback)

    def on_violation(self, callback: Callable[[BoundaryViolation, Channel], None]) -> None:
        """Call back with who broke which rule, once the edge has ended and the supervisor was told."""
        self._on_violations.append(callback)

    def on_arrival(self, compartment: str, callback: Callable[[Channel], None]) -> None:
        """Call back with the channel whenever an edge to `compartment` is attached; at once for one that is."""
        self._on_arrivals.append((compartment, callback))
        for edge in self.edges():
            if edge.peer.compartment == compartment:
                callback(edge.peer)

    def to(self, server: str) -> Caller:
        """A caller of `server`."""
        return Caller(self, server)

    def attach(self, sock: socket.socket, peer: Channel, generation: int) -> Edge:
        """Take this end of a new socketpair. Raises ValueError when PEERS names no such edge."""
        rule = between(self.me.compartment, peer.compartment)
        if rule is None:
            raise ValueError(f"no edge between {self.me.compartment} and {peer.compartment} in PEERS")
        calling = rule.client == self.me.compartment
        terms = Terms(
            requests=None if calling else union_decoder(requests_of(rule)),
            facts=union_decoder(facts_of(rule.announces if calling else rule.facts)),
            serve=self._serve_request,
            learn=self._learn_fact,
            ended=self._on_ended,
            receives_descriptors=calling and rule.descriptors,
        )
        old = self._edges.get(peer)
        if old is not None:
            old.close(None)
        held = not calling and not self._serving
        edge = self._edges[peer] = Edge(sock, peer, generation, __version__, terms, held=held)
        event = self._arrivals.get(peer.compartment)
        if event is not None:
            event.set()
        for compartment, callback in self._on_arrivals:
            if compartment == peer.compartment:
                self._call_back(callback, peer)
        return edge

    def edge_to(self, compartment: str) -> Edge | None:
        """The live edge to `compartment`, newest first, or None."""
        for channel in reversed(self._edges):
            if channel.compartment == compartment and self._edges[channel].alive:
                return self._edges[channel]
        return None

    def edges(self) -> list[Edge]:
        """All live edges."""
        return [edge for edge in self._edges.values() if edge.alive]

    def tell(self, channel: Channel, fact: Fact) -> bool:
        """Send a fact to one process, or drop it (False)."""
        edge = self._edges.get(channel)
        return edge is not None and edge.tell(fact)

    async def attached(self, compartment: str, seconds: float = ATTACH_SECONDS) -> Edge:
        """The edge to `compartment`, waiting so long for it. Raises TemporaryFailure."""
        deadline = time.monotonic() + seconds
        while (edge := self.edge_to(compartment)) is None:
            event = self._arrivals.setdefault(compartment, asyncio.Event())
            event.clear()
            try:
                await asyncio.wait_for(event.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise TemporaryFailure(f"{compartment} is not there", code="edge-ended") from None
        return edge

    def close(self) -> None:
        """End every edge."""
        for edge in list(self._edges.values()):
            edge.close(None)

    def _serve_request(
        self, peer: Channel, request: Request[Any], body: BodyReader | None
    ) -> Served | Awaitable[Served]:
        handler = self._handlers.get(type(request))
        if handler is None:
            raise TemporaryFailure("not served here yet", code="starting")
        if isinstance(request, Mutation) and request.stamp.deadline < time.time() * 1000:
            raise TemporaryFailure("the request came after its deadline", code="deadline")
        ASKER.set(peer)
        result = handler(self._state, peer, request, body)
        if result is None:
            raise ValueError(f"the handler of {type(request).__name__} gave nothing")
        return result

    def _learn_fact(self, peer: Channel, fact: Fact) -> None:
        learner = self._learners.get(type(fact))
        if learner is not None:
            learner(self._state, peer, fact)

    def _on_ended(self, edge: Edge, violation: BoundaryViolation | None) -> None:
        if self._edges.get(edge.peer) is edge:
            del self._edges[edge.peer]
            if violation is None:
                self._lost(edge.peer, edge.generation)
        if violation is not None:
            _log.error("edge to %s ended: %s (%s)", edge.peer, violation.public, violation.detail)
            self._report(edge.peer, edge.generation, violation)
            for seen in self._on_violations:
                self._call_back(partial(seen, violation), edge.peer)
        for callback in self._departures:
            self._call_back(callback, edge.peer)

    def _call_back(self, callback: Callable[[Channel], None], peer: Channel) -> None:
        """One that fails keeps no other from being told."""
        try:
            callback(peer)
        except Exception as error:
            log_fault(f"fault when {peer} came or went", error)

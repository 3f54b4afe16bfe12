"""What an edge is made from: who is at its other end, what may arrive, and the forms an answer takes."""

import socket
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bulkhead.boundary.body import BodyReader, BodySource
from bulkhead.boundary.messages.fields import Fact, Reply, Request
from bulkhead.errors import BoundaryViolation

if TYPE_CHECKING:
    from bulkhead.boundary.edge import Edge

CALLS_MAX = 256  # requests in flight on one edge


class Channel(NamedTuple):
    """Who is at the other end: the same name on every edge of that process, given by the supervisor."""

    compartment: str
    worker: int
    incarnation: int

    def __str__(self) -> str:
        return f"{self.compartment}/{self.worker}#{self.incarnation}"


ASKER: ContextVar[Channel | None] = ContextVar("asker", default=None)
"""Whose request the running handler, and the task it became, serves; None outside of one."""


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
    """What may arrive on this side, made from PEERS, and who takes it."""

    requests: Any  # msgspec Decoder or None
    facts: Any  # the same
    serve: Serve
    learn: Callable[[Channel, Fact], None]
    ended: "Callable[[Edge, BoundaryViolation | None], None]"
    receives_descriptors: bool = False

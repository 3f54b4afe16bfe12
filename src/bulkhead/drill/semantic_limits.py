"""What a gate can make a holder keep: a frame that never ends."""

import asyncio
import socket

from bulkhead.boundary.codec import HEADER, PROTOCOL, FrameKind, Hello, encode, frame
from bulkhead.boundary.edge import Channel
from bulkhead.drill.bare_cell import BareCell
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column

TOLD = 64 << 20  # octets that the frame's head announces
SAID = 2 << 20  # octets that are sent of it
_PIECE = 1 << 16
EDGES = (("mx", "directory"), ("mx", "store"), ("submit", "queue"), ("access", "keyring"), ("access", "auth"))
KINDS = (FrameKind.REQUEST, FrameKind.CHUNK, FrameKind.FACT, FrameKind.HELLO)


async def never_end(cell: BareCell) -> Finding:
    """One frame of 64 MiB on each edge of the gates, of several kinds; then each holder must still answer."""
    person = await cell.add_person()
    kept = 0
    for client, server in EDGES:
        for kind in KINDS:
            kept += await _keeps(cell, client, server, kind)
    reached = kept + (not await cell.admits("access", person))
    control = len(cell.violations) >= len(EDGES) * len(KINDS) - kept and await _greets(cell)
    return Finding(reached, len(EDGES) * len(KINDS) + 1, control)


async def _keeps(cell: BareCell, client: str, server: str, kind: FrameKind) -> bool:
    """Whether the server took in 2 MiB of it and waits for more."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    edge = cell.exchanges[server].attach(theirs, Channel(client, 8, next(cell._numbers)), 1)
    try:
        if kind is not FrameKind.HELLO:
            await loop.sock_sendall(ours, frame(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, "hostile", 1))))
        await loop.sock_sendall(ours, HEADER.pack(TOLD, kind, 1))
        for _ in range(SAID // _PIECE):
            if not edge.alive:
                return False
            await asyncio.wait_for(loop.sock_sendall(ours, bytes(_PIECE)), 2.0)
            await asyncio.sleep(0)
        return edge.alive
    except (OSError, TimeoutError):
        return False
    finally:
        ours.close()
        edge.close(None)


async def _greets(cell: BareCell) -> bool:
    """The control: a frame within its limit leaves the edge as it is."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    edge = cell.exchanges["directory"].attach(theirs, Channel("mx", 8, next(cell._numbers)), 1)
    try:
        hello = frame(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, "honest", 1)))
        await asyncio.get_running_loop().sock_sendall(ours, hello)
        await asyncio.sleep(0.01)
        return edge.alive
    finally:
        ours.close()
        edge.close(None)


ACTS = (
    SemanticAct(
        "mx-never-ends", "mx", (Column.AVAILABILITY,), "a frame of 64 MiB, of four kinds, on five edges",
        "a holder keeps 2 MiB of it and waits for more, or answers no one", "a frame within its limit", never_end,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

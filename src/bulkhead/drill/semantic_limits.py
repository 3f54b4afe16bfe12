"""What a gate can make a holder keep, a frame that never ends; and whom it can lock out by guessing."""

import asyncio
import socket

from bulkhead.boundary.codec import HEADER, PROTOCOL, FrameKind, Hello, encode, frame
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.drill.bare_cell import SOURCE, BareCell, answer
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.identifiers import new_id

TOLD = 64 << 20  # octets that the frame's head announces
SAID = 2 << 20  # octets that are sent of it
_PIECE = 1 << 16
GUESSES = 400  # of which every other claims the victim's own source
GATE_SCOPE = {"submit": Scope.SUBMIT, "access": Scope.IMAP}
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


async def lock_out(cell: BareCell) -> Finding:
    """Wrong passwords for a victim through submit, from the victim's own source and from others; then it logs in.

    What is counted by account is counted by gate, and a network where the password was right is held up by no other.
    """
    person = await cell.add_person()
    honest = await cell.admits("access", person)  # its network is known from here on
    limits = cell.auth.logins.limits
    limits._longest = limits._waits.longest = 900.0

    async def guess(gate: str, source: str) -> None:
        wrong = Authenticate(person.account, b"a guess", GATE_SCOPE[gate], source, new_id())
        await answer(cell.exchanges[gate], "auth", wrong)

    async def guess_much(gate: str) -> None:
        for first in range(0, GUESSES, 50):
            sources = [SOURCE if number % 2 else f"10.0.{number % 250}.1" for number in range(first, first + 50)]
            await asyncio.gather(*(guess(gate, source) for source in sources))

    await guess_much("submit")
    reached = not await cell.admits("access", person)
    await guess_much("access")  # the control: its own gate it can close, until the bucket has run out
    return Finding(int(reached), 1, honest and not await cell.admits("access", person))


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
    SemanticAct(
        "submit-locks-out", "submit", (Column.AVAILABILITY,), "guess at a victim as from its own network",
        "its login at access is refused", "the same guesses through access", lock_out,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

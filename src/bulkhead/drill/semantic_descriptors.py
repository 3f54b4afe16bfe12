"""Descriptors where none is meant to come: on ordinary edges, and memory files that their sender can still change."""

import asyncio
import fcntl
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import replace

from bulkhead.boundary.codec import PROTOCOL, FrameKind, Hello, encode, frame
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.peers import PEERS, Peering
from bulkhead.drill.bare_cell import HOLDERS, BareCell, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import BoundaryViolation
from bulkhead.supervisor import memfd
from bulkhead.supervisor.memfd import read_sealed_memfd, sealed_memfd

AT_ONCE = 16  # descriptors in one message
LIMIT = 4096


async def _send(cell: BareCell, peering: Peering, *, may: bool = False) -> tuple[bool, bool]:
    """Whether descriptors that came with a Hello stay open at the receiver, and whether the edge ended for them.

    may: on an edge that is told to receive descriptors.
    """
    ours, theirs = socket.socketpair()
    edge = cell.exchanges[peering.server].attach(theirs, Channel(peering.client, 9, next(cell._numbers)), 1)
    if may:
        edge._terms = replace(edge._terms, receives_descriptors=True)
    read_end, write_end = os.pipe()
    try:
        hello = frame(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, "hostile", 1)))
        socket.send_fds(ours, [hello[:3]], [write_end] * AT_ONCE)
        socket.send_fds(ours, [hello[3:]], [write_end] * AT_ONCE)
        os.close(write_end)
        for _ in range(20):
            await asyncio.sleep(0)
        closed = bool(select.select([read_end], [], [], 0)[0])  # the end of a pipe that nobody writes to any more
        return not closed, not edge.alive
    finally:
        ours.close()
        edge.close(None)
        os.close(read_end)


async def send_descriptors(cell: BareCell) -> Finding:
    """Descriptors with every first frame, on each edge to a holder: kept, they would fill its table of descriptors."""
    edges = [peering for peering in PEERS if peering.server in HOLDERS]
    kept = [await _send(cell, peering) for peering in edges]
    _, ended = await _send(cell, edges[0], may=True)
    return Finding(sum(stay for stay, _ in kept), len(edges), ended, f"{2 * AT_ONCE} descriptors on each edge")


def _files() -> Iterator[int]:
    """Descriptors that are no sealed memory file: a seal missing each, none at all, a pipe, a file."""
    for missing in (fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_SEAL, memfd.SEALS):
        descriptor = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(descriptor, b"{}")
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, memfd.SEALS & ~missing)
        yield descriptor
    read_end, write_end = os.pipe()
    os.close(write_end)
    yield read_end
    yield os.open("/dev/null", os.O_RDONLY)
    yield sealed_memfd(bytes(LIMIT + 1))


def _takes(descriptor: int) -> bool:
    try:
        read_sealed_memfd(descriptor, LIMIT)
    except BoundaryViolation:
        return False
    return True


async def send_unsealed(_: BareCell) -> Finding:
    """Settings in memory files that can be cut or rewritten while they are read, or that are none."""
    files = list(_files())
    reached = sum(_takes(descriptor) for descriptor in files)
    good = sealed_memfd(b"{}")
    control = _takes(good)
    with weakened(memfd, "SEALS", 0):  # no seal is asked for
        control = control and _takes(files[0])
    for descriptor in (*files, good):
        os.close(descriptor)
    return Finding(reached, len(files), control)


ACTS = (
    SemanticAct(
        "mx-passes-descriptors", "mx", (Column.AVAILABILITY,), "32 descriptors with the first frame of every edge",
        "one stays open in a holder", "an edge that takes descriptors ends for them", send_descriptors,
    ),
    SemanticAct(
        "mx-takes-unsealed", "mx", (Column.AVAILABILITY,), "memory files without a seal, files and pipes as settings",
        "one is read", "a sealed one is read, and an unsealed one where no seal is asked for", send_unsealed,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

"""The edges of a cell: a socketpair for every two units that PEERS joins, again whenever a side has died or lost it.

Standard library only. What crosses an edge is not seen here.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from bulkhead.boundary.peers import between
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES, Disk, Image
from bulkhead.errors import BoundaryViolation
from bulkhead.supervisor import control
from bulkhead.supervisor.control import Op, Peer
from bulkhead.supervisor.unit import Unit

LOST_SECONDS = 0.2  # in which the image tells whether an edge ended because its other end died
NAME_OF_SLOT = {process.slot: process.name for process in PROCESSES.values()}

_log = logging.getLogger("bulkhead.cell")


class Send(Protocol):
    """Sends a control message to a unit."""

    def __call__(self, unit: Unit, op: Op, payload: bytes = b"", descriptor: int | None = None) -> None: ...


class Edges:
    """units: the cell's own list. end: has a unit killed, and why. restarts: whether what died is started again.

    seen: told of a violation that no holder reported: holders tell the ledger themselves, and what it was.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        send: Send,
        end: Callable[[Unit, str], None],
        seen: Callable[[Unit, str, int], None],
        *,
        restarts: bool,
    ) -> None:
        self._units, self._send, self._end, self._seen, self._restarts = units, send, end, seen, restarts
        self._generation = 0
        self.consoles = 0  # the incarnation and generation of the newest console edge

    def connect_all(self, unit: Unit) -> None:
        """A fresh edge to every peer that is there."""
        for other in self._units:
            if other is not unit and other.state in {"locked", "started"}:
                self.connect(unit, other)

    def connect(self, unit: Unit, other: Unit) -> None:
        """A new generation of the edge between two units, if PEERS names one. A twin gets those where it asks."""
        peering = between(unit.process.name, other.process.name)
        if peering is None or unit.process is other.process or unit.channel is None or other.channel is None:
            return
        if any(side.twin and side.process.name != peering.client for side in (unit, other)):
            return  # an honest client must never take a twin for its server
        self._generation += 1
        one, two = socket.socketpair()
        try:
            for side, peer, end in ((unit, other, one), (other, unit, two)):
                target = Peer(peer.process.slot, peer.worker, peer.incarnation, self._generation)
                self._send(side, Op.EDGE, control.pack_peer(target), end.fileno())
                side.edges[peer.process.name, peer.worker] = self._generation
        finally:
            one.close()
            two.close()

    def console(self, unit: Unit) -> socket.socket:
        """One end of a fresh edge to this unit, for the command line."""
        self.consoles += 1
        unit.edges[OPERATOR_CONSOLE, 0] = self.consoles
        theirs, ours = socket.socketpair()
        self._send(unit, Op.EDGE, control.pack_peer(Peer(0, 0, self.consoles, self.consoles)), theirs.fileno())
        theirs.close()
        return ours

    def on_violation(self, reporter: Unit, peer: Peer) -> None:
        """A vault report restarts the sender; a front report replaces the edge and restarts the reporter.

        Each edge is reported once at most, so a sender's restarts are as rare as its new edges; any other report counts
        against the reporter, whom no sender can bring to that. Raises BoundaryViolation where those are too many.
        """
        edge = _edge_of(peer)
        if reporter.edges.get(edge) != peer.generation:
            charge(reporter)
            return  # of an edge that was replaced or reported meanwhile
        del reporter.edges[edge]
        _log.error("%s reports a violation by %s/%d", reporter.name, *edge)
        if reporter.process.disk is not Disk.DATA:
            self._seen(reporter, *edge)
        if not self._restarts:
            return
        if reporter.process.image is Image.FRONT:
            self._end(reporter, f"violation by {edge[0]}")
            return
        for sender in self._units:
            if (sender.process.slot, sender.worker, sender.incarnation) == (peer.slot, peer.worker, peer.incarnation):
                self._end(sender, f"violation seen by {reporter.process.name}")

    def on_lost(self, unit: Unit, peer: Peer) -> None:
        """Replace the edge in a moment, unless one of its ends turns out to have died or it was replaced already."""
        if self._restarts and unit.edges.get(_edge_of(peer)) == peer.generation:
            asyncio.get_running_loop().call_later(LOST_SECONDS, self._replace, unit, unit.incarnation, peer)

    def _replace(self, unit: Unit, incarnation: int, peer: Peer) -> None:
        """A front side that loses edges again and again is ended; between two holders there is then none."""
        other = next((u for u in self._units if (u.process.slot, u.worker) == (peer.slot, peer.worker)), None)
        if other is None or unit not in self._units:
            return
        both = (unit, other)
        if (unit.incarnation, other.incarnation) != (incarnation, peer.incarnation):
            return
        if any(one.state not in {"locked", "started"} or one.channel is None for one in both):
            return
        if unit.edges.get(_edge_of(peer)) != peer.generation:
            return
        charged = [one for one in both if one.process.image is Image.FRONT] or [unit]
        if all(one.lost.spend(time.monotonic()) for one in charged):
            _log.warning("a new edge between %s and %s: the old one was lost", unit.name, other.name)
            self.connect(unit, other)
            return
        _log.error("the edge between %s and %s is lost again and again", unit.name, other.name)
        for one in both:
            if one.process.image is Image.FRONT:
                self._end(one, "edge lost again and again")


def charge(unit: Unit) -> None:
    """Count one control message. Raises BoundaryViolation where they are a flood."""
    if not unit.messages.spend(time.monotonic()):
        raise BoundaryViolation("a flood of control messages")


def _edge_of(peer: Peer) -> tuple[str, int]:
    return NAME_OF_SLOT.get(peer.slot, OPERATOR_CONSOLE), peer.worker

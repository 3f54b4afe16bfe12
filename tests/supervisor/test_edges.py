"""Edges that end though both of their sides live: there is another one, but not for ever."""

import asyncio
import socket
from pathlib import Path

import pytest
from tests.supervisor.cells import running, unit_of, until

from bulkhead.supervisor import control
from bulkhead.supervisor.cell import Cell
from bulkhead.supervisor.control import Op, Peer
from bulkhead.supervisor.unit import LOST_PER_MINUTE, Unit

FAKE = 1_000_000  # generations that the supervisor itself never comes to here


def break_edge(holder: Unit, gate: Unit, generation: int) -> None:
    """Put a socket whose other end is closed in the place of the edge between two live units."""
    theirs, ours = socket.socketpair()
    assert holder.channel is not None
    for side, peer in ((holder, gate), (gate, holder)):
        side.edges[peer.process.name, peer.worker] = generation
    peer_of_holder = Peer(gate.process.slot, gate.worker, gate.incarnation, generation)
    assert holder.channel.send(Op.EDGE, control.pack_peer(peer_of_holder), theirs.fileno())
    theirs.close()
    ours.close()


async def replaced(holder: Unit, gate: Unit, generation: int) -> None:
    key = gate.process.name, gate.worker
    await until(lambda: holder.edges[key] != generation)
    assert gate.edges[holder.process.name, holder.worker] == holder.edges[key]


async def test_an_edge_that_ends_while_both_sides_live_is_replaced_and_nobody_restarts(solo: Path) -> None:
    async with running(solo) as cell:
        store, access = unit_of(cell, "store"), unit_of(cell, "access")
        before = {unit: unit.pid for unit in cell.units}
        for number in range(3):
            break_edge(store, access, FAKE + number)
            await replaced(store, access, FAKE + number)
        assert {unit: unit.pid for unit in cell.units} == before


async def test_a_gate_that_loses_edges_again_and_again_is_ended_and_the_holder_is_not(solo: Path) -> None:
    async with running(solo) as cell:
        store, access = unit_of(cell, "store"), unit_of(cell, "access")
        holder, gate = store.pid, access.pid
        for number in range(LOST_PER_MINUTE):
            break_edge(store, access, FAKE + number)
            await replaced(store, access, FAKE + number)
        break_edge(store, access, FAKE + LOST_PER_MINUTE)
        await until(lambda: access.pid not in {0, gate} and cell.ready)
        assert store.pid == holder


async def test_a_report_of_an_edge_that_was_replaced_changes_nothing(
    solo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.supervisor.edges.LOST_SECONDS", 0.01)
    async with running(solo) as cell:
        store, access = unit_of(cell, "store"), unit_of(cell, "access")
        edges = dict(store.edges)

        def tell(cell: Cell, peer: Peer) -> None:
            cell._on_unit_message(store, Op.LOST, control.pack_peer(peer), None)

        current = edges["access", 0]
        tell(cell, Peer(access.process.slot, 0, access.incarnation, current - 1))
        tell(cell, Peer(access.process.slot, 0, access.incarnation + 1, current))
        tell(cell, Peer(63, 0, 1, current))
        await asyncio.sleep(0.1)
        assert store.edges == edges

"""What a live cell says of itself in its ledger: that it started, what was restarted, which rules were broken."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.cells import attach, hello, running, unit_of, until

from bulkhead.boundary.codec import FrameKind, frame
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_ledger import ReadEntries
from bulkhead.boundary.processes import PROCESSES
from bulkhead.ledger.event import Event, parse_event
from bulkhead.supervisor import control
from bulkhead.supervisor.cell import Cell
from bulkhead.supervisor.control import Op, Peer
from bulkhead.supervisor.happenings import code_digest

COUNT = 40


async def entries(cell: Cell) -> list[Event]:
    """The whole log of the running cell."""
    sock = cell.console_edge(PROCESSES["ledger"].slot)
    assert sock is not None
    exchange = Exchange(Channel("cli", 0, cell.consoles), lambda *_: None)
    exchange.attach(sock, Channel("ledger", 0, 1), cell.consoles)
    found: list[Event] = []
    while page := (await exchange.to("ledger").call(ReadEntries(len(found)))).entries:
        found += map(parse_event, page)
    exchange.close()
    return found


async def logged(cell: Cell, kind: str, **details: Any) -> Event:
    """The entry of that kind with these details, once it is there."""
    async with asyncio.timeout(60):
        while True:
            for event in await entries(cell):
                if event.kind.name == kind and details.items() <= event.details.items():
                    return event
            await asyncio.sleep(0.05)


async def break_rules(cell: Cell, name: str, pretending: str, number: int) -> None:
    """A frame of no known kind to that compartment, in the place of `pretending`."""
    sock = attach(unit_of(cell, name), PROCESSES[pretending].slot, number)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, hello(number) + frame(FrameKind.REQUEST, 1, b"\xc1 secret"))
    while await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), 5):
        pass
    sock.close()


async def test_a_cell_says_once_that_it_started_with_which_code_and_which_locks(solo: Path) -> None:
    began = int(time.time() * 1000)  # other tests started this cell before
    async with running(solo) as cell:
        started = await logged(cell, "CellStarted", code=code_digest().hex())
        assert started.actor == "supervisor"
        assert started.details["processes"] == len(cell.units)
        ledger = unit_of(cell, "ledger")
        pid = ledger.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: ledger.pid not in {0, pid} and cell.ready)
        restarted = await logged(cell, "CompartmentRestarted", who="ledger")
        assert restarted.details["why"] == "signal 9"
        begun = [event for event in await entries(cell) if event.kind.name == "CellStarted" and event.at >= began]
        assert len(begun) == 1
        assert not cell._happenings._waiting


@pytest.mark.parametrize("holder", ["auth", "store", "queue", "ledger"])
async def test_a_broken_rule_is_an_entry_of_the_holder_that_saw_it_and_many_are_few_entries(
    solo: Path, holder: str
) -> None:
    pretending = {"auth": "access", "store": "mx", "queue": "submit", "ledger": "auth"}[holder]
    async with running(solo, restarts=False) as cell:
        before = len(await entries(cell))
        for number in range(COUNT):
            await break_rules(cell, holder, pretending, 1_000_000 + number)
        seen = await logged(cell, "EdgeViolation", compartment=holder)
        assert seen.actor == f"compartment:{pretending}"
        assert seen.details["what"]
        assert "secret" not in str(seen.details)
        after = [event for event in (await entries(cell))[before:] if event.kind.name == "EdgeViolation"]
        assert len(after) == 1


async def test_a_gates_report_and_the_restart_of_whom_a_holder_reports_are_entries(solo: Path) -> None:
    async with running(solo) as cell:
        mx, store = unit_of(cell, "mx"), unit_of(cell, "store")
        for reporter, sender in ((store, mx), (mx, store)):
            await until(lambda: cell.ready)
            restarts = mx.restarts + 1
            peer = Peer(sender.process.slot, 0, sender.incarnation, reporter.edges[sender.process.name, 0])
            cell._on_unit_message(reporter, Op.VIOLATION, control.pack_peer(peer), None)
            await until(lambda more=restarts: mx.restarts == more)
        await logged(cell, "CompartmentRestarted", who="mx", why="violation seen by store")
        await logged(cell, "CompartmentRestarted", who="mx", why="violation by store")
        said = await logged(cell, "EdgeViolation", said_by="mx")
        assert said.actor == "compartment:store"

"""A real cell driven in the test's own loop, so that a test can reach into its control channels."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.live import PORTS

from bulkhead.boundary.codec import PROTOCOL, FrameKind, Hello, encode, frame
from bulkhead.boundary.processes import OPERATOR_CONSOLE
from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import load_installation, set_value
from bulkhead.identifiers import DomainName, TenantId
from bulkhead.supervisor import control
from bulkhead.supervisor.cell import NAME_OF_SLOT, Cell, Unit
from bulkhead.supervisor.control import Op, Peer
from bulkhead.supervisor.listeners import bind_listeners

SECONDS = 60.0
"""So long a test waits for what takes moments: only a machine that is busy with something else comes near."""


def make(directory: Path) -> Path:
    """An installation with one tenant, `solo`, on an address and with user ids that no other test run uses now."""
    number = os.getpid() % 12_500
    address = f"127.{50 + number // 250}.{number % 250 + 2}.1"
    settings = PORTS | {"resolver.zone_file": "example.zone", "auth.failure_seconds": 0.3}
    tenant = NewTenant(TenantId("solo"), 0, DomainName("solo.example"), address, "", settings)
    make_installation(directory, "Test", [tenant])
    set_value(directory, "bulkhead.toml", "uid_base", 26_000_000 + number * 1024)
    return directory


@contextlib.asynccontextmanager
async def running(directory: Path, *, restarts: bool = True) -> AsyncIterator[Cell]:
    """The cell, ready; stopped at the end, with no process left."""
    installation = load_installation(directory)
    tenant = installation.tenant("solo")
    listeners = bind_listeners(tenant)
    cell = Cell(installation, tenant, listeners, restarts=restarts)
    cell.start()
    try:
        await until(lambda: cell.ready)
        yield cell
    finally:
        pids = [unit.pid for unit in cell.units if unit.pid] + list(cell.image_pids().values())
        await cell.stop()
        for listener in listeners.values():
            listener.close()
        assert not [pid for pid in pids if alive(pid)]


async def until(condition: object, seconds: float = SECONDS) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether this pid is a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def unit_of(cell: Cell, name: str) -> Unit:
    """The first unit of a compartment."""
    return next(unit for unit in cell.units if unit.process.name == name)


def attach(unit: Unit, slot: int, number: int) -> socket.socket:
    """Give a live process a fresh edge to a peer that does not exist: our end, in the place of that peer."""
    ours, theirs = socket.socketpair()
    assert unit.channel is not None
    name, worker = NAME_OF_SLOT.get(slot, OPERATOR_CONSOLE), number % 0xFFFF
    unit.edges[name, worker] = number
    assert unit.channel.send(Op.EDGE, control.pack_peer(Peer(slot, worker, number, number)), theirs.fileno())
    theirs.close()
    ours.setblocking(False)
    return ours


def hello(generation: int) -> bytes:
    """A Hello frame."""
    return frame(FrameKind.HELLO, 0, encode(Hello(PROTOCOL, "test", generation)))


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

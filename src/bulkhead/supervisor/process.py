"""`bulkhead cell run TENANT`: one tenant's supervisor (one systemd unit, one pod).

Duty: bind the listeners, execute the two images, hand out edges, restart what dies, answer the command line's door.
Privileges: those of the starting user; root where every compartment shall have a uid of its own.
Peers: none; it reads fixed control messages only. What falls if it is compromised: this cell, and no other.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO

from bulkhead.boundary.processes import PROCESSES
from bulkhead.config.load import load_installation
from bulkhead.errors import ConfigError, Refused, TemporaryFailure
from bulkhead.supervisor.cell import Cell
from bulkhead.supervisor.door import Answer, Ask, Door
from bulkhead.supervisor.image_lock import close_to_own_user
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.listeners import bind_listeners

READY_SECONDS = 60.0
_log = logging.getLogger("bulkhead.cell")


def hold_lock(layout: Layout, what: str) -> IO[bytes]:
    """The lock under which a cell runs or a command works offline. Raises ConfigError when another has it."""
    layout.lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = layout.lock.open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise ConfigError(f"the cell of {layout.tenant} is in use: stop it before you {what}") from None
    return held


class CellProcess:
    """The running supervisor: cell, door, signals."""

    def __init__(self, directory: Path, tenant: str, levels: dict[str, object]) -> None:
        self._directory = directory
        self._installation = load_installation(directory)
        self._tenant = self._installation.tenant(tenant)
        self._levels = levels
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self._started = time.time()
        self.cell = Cell(self._installation, self._tenant, bind_listeners(self._tenant))

    async def run(self, announce: IO[str]) -> int:
        """Serve until SIGTERM, SIGINT or the door's STOP; `announce` gets one line `ready`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self.cell.on_change = self._on_change
        self.cell.start()
        door = Door(str(self.cell.layout.socket), self._answer)
        watch = loop.create_task(self._announce(announce))
        await self._stop.wait()
        watch.cancel()
        door.close()
        await self.cell.stop()
        return 0

    def _on_change(self) -> None:
        if self.cell.ready:
            self._ready.set()

    async def _announce(self, announce: IO[str]) -> None:
        try:
            await asyncio.wait_for(self._ready.wait(), READY_SECONDS)
        except TimeoutError:
            late = ", ".join(unit.name for unit in self.cell.units if unit.state != "started")
            _log.error("not ready after %s s: %s; see %s", READY_SECONDS, late, self.cell.layout.log)
            return
        print("ready", file=announce, flush=True)

    def _reload(self) -> None:
        try:
            self._installation = load_installation(self._directory)
            self.cell.reload(self._installation)
        except ConfigError as error:
            _log.error("the old configuration stays: %s", error.public)

    def _answer(self, ask: Ask, slot: int, worker: int) -> Answer:
        if ask is Ask.STATUS:
            return 0, json.dumps(self._status()).encode()
        if ask is Ask.EDGE:
            end = self.cell.console_edge(slot)
            if end is None:
                raise TemporaryFailure("that compartment is not running")
            return self.cell.consoles, end
        if ask is Ask.RELOAD:
            self.cell.reload(load_installation(self._directory))
            return 0, None
        if ask is Ask.STOP:
            self._stop.set()
            return 0, None
        if ask is Ask.EVICT:
            return self.cell.evict(slot), None
        if ask is Ask.EVICT_WORKER:
            return self.cell.evict(slot, worker), None
        settings = self.cell.installation.settings
        if settings.boolean("production") and not settings.boolean("allow_live_drill"):
            raise Refused(
                "an installation in production runs no hostile twin beside its live compartments; to drill it all the "
                "same, set allow_live_drill = true in bulkhead.toml and send SIGHUP to `run`"
            )
        if ask is Ask.TWIN:
            process = next((p for p in PROCESSES.values() if p.slot == slot), None)
            if process is None:
                raise Refused("no such compartment")
            return self.cell.add_twin(process).worker, None
        return self._twin_edge(slot, worker)

    def _twin_edge(self, slot: int, worker: int) -> Answer:
        unit = next((u for u in self.cell.units if u.twin and (u.process.slot, u.worker) == (slot, worker)), None)
        if unit is None or unit.state != "started" or unit.channel is None:
            raise TemporaryFailure("that twin is not there yet")
        return self.cell.twin_stream(unit)

    def _status(self) -> dict[str, object]:
        return {
            "schema": "bulkhead/cell/1",
            "tenant": self._tenant.id,
            "slot": self._tenant.slot,
            "pid": os.getpid(),
            "images": self.cell.image_pids(),
            "image_locks": self.cell.image_locks(),
            "started": self._started,
            "ready": self.cell.ready,
            "levels": self._levels,
            "processes": self.cell.status(),
            "gates": self.cell.staff.rows(),
        }


def run_cell(directory: Path, tenant: str, levels: dict[str, object], announce: IO[str] = sys.stdout) -> int:
    """Run one cell in the foreground; the exit status. Raises ConfigError."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {tenant}/supervisor %(levelname)s %(message)s"
    )
    layout = Layout(directory.resolve(), load_installation(directory).tenant(tenant).id)
    held = hold_lock(layout, "run it again")
    with contextlib.closing(held):
        if layout.restoring.exists():
            raise ConfigError(f"{tenant}: its restore was cut short: give the same bulkhead restore command again")
        if layout.standby.exists():
            raise ConfigError(f"{tenant}: this is the standby of another cell: see `bulkhead standby promote`")
        if layout.superseded.exists():
            raise ConfigError(f"{tenant}: its standby took over: this cell must not answer any more (docs/standby.md)")
        close_to_own_user()
        return asyncio.run(_run(directory, tenant, levels, announce))


async def _run(directory: Path, tenant: str, levels: dict[str, object], announce: IO[str]) -> int:
    return await CellProcess(directory, tenant, levels).run(announce)

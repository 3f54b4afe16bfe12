"""`bulkhead run`: starts one supervisor per tenant, each a process of its own, and watches them.

It holds nothing of any cell: it executes, waits for `ready`, starts again what died, and passes signals on.
Standard library only.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bulkhead.config.load import load_installation
from bulkhead.identifiers import TenantId
from bulkhead.supervisor.image_lock import close_to_own_user
from bulkhead.supervisor.memfd import sealed_memfd
from bulkhead.supervisor.restart import Backoff

STOP_SECONDS = 5.0
USAGE = 2  # exit status of a cell whose configuration or address is not usable
_log = logging.getLogger("bulkhead.run")


@dataclass(slots=True, eq=False)
class CellWatch:
    """One cell supervisor, through all its incarnations."""

    tenant: TenantId
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    backoff: Backoff = field(default_factory=Backoff)
    task: "asyncio.Task[None] | None" = None


class InstallationProcess:
    """All cells of one installation."""

    def __init__(self, directory: Path, levels: dict[str, object]) -> None:
        self._directory = directory
        self._levels = json.dumps(levels).encode()
        self._cells: dict[TenantId, CellWatch] = {}
        self._stop = asyncio.Event()
        self._status = 0

    async def run(self, announce: IO[str]) -> int:
        """Serve until SIGTERM or SIGINT; `announce` gets one line `ready` when every cell accepts."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._start_cells()
        announcing = loop.create_task(self._announce(announce))
        await self._stop.wait()
        announcing.cancel()
        await self._end()
        return self._status

    def _start_cells(self) -> None:
        for tenant in load_installation(self._directory).tenants.values():
            if not tenant.disabled and tenant.id not in self._cells:
                watch = self._cells[tenant.id] = CellWatch(tenant.id)
                watch.task = asyncio.get_running_loop().create_task(self._keep(watch))

    async def _announce(self, announce: IO[str]) -> None:
        for watch in list(self._cells.values()):
            await watch.ready.wait()
        print("ready", file=announce, flush=True)

    async def _keep(self, watch: CellWatch) -> None:
        while not self._stop.is_set():
            born = time.monotonic()
            levels = sealed_memfd(self._levels)
            try:
                watch.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", "-B", "-m", "bulkhead.cli.main", "cell", "run", watch.tenant,
                    "-C", str(self._directory), "--levels-fd", str(levels),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None, pass_fds=(levels,),
                    env={"LANG": "C.UTF-8"}, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(levels)
            if watch.process.stdout is not None and await watch.process.stdout.readline() == b"ready\n":
                watch.ready.set()
            status = await watch.process.wait()
            if self._stop.is_set():
                return
            if status == USAGE and not watch.ready.is_set():  # a setting is wrong: said above, no retry mends it
                self._status = USAGE
                self._stop.set()
                return
            delay = watch.backoff.next_delay(time.monotonic() - born)
            _log.error("the cell of %s ended (%s); again in %.2f s", watch.tenant, status, delay)
            await asyncio.sleep(delay)

    def _reload(self) -> None:
        for watch in self._cells.values():
            if watch.process is not None and watch.process.returncode is None:
                watch.process.send_signal(signal.SIGHUP)
        self._start_cells()

    async def _end(self) -> None:
        running = [w.process for w in self._cells.values() if w.process is not None and w.process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.ensure_future(process.wait()) for process in running]
        if waits:
            await asyncio.wait(waits, timeout=STOP_SECONDS)
        for process in running:
            if process.returncode is None:
                _log.error("a cell did not stop within %s s", STOP_SECONDS)
                process.kill()
        for watch in self._cells.values():
            if watch.task is not None:
                watch.task.cancel()


def run_installation(directory: Path, levels: dict[str, object], announce: IO[str] = sys.stdout) -> int:
    """Run every cell in the foreground; the exit status. Raises ConfigError."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s run %(levelname)s %(message)s")
    load_installation(directory)
    close_to_own_user()
    return asyncio.run(_run(directory, levels, announce))


async def _run(directory: Path, levels: dict[str, object], announce: IO[str]) -> int:
    return await InstallationProcess(directory, levels).run(announce)

"""Keeps every gate staffed: forks and retires workers as `crew` decides. Standard library only."""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from bulkhead.boundary.processes import PROCESSES, Process
from bulkhead.config.load import Values
from bulkhead.supervisor import control, crew
from bulkhead.supervisor.control import Load, Op
from bulkhead.supervisor.edges import Send
from bulkhead.supervisor.unit import Unit

STAFF_SECONDS = 5.0  # between two looks at the age of workers
RETIRED_SECONDS = 10.0  # over its time, before a retired worker is killed

_log = logging.getLogger("bulkhead.cell")


class Staff:
    """units: the cell's own list. fork: has a stopped unit started. end: has a unit killed."""

    def __init__(
        self,
        settings: Values,
        units: list[Unit],
        send: Send,
        fork: Callable[[Unit], None],
        end: Callable[[Unit, str], None],
    ) -> None:
        self._units, self._send, self._fork, self._end = units, send, fork, end
        self._recycled: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._halted = False
        self.apply(settings)

    def apply(self, settings: Values) -> None:
        """What holds from now on."""
        self._terms = {gate.name: crew.Terms.of(settings, gate.name) for gate in crew.GATES}

    def first_units(self) -> list[Unit]:
        """What a cell starts with: one unit a compartment, several of a gate."""
        units = []
        for process in PROCESSES.values():
            terms = self._terms.get(process.name)
            for worker in range(terms.workers if terms else 1):
                units.append(Unit(process, worker, terms.processes if terms else 1))
        return units

    def is_gate(self, unit: Unit) -> bool:
        """Whether the unit is a worker, of which there may be several."""
        return unit.process.name in self._terms

    @property
    def complete(self) -> bool:
        """Whether every gate has as many started workers as it should have."""
        return all(crew.staffed(self._workers(gate), self._terms[gate.name]) for gate in crew.GATES)

    def watch(self) -> None:
        """Look after the workers' age from now on."""
        self._tend_all()
        self._timer = asyncio.get_running_loop().call_later(STAFF_SECONDS, self.watch)

    def halt(self) -> None:
        """Fork and retire nobody any more."""
        self._halted = True
        if self._timer is not None:
            self._timer.cancel()

    def tend(self, process: Process) -> None:
        """Fork and retire what this gate needs now."""
        terms = self._terms.get(process.name)
        if terms is None or self._halted:
            return
        now = time.monotonic()
        planned = crew.plan(self._workers(process), terms, now)
        for unit in planned.retire:
            self._retire(unit, terms.grace(unit, now))
        for _ in range(planned.forks):
            taken = {unit.worker for unit in self._units if unit.process is process}
            worker = next(number for number in itertools.count() if number not in taken)
            unit = Unit(process, worker, terms.processes)
            self._units.append(unit)
            self._fork(unit)

    def on_load(self, unit: Unit, load: Load, *, full: bool) -> None:
        """A worker says what it has."""
        unit.connections, unit.sessions, unit.begun = load.connections, load.sessions, max(unit.begun, load.begun)
        unit.full, unit.busy = full, time.monotonic()
        self.tend(unit.process)

    def rows(self) -> list[dict[str, Any]]:
        """One row a gate, for `bulkhead status`: its workers, and how many made way for fresh ones."""
        return [
            {
                "gate": gate.name,
                "workers": len(workers := self._workers(gate)),
                "accepting": sum(unit.accepting for unit in workers),
                "retiring": sum(unit.retiring for unit in workers),
                "workers_max": self._terms[gate.name].most,
                "mode": "strict" if self._terms[gate.name].strict else "default",
                "connections": sum(unit.connections for unit in workers),
                "sessions": sum(unit.sessions for unit in workers),
                "recycled": self._recycled[gate.name],
            }
            for gate in crew.GATES
        ]

    def _workers(self, process: Process) -> list[Unit]:
        return [unit for unit in self._units if unit.process is process and not unit.twin]

    def _tend_all(self) -> None:
        for gate in crew.GATES:
            self.tend(gate)

    def _retire(self, unit: Unit, seconds: int) -> None:
        unit.retiring = True
        self._recycled[unit.process.name] += unit.due
        _log.info("%s makes way after %d sessions; %d are left", unit.name, unit.begun, unit.sessions)
        self._send(unit, Op.RETIRE, control.pack_seconds(seconds))
        asyncio.get_running_loop().call_later(seconds + RETIRED_SECONDS, self._end_retired, unit)

    def _end_retired(self, unit: Unit) -> None:
        if unit in self._units and not self._halted:
            _log.error("%s did not end in time", unit.name)
            self._end(unit, "did not make way")

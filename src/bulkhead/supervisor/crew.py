"""How many workers a gate has, and which of them make way: decided here, done by the cell. Standard library only.

A worker accepts until it is full, has begun its number of sessions, or is as old as a worker may become. Another is
forked before that one is told to retire, so that somebody always accepts. What a worker says of itself decides only
when it makes way; its age, and how many there may be, are the supervisor's own count.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.boundary.processes import PROCESSES, Process, Reach
from bulkhead.config.load import Values
from bulkhead.supervisor.unit import Unit

WORKERS_BY_CPU_MAX = 8
IDLE_SECONDS = 60.0  # with nobody connected, before a worker beyond those asked for is let go

GATES: tuple[Process, ...] = tuple(process for process in PROCESSES.values() if process.reach is Reach.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say of one gate's workers. workers: that accept at any time; most: processes in all."""

    workers: int
    most: int
    recycle_sessions: int
    recycle_seconds: int
    drain_seconds: int
    strict: bool

    @classmethod
    def of(cls, settings: Values, gate: str) -> "Terms":
        """From the tenant's settings; workers = 0 is one a processor, 8 at most; strict is one session a process."""
        workers = settings.integer(f"{gate}.workers") or min(len(os.sched_getaffinity(0)), WORKERS_BY_CPU_MAX)
        strict = settings.text(f"{gate}.mode") == "strict"
        return cls(
            workers,
            max(workers, settings.integer(f"{gate}.workers_max")),
            1 if strict else settings.integer(f"{gate}.recycle_sessions"),
            settings.integer(f"{gate}.recycle_seconds"),
            settings.integer(f"{gate}.drain_seconds"),
            strict,
        )

    @property
    def processes(self) -> int:
        """The most that there ever are: `most`, and for each of `workers` one that makes way."""
        return self.most + self.workers

    def is_aged(self, unit: Unit, now: float) -> bool:
        """Whether the worker is as old as one may become."""
        return 0 < self.recycle_seconds <= now - unit.born

    def grace(self, unit: Unit, now: float) -> int:
        """Seconds that a retiring worker may keep its sessions: a strict one has but one, which may grow old there."""
        if self.strict and not self.is_aged(unit, now) and self.recycle_seconds:
            return max(self.drain_seconds, self.recycle_seconds)
        return self.drain_seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now: how many to fork, which to retire."""

    forks: int
    retire: tuple[Unit, ...]


def plan(units: Sequence[Unit], terms: Terms, now: float) -> Plan:
    """What one gate's workers (no twins) need at the monotonic time `now`. Marks those that are due to make way."""
    for unit in units:
        if unit.state != "started" or unit.due:
            continue
        begun = 0 < terms.recycle_sessions <= unit.begun
        turn = not any(other.due and not other.retiring for other in units)  # of the aged one after the other
        unit.due = begun or (turn and terms.is_aged(unit, now))
    open_ = [unit for unit in units if not unit.due and not unit.full]
    making_way = sum(unit.due for unit in units)
    room = terms.most + min(making_way, terms.workers) - len(units)
    forks = max(0, min(terms.workers - len(open_), room))
    accepting = [unit for unit in open_ if unit.state == "started"]
    enough = len(accepting) >= terms.workers
    retire = [unit for unit in units if unit.due and not unit.retiring and (unit.full or enough)]
    if len(accepting) > terms.workers:
        idle = [u for u in accepting if not u.connections and now - u.busy >= IDLE_SECONDS]
        retire += sorted(idle, key=lambda unit: unit.worker)[terms.workers - len(accepting) :]
    return Plan(forks, tuple(retire))


def staffed(units: Sequence[Unit], terms: Terms) -> bool:
    """Whether as many as asked for have started and are not leaving."""
    return sum(unit.state == "started" and not unit.retiring for unit in units) >= terms.workers

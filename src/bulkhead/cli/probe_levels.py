"""The sandbox level of every compartment, by one run of all probes for each distinct lock: `python -m` prints JSON.

A process of its own: the probes fork, and want no thread and nothing of the caller's. What each compartment keeps comes
from PROCESSES; what differs only in uid, directory or size of a limit has the same walls and is probed once.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.processes import PROCESSES, Process
from bulkhead.drill.targets import canaries
from bulkhead.supervisor.child import lock_for
from bulkhead.supervisor.control import Fork
from bulkhead.supervisor.lock import Lock, Outcome
from bulkhead.supervisor.selftest import Answers, ProbeResult, Verdict, level, probe_with_report, run_control

Document = dict[str, Any]


def probe_levels(uid: int) -> Document:
    """{"level": the worst, "compartments": {name: {"level", "missing", "unproven"}}, "probes": n, "seconds": s}.

    uid: one that no compartment uses, for the twins, when run as root. `missing` names mechanisms that the kernel did
    not give and acts that succeeded. Raises ConfigError when a twin cannot be made.
    """
    begin = time.monotonic()
    profiles: dict[tuple[object, ...], list[Process]] = {}
    for process in PROCESSES.values():
        profiles.setdefault(_profile(_lock(process, uid)), []).append(process)
    found: dict[str, Document] = {}
    control: Answers | None = None
    probes = 0
    for processes in profiles.values():
        lock = _lock(processes[0], uid)
        with canaries(lock) as targets:
            if control is None:
                control = run_control(targets)
            results, report = probe_with_report(lock, targets, control=control)
        missing = [
            f"{step.mechanism.value} {step.outcome.value}: {step.detail}"
            for step in report.steps
            if step.outcome is not Outcome.APPLIED
        ]
        missing += _named(results, Verdict.BREACHED)
        row = {"level": level(results, report).value, "missing": missing, "unproven": _named(results, Verdict.UNPROVEN)}
        found |= {process.name: row for process in processes}
        probes = len(results)
    worst = max(row["level"] for row in found.values())
    seconds = round(time.monotonic() - begin, 3)
    return {"level": worst, "compartments": found, "profiles": len(profiles), "probes": probes, "seconds": seconds}


def _lock(process: Process, uid: int) -> Lock:
    fork = Fork(process.slot, twin=False, worker=0, incarnation=1, uid=uid, gid=uid, workers=1, root="/")
    return lock_for(process, fork, frozenset())


def _profile(lock: Lock) -> tuple[object, ...]:
    return (lock.files, lock.writable, lock.sockets, lock.accept, lock.send_descriptors, lock.uid is None)


def _named(results: list[ProbeResult], verdict: Verdict) -> list[str]:
    return [f"{result.name} ({result.probe.target.value})" for result in results if result.verdict is verdict]


def main(arguments: list[str]) -> int:
    """Print the document for the uid named, or the fault."""
    document: Mapping[str, Any] = probe_levels(int(arguments[0]))
    json.dump(document, sys.stdout)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)

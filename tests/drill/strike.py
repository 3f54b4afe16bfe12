"""Strikes rows of the drill and says what each one showed, as one JSON object: `python -I strike.py ROW...`.

A program of its own, so that it can be run on a copy of the sources whose walls or checks were weakened. ROW is
`compartment/probe`. Rows of the wall are struck in a process that is locked as the supervisor would lock it; semantic
rows are played in a bare cell, or in a range of two cells where they need live processes.
--user: by an ordinary user. --missing A,B: as on a host that refuses these mechanisms.
"""

import argparse
import importlib
import json
import os
import pkgutil
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import bulkhead.drill
from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.probes import load_probes
from bulkhead.drill.targets import canaries
from bulkhead.supervisor.child import lock_for
from bulkhead.supervisor.control import Fork
from bulkhead.supervisor.lock import ALL_MECHANISMS, Mechanism
from bulkhead.supervisor.selftest import Verdict, probe_with_report
from bulkhead.supervisor.syscalls import syscall

UID = 60_000_000 + os.getpid() % 4_000_000 * 64
_PR_SET_DUMPABLE = 4


def strike_walls(rows: list[str], missing: frozenset[Mechanism]) -> dict[str, Any]:
    """Verdicts of wall rows. What the lock grants counts as reached, as it does in the matrix."""
    found = {}
    by_compartment: dict[str, list[str]] = {}
    for row in rows:
        compartment, _, name = row.partition("/")
        by_compartment.setdefault(compartment, []).append(name)
    for compartment, names in by_compartment.items():
        process = PROCESSES[compartment]
        uid = UID + process.slot
        fork = Fork(process.slot, twin=False, worker=0, incarnation=1, uid=uid, gid=uid, workers=1, root="/")
        lock = replace(lock_for(process, fork, frozenset()), mechanisms=ALL_MECHANISMS - missing)
        with canaries(lock) as targets:
            results, _ = probe_with_report(lock, targets, names)
        for result in results:
            found[f"{compartment}/{result.name}"] = {
                "reached": int(result.verdict in {Verdict.BREACHED, Verdict.GRANTED}), "known": 0,
                "control": result.verdict in {Verdict.BREACHED, Verdict.HELD},
                "shows": f"{result.verdict.value}: locked {result.locked}, unlocked {result.control}",
            }  # fmt: skip
    return found


def strike_semantic(rows: list[str], directory: Path) -> dict[str, Any]:
    """Findings of semantic rows; those that have no act for a bare cell are struck in the range."""
    from bulkhead.drill.in_bare_cell import play_apart

    acts = {}
    for module in pkgutil.iter_modules(bulkhead.drill.__path__):
        if module.name.startswith("semantic_"):
            for act in getattr(importlib.import_module(f"bulkhead.drill.{module.name}"), "ACTS", ()):
                acts[f"{act.compartment}/{act.name}"] = act
    live = [row for row in rows if row not in acts]
    found = strike_range(live) if live else {}
    for number, row in enumerate(row for row in rows if row in acts):
        act = acts[row]
        (directory / str(number)).mkdir()
        finding = play_apart(act, directory / str(number))
        found[row] = {
            "reached": finding.reached, "known": act.known, "control": finding.control,
            "shows": f"{finding.reached} of {finding.tried} reached, {act.known} known",
        }  # fmt: skip
    return found


def strike_range(rows: list[str]) -> dict[str, Any]:
    """What rows of the live range reached, in two cells of the six."""
    from bulkhead.drill import run, scratch
    from bulkhead.drill.semantic import load_semantic

    scratch.EXAMPLE_SIX = scratch.EXAMPLE_SIX[:2]
    found = {}
    with scratch.scratch_range() as range_:
        for row in rows:
            shown = run.strike_semantic(range_, load_semantic()[row.partition("/")[2]], None)
            reached = sorted(name for count in shown.counts.values() for name in count.reached)
            found[row] = {
                "reached": len(reached), "known": 0, "control": not shown.control,
                "shows": f"{shown.verdict.value}: {reached[:5]} {shown.note} {shown.control}",
            }  # fmt: skip
    return found


def become_ordinary_user() -> None:
    """Leave root as an ordinary user's login would, debuggable like any program it starts."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        syscall("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="+")
    parser.add_argument("--user", action="store_true")
    parser.add_argument("--missing", default="")
    options = parser.parse_args(arguments)
    walls = [row for row in options.rows if row.partition("/")[2] in load_probes()]
    semantic = [row for row in options.rows if row not in walls]
    missing = frozenset(Mechanism(name) for name in options.missing.split(",") if name)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # as a service manager with a high limit starts a supervisor
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.user:
        become_ordinary_user()
    found: dict[str, Any] = {"sources": str(Path(bulkhead.__file__).parent)}
    found |= strike_walls(walls, missing) if walls else {}
    if semantic:
        with tempfile.TemporaryDirectory(prefix="bh-") as directory:
            found |= strike_semantic(semantic, Path(directory))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

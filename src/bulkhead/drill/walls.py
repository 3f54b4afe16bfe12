"""The wall of every compartment: each hostile system call in a locked process, and unlocked beside it.

Twice: in a process that this one forks and locks as the supervisor would (where what was inherited, the own directory,
and acts that change or end their process can be tried, each in a process of its own), and in a twin that the cell
itself forked from its image, on its real edges. What succeeds in either has succeeded.
"""

import os
import time
from collections.abc import Callable, Mapping

from bulkhead.boundary.processes import PROCESSES, Process
from bulkhead.demo.attack import probes_for, strike_locked
from bulkhead.drill.probes import Kind as ProbeKind
from bulkhead.drill.probes import Probe, Target, load_probes
from bulkhead.drill.range import Range
from bulkhead.drill.rows import Chosen, Kind, Row, Verdict
from bulkhead.drill.semantic import Column, Count
from bulkhead.drill.targets import canaries
from bulkhead.supervisor import selftest
from bulkhead.supervisor.child import lock_for
from bulkhead.supervisor.control import Fork
from bulkhead.supervisor.lock import Lock
from bulkhead.supervisor.selftest import Answers, ProbeResult, level, probe_with_report, run_control

TWIN_UID = 39_000_000  # of the processes that the drill forks itself; the cells' own lie elsewhere
SUCCEEDED = "succeeded"
_WRITES = ("write", "truncate", "rename", "symlink", "hard-link", "make-node")
_KEEPS = frozenset({
    "leave-a-file-behind", "make-set-uid-file", "run-shell", "run-memory-file", "fork", "write-host-file",
    "push-terminal-input",
})  # fmt: skip
_DISTURBS = ("signal", "stop", "limit", "slow-down", "pin", "ptrace")
_VERDICTS = {
    selftest.Verdict.HELD: Verdict.HELD,
    selftest.Verdict.BREACHED: Verdict.REACHED,
    selftest.Verdict.UNPROVEN: Verdict.UNPROVEN,
    selftest.Verdict.ABSENT: Verdict.ABSENT,
    selftest.Verdict.GRANTED: Verdict.GRANTED,
    selftest.Verdict.NOT_APPLICABLE: Verdict.NOT_APPLICABLE,
}
Levels = Mapping[str, str]


def column_of(probe: Probe, *, granted: bool = False) -> Column | None:
    """The column in which a success counts; None for one that only takes a wall down.

    granted: by the duty that grants it, whatever its canary stands for: a descriptor handed on is a connection, and
    nobody but dialer has a budget for it.
    """
    if granted:
        return {"dial": Column.NETWORK, "send_descriptors": Column.NETWORK, "writable": Column.PERSISTENCE}.get(
            probe.granted_by
        )
    if probe.target is Target.OTHER_CELL:
        return Column.OTHER_TENANTS
    if probe.target is Target.NETWORK:
        return Column.NETWORK
    if probe.target is Target.RESOURCE:
        return Column.AVAILABILITY
    if probe.target in {Target.SIBLING, Target.WORKER}:
        if probe.kind is ProbeKind.FILE and probe.name.startswith(_WRITES):
            return Column.MAIL_DESTROYED
        return Column.AVAILABILITY if probe.name.startswith(_DISTURBS) else Column.KEYS
    return Column.PERSISTENCE if probe.name in _KEEPS else None


def strike_walls(
    range_: Range | None, chosen: Chosen, say: Callable[[str], None], first_uid: int = TWIN_UID
) -> tuple[list[Row], Levels]:
    """A row for every probe and compartment, and the sandbox level of each compartment.

    range_: whose cell forks the second twin; None: only the processes forked here. Call it single-threaded.
    first_uid: of those processes; nothing else runs under it and the 63 that follow.
    Raises ConfigError where a locked process cannot be made.
    """
    wanted = [name for name in load_probes() if chosen.wants_any(name, PROCESSES)]
    rows: list[Row] = []
    levels: dict[str, str] = {}
    if not wanted:
        return rows, levels
    with canaries(_lock(next(iter(PROCESSES.values())), first_uid)) as targets:
        control = run_control(targets, wanted)
    for process in PROCESSES.values():
        names = [name for name in wanted if chosen.wants(process.name, name)]
        if not names:
            continue
        say(f"the wall of {process.name}")
        begin = time.monotonic()
        found, own_level = _strike_own(process, names, control, first_uid)
        inside = _strike_twin(range_, process.name, names) if range_ is not None else {}
        if len(names) == len(load_probes()):  # a part of them shows no level
            levels[process.name] = own_level
        share = (time.monotonic() - begin) / len(names)
        rows += [_row(process.name, result, inside.get(result.name, ""), share) for result in found]
    return rows, levels


def _lock(process: Process, first_uid: int) -> Lock:
    uid = first_uid + process.slot
    fork = Fork(process.slot, twin=False, worker=0, incarnation=1, uid=uid, gid=uid, workers=1, root="/")
    return lock_for(process, fork, frozenset())


def _strike_own(process: Process, names: list[str], control: Answers, first_uid: int) -> tuple[list[ProbeResult], str]:
    lock = _lock(process, first_uid)
    with canaries(lock) as targets:
        results, report = probe_with_report(lock, targets, names, control=control)
    return results, level(results, report).value


def _strike_twin(range_: Range, compartment: str, names: list[str]) -> Mapping[str, str]:
    possible = {probe.name for probe in probes_for(compartment)} & set(names)
    if not possible:
        return {}
    return strike_locked(range_.twin(compartment), (), compartment, possible).probes


def _row(compartment: str, result: ProbeResult, inside: str, seconds: float) -> Row:
    verdict = _VERDICTS[result.verdict]
    if inside == SUCCEEDED:
        verdict = Verdict.REACHED
    column = column_of(result.probe, granted=verdict is Verdict.GRANTED)
    reached = frozenset({f"wall/{result.name}"}) if verdict in {Verdict.REACHED, Verdict.GRANTED} else frozenset[str]()
    tried = verdict not in {Verdict.ABSENT, Verdict.NOT_APPLICABLE}
    counts = {column: Count(reached, reached)} if column and tried else {}
    if verdict is Verdict.GRANTED:
        note = f"a duty: {result.probe.granted_by}"
    else:
        note = f"locked: {result.locked}; in the cell's own twin: {inside or 'not tried'}; unlocked: {result.control}"
    control = f"unlocked it failed too: {result.control}" if verdict is Verdict.UNPROVEN else ""
    return Row(result.name, compartment, Kind.WALL, verdict, counts, control=control, note=note, seconds=seconds)


def starting_user() -> str:
    """Who starts everything here."""
    return "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"

"""The self-test of the lock: every hostile act in a locked twin, and unlocked beside it as the positive control.

The level of an installation is what comes out here, never what was configured. Standard library only.
"""

import errno
import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from bulkhead.drill.acts_kernel import EXECUTED
from bulkhead.drill.probes import Probe, Target, load_probes
from bulkhead.drill.targets import Absent, Targets
from bulkhead.errors import ConfigError, Error
from bulkhead.supervisor.lock import Lock, LockReport, Mechanism, Outcome
from bulkhead.supervisor.sandbox import lock_down
from bulkhead.supervisor.syscalls import syscall

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PATIENCE = 5.0  # seconds for one process; an act that hangs counts as refused
_POLL = 0.0005
_OUTPUT_MAX = 1 << 20
_PIPE_ATOMIC = 4096


class Verdict(Enum):
    """What one probe showed."""

    HELD = "held"  # refused in the twin, succeeded unlocked
    BREACHED = "breached"  # succeeded in the twin
    UNPROVEN = "unproven"  # refused in the twin, and unlocked too: shows nothing, counts as failed
    ABSENT = "absent"  # the kernel does not have it
    GRANTED = "granted"  # a duty of this compartment
    NOT_APPLICABLE = "not applicable"  # only root could do it, and nothing here is root


class Level(Enum):
    """Design section 2: what the probes show."""

    A = "A"  # no hostile act succeeds
    B = "B"  # only acts on siblings of the same cell and on resources
    C = "C"  # some act on the host, another cell or the network
    D = "D"  # no seccomp


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe, its verdict, and what the kernel said in the twin and in the control ("succeeded", "EPERM", ...)."""

    probe: Probe
    verdict: Verdict
    locked: str
    control: str

    @property
    def name(self) -> str:
        """The probe's name."""
        return self.probe.name

    @property
    def passed(self) -> bool:
        """False for a breach and for a probe whose control failed."""
        return self.verdict not in {Verdict.BREACHED, Verdict.UNPROVEN}

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {
            "probe": self.name,
            "kind": self.probe.kind.value,
            "target": self.probe.target.value,
            "verdict": self.verdict.value,
            "locked": self.locked,
            "control": self.control,
        }


_SUCCEEDED, _ABSENT = "succeeded", "absent"
Answers = Mapping[str, str]
"""Probe name to "succeeded", "absent: ..." or the name of the error."""


def probe(
    lock: Lock, targets: Targets, names: Sequence[str] | None = None, *, control: Answers | None = None
) -> list[ProbeResult]:
    """Results of the named probes (default: all) for a twin under `lock`, whose root is the canaries' own directory.

    control: answers of an earlier run_control with the same starting uid, to save its time. Call it single-threaded.
    Raises ConfigError when the lock cannot be applied, KeyError on an unknown name.
    """
    return probe_with_report(lock, targets, names, control=control)[0]


def probe_with_report(
    lock: Lock, targets: Targets, names: Sequence[str] | None = None, *, control: Answers | None = None
) -> tuple[list[ProbeResult], LockReport]:
    """The same, and the twin's own report of the lock."""
    probes = _chosen(names)
    root = targets.starting_uid == 0
    tried = [p for p in probes if not p.granted(lock) and (root or not p.needs_root)]
    targets = replace(targets, lock=lock)
    locked, report = _run(tried, targets, lock)
    if report is None:
        report = _run([], targets, lock)[1]
    if report is None:
        raise ConfigError("the locked twin gave no report")
    answers = run_control(targets, [p.name for p in tried]) if control is None else control
    return [_judge(p, lock, locked, answers) for p in probes], report


def run_control(targets: Targets, names: Sequence[str] | None = None) -> Answers:
    """What the acts do with nothing locked. Acts that only root could do are left out for an ordinary user."""
    root = targets.starting_uid == 0
    tried = [p for p in _chosen(names) if root or not p.needs_root]
    return MappingProxyType(_run(tried, targets, None)[0])


def level(results: Sequence[ProbeResult], report: LockReport) -> Level:
    """The level that these results show. Unproven probes do not raise or lower it; list them beside it."""
    if report.outcome(Mechanism.SECCOMP) is not Outcome.APPLIED:
        return Level.D
    hurt = {result.probe.target for result in results if result.verdict is Verdict.BREACHED}
    if hurt - {Target.SIBLING, Target.WORKER, Target.RESOURCE}:
        return Level.C
    return Level.B if hurt else Level.A


def _chosen(names: Sequence[str] | None) -> list[Probe]:
    table = load_probes()
    return list(table.values()) if names is None else [table[name] for name in names]


def _judge(p: Probe, lock: Lock, locked: Answers, control: Answers) -> ProbeResult:
    if p.granted(lock):
        return ProbeResult(p, Verdict.GRANTED, "not tried", "not tried")
    if p.name not in locked:
        return ProbeResult(p, Verdict.NOT_APPLICABLE, "not tried", "not tried")
    found, beside = locked[p.name], control.get(p.name, "not tried")
    if found == _SUCCEEDED:
        verdict = Verdict.BREACHED
    elif beside == _SUCCEEDED:
        verdict = Verdict.HELD
    else:
        verdict = Verdict.ABSENT if beside.startswith(_ABSENT) else Verdict.UNPROVEN
    return ProbeResult(p, verdict, found, beside)


def _run(probes: Sequence[Probe], targets: Targets, lock: Lock | None) -> tuple[dict[str, str], LockReport | None]:
    """Answers of all probes: one process for those that leave it whole, one for each of the others."""
    answers: dict[str, str] = {}
    report: LockReport | None = None
    together = [p for p in probes if not p.alone]
    batches = [[p] for p in probes if p.alone]
    while together or batches or (report is None and not probes):
        batch, together = (together, []) if together else (batches.pop() if batches else [], together)
        found, fresh = _run_batch(batch, targets, lock)
        report = report or fresh
        answers |= found
        if len(batch) > 1:  # an act may have ended the process: the rest of its batch goes on in a new one
            together = [p for p in batch if p.name not in answers]
        if not probes:
            break
    return answers, report


def _run_batch(batch: Sequence[Probe], targets: Targets, lock: Lock | None) -> tuple[dict[str, str], LockReport | None]:
    """Answers of one process, as far as it came; always at least one when the batch is not empty."""
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            _twin(batch, targets, lock, write_end, parent)
        finally:
            os._exit(0)
    os.close(write_end)
    deadline = time.monotonic() + _PATIENCE
    try:
        lines = _read_all(read_end, deadline).split("\n")
    finally:
        os.close(read_end)
        status = _reap(pid, deadline)
    return _answers(batch, lines, status)


def _reap(pid: int, deadline: float) -> int:
    """Exit status; killed at the deadline. An act that executed a program closed the pipe and is still running."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _answers(batch: Sequence[Probe], lines: Sequence[str], status: int) -> tuple[dict[str, str], LockReport | None]:
    answers: dict[str, str] = {}
    report: LockReport | None = None
    for line in lines:
        word, _, rest = line.partition("\t")
        if word == "report":
            report = LockReport.from_dict(json.loads(rest))
        elif word == "failed":
            raise ConfigError(f"the locked twin could not be made: {rest}")
        elif word == "begin":
            answers[rest] = _SUCCEEDED if status == EXECUTED else f"ended ({status})"
        elif word == "end":
            name, _, answer = rest.partition("\t")
            answers[name] = answer
    if batch and not answers:
        raise ConfigError(f"the probes' process ended before its first act (status {status})")
    return answers, report


def _read_all(descriptor: int, deadline: float) -> str:
    """What the process writes until it ends, at most until the deadline and _OUTPUT_MAX octets."""
    text = b""
    while len(text) < _OUTPUT_MAX:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(descriptor, 1 << 16) if ready else b""
        if not piece:
            break
        text += piece
    return text.decode()


def _twin(batch: Sequence[Probe], targets: Targets, lock: Lock | None, out: int, parent: int) -> None:
    """The forked process: locks itself (or not), then does one act after the other and writes what came of it."""
    if lock is None:
        syscall("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        syscall("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    else:
        twin = replace(lock, root=targets.own_directory, keep_fds=frozenset({out}))
        try:
            report = lock_down(twin, parent=parent)
        except (Error, ValueError) as error:
            _tell(out, f"failed\t{error}")
            return
        _tell(out, f"report\t{json.dumps(report.as_dict())}")
    for p in batch:
        _tell(out, f"begin\t{p.name}")
        _tell(out, f"end\t{p.name}\t{_attempt(p, targets)}")


def _tell(out: int, line: str) -> None:
    os.write(out, line.replace("\n", " ").encode()[: _PIPE_ATOMIC - 1] + b"\n")


def _attempt(p: Probe, targets: Targets) -> str:
    """One act's answer. Whatever it raises is a refusal: only a return is a success."""
    try:
        p.act(targets, targets.victim(p.target.value))
    except Absent as reason:
        return f"{_ABSENT}: {reason}"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:
        return type(error).__name__
    return _SUCCEEDED

"""Every wall of the lock is missed by some probe, every probe works where nothing is locked, and nothing is left."""

import inspect
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from tests.forked import OWN_UID, in_fork

from bulkhead.drill import acts_files, acts_kernel, acts_network, acts_processes, acts_resources
from bulkhead.drill.page import probe_table
from bulkhead.drill.probes import Kind, Target, load_probes
from bulkhead.drill.targets import canaries
from bulkhead.supervisor import selftest
from bulkhead.supervisor.sandbox import Lock, LockReport, Mechanism, Outcome, Step
from bulkhead.supervisor.selftest import Level, ProbeResult, Verdict, level, probe_with_report, run_control

IS_ROOT = os.geteuid() == 0
COMPARTMENT_UID = OWN_UID + 2
STARTS = [
    pytest.param(
        "root",
        marks=pytest.mark.skipif(not IS_ROOT, reason="only root locks as root does"),
    ),
    "user",
]
NEEDS_ROOT = pytest.mark.skipif(not IS_ROOT, reason="only root locks as root does")
PROFILES = {
    "gate": {"files": True, "accept": True},
    "holder": {"files": True, "writable": True},
    "memory only": {},
    "dialer": {"sockets": frozenset({"dial"}), "send_descriptors": True},
}
PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def lock_for(start: str, *without: Mechanism, **duties) -> Lock:
    uid = COMPARTMENT_UID if start == "root" else None
    mechanisms = frozenset(Mechanism) - set(without)
    return Lock(root="/", keep_fds=frozenset(), uid=uid, gid=uid, mechanisms=mechanisms, **duties)


def results_of(lock: Lock, start: str, names: list[str] | None = None) -> tuple[dict[str, str], str, LockReport]:
    """Verdict by probe name, level and report, of a run that began as that user."""

    def child(_: int) -> object:
        with canaries(lock) as targets:
            results, report = probe_with_report(lock, targets, names)
        return {r.name: r.verdict.value for r in results}, level(results, report).value, report.as_dict()

    verdicts, found, report = in_fork(child, user=start == "user")
    return verdicts, found, LockReport.from_dict(report)


def names_of(verdicts: dict[str, str], verdict: Verdict) -> set[str]:
    return {name for name, found in verdicts.items() if found == verdict.value}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("start", STARTS)
def test_no_hostile_act_succeeds_under_the_whole_lock(start, profile):
    verdicts, found, report = results_of(lock_for(start, **PROFILES[profile]), start)
    if report.outcome(Mechanism.NAMESPACE) is not Outcome.APPLIED:
        pytest.skip("user namespaces are refused on this host")
    assert names_of(verdicts, Verdict.BREACHED) == set()
    assert found == "A"


@pytest.mark.parametrize("start", STARTS)
def test_every_act_works_unlocked_or_the_kernel_lacks_it(start):
    verdicts, _, _ = results_of(lock_for(start), start)
    assert names_of(verdicts, Verdict.UNPROVEN) == set()
    assert len(names_of(verdicts, Verdict.HELD)) >= 50


@pytest.mark.parametrize(
    ("mechanism", "start", "duties", "must_succeed"),
    [
        (Mechanism.DESCRIPTORS, "root", {}, {"read-inherited-descriptor"}),
        (Mechanism.DESCRIPTORS, "user", {}, {"read-inherited-descriptor"}),
        (Mechanism.UID, "root", {"files": True}, {"read-guarded-file-in-own-root", "keep-starting-uid"}),
        (Mechanism.CHROOT, "root", {}, {"stat-other-cell-name"}),
        (Mechanism.CHROOT, "user", {"files": True}, {"stat-other-cell-name", "stat-host-name"}),
        (Mechanism.SECCOMP, "root", {}, {"map-executable-memory", "fork", "open-netlink"}),
        (Mechanism.SECCOMP, "user", {}, {"map-executable-memory", "fork", "open-netlink"}),
        (Mechanism.LIMITS, "root", {"files": True, "writable": True}, {"take-memory", "take-threads", "grow-file"}),
        (Mechanism.LIMITS, "user", {"files": True, "writable": True}, {"take-memory", "take-threads", "grow-file"}),
    ],
)
def test_without_one_mechanism_a_probe_succeeds(mechanism, start, duties, must_succeed):
    if start == "root" and not IS_ROOT:
        pytest.skip("only root locks as root does")
    verdicts, found, report = results_of(lock_for(start, mechanism, **duties), start)
    assert report.outcome(mechanism) is Outcome.MISSING
    assert must_succeed <= names_of(verdicts, Verdict.BREACHED)
    assert found == {Mechanism.SECCOMP: "D", Mechanism.LIMITS: "B"}.get(mechanism, "C")


def test_where_user_namespaces_are_refused_landlock_alone_keeps_an_ordinary_user_from_other_cells_files():
    files = ["read-other-cell-file", "read-host-file", "write-other-cell-file", "list-other-cell-directory"]
    names = [*files, "stat-other-cell-name"]
    duties = {"files": True, "writable": True}
    refused = (Mechanism.NAMESPACE, Mechanism.CHROOT)
    with_landlock, found, _ = results_of(lock_for("user", *refused, **duties), "user", names)
    assert names_of(with_landlock, Verdict.BREACHED) == {"stat-other-cell-name"}
    assert found == "C"
    without, found, _ = results_of(lock_for("user", *refused, Mechanism.LANDLOCK, **duties), "user", names)
    assert names_of(without, Verdict.BREACHED) == set(names)
    assert found == "C"


def test_without_seccomp_the_namespace_hides_shared_memory_and_the_network():
    names = ["attach-shared-memory", "connect-tcp", "send-udp", "connect-unix-abstract"]
    landlock_too = (Mechanism.SECCOMP, Mechanism.LANDLOCK)
    verdicts, _, report = results_of(lock_for("user", *landlock_too), "user", names)
    if report.outcome(Mechanism.NAMESPACE) is not Outcome.APPLIED:
        pytest.skip("user namespaces are refused on this host")
    assert names_of(verdicts, Verdict.BREACHED) == set()
    verdicts, _, _ = results_of(lock_for("user", *landlock_too, Mechanism.NAMESPACE, Mechanism.CHROOT), "user", names)
    assert names_of(verdicts, Verdict.BREACHED) == set(names)


@pytest.mark.parametrize(
    "name",
    ["send-udp", "connect-mptcp", "tcp-fast-open", "open-vsock", "open-netlink", "connect-unix-path",
     "connect-unix-abstract", "re-addressable-pair"],
)  # fmt: skip
def test_what_landlock_does_not_see_is_refused_to_every_profile(name):
    for duties in PROFILES.values():
        lock = lock_for("user", Mechanism.NAMESPACE, Mechanism.CHROOT, **duties)
        verdicts, _, _ = results_of(lock, "user", [name])
        assert verdicts[name] in {Verdict.HELD.value, Verdict.ABSENT.value}


def test_a_duty_is_granted_and_not_called_a_breach():
    verdicts, _, _ = results_of(lock_for("user", **PROFILES["dialer"]), "user")
    granted = {"connect-tcp", "connect-tcp6", "connect-tcp-other-cell", "send-descriptor"}
    assert names_of(verdicts, Verdict.GRANTED) == granted


@NEEDS_ROOT
def test_acts_that_only_root_could_do_are_not_tried_from_an_ordinary_user():
    verdicts, _, _ = results_of(lock_for("user"), "user")
    expected = {name for name, p in load_probes().items() if p.needs_root}
    assert names_of(verdicts, Verdict.NOT_APPLICABLE) == expected
    verdicts, _, _ = results_of(lock_for("root"), "root")
    assert names_of(verdicts, Verdict.NOT_APPLICABLE) == set()


def test_a_probe_whose_control_fails_counts_as_failed():
    def child(_: int) -> object:
        lock = lock_for("user")
        with canaries(lock) as targets:
            control = {**run_control(targets, ["fork", "io-uring"]), "fork": "EPERM"}
            results = selftest.probe(lock, targets, ["fork", "io-uring"], control=control)
        return [(r.verdict.value, r.passed) for r in results]

    assert in_fork(child, user=True) == [["unproven", False], ["held", True]]


def test_an_act_that_ends_its_process_does_not_hide_those_after_it():
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def child(_: int) -> object:
        table = dict(load_probes())
        names = ["map-executable-memory", "io-uring", "fork"]
        table["io-uring"] = replace(table["io-uring"], act=die)
        selftest.load_probes = lambda: table  # in this child only
        lock = lock_for("user", Mechanism.SECCOMP)
        with canaries(lock) as targets:
            results = selftest.probe(lock, targets, names)
        return [(r.verdict.value, r.locked) for r in results]

    assert in_fork(child, user=True) == [
        ["breached", "succeeded"],
        ["unproven", "ended (-9)"],
        ["breached", "succeeded"],
    ]


@pytest.mark.parametrize("start", STARTS)
def test_a_run_leaves_no_process_no_file_and_no_descriptor(start):
    def child(_: int) -> object:
        lock = lock_for(start, files=True, writable=True)
        before = sorted(entry.name for entry in Path("/proc/self/fd").iterdir())
        with canaries(lock) as targets:
            base = Path(targets.own_directory).parent
            pids = [targets.host.pid, targets.sibling.pid, targets.worker.pid, targets.other_cell.pid]
            probe_with_report(lock, targets)
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        after = sorted(entry.name for entry in Path("/proc/self/fd").iterdir())
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return base.exists(), alive, len(after) - len(before)
        return "a child is left"

    assert in_fork(child, user=start == "user") == [False, [], 0]


@pytest.mark.parametrize(
    ("hurt", "expected"),
    [
        ([], Level.A),
        ([Target.SIBLING], Level.B),
        ([Target.WORKER], Level.B),
        ([Target.RESOURCE, Target.SIBLING], Level.B),
        ([Target.OTHER_CELL], Level.C),
        ([Target.SIBLING, Target.HOST], Level.C),
        ([Target.NETWORK], Level.C),
    ],
)
def test_the_level_is_what_the_probes_show(hurt, expected):
    pattern = load_probes()["fork"]
    results = [
        ProbeResult(replace(pattern, target=target), Verdict.BREACHED, "succeeded", "succeeded") for target in hurt
    ]
    results.append(ProbeResult(replace(pattern, target=Target.HOST), Verdict.HELD, "EPERM", "succeeded"))
    steps = tuple(Step(mechanism, Outcome.APPLIED, "") for mechanism in Mechanism)
    assert level(results, LockReport(steps)) is expected
    no_seccomp = tuple(replace(s, outcome=Outcome.MISSING) if s.mechanism is Mechanism.SECCOMP else s for s in steps)
    assert level(results, LockReport(no_seccomp)) is Level.D


def test_every_act_is_a_probe_and_there_are_at_least_fifty_of_every_kind_together():
    probes = load_probes()
    used = {p.act for p in probes.values()}
    for module in (acts_files, acts_kernel, acts_network, acts_processes, acts_resources):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                assert function in used, f"{name} is in no row of probes.toml"
    assert len(probes) >= 50
    assert {p.kind for p in probes.values()} == set(Kind)
    assert {p.target for p in probes.values()} == set(Target)
    assert all(p.success_means and p.control for p in probes.values())


def test_the_page_lists_every_probe_as_the_data_file_has_it():
    assert probe_table() in PAGE.read_text(encoding="utf-8"), "run: python -m bulkhead.drill.page docs/sandbox.md"

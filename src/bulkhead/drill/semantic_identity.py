"""What the live, honest processes are to the kernel: whose user id they share, and whether their walls really stand.

The probes of the wall lock a process as the supervisor would; this looks at those that it did lock, from outside. An
ordinary user's cells all run under that user, so that there only the walls are looked at.
"""

import contextlib
import os
import resource
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.range import Range
from bulkhead.drill.semantic import ATTEMPT, Column, Count, Reached, SemanticProbe

_ENVIRONMENT = {b"LANG", b"LC_CTYPE"}  # what an image is given, and what Python sets itself


def shared_uid(compartment: str, range_: Range) -> Reached:
    """Siblings and other tenants of which a process runs under the compartment's user id."""
    if os.geteuid() != 0:
        return Reached({}, note="started by an ordinary user: every process is that user's")
    uids = {(row["tenant"], row["compartment"]): _uids(row["pid"]) for row in range_.processes()}
    home = range_.home
    own = uids[home, compartment]
    siblings = {name: uids[home, name] for name in PROCESSES if name != compartment}
    with_us = frozenset(name for name, found in siblings.items() if found & own)
    tenants = frozenset(tenant for (tenant, _), found in uids.items() if tenant != home and found & own)
    counts = {
        Column.KEYS: Count(
            *(frozenset(f"{compartment}-shares-uid{ATTEMPT}{name}" for name in names) for names in (with_us, siblings))
        ),
        Column.OTHER_TENANTS: Count(tenants, frozenset(range_.others)),
    }
    control = "" if own and own == uids[home, compartment] and 0 not in own else "its own user id cannot be told"
    return Reached(counts, control, f"user ids {sorted(own)}; {len(with_us)} siblings and {len(tenants)} tenants share")


def _uids(pid: int) -> set[int]:
    """Real, effective, saved and file system user id (proc(5))."""
    return {int(text) for text in _status(pid)["Uid"].split()}


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def standing_walls(compartment: str, range_: Range) -> Reached:
    """What of the lock is missing at the live processes of the compartment, in every cell."""
    rows = [row for row in range_.processes() if row["compartment"] == compartment]
    missing = {_attempt(compartment, row["tenant"], fact) for row in rows for fact in _missing(row["pid"])}
    facts = _missing(os.getpid())
    of = {_attempt(compartment, row["tenant"], fact) for row in rows for fact in facts}
    tenants = {row["tenant"] for row in rows}
    control = "" if facts and tenants == set(range_.tenants) else "this process, which nobody locked, shows nothing"
    note = f"{len(rows)} processes; this one shows: {', '.join(facts)}"
    return Reached.one(Column.KEYS, reached=missing, of=of | missing, control=control, note=note)


def _attempt(compartment: str, tenant: str, fact: str) -> str:
    return f"{compartment}-walls-stand{ATTEMPT}{fact} in {tenant}"


def _missing(pid: int) -> list[str]:
    return [*_status_gaps(_status(pid)), *_environment(pid), *_core_limit(pid)]


def _status_gaps(status: dict[str, str]) -> Iterable[str]:
    if status.get("NoNewPrivs") != "1":
        yield "may gain privileges"
    if not _has_own_filter(status):
        yield "no filter of system calls"
    if any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if name in status):
        yield "a capability"
    if os.geteuid() == 0 and status.get("Groups"):
        yield "a group"


def _has_own_filter(status: dict[str, str]) -> bool:
    """Whether it has one more than its image, whose filter it inherits. Before Linux 5.9 the number is not told."""
    if status.get("Seccomp") != "2" or "Seccomp_filters" not in status:
        return status.get("Seccomp") == "2"
    return int(status["Seccomp_filters"]) > int(_status(int(status["PPid"]))["Seccomp_filters"])


def _environment(pid: int) -> Iterable[str]:
    """Whether it was started with variables of its starter's; only root can look, for it is not dumpable."""
    with contextlib.suppress(PermissionError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if {pair.partition(b"=")[0] for pair in pairs if pair} - _ENVIRONMENT:
            yield "variables of its starter"


def _core_limit(pid: int) -> Iterable[str]:
    with contextlib.suppress(PermissionError):
        if resource.prlimit(pid, resource.RLIMIT_CORE)[1] != 0:
            yield "core files"


PROBES = (
    *(
        SemanticProbe(
            f"{name}-shares-uid", name, (Column.KEYS, Column.OTHER_TENANTS),
            attempts="compare the user ids of all live processes",
            success_means="files, memory and signals of another are one hole nearer",
            control="its own processes have one", run=partial(shared_uid, name),
        )
        for name in PROCESSES
    ),
    *(
        SemanticProbe(
            f"{name}-walls-stand", name, (Column.KEYS,),
            attempts="look at filter, privileges, capabilities, environment and core limit of the live processes",
            success_means="a wall that the probes found standing does not stand where it matters",
            control="the drill's own process lacks them", run=partial(standing_walls, name),
        )
        for name in PROCESSES
    ),
)  # fmt: skip

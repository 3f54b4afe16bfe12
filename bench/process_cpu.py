"""CPU time of process trees, from /proc: user and system, ended children included once their parent has reaped them."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds: of a process itself, and of those of its children that have ended."""

    name: str
    own: float
    ended: float


def tree_usage(root: int) -> dict[int, Usage]:
    """The process `root` and all below it."""
    found: dict[int, Usage] = {}
    left = [root]
    while left:
        pid = left.pop()
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
            left += _children(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now: what it used is its parent's
        ticks = [int(field) for field in rest.split()[11:15]]
        found[pid] = Usage(name, max(sum(ticks[:2]) / _TICKS, _scheduled(pid)), sum(ticks[2:]) / _TICKS)
    return found


def _scheduled(pid: int) -> float:
    """Seconds of the live threads, to the nanosecond: stat rounds 10 ms down, much where processes are many."""
    used = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            used += int(task.read_text().split()[0])
    return used / 1e9


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def total(usages: dict[int, Usage]) -> float:
    """Seconds of a tree; differences of it stay right when a process in it ends."""
    return sum(usage.own + usage.ended for usage in usages.values())


def by_name(before: dict[int, Usage], after: dict[int, Usage], names: dict[int, str]) -> dict[str, float]:
    """Seconds used between two looks, by process name (`names` first); those of ended processes as "ended"."""
    used: dict[str, float] = {}
    for pid, usage in after.items():
        first = before.get(pid, Usage(usage.name, 0.0, 0.0))
        name = names.get(pid, usage.name)
        used[name] = used.get(name, 0.0) + usage.own - first.own
        used["ended"] = used.get("ended", 0.0) + usage.ended - first.ended
    gone = sum(usage.own + usage.ended for pid, usage in before.items() if pid not in after)
    used["ended"] = used.get("ended", 0.0) - gone
    return {name: seconds for name, seconds in sorted(used.items(), key=lambda one: -one[1]) if seconds > 0.005}


def machine_busy() -> float:
    """Seconds of CPU that everything on this machine has used since it started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS

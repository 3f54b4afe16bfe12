"""What one piece of work cost a server: wall time, and the CPU of its process trees until it rests again."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.process_cpu import by_name, total, tree_usage
from bench.server import Server

REST_SECONDS = 0.1
REST_CPU = 0.004  # seconds of CPU in REST_SECONDS: below it the server rests
REST_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of `units` pieces of work: messages, commands, logins."""

    units: int
    wall_ms: float
    cpu_ms: float
    by_process: dict[str, float]  # CPU, ms


def measure(server: Server, units: int, work: Callable[[], object]) -> Figures:
    """Do it. CPU counts what the server does afterwards too, so that nothing is put off for free."""
    names = server.names()
    before = {root: tree_usage(root) for root in server.roots()}
    begun = time.perf_counter()
    work()
    wall = time.perf_counter() - begun
    wait_for_rest(server)
    after = {root: tree_usage(root) for root in server.roots()}
    cpu = sum(total(after[root]) - total(before[root]) for root in before)
    parts: dict[str, float] = {}
    for root, first in before.items():
        for name, seconds in by_name(first, after[root], names).items():
            parts[name] = parts.get(name, 0.0) + round(seconds * 1000, 2)
    return Figures(units, round(wall * 1000, 3), round(cpu * 1000, 3), parts)


def wait_for_rest(server: Server) -> None:
    """Return once its processes use next to no CPU."""
    ends = time.monotonic() + REST_MAX
    used = _used(server)
    while time.monotonic() < ends:
        time.sleep(REST_SECONDS)
        used, before = _used(server), used
        if used - before < REST_CPU:
            return


def _used(server: Server) -> float:
    return sum(total(tree_usage(root)) for root in server.roots())


def tree_pss(server: Server) -> int:
    """Bytes of memory of all its processes; what they share is counted once (proportional set size)."""
    found = 0
    for root in server.roots():
        for pid in tree_usage(root):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
    return found


def open_files_allowed(wanted: int) -> int:
    """Raise this process's limit of open files; what it is then."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        hard = max(hard, wanted) if os.geteuid() == 0 else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

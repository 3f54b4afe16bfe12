"""Whether a cell that runs was started with what is installed now: a newer package on the disk closes nothing yet.

Read is what any user may read of a process, its command line and when it was started; and, where root looks, which
shared objects it maps.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bulkhead.inventory.components import Component

SITE = "site-packages"
MAPS_MAX = 4 << 20  # octets of one process's
_TICKS = os.sysconf("SC_CLK_TCK")
_SLACK_MS = 2000  # both times are rounded, and the boot time is too
_START_FIELD = 19  # of /proc/PID/stat after the name: field 22, in ticks since the boot


def started(pid: int) -> int | None:
    """ms since 1970 when a process was started; None where that cannot be read."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[_START_FIELD])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) * 1000 + ticks * 1000 // _TICKS
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def environment(pid: int) -> Path | None:
    """The folder of the interpreter that a process was executed with: of its environment; None: not to be read."""
    try:
        return Path(Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode("utf-8", "replace")).parent
    except OSError:
        return None


def not_started(images: Mapping[str, int], rows: Sequence[Component]) -> frozenset[str]:
    """Names of components that came after the start of one of a cell's images, so that it may run older ones.

    images: their process ids. Every component, where an image is of another environment, or cannot be looked at.
    """
    every = frozenset(row.name for row in rows)
    newest = 0
    for pid in images.values():
        since = started(pid)
        if since is None or environment(pid) != Path(sys.executable).parent:
            return every
        newest = since if not newest else min(newest, since)
    return frozenset(row.name for row in rows if row.since > newest + _SLACK_MS) if images else every


def mapping(pids: Mapping[int, str], rows: Sequence[Component]) -> tuple[str, ...] | None:
    """Names of those processes that map a shared object of one of the components now, each once, in their order.

    None where some may not be looked into, or no component has a shared object: then nothing is known.
    """
    places = {place for row in rows for place in row.places}
    mapped = {pid: _mapped(pid) for pid in pids}
    if not pids or None in mapped.values():
        return None
    having = {pid for pid, found in mapped.items() if found and found & places}
    return tuple(dict.fromkeys(name for pid, name in pids.items() if pid in having)) if having else None


def _mapped(pid: int) -> frozenset[str] | None:
    """Paths of shared objects, or of those in site-packages the first name there; None: it may not be looked into."""
    try:
        with Path(f"/proc/{pid}/maps").open("rb") as maps:
            text = maps.read(MAPS_MAX).decode("utf-8", "replace")
    except OSError:
        return None
    found: set[str] = set()
    for line in text.splitlines():
        path = line.split(maxsplit=5)[5].removesuffix(" (deleted)") if line.count("/") else ""
        if ".so" in Path(path).name:
            parts = Path(path).parts
            found.add(parts[parts.index(SITE) + 1].partition(".")[0] if SITE in parts else path)
    return frozenset(found)

"""Whether a cell that runs was started with what is installed now: a newer package on the disk closes nothing yet.

Read is what any user may read of a process: its command line and when it was started.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bulkhead.inventory.components import Component

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


def interpreter(pid: int) -> str:
    """The path by which a process was executed: of which environment it is. Empty where it cannot be read."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode("utf-8", "replace")
    except OSError:
        return ""


def not_started(images: Mapping[str, int], rows: Sequence[Component]) -> frozenset[str]:
    """Names of components that came after the start of one of a cell's images, so that it may run older ones.

    images: their process ids. Every component, where an image is of another environment, or cannot be looked at.
    """
    every = frozenset(row.name for row in rows)
    newest = 0
    for pid in images.values():
        since = started(pid)
        if since is None or interpreter(pid) != sys.executable:
            return every
        newest = since if not newest else min(newest, since)
    return frozenset(row.name for row in rows if row.since > newest + _SLACK_MS) if images else every

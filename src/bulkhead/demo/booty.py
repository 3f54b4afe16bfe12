"""What there is to reach: a canary in every holder's directory of every cell, every process, every door and listener.

Reaching a canary stands for reaching all that lies beside it, so that no secret is read to count what was reached.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.demo.endpoints import Endpoint
from bulkhead.supervisor.layout import Layout

CANARY_FILE = "drill-canary"
ELF_MAGIC = "7f454c46"  # the first octets of every mapped program (elf(5))
_CANARY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing to reach. proof: what `found` must be; None where success alone is the proof."""

    tenant: str
    compartment: str  # "" for a door or a listener
    kind: str  # file, memory, signal, door, listener, datagram
    act: str
    arguments: Mapping[str, Any]
    proof: str | None = None


@contextlib.contextmanager
def planted(directory: Path, tenants: Sequence[str]) -> Iterator[dict[tuple[str, str], tuple[Path, str]]]:
    """(tenant, compartment) to canary file and token, for every holder; they are gone at the end. Raises OSError."""
    made: dict[tuple[str, str], tuple[Path, str]] = {}
    try:
        for tenant in tenants:
            for process in PROCESSES.values():
                if process.disk is Disk.DATA:
                    made[tenant, process.name] = _plant(Layout(directory, _id(tenant)).home(process.name))
        yield made
    finally:
        for path, _ in made.values():
            path.unlink(missing_ok=True)


def _plant(home: Path) -> tuple[Path, str]:
    path, token = home / CANARY_FILE, secrets.token_bytes(_CANARY_BYTES)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, token)
        if os.geteuid() == 0:
            owner = home.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
    return path, token.hex()


def goals(
    directory: Path,
    endpoints: Mapping[str, Endpoint],
    canaries: Mapping[tuple[str, str], tuple[Path, str]],
    processes: Sequence[Mapping[str, Any]],
    twins: frozenset[int],
) -> list[Goal]:
    """Everything worth an attempt; processes: rows of `bulkhead status`, without the twins of this drill."""
    found = [
        Goal(tenant, compartment, "file", "read_file", {"path": str(path)}, token)
        for (tenant, compartment), (path, token) in canaries.items()
    ]
    for row in processes:
        if row["compartment"] not in PROCESSES or not row["pid"] or row["pid"] in twins:
            continue
        tenant, compartment, pid = row["tenant"], row["compartment"], row["pid"]
        where = {"pid": pid, "address": first_mapping(pid)}
        found.append(Goal(tenant, compartment, "memory", "read_memory", where, ELF_MAGIC))
        found.append(Goal(tenant, compartment, "signal", "signal_process", {"pid": pid}))
    for tenant, end in endpoints.items():
        door = str(Layout(directory, _id(tenant)).socket)
        found.append(Goal(tenant, "", "door", "connect_unix", {"path": door}))
        for port in (end.mx, end.imaps):
            found.append(Goal(tenant, "", "listener", "connect_tcp", {"host": end.address, "port": port}))
        found.append(Goal(tenant, "", "datagram", "send_udp", {"host": end.address, "port": end.mx}))
    return found


def first_mapping(pid: int) -> int:
    """Where a process's first program is mapped: a gift to the attacker, who would have to guess it. 0: unknown."""
    try:
        with Path(f"/proc/{pid}/maps").open("rb") as maps:
            return int(maps.readline().partition(b"-")[0] or b"0", 16)
    except OSError:
        return 0


def _id(tenant: str) -> Any:
    return tenant

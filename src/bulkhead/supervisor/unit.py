"""What the supervisor remembers of one process and one image, through all their incarnations. Standard library only."""

import subprocess
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.processes import Image, Process
from bulkhead.supervisor.control import ControlChannel
from bulkhead.supervisor.lock import LockReport
from bulkhead.supervisor.restart import Allowance, Backoff

MESSAGES_PER_MINUTE = 600  # control messages of one process; more is a flood


@dataclass(slots=True, eq=False)
class Unit:
    """One process of a compartment, through all its incarnations."""

    process: Process
    worker: int
    workers: int
    twin: bool = False
    incarnation: int = 0
    pid: int = 0
    restarts: int = 0
    state: str = "stopped"  # forking, locked, started, stopped
    born: float = 0.0
    channel: ControlChannel | None = None
    report: LockReport | None = None
    backoff: Backoff = field(default_factory=Backoff)
    edges: dict[tuple[str, int], int] = field(default_factory=dict)  # peer to generation
    reloading: int = 0  # RELOADs that it has not answered
    messages: Allowance = field(default_factory=lambda: Allowance(MESSAGES_PER_MINUTE))

    @property
    def name(self) -> str:
        """As logs and `status` call it."""
        return f"{self.process.name}/{self.worker}"

    def as_row(self) -> dict[str, Any]:
        """What `status` says of it."""
        return {
            "compartment": self.process.name, "worker": self.worker, "pid": self.pid,
            "image": self.process.image.value, "state": self.state, "restarts": self.restarts,
            "incarnation": self.incarnation, "twin": self.twin, "lock": self.report.as_dict() if self.report else {},
        }  # fmt: skip


@dataclass(slots=True, eq=False)
class ImageProcess:
    """One image, through all its incarnations."""

    image: Image
    popen: "subprocess.Popen[bytes] | None" = None
    channel: ControlChannel | None = None
    ready: bool = False
    born: float = 0.0
    restarts: int = 0
    backoff: Backoff = field(default_factory=Backoff)

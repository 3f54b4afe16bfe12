"""What the supervisor remembers of one process and one image, through all their incarnations. Standard library only."""

import subprocess
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.processes import Image, Process
from bulkhead.supervisor.control import ControlChannel
from bulkhead.supervisor.lock import LockReport
from bulkhead.supervisor.restart import Allowance, Backoff

MESSAGES_PER_MINUTE = 600  # control messages of one process; more is a flood
LOST_PER_MINUTE = 6  # edges of one process that are replaced though both of its ends live


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
    why: str = ""  # why the supervisor ends this incarnation, in a word or two; it died by itself where empty
    stale: bool = False  # the settings changed while it was starting with the old ones
    messages: Allowance = field(default_factory=lambda: Allowance(MESSAGES_PER_MINUTE))
    lost: Allowance = field(default_factory=lambda: Allowance(LOST_PER_MINUTE))
    connections: int = 0  # of a gate, as it says: now open
    sessions: int = 0  # logged in now
    begun: int = 0  # sessions that this incarnation has begun
    full: bool = False  # it accepts no more
    busy: float = 0.0  # when it last had a connection, on the monotonic clock
    due: bool = False  # to make way for a fresh worker
    retiring: bool = False  # told to; it ends with its last session

    @property
    def name(self) -> str:
        """As logs and `status` call it."""
        return f"{self.process.name}/{self.worker}"

    @property
    def accepting(self) -> bool:
        """Whether a gate's worker takes new connections."""
        return self.state == "started" and not (self.full or self.retiring)

    def begin(self, incarnation: int, now: float) -> None:
        """The next incarnation, of which nothing is known yet."""
        self.incarnation, self.born, self.busy = incarnation, now, now
        self.report, self.pid, self.why = None, 0, ""
        self.connections = self.sessions = self.begun = 0
        self.full = self.due = self.retiring = self.stale = False

    def as_row(self) -> dict[str, Any]:
        """What `status` says of it."""
        return {
            "compartment": self.process.name, "worker": self.worker, "pid": self.pid,
            "image": self.process.image.value, "state": self.state, "restarts": self.restarts,
            "incarnation": self.incarnation, "twin": self.twin, "lock": self.report.as_dict() if self.report else {},
            "connections": self.connections, "sessions": self.sessions, "sessions_begun": self.begun,
            "accepting": self.accepting, "retiring": self.retiring,
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
    report: LockReport | None = None

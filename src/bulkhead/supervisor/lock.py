"""What a compartment keeps (`Lock`), and what was taken from it in fact (`LockReport`): values; sandbox.py acts."""

from dataclasses import dataclass
from enum import Enum

from bulkhead.supervisor import landlock

MIB = 1 << 20


class Mechanism(Enum):
    """One layer of the lock; each alone must be missed by some probe."""

    DESCRIPTORS = "descriptors"
    NAMESPACE = "namespace"
    LIMITS = "limits"
    CHROOT = "chroot"
    UID = "uid"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


ALL_MECHANISMS = frozenset(Mechanism)


class Outcome(Enum):
    """What became of a mechanism."""

    APPLIED = "applied"
    PARTIAL = "partial"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Lock:
    """What one compartment keeps; nothing of it may execute a program.

    root: its own directory, its only one (an empty one where it has none).   keep_fds: descriptors it was given.
    uid, gid: its own ones when started as root, None as an ordinary user.
    files, writable: opens files below root, and writes them.   sockets: {"dial"} for `dialer`, else empty.
    accept: takes connections from inherited listeners.   send_descriptors: may sendmsg (`dialer`).
    memory_bytes: private memory beyond what it has at the lock.   open_files: highest descriptor number, plus one.
    threads: at most, the first included.   processes_of_uid: processes that share the uid (workers of a gate).
    file_bytes: length of one file.   landlock_abi: newest to use.
    mechanisms: everything in production; tests leave one out and watch a probe succeed.
    """

    root: str
    keep_fds: frozenset[int]
    uid: int | None = None
    gid: int | None = None
    files: bool = False
    writable: bool = False
    sockets: frozenset[str] = frozenset()
    accept: bool = False
    send_descriptors: bool = False
    memory_bytes: int = 512 * MIB
    open_files: int = 1024
    threads: int = 32
    processes_of_uid: int = 1
    file_bytes: int = 1024 * MIB
    landlock_abi: int = landlock.NEWEST_ABI
    mechanisms: frozenset[Mechanism] = ALL_MECHANISMS

    def __post_init__(self) -> None:
        if not self.sockets <= {"dial"}:
            raise ValueError(f"unknown socket duty in {sorted(self.sockets)}")
        if self.writable and not self.files:
            raise ValueError("writable without files")
        if self.uid == 0 or self.gid == 0:
            raise ValueError("a compartment never runs as root")

    @property
    def dial(self) -> bool:
        """Whether it may make and connect sockets."""
        return "dial" in self.sockets


@dataclass(frozen=True, slots=True)
class Step:
    """One mechanism's outcome and why."""

    mechanism: Mechanism
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class LockReport:
    """Every mechanism once, in the order of application."""

    steps: tuple[Step, ...]

    def outcome(self, mechanism: Mechanism) -> Outcome:
        """What became of `mechanism`."""
        return next(step.outcome for step in self.steps if step.mechanism is mechanism)

    def as_dict(self) -> dict[str, dict[str, str]]:
        """{"landlock": {"outcome": "applied", "detail": "ABI 7"}, ...}: for JSON."""
        return {step.mechanism.value: {"outcome": step.outcome.value, "detail": step.detail} for step in self.steps}

    @classmethod
    def from_dict(cls, value: dict[str, dict[str, str]]) -> "LockReport":
        """The report that as_dict gave. Raises KeyError or ValueError on anything else."""
        return cls(tuple(Step(Mechanism(k), Outcome(v["outcome"]), v["detail"]) for k, v in value.items()))

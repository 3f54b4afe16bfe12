"""Control messages between supervisor, images and compartments: fixed layouts of at most 4 KiB, plus descriptors.

They cross on SOCK_SEQPACKET socketpairs, so a message arrives whole or not at all. Only here are descriptors received
(besides dialer's edges). Standard library only.
"""

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from bulkhead.boundary.happenings import Happening, What
from bulkhead.boundary.processes import PROCESSES
from bulkhead.errors import BoundaryViolation
from bulkhead.supervisor.lock import LockReport, Mechanism, Outcome, Step

PACKET_MAX = 4096
DESCRIPTORS_MAX = 1
SETTINGS_MAX = 2 << 20  # bytes of a compartment's settings
ROOT_KEY_BYTES = 32
TERMS_MAX = 1 << 20  # bytes of what an image is locked to


class Op(IntEnum):
    """What a control message asks or tells; numbers are never reused."""

    # supervisor to image
    FORK = 1
    KILL = 5  # a child, by SIGKILL
    TERMS = 6  # with a sealed memory file: what the image is locked to
    # image to supervisor
    IMAGE_READY = 2  # with a report of its lock
    FORKED = 3
    EXITED = 4
    # supervisor to compartment
    SETTINGS = 10  # with a sealed memory file
    ROOT_KEY = 11  # with a sealed memory file
    LISTENER = 12  # with a listening socket
    EDGE = 13  # with one end of a socketpair
    START = 14
    RELOAD = 15  # with a sealed memory file
    STOP = 16
    FILE = 18  # with a file, open to be read
    HAPPENED = 19  # to ledger: what is to be an entry
    RETIRE = 17  # a gate: accept no more, end with the last session or after so many seconds
    # compartment to supervisor
    LOCKED = 20
    STARTED = 21
    VIOLATION = 22
    RELOADED = 23
    FULL = 24  # a gate's load, and it accepts no more; another worker may
    LOAD = 25  # a gate's load, and it accepts
    LOST = 26  # an edge has ended though no violation was seen
    TAKEN = 27  # of ledger: a HAPPENED is an entry, durably


_OP = struct.Struct("<B")
_FORK = struct.Struct("<BBHIIIH256s")  # slot, twin, worker, incarnation, uid, gid, workers, root
_CHILD = struct.Struct("<BHIIi")  # slot, worker, incarnation, pid, exit status
_NAME = struct.Struct("<32s")
_EDGE = struct.Struct("<BHII")  # peer's slot (0: the command line), worker, incarnation, generation
_LOAD = struct.Struct("<III")  # connections, sessions, sessions begun
_SECONDS = struct.Struct("<I")
_HAPPENING = struct.Struct("<BQQBHI80s32s")  # what, at, number, slot (0: the cell), worker, count, why, digest
_NUMBER = struct.Struct("<Q")
WHY_MAX = 80
_NAMES = {process.slot: process.name for process in PROCESSES.values()}
_STEP = struct.Struct("<BB120s")
_STEPS = 8
_OUTCOMES = (Outcome.APPLIED, Outcome.PARTIAL, Outcome.MISSING)
_MECHANISMS = tuple(Mechanism)


@dataclass(frozen=True, slots=True)
class Fork:
    """Fork one compartment; its end of a control channel comes along. `twin`: run the drill's acts instead of it."""

    slot: int
    twin: bool
    worker: int
    incarnation: int
    uid: int
    gid: int
    workers: int
    root: str


@dataclass(frozen=True, slots=True)
class Child:
    """A compartment that was forked, or has exited with `status` (negative: by that signal)."""

    slot: int
    worker: int
    incarnation: int
    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of an edge."""

    slot: int
    worker: int
    incarnation: int
    generation: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a gate has: connections and sessions now, and sessions begun since it started."""

    connections: int
    sessions: int
    begun: int


class ControlChannel:
    """One end of a control socketpair."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """The descriptor, for an event loop."""
        return self.sock.fileno()

    def send(self, op: Op, payload: bytes = b"", descriptor: int | None = None) -> bool:
        """Send one message; False when the other side is gone. The descriptor is duplicated, not given away."""
        packet = _OP.pack(op) + payload
        if len(packet) > PACKET_MAX:
            raise ValueError(f"{op.name} of {len(packet)} bytes is over the limit")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            socket.send_fds(self.sock, [packet], [] if descriptor is None else [descriptor])
            return True
        return False

    def tell(self, op: Op, payload: bytes = b"") -> bool:
        """Send one message without a descriptor, and without `sendmsg`, which compartments may not call."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            self.sock.send(_OP.pack(op) + payload)
            return True
        return False

    def receive(self) -> tuple[Op, bytes, int | None] | None:
        """The next message, or None when the other side is gone. Raises BlockingIOError, BoundaryViolation."""
        try:
            packet, descriptors, flags, _ = socket.recv_fds(self.sock, PACKET_MAX, DESCRIPTORS_MAX)
        except ConnectionResetError:
            return None
        if not packet:
            return None
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            for descriptor in descriptors:
                os.close(descriptor)
            raise BoundaryViolation("a control message over its limit")
        try:
            op = Op(packet[0])
        except ValueError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise BoundaryViolation("an unknown control message") from None
        return op, packet[1:], descriptors[0] if descriptors else None

    def close(self) -> None:
        """Close this end."""
        self.sock.close()


def control_pair() -> tuple[socket.socket, socket.socket]:
    """A fresh control channel's two ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def pack_fork(fork: Fork) -> bytes:
    """FORK's payload. Raises ValueError when the path does not fit 256 bytes."""
    root = os.fsencode(fork.root)
    if len(root) > 255:
        raise ValueError(f"path over 255 bytes: {fork.root}; use a shorter installation directory")
    return _FORK.pack(
        fork.slot, fork.twin, fork.worker, fork.incarnation, fork.uid, fork.gid, fork.workers, root
    )  # fmt: skip


def unpack_fork(payload: bytes) -> Fork:
    """What pack_fork packed. Raises BoundaryViolation."""
    slot, twin, worker, incarnation, uid, gid, workers, root = _FORK.unpack(_sized(_FORK, payload))
    return Fork(slot, bool(twin), worker, incarnation, uid, gid, workers, os.fsdecode(root.rstrip(b"\0")))


def pack_child(child: Child) -> bytes:
    """FORKED's and EXITED's payload."""
    return _CHILD.pack(child.slot, child.worker, child.incarnation, child.pid, child.status)


def unpack_child(payload: bytes) -> Child:
    """What pack_child packed. Raises BoundaryViolation."""
    return Child(*_CHILD.unpack(_sized(_CHILD, payload)))


def pack_name(name: str) -> bytes:
    """LISTENER's and FILE's payload."""
    return _NAME.pack(name.encode("ascii"))


def unpack_name(payload: bytes) -> str:
    """What pack_name packed. Raises BoundaryViolation."""
    (name,) = _NAME.unpack(_sized(_NAME, payload))
    return str(name.rstrip(b"\0"), "ascii", "replace")


def pack_peer(peer: Peer) -> bytes:
    """EDGE's, VIOLATION's and LOST's payload."""
    return _EDGE.pack(peer.slot, peer.worker, peer.incarnation, peer.generation)


def unpack_peer(payload: bytes) -> Peer:
    """What pack_peer packed. Raises BoundaryViolation."""
    return Peer(*_EDGE.unpack(_sized(_EDGE, payload)))


def pack_load(load: Load) -> bytes:
    """FULL's and LOAD's payload."""
    return _LOAD.pack(load.connections, load.sessions, min(load.begun, 0xFFFFFFFF))


def unpack_load(payload: bytes) -> Load:
    """What pack_load packed. Raises BoundaryViolation."""
    return Load(*_LOAD.unpack(_sized(_LOAD, payload)))


def pack_happening(happening: Happening) -> bytes:
    """HAPPENED's payload."""
    slot = PROCESSES[happening.compartment].slot if happening.compartment in PROCESSES else 0
    why = happening.why.encode("ascii", "replace")[:WHY_MAX]
    return _HAPPENING.pack(
        happening.what, happening.at, happening.number, slot, happening.worker, happening.count, why, happening.digest
    )  # fmt: skip


def unpack_happening(payload: bytes) -> Happening:
    """What pack_happening packed. Raises BoundaryViolation."""
    what, at, number, slot, worker, count, why, digest = _HAPPENING.unpack(_sized(_HAPPENING, payload))
    if what not in set(What):
        raise BoundaryViolation("something happened that is not known here")
    text = why.rstrip(b"\0").decode("ascii", "replace")
    return Happening(What(what), at, number, _NAMES.get(slot, ""), worker, text, count, digest)


def pack_number(number: int) -> bytes:
    """TAKEN's payload."""
    return _NUMBER.pack(number)


def unpack_number(payload: bytes) -> int:
    """What pack_number packed. Raises BoundaryViolation."""
    return int(_NUMBER.unpack(_sized(_NUMBER, payload))[0])


def pack_seconds(seconds: int) -> bytes:
    """RETIRE's payload."""
    return _SECONDS.pack(seconds)


def unpack_seconds(payload: bytes) -> int:
    """What pack_seconds packed. Raises BoundaryViolation."""
    return int(_SECONDS.unpack(_sized(_SECONDS, payload))[0])


def pack_report(report: LockReport) -> bytes:
    """LOCKED's payload: one fixed row per mechanism."""
    rows = [
        _STEP.pack(
            _MECHANISMS.index(step.mechanism) + 1, _OUTCOMES.index(step.outcome), step.detail.encode()[:120]
        )
        for step in report.steps
    ]  # fmt: skip
    return b"".join(rows).ljust(_STEPS * _STEP.size, b"\0")


def unpack_report(payload: bytes) -> LockReport:
    """What pack_report packed. Raises BoundaryViolation."""
    if len(payload) != _STEPS * _STEP.size:
        raise BoundaryViolation("a control message of the wrong size")
    steps = []
    for mechanism, outcome, detail in _STEP.iter_unpack(payload):
        if mechanism:
            if mechanism > len(_MECHANISMS) or outcome >= len(_OUTCOMES):
                raise BoundaryViolation("a lock report that cannot be read")
            text = "".join(c if c.isprintable() else "?" for c in detail.rstrip(b"\0").decode("utf-8", "replace"))
            steps.append(Step(_MECHANISMS[mechanism - 1], _OUTCOMES[outcome], text))
    return LockReport(tuple(steps))


def _sized(layout: struct.Struct, payload: bytes) -> bytes:
    if len(payload) != layout.size:
        raise BoundaryViolation("a control message of the wrong size")
    return payload

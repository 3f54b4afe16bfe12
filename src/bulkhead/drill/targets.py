"""What a hostile act is aimed at: canaries for the host, a sibling, another worker and another cell; they hurt nobody.

Acts run unlocked too, as the positive control, so they must never be given a real process, file or listener.
"""

import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bulkhead.drill.leftovers import marked_directory
from bulkhead.supervisor.lock import Lock
from bulkhead.supervisor.parent import end_with_parent
from bulkhead.supervisor.syscalls import syscall

OWN_MARK = "bulkhead-canary"
GUARDED = "guarded"
_SECRET_BYTES = 32
_PR_SET_DUMPABLE, _PR_SET_PTRACER = 4, 0x59616D61
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_LINGER_SECONDS = 60  # a canary whose maker was killed ends by itself


class Absent(Exception):
    """The kernel does not have what the act needs: there is nothing to reach, and no control to run."""


@dataclass(frozen=True, slots=True)
class Victim:
    """One canary: a process with a secret in memory and in its environment, its files, its listeners."""

    pid: int
    directory: str
    secret_file: str
    spare_file: str
    secret: bytes
    address: int
    descriptor: int
    tcp: tuple[str, int]
    tcp6: tuple[str, int] | None
    udp: tuple[str, int]
    unix_path: str
    abstract: str
    shared_memory: int


@dataclass(frozen=True, slots=True)
class Targets:
    """Everything an act may need to know. inherited: a descriptor that the twin was not meant to keep."""

    host: Victim
    sibling: Victim
    worker: Victim
    other_cell: Victim
    own_directory: str
    inherited: int
    starting_uid: int
    lock: Lock

    def victim(self, target: str) -> Victim:
        """The canary for a probe's target; acts on the network and on resources get the host's. Raises KeyError."""
        return {
            "host": self.host,
            "sibling": self.sibling,
            "worker": self.worker,
            "other-cell": self.other_cell,
            "network": self.host,
            "resource": self.host,
        }[target]

    def own(self, name: str) -> str:
        """Path of a file in the own directory, whether or not the root was changed to it."""
        inside = Path("/") / OWN_MARK
        try:
            here = "/" if inside.exists() else self.own_directory
        except OSError:
            here = self.own_directory
        return str(Path(here) / name)


def _listeners(directory: Path, name: str) -> dict[str, socket.socket]:
    made = {"tcp": socket.create_server(("127.0.0.1", 0)), "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM)}
    made["udp"].bind(("127.0.0.1", 0))
    if socket.has_ipv6:
        with contextlib.suppress(OSError):
            made["tcp6"] = socket.create_server(("::1", 0), family=socket.AF_INET6)
    made["unix"] = socket.socket(socket.AF_UNIX)
    made["unix"].bind(str(directory / "listener"))
    made["unix"].listen()
    made["abstract"] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made["abstract"].bind(f"\0bulkhead-{name}-{os.getpid()}-{directory.parent.name}")
    made["abstract"].listen()
    return made


def _stand_still(secret: ctypes.Array[ctypes.c_char], value: bytes, shared: int, ready: int) -> None:
    """The canary's life: hold the secret, wait for the end."""
    secret.raw = value
    if shared >= 0:
        with contextlib.suppress(OSError):
            syscall("shmat", shared, None, 0)
    syscall("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)  # undefended: the lock of the attacker is on trial
    with contextlib.suppress(OSError):
        syscall("prctl", _PR_SET_PTRACER, -1, 0, 0, 0)  # nor is Yama
    os.write(ready, b".")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LINGER_SECONDS)
    while True:
        time.sleep(_LINGER_SECONDS)


def _make_victim(
    base: Path, name: str, mode: int, ids: tuple[int, int] | None = None
) -> tuple[Victim, list[socket.socket]]:
    """A canary's process and files; the process takes on uid and gid where they are given."""
    directory = base / name
    directory.mkdir(mode=0o755)
    value = os.urandom(_SECRET_BYTES)
    for file in ("secret", "spare"):
        (directory / file).write_bytes(value)
        (directory / file).chmod(mode)
    sockets = _listeners(directory, name)
    secret = ctypes.create_string_buffer(_SECRET_BYTES)
    descriptor = os.open(directory / "secret", os.O_RDONLY)
    try:
        shared = syscall("shmget", 0, 4096, _IPC_CREAT | 0o600)
    except OSError:
        shared = -1
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            if ids is not None:
                os.setgroups([])
                os.setresgid(ids[1], ids[1], ids[1])
                os.setresuid(ids[0], ids[0], ids[0])
            if not end_with_parent(parent, signal.SIGKILL):
                os._exit(1)
            _stand_still(secret, value, shared, write_end)
        finally:
            os._exit(1)
    os.close(write_end)
    os.read(read_end, 1)
    os.close(read_end)
    if shared >= 0:  # gone with its last user: nothing is left however this ends
        with contextlib.suppress(OSError):
            syscall("shmctl", shared, _IPC_RMID, None)
    os.close(descriptor)
    victim = Victim(
        pid=pid,
        directory=str(directory),
        secret_file=str(directory / "secret"),
        spare_file=str(directory / "spare"),
        secret=value,
        address=ctypes.addressof(secret),
        descriptor=descriptor,
        tcp=sockets["tcp"].getsockname(),
        tcp6=sockets["tcp6"].getsockname()[:2] if "tcp6" in sockets else None,
        udp=sockets["udp"].getsockname(),
        unix_path=str(directory / "listener"),
        abstract=sockets["abstract"].getsockname().decode(),
        shared_memory=shared,
    )
    return victim, list(sockets.values())


@contextlib.contextmanager
def canaries(lock: Lock) -> Iterator[Targets]:
    """Targets made for one run: four processes and a temporary directory, all gone at the end.

    lock: whose uid the own directory gets, and the process that stands for another worker of the same compartment:
    nothing but the lock stands between the two. Raises OSError where not even this can be made.
    """
    victims: list[Victim] = []
    sockets: list[socket.socket] = []
    cleanup: list[Callable[[], None]] = []
    ids = None
    if lock.uid is not None and lock.gid is not None and os.geteuid() == 0:
        ids = (lock.uid, lock.gid)
    with marked_directory("bulkhead-drill-") as (base, _), _ended(victims, sockets, cleanup):
        base.chmod(0o755)  # names can be seen by who is not kept from them by another root
        for name, mode in (("host", 0o644), ("sibling", 0o600), ("worker", 0o600), ("other-cell", 0o600)):
            victim, made = _make_victim(base, name, mode, ids if name == "worker" else None)
            victims.append(victim)
            sockets += made
        own = base / "own"
        own.mkdir(mode=0o700)
        (own / OWN_MARK).write_bytes(b"own")
        (own / GUARDED).write_bytes(b"of the starting uid")
        (own / GUARDED).chmod(0o400)
        if ids is not None:
            os.chown(own, *ids)
            os.chown(own / OWN_MARK, *ids)
        inherited = os.open(base / "other-cell" / "secret", os.O_RDONLY)
        cleanup.append(lambda: os.close(inherited))
        host, sibling, worker, other_cell = victims
        yield Targets(host, sibling, worker, other_cell, str(own), inherited, os.geteuid(), lock)


@contextlib.contextmanager
def _ended(victims: list[Victim], sockets: list[socket.socket], cleanup: list[Callable[[], None]]) -> Iterator[None]:
    """Whatever was made by the end is ended then."""
    try:
        yield
    finally:
        for close in cleanup:
            close()
        for listener in sockets:
            listener.close()
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
            os.waitpid(victim.pid, 0)

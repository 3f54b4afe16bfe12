"""The two images of a cell: executed afresh, they load what their compartments need, freeze it, and fork them.

An image stays as fork server: one thread, no key, no loop; it reads only its supervisor's control messages and reports
exits. `image_start` locks it and calls `serve`: what is imported here, when it acts, acts behind that lock.
"""

import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from types import ModuleType

from bulkhead.boundary.processes import PROCESSES, Image
from bulkhead.supervisor import control
from bulkhead.supervisor.control import Child, ControlChannel, Fork, Op
from bulkhead.supervisor.lock import LockReport
from bulkhead.supervisor.memory import frugal_malloc

# What the standard library and cryptography would import only when first used, which fails behind the lock.
_LATE = (
    "asyncio", "concurrent.futures.thread", "encodings.idna", "encodings.ascii", "encodings.latin_1",
    "encodings.utf_8", "encodings.punycode", "stringprep", "traceback", "linecache", "logging", "json",
    "cryptography.hazmat.backends.openssl.backend",
)  # fmt: skip
_FRONT_LATE = (
    "ssl", "uvloop", "encodings.cp932", "encodings.shift_jis", "encodings.euc_jp", "encodings.iso2022_jp_ext",
    "encodings.cp1252", "encodings.gb18030", "encodings.big5", "encodings.euc_kr",
)  # fmt: skip
_VAULT_LATE = ("sqlite3",)


def preload(image: Image) -> None:
    """Import all that this image's compartments will use. In the vault image `ssl` cannot be imported at all."""
    if image is Image.VAULT:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # None makes the import fail
    stand_in()
    for name in (*_LATE, *(_FRONT_LATE if image is Image.FRONT else _VAULT_LATE)):
        importlib.import_module(name)
    if image is Image.FRONT:
        import_all("bulkhead.wire")
        import_all("bulkhead.gate")
        _fill_tables()
    child = importlib.import_module("bulkhead.supervisor.child")
    importlib.import_module("bulkhead.boundary.exchange").prepare_decoders()
    for process in PROCESSES.values():
        if process.image is image:
            import_all(f"bulkhead.{process.name}")
            child.prepare(process)


def stand_in() -> None:
    """What libraries import and no compartment uses; it would bring e-mail, archive and file code into every gate."""
    metadata = ModuleType("importlib.metadata")
    metadata.version = _no_version  # type: ignore[attr-defined]  # a module made here
    sys.modules["importlib.metadata"] = metadata  # dnspython asks it for the versions of optional packages
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # msgspec does without where it cannot be imported


def _no_version(package: str) -> str:
    raise ModuleNotFoundError(package)


def _fill_tables() -> None:
    """OpenSSL fills its tables with its first contexts: over 1 MiB, else of each gate's own. No key, and none is kept.

    Its random numbers are the child's own: OpenSSL 1.1.1 and later seed anew after a fork.
    """
    ssl = importlib.import_module("ssl")
    for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        ssl.SSLContext(side)


def import_all(package: str) -> None:
    """A package with every module in it."""
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        importlib.import_module(found.name)


class ForkServer:
    """Forks compartments on demand and reaps them."""

    def __init__(self, channel: ControlChannel) -> None:
        self._control = channel
        self._children: dict[int, Fork] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self, report: LockReport) -> None:
        """Until the supervisor is gone; then the compartments die with this process."""
        self._control.tell(Op.IMAGE_READY, control.pack_report(report))
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready:
                message = self._control.receive()
                if message is None:
                    return
                op, payload, descriptor = message
                if op is Op.KILL:
                    self._kill(control.unpack_child(payload))
                elif op is Op.FORK and descriptor is not None:
                    self._fork(control.unpack_fork(payload), socket.socket(fileno=descriptor))
                else:
                    raise ValueError(f"the supervisor sent {op.name}")

    def _fork(self, fork: Fork, sock: socket.socket) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(fork, sock, parent)
        sock.close()
        self._children[pid] = fork
        self._control.tell(Op.FORKED, control.pack_child(_child(fork, pid, 0)))

    def _kill(self, child: Child) -> None:
        """Only what was forked here and not reaped yet, so the pid can be nobody else's."""
        for pid, fork in self._children.items():
            if (fork.slot, fork.worker, fork.incarnation) == (child.slot, child.worker, child.incarnation):
                os.kill(pid, signal.SIGKILL)

    def _become(self, fork: Fork, sock: socket.socket, parent: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            from bulkhead.supervisor.child import run_child

            status = run_child(fork, sock, parent)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            fork = self._children.pop(pid, None)
            if fork is not None:
                self._control.tell(Op.EXITED, control.pack_child(_child(fork, pid, os.waitstatus_to_exitcode(status))))


def _child(fork: Fork, pid: int, status: int) -> Child:
    return Child(fork.slot, fork.worker, fork.incarnation, pid, status)


def serve(name: str, channel: ControlChannel, report: LockReport) -> int:
    """Load what the image of this name needs, and fork until the supervisor is gone; the exit status."""
    image = Image(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    frugal_malloc()
    preload(image)
    gc.collect()
    gc.freeze()
    ForkServer(channel).run(report)
    return 0

"""What a poisoned package does when an image imports it: every act of its orders, told on standard output.

It acts where it is imported, so this is planted under a package's name and run by the real image. Like acts_reach it
only looks at what is live: no signal but 0, nothing written, and what changes its process is done in a fork.
"""

import ctypes
import json
import os
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bulkhead.drill import acts_reach
from bulkhead.supervisor.syscalls import syscall

ORDERS = "orders.json"
_PTRACE_SEIZE = 0x4206
_CLONE_NEWNS = 0x00020000


def in_a_fork(act: Callable[[], object]) -> bool:
    """Whether it raised nothing there. Raises PermissionError where it did, or was ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1] != 0:
        raise PermissionError(1, "refused in the fork")
    return True


def become(uid: int) -> bool:
    """Become another cell's uid."""
    return in_a_fork(lambda: os.setresuid(uid, uid, uid))


def trace(pid: int) -> bool:
    """Attach to a process, which goes on and is let go at once."""
    return in_a_fork(lambda: syscall("ptrace", _PTRACE_SEIZE, pid, 0, 0))


def enter_network(pid: int) -> bool:
    """Enter the network namespace of a process."""

    def act() -> None:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        syscall("setns", descriptor, 0)

    return in_a_fork(act)


def read_limits(pid: int) -> bool:
    """Reach a process by prlimit, which could set its limits too."""
    resource.prlimit(pid, resource.RLIMIT_CORE)
    return True


def open_for_writing(path: str) -> bool:
    """Open a file to write it, and write nothing."""
    os.close(os.open(path, os.O_WRONLY))
    return True


def change_mode(path: str) -> bool:
    """Set the mode that it has."""
    Path(path).chmod(Path(path).stat().st_mode & 0o7777)
    return True


def connect_abstract(name: str) -> bool:
    """Connect to an abstract unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.settimeout(1.0)
        made.connect("\0" + name)
    return True


def listen_tcp() -> bool:
    """Listen on a port of the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.bind(("127.0.0.1", 0))
        made.listen(1)
    return True


def run_program() -> bool:
    """Execute a program."""
    return in_a_fork(lambda: os.execv("/bin/true", ["true"]))  # noqa: S606 - that it can is the act


def mount() -> bool:
    """A mount namespace of its own, and a file system mounted there."""

    def act() -> None:
        syscall("unshare", _CLONE_NEWNS)
        syscall("mount", b"none", b"/", None, ctypes.c_ulong(1 << 18 | 1 << 14).value, None)  # private, recursive

    return in_a_fork(act)


ACTS: Mapping[str, Callable[..., Any]] = {
    **acts_reach.ACTS,
    "become": become, "trace": trace, "enter_network": enter_network, "read_limits": read_limits,
    "open_for_writing": open_for_writing, "change_mode": change_mode, "connect_abstract": connect_abstract,
    "listen_tcp": listen_tcp, "run_program": run_program, "mount": mount,
}  # fmt: skip


def strike(folder: str) -> None:
    """Do every act that `folder` orders, write one line of answers, and end this process."""
    orders = json.loads(Path(folder, ORDERS).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps([_attempt(order) for order in orders]) + "\n")
    sys.stdout.flush()
    os._exit(0)


def _attempt(order: Mapping[str, Any]) -> bool:
    try:
        found = ACTS[order["act"]](**order["arguments"])
    except Exception:
        return False
    return order["proof"] in {None, found}

"""Hostile acts on resources: take more than the lock allows. Each returns on success, raises OSError when refused."""

import contextlib
import errno
import fcntl
import mmap
import os
import resource
import threading
from pathlib import Path

from bulkhead.drill.targets import Absent, Targets, Victim

_SLACK = 16 << 20


def grow_file(targets: Targets, victim: Victim) -> None:
    """Write past the limit of one file's length (sparse: it takes no room)."""
    path = targets.own("too-long")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, b"x", targets.lock.file_bytes + 1)
    finally:
        Path(path).unlink()
        os.close(descriptor)


def take_memory(targets: Targets, victim: Victim) -> None:
    """Map more private memory than the limit (never touched: it takes no room)."""
    mmap.mmap(-1, targets.lock.memory_bytes + _SLACK, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def take_shared_memory(targets: Targets, victim: Victim) -> None:
    """Map shared anonymous memory, which the limit on private memory does not count."""
    mmap.mmap(-1, 1 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS).close()


def take_descriptors(targets: Targets, victim: Victim) -> None:
    """Open a descriptor with a number past the limit."""
    with contextlib.suppress(ValueError, OSError):  # refused or not: what counts is the number that it gets
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    source, other = os.pipe()
    try:
        os.close(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, targets.lock.open_files))
    finally:
        os.close(source)
        os.close(other)


def take_threads(targets: Targets, victim: Victim) -> None:
    """Start more threads than the limit, which the kernel counts for all processes of the user id together."""
    end = threading.Event()
    limit = targets.lock.threads * targets.lock.processes_of_uid
    threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(limit)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None
    finally:
        end.set()


def dump_core(targets: Targets, victim: Victim) -> None:
    """Be allowed a core file: secrets on a disk."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise Absent("no core files for anyone started here")

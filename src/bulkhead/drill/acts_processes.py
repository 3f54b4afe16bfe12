"""Hostile acts on other processes. Each returns when it succeeded and raises OSError when it was refused."""

import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
from pathlib import Path

from bulkhead.drill.targets import Targets, Victim
from bulkhead.supervisor.syscalls import syscall

LOWER_PRIORITY = 10  # a niceness only goes up without privilege, and ours may be up a little already
_PTRACE_SEIZE = 0x4206
_KCMP_VM = 1


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _expect(found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise OSError(errno.EIO, "other bytes")


def read_memory(targets: Targets, victim: Victim) -> None:
    """Read the secret out of /proc/PID/mem."""
    descriptor = os.open(f"/proc/{victim.pid}/mem", os.O_RDONLY)
    _expect(os.pread(descriptor, len(victim.secret), victim.address), victim.secret)


def read_environment(targets: Targets, victim: Victim) -> None:
    """Read /proc/PID/environ."""
    Path(f"/proc/{victim.pid}/environ").read_bytes()


def read_maps(targets: Targets, victim: Victim) -> None:
    """Read /proc/PID/maps: the address layout."""
    if not Path(f"/proc/{victim.pid}/maps").read_bytes():
        raise PermissionError(errno.EACCES, "empty")


def open_descriptor(targets: Targets, victim: Victim) -> None:
    """Open again what the victim has open, through /proc/PID/fd."""
    _expect(Path(f"/proc/{victim.pid}/fd/{victim.descriptor}").read_bytes(), victim.secret)


def attach(targets: Targets, victim: Victim) -> None:
    """Attach with ptrace; it ends with this process."""
    syscall("ptrace", _PTRACE_SEIZE, victim.pid, 0, 0)


def copy_memory(targets: Targets, victim: Victim) -> None:
    """Read the secret with process_vm_readv."""
    here = ctypes.create_string_buffer(len(victim.secret))
    local = _Iovec(ctypes.addressof(here), len(here))
    remote = _Iovec(victim.address, len(here))
    syscall("process_vm_readv", victim.pid, local, 1, remote, 1, 0)
    _expect(here.raw, victim.secret)


def probe_signal(targets: Targets, victim: Victim) -> None:
    """Send signal 0: may I, and is it there."""
    os.kill(victim.pid, 0)


def stop(targets: Targets, victim: Victim) -> None:
    """Stop the victim, and let it go on."""
    os.kill(victim.pid, signal.SIGSTOP)
    os.kill(victim.pid, signal.SIGCONT)


def signal_supervisor(targets: Targets, victim: Victim) -> None:
    """Send signal 0 to the process that forked this one."""
    os.kill(os.getppid(), 0)


def signal_thread(targets: Targets, victim: Victim) -> None:
    """Send signal 0 to the victim's thread with tgkill."""
    syscall("tgkill", victim.pid, victim.pid, 0)


def signal_by_pidfd(targets: Targets, victim: Victim) -> None:
    """Send signal 0 through a pidfd."""
    syscall("pidfd_send_signal", syscall("pidfd_open", victim.pid, 0), 0, None, 0)


def take_descriptor(targets: Targets, victim: Victim) -> None:
    """Take an open descriptor out of the victim with pidfd_getfd."""
    pidfd = syscall("pidfd_open", victim.pid, 0)
    _expect(os.pread(syscall("pidfd_getfd", pidfd, victim.descriptor, 0), 64, 0), victim.secret)


def signal_by_owner(targets: Targets, victim: Victim) -> None:
    """Make the victim the owner of a pipe's SIGIO (F_SETOWN), so that the kernel sends it."""
    read_end, write_end = os.pipe()
    try:
        fcntl.fcntl(read_end, fcntl.F_SETOWN, victim.pid)
    finally:
        os.close(read_end)
        os.close(write_end)


def compare(targets: Targets, victim: Victim) -> None:
    """Compare kernel objects with the victim's (kcmp)."""
    syscall("kcmp", victim.pid, os.getpid(), _KCMP_VM, 0, 0)


def limit(targets: Targets, victim: Victim) -> None:
    """Set a limit of the victim (to what it is)."""
    found = resource.prlimit(victim.pid, resource.RLIMIT_CORE)
    resource.prlimit(victim.pid, resource.RLIMIT_CORE, found)


def slow_down(targets: Targets, victim: Victim) -> None:
    """Take priority from the victim."""
    os.setpriority(os.PRIO_PROCESS, victim.pid, LOWER_PRIORITY)


def pin(targets: Targets, victim: Victim) -> None:
    """Bind the victim to one processor."""
    os.sched_setaffinity(victim.pid, {min(os.sched_getaffinity(0))})


def regain_uid(targets: Targets, victim: Victim) -> None:
    """Become root again."""
    syscall("setresuid", 0, 0, 0)


def keep_uid(targets: Targets, victim: Victim) -> None:
    """Still run under the uid that started everything."""
    if os.geteuid() != targets.starting_uid:
        raise PermissionError(errno.EPERM, "another uid")


def hold_capability(targets: Targets, victim: Victim) -> None:
    """Hold a capability, or get all of them in a new user namespace."""
    data = ctypes.create_string_buffer(24)
    try:
        syscall("unshare", 0x10000000)
    except OSError:
        pass
    syscall("capget", struct.pack("=Ii", 0x20080522, 0), data)
    if not any(data.raw):
        raise PermissionError(errno.EPERM, "no capability")

"""The lock-down of a compartment: what a freshly forked child gives up before it reads one byte.

`Lock` says what may remain, `lock_down` takes the rest away, `LockReport` says what was applied and what the kernel or
the starting user did not allow. Order, reasons and what is missing where: docs/sandbox.md. Standard library only.

Late imports fail after the lock, and so does what makes executable memory (a ctypes callback): load everything first.
`SO_PEERCRED` on an inherited socketpair names the process that made the pair, never the peer: nothing may rest on it.
"""

import os
import resource
import signal
import struct
import sys
from functools import cache
from pathlib import Path

from bulkhead.errors import ConfigError
from bulkhead.supervisor import landlock, seccomp
from bulkhead.supervisor.allowed_calls import UNKNOWN, allowed_calls
from bulkhead.supervisor.lock import MIB, Lock, LockReport, Mechanism, Outcome, Step
from bulkhead.supervisor.syscalls import syscall

__all__ = ["Lock", "LockReport", "Mechanism", "Outcome", "Step", "lock_down"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES_MAX = 64
_DESCRIPTOR_MAX = 0x7FFFFFFF
_ADDRESS_SPACE_PER_THREAD = 136 * MIB  # an 8 MiB stack, and the 128 MiB that glibc reserves to align an arena
_NPROC_PER_NAMESPACE_SINCE = (5, 14)


def lock_down(lock: Lock, *, parent: int | None = None) -> LockReport:
    """Lock this freshly forked, single-threaded process for good; it dies with its parent.

    parent: pid that forked it, taken before the fork, so that a parent lost in between is noticed (the process then
    kills itself). Raises ValueError with more than one thread or a uid that does not fit the starting user,
    ConfigError when a wall that must stand cannot; the caller then exits. What is merely not to be had here is
    MISSING in the report, with the reason.
    """
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise ValueError("lock before the first thread: Landlock and seccomp bind only the calling thread")
    if os.geteuid() == 0 and Mechanism.UID in lock.mechanisms and (lock.uid is None or lock.gid is None):
        raise ValueError("started as root: the lock needs a uid and a gid")
    if os.geteuid() != 0 and lock.uid not in {None, os.geteuid()}:
        raise ValueError("only root can give a compartment another uid")
    parent = os.getppid() if parent is None else parent
    if os.getpgrp() != os.getpid():
        os.setsid()  # no controlling terminal to push input into
    os.umask(0o077)
    try:
        descriptors = _close_descriptors(lock)
        root = os.open(lock.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        steps = (
            descriptors,
            namespace := enter_namespaces(lock),
            _set_limits(lock, namespace),
            _change_root(lock, namespace),
            _change_uid(lock),
            _restrict_files(lock, root, parent),
            _filter_calls(lock, root),
        )
    except OSError as error:
        raise ConfigError(
            f"cannot lock a compartment to {lock.root}: {error.strerror} ({error.filename or 'system call'}); "
            "check that the directory exists and that the starting user may enter it"
        ) from error
    return LockReport(steps)


def _left_out(mechanism: Mechanism) -> Step:
    return Step(mechanism, Outcome.MISSING, "left out by the caller")


def _close_descriptors(lock: Lock) -> Step:
    """Standard descriptors that are not kept become /dev/null, so that no later file gets their number."""
    if Mechanism.DESCRIPTORS not in lock.mechanisms:
        return _left_out(Mechanism.DESCRIPTORS)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in {0, 1, 2} - lock.keep_fds:
        os.dup2(null, standard)
    first = 3
    for kept in [*sorted(fd for fd in lock.keep_fds if fd > 2), _DESCRIPTOR_MAX + 1]:
        if first < kept:
            syscall("close_range", first, kept - 1, 0)
        first = kept + 1
    return Step(Mechanism.DESCRIPTORS, Outcome.APPLIED, f"{len(lock.keep_fds)} kept")


def _memory_now() -> tuple[int, int]:
    """Octets of address space and of private writable memory that this process has (proc(5), statm)."""
    pages = Path("/proc/self/statm").read_bytes().split()
    return int(pages[0]) * resource.getpagesize(), int(pages[5]) * resource.getpagesize()


def _kernel_version() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def _set_limits(lock: Lock, namespace: Step) -> Step:
    """Hard and soft alike. Threads are counted per uid, so this needs an own uid or an own user namespace.

    After the namespace, whose maker's limit would else bind all processes of the ordinary user together.
    """
    if Mechanism.LIMITS not in lock.mechanisms:
        return _left_out(Mechanism.LIMITS)
    space, private = _memory_now()
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: private + lock.memory_bytes,
        resource.RLIMIT_AS: space + 2 * lock.memory_bytes + lock.threads * _ADDRESS_SPACE_PER_THREAD,
        resource.RLIMIT_FSIZE: lock.file_bytes,
        resource.RLIMIT_NOFILE: lock.open_files,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    own_uid = os.geteuid() == 0 and Mechanism.UID in lock.mechanisms
    own_count = namespace.outcome is not Outcome.MISSING and _kernel_version() >= _NPROC_PER_NAMESPACE_SINCE
    if own_uid or (os.geteuid() != 0 and own_count):
        limits[resource.RLIMIT_NPROC] = lock.threads * (lock.processes_of_uid if own_uid else 1)
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lowest, lowest))
    if resource.RLIMIT_NPROC not in limits:
        return Step(Mechanism.LIMITS, Outcome.PARTIAL, "no limit of threads: the uid is shared")
    return Step(Mechanism.LIMITS, Outcome.APPLIED, f"{lock.memory_bytes // MIB} MiB, {lock.threads} threads")


def enter_namespaces(lock: Lock) -> Step:
    """An empty network (but for `dialer`) and empty System V IPC; for an ordinary user inside a user namespace.

    Accepted connections and inherited listeners keep the network they were made in.
    """
    if Mechanism.NAMESPACE not in lock.mechanisms:
        return _left_out(Mechanism.NAMESPACE)
    wanted = _CLONE_NEWIPC if lock.dial else _CLONE_NEWIPC | _CLONE_NEWNET
    names = "ipc" if lock.dial else "ipc, net"
    try:
        if os.geteuid() == 0:
            syscall("unshare", wanted)
            return Step(Mechanism.NAMESPACE, Outcome.APPLIED, names)
        uid, gid = os.geteuid(), os.getegid()
        _prctl(_PR_SET_DUMPABLE, 1)  # else /proc/self belongs to root and the maps cannot be written; ends below
        syscall("unshare", _CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_bytes(b"deny")
        Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (uid, uid))
        Path("/proc/self/gid_map").write_bytes(b"%d %d 1" % (gid, gid))
    except OSError as error:
        what = "namespaces" if os.geteuid() == 0 else "user namespaces"
        return Step(Mechanism.NAMESPACE, Outcome.MISSING, f"{what} are refused here: {error.strerror}")
    try:
        syscall("unshare", wanted)
    except OSError as error:
        return Step(Mechanism.NAMESPACE, Outcome.PARTIAL, f"user only; {names}: {error.strerror}")
    return Step(Mechanism.NAMESPACE, Outcome.APPLIED, f"user, {names}")


def _change_root(lock: Lock, namespace: Step) -> Step:
    """Before the uid: below a 0700 parent the new uid could not open even its own file by the full path."""
    os.chdir(lock.root)  # own files are opened by relative names, with or without the change of root
    if Mechanism.CHROOT not in lock.mechanisms:
        return _left_out(Mechanism.CHROOT)
    if os.geteuid() != 0 and namespace.outcome is Outcome.MISSING:
        return Step(Mechanism.CHROOT, Outcome.MISSING, "an ordinary user needs a user namespace for it")
    try:
        os.chroot(lock.root)
    except PermissionError as error:
        return Step(Mechanism.CHROOT, Outcome.MISSING, f"refused here: {error.strerror}")
    os.chdir("/")
    return Step(Mechanism.CHROOT, Outcome.APPLIED, "")


def _change_uid(lock: Lock) -> Step:
    """Own uid, no group, no capability. A failure as root is never survived."""
    if os.geteuid() != 0:
        _drop_capabilities()
        if Mechanism.UID not in lock.mechanisms:
            return _left_out(Mechanism.UID)
        return Step(Mechanism.UID, Outcome.MISSING, f"started as an ordinary user: shares uid {os.geteuid()}")
    if Mechanism.UID not in lock.mechanisms:
        return _left_out(Mechanism.UID)
    uid, gid = lock.uid, lock.gid
    if uid is None or gid is None:
        raise ValueError("started as root: the lock needs a uid and a gid")
    os.setgroups([])
    for capability in range(_CAPABILITIES_MAX):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            break  # past the kernel's last one, or never held: nothing can be gained without an execve anyway
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _drop_capabilities()
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise PermissionError(1, "the uid did not change")
    return Step(Mechanism.UID, Outcome.APPLIED, f"uid {uid}, gid {gid}")


def _drop_capabilities() -> None:
    """Effective, permitted and inheritable sets become empty (capset(2)); the ambient set follows."""
    syscall("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def _restrict_files(lock: Lock, root: int, parent: int) -> Step:
    """Landlock, after what the kernel undoes at a change of uid: dumpable and the signal at the parent's death."""
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)
    if Mechanism.LANDLOCK not in lock.mechanisms:
        return _left_out(Mechanism.LANDLOCK)
    abi = min(lock.landlock_abi, landlock.kernel_abi())
    if abi < 1:
        return Step(Mechanism.LANDLOCK, Outcome.MISSING, "the kernel has none, or it is switched off")
    ruleset = landlock.plan(abi, read=lock.files, write=lock.writable, dial=lock.dial)
    try:
        landlock.apply(ruleset, root)
    except OSError as error:
        return Step(Mechanism.LANDLOCK, Outcome.MISSING, f"ABI {abi} refused: {error.strerror}")
    if ruleset.lacking:
        return Step(Mechanism.LANDLOCK, Outcome.PARTIAL, f"ABI {abi}: " + "; ".join(ruleset.lacking))
    return Step(Mechanism.LANDLOCK, Outcome.APPLIED, f"ABI {abi}")


def _filter_calls(lock: Lock, root: int) -> Step:
    """seccomp last: the steps before need calls that it refuses. The way back to the root's descriptor ends here."""
    os.close(root)
    if Mechanism.SECCOMP not in lock.mechanisms:
        return _left_out(Mechanism.SECCOMP)
    selector_events = sys.modules.get("asyncio.selector_events")
    if selector_events is not None and not lock.send_descriptors:
        selector_events.__dict__["_HAS_SENDMSG"] = False  # asyncio from 3.12 writes with sendmsg, which is refused
    try:
        seccomp.apply(seccomp.with_pid(prepare_filter(lock), os.getpid()))
    except NotImplementedError as error:
        return Step(Mechanism.SECCOMP, Outcome.MISSING, str(error))
    except OSError as error:
        return Step(Mechanism.SECCOMP, Outcome.MISSING, f"refused here: {error.strerror}")
    return Step(Mechanism.SECCOMP, Outcome.APPLIED, "")


def prepare_filter(lock: Lock) -> bytes:
    """The seccomp program for such a lock, kept: a fork server makes it once, and its forks share the memory."""
    return _compiled(lock.files, lock.writable, lock.dial, lock.accept, lock.send_descriptors)


@cache
def _compiled(files: bool, writable: bool, dial: bool, accept: bool, send_descriptors: bool) -> bytes:
    rules = allowed_calls(
        seccomp.OWN_PID,
        files=files,
        writable=writable,
        dial=dial,
        accept=accept,
        send_descriptors=send_descriptors,
    )
    return seccomp.compile_filter(rules, UNKNOWN)


def _prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    syscall("prctl", option, value, 0, 0, 0)

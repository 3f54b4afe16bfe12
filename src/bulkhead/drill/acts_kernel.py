"""Hostile acts on the kernel's attack surface, on own memory and on namespaces.

Each returns when it succeeded and raises OSError when refused. None runs foreign code but a program that exits.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

from bulkhead.drill.targets import Absent, Targets, Victim
from bulkhead.supervisor.syscalls import machine, syscall

EXECUTED = 42
"""Exit status that says: the program of the act ran."""

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWUSER = 0x20000, 0x04000000, 0x10000000
_AT_EMPTY_PATH = 0x1000
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_ADDR_NO_RANDOMIZE = 0x0040000
_EXIT_42 = {  # mov edi, 42; mov eax, 60; syscall  |  mov x0, #42; mov x8, #93; svc #0
    "x86_64": (62, bytes.fromhex("bf2a000000b83c0000000f05")),
    "aarch64": (183, bytes.fromhex("400580d2a80b80d2010000d4")),
}


def _program() -> bytes:
    """A static ELF program of one segment that exits with EXECUTED (System V ABI, ELF-64)."""
    kind, code = _EXIT_42[machine()]
    start, size = 0x400000, 120 + len(code)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, kind, 1, start + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 0x1000) + code


def run_shell(targets: Targets, victim: Victim) -> None:
    """Execute /bin/sh."""
    os.execve("/bin/sh", ["sh", "-c", f"exit {EXECUTED}"], {})  # noqa: S606 - the act itself


def run_memory_file(targets: Targets, victim: Victim) -> None:
    """Execute a program that never was on a disk (memfd_create, execveat)."""
    descriptor = syscall("memfd_create", b"x\0", 0)
    os.write(descriptor, _program())
    null = ctypes.create_string_buffer(8)
    syscall("execveat", descriptor, b"\0", null, null, _AT_EMPTY_PATH)


def make_memory_file(targets: Targets, victim: Victim) -> None:
    """Make a memory file, the first step to run a program from it."""
    os.close(syscall("memfd_create", b"x\0", 0))


def fork(targets: Targets, victim: Victim) -> None:
    """Fork: a process that outlives this one's supervision."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    _forget(pid)


def clone_user_namespace(targets: Targets, victim: Victim) -> None:
    """clone3 into a new user namespace, whose flags no filter can see."""
    arguments = struct.pack("=11Q", _CLONE_NEWUSER, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    pid = syscall("clone3", arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    _forget(pid)


def new_user_namespace(targets: Targets, victim: Victim) -> None:
    """Become root of a new user namespace."""
    syscall("unshare", _CLONE_NEWUSER)


def _become_namespace_root() -> None:
    """What an ordinary user gets for nothing where user namespaces are open; quiet where they are not."""
    if os.geteuid() == 0:
        return
    with contextlib.suppress(OSError):
        syscall("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)


def enter_namespace(targets: Targets, victim: Victim) -> None:
    """Enter a namespace by setns."""
    _become_namespace_root()
    syscall("unshare", _CLONE_NEWUTS)
    syscall("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), _CLONE_NEWUTS)


def mount(targets: Targets, victim: Victim) -> None:
    """Mount a file system (in a mount namespace that ends with this process)."""
    _become_namespace_root()
    syscall("unshare", _CLONE_NEWNS)
    syscall("mount", None, b"/\0", None, 0x44000, None)  # MS_REC | MS_PRIVATE: nothing reaches the host
    syscall("mount", b"none\0", victim.directory.encode() + b"\0", b"tmpfs\0", 0, None)


def escape_root(targets: Targets, victim: Victim) -> None:
    """The classic way out of a changed root: change it again, and climb from a directory left outside."""
    _become_namespace_root()
    top = os.open("/", os.O_RDONLY)
    with contextlib.suppress(OSError):
        Path(targets.own("deeper")).mkdir()
    os.chroot(targets.own("deeper"))
    os.fchdir(top)
    for _ in range(32):
        os.chdir("..")
    os.chroot(".")
    Path(victim.secret_file).stat()


def io_uring(targets: Targets, victim: Victim) -> None:
    """Set up an io_uring, which makes calls that no filter sees."""
    parameters = ctypes.create_string_buffer(120)
    os.close(_present(lambda: syscall("io_uring_setup", 1, parameters)))


def load_bpf(targets: Targets, victim: Victim) -> None:
    """Create a BPF map."""
    attributes = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1), 128)
    os.close(_present(lambda: syscall("bpf", 0, attributes, 128)))


def open_perf_event(targets: Targets, victim: Victim) -> None:
    """Open a performance counter on this process."""
    attributes = bytearray(128)
    struct.pack_into("=IIQ", attributes, 0, 1, 128, 1)  # software event, task clock
    struct.pack_into("=Q", attributes, 40, 1 | 1 << 5 | 1 << 6)  # disabled, exclude kernel, exclude hypervisor
    os.close(_present(lambda: syscall("perf_event_open", bytes(attributes), 0, -1, -1, 0)))


def add_key(targets: Targets, victim: Victim) -> None:
    """Put a key into the kernel's keyring of this process."""
    _present(lambda: syscall("add_key", b"user\0", b"bulkhead-drill\0", b"x", 1, -2))


def join_session_keyring(targets: Targets, victim: Victim) -> None:
    """Join a new session keyring."""
    _present(lambda: syscall("keyctl", 1, None))


def handle_page_faults(targets: Targets, victim: Victim) -> None:
    """Get a userfaultfd, with which kernel races are won."""
    os.close(_present(lambda: syscall("userfaultfd", 1)))


def map_executable(targets: Targets, victim: Victim) -> None:
    """Map memory that is writable and executable."""
    mmap.mmap(
        -1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ).close()


def make_executable(targets: Targets, victim: Victim) -> None:
    """Write memory, then make it executable."""
    with mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE) as region:
        view = ctypes.c_char.from_buffer(region)
        address = ctypes.addressof(view)
        del view
        syscall("mprotect", address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def attach_shared_memory(targets: Targets, victim: Victim) -> None:
    """Attach the victim's System V shared memory."""
    if victim.shared_memory < 0:
        raise Absent("no System V shared memory here")
    syscall("shmat", victim.shared_memory, None, 0)


def open_message_queue(targets: Targets, victim: Victim) -> None:
    """Make a POSIX message queue (and remove it)."""
    name = f"bulkhead-drill-{os.getpid()}".encode() + b"\0"
    os.close(_present(lambda: syscall("mq_open", name, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600, None)))
    syscall("mq_unlink", name)


def become_dumpable(targets: Targets, victim: Victim) -> None:
    """Switch core dumps and /proc access back on."""
    syscall("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)


def change_personality(targets: Targets, victim: Victim) -> None:
    """Switch address randomisation off for what it would execute."""
    syscall("personality", _ADDR_NO_RANDOMIZE)


def stay_dumpable(targets: Targets, victim: Victim) -> None:
    """Be open to /proc and ptrace of any process under the same uid."""
    if syscall("prctl", _PR_GET_DUMPABLE, 0, 0, 0, 0) != 1:
        raise PermissionError(errno.EPERM, "not dumpable")


def _forget(pid: int) -> None:
    """Reap a child that was made, where that is allowed: the act has succeeded either way."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, 0)


def _present(call: Callable[[], int]) -> int:
    """The call's result. Raises Absent when the kernel was built without it, OSError otherwise."""
    try:
        return call()
    except OSError as error:
        raise Absent("the kernel lacks this call") if error.errno == errno.ENOSYS else error

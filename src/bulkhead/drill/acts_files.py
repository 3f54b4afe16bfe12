"""Hostile acts on files. Each returns when it succeeded and raises OSError when it was refused.

They touch canaries only, and put back what they change: the same acts run unlocked as the positive control.
"""

import ctypes
import errno
import fcntl
import os
import pty
import signal
import struct
import termios
from pathlib import Path

from bulkhead.drill.targets import GUARDED, Absent, Targets, Victim
from bulkhead.supervisor.syscalls import syscall

_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_STAT_BYTES = 256  # more than struct stat has on any machine
_HANDLE_BYTES = 128
_IN_ALL_EVENTS = 0xFFF
_FAN_CLASS_NOTIF, _FAN_REPORT_FID = 0, 0x200


def read_file(targets: Targets, victim: Victim) -> None:
    """Open and read the victim's secret."""
    if Path(victim.secret_file).read_bytes() != victim.secret:
        raise OSError(errno.EIO, "other bytes")


def write_file(targets: Targets, victim: Victim) -> None:
    """Open the victim's spare file for writing and append to it."""
    with Path(victim.spare_file).open("ab", buffering=0) as file:
        file.write(b"x")


def list_directory(targets: Targets, victim: Victim) -> None:
    """Read the names in the victim's directory."""
    if "secret" not in {entry.name for entry in Path(victim.directory).iterdir()}:
        raise OSError(errno.ENOENT, "not that directory")


def stat_name(targets: Targets, victim: Victim) -> None:
    """Learn that the victim's file exists, its size and owner; in the form that a filter for fstat lets through."""
    answer = ctypes.create_string_buffer(_STAT_BYTES)
    syscall("newfstatat", _AT_FDCWD, victim.secret_file.encode() + b"\0", answer, _AT_EMPTY_PATH)


def stat_through_proc(targets: Targets, victim: Victim) -> None:
    """The same through /proc/PID/root, which leads out of a changed root."""
    Path(f"/proc/{victim.pid}/root{victim.secret_file}").stat()


def link_file(targets: Targets, victim: Victim) -> None:
    """Make a hard link to the victim's secret."""
    name = Path(victim.secret_file + ".link")
    name.hardlink_to(victim.secret_file)
    name.unlink()


def symlink_into(targets: Targets, victim: Victim) -> None:
    """Plant a symbolic link in the victim's directory."""
    name = Path(victim.directory, "symlink")
    name.symlink_to("/etc")
    name.unlink()


def rename_file(targets: Targets, victim: Victim) -> None:
    """Rename the victim's spare file, and back."""
    Path(victim.spare_file).rename(victim.spare_file + ".moved").rename(victim.spare_file)


def truncate_file(targets: Targets, victim: Victim) -> None:
    """Cut the victim's spare file."""
    os.truncate(victim.spare_file, 0)


def make_node(targets: Targets, victim: Victim) -> None:
    """Make a FIFO in the victim's directory with mknod."""
    name = Path(victim.directory, "node")
    os.mknod(name, 0o010600)
    name.unlink()


def watch_directory(targets: Targets, victim: Victim) -> None:
    """Watch the victim's directory with inotify."""
    descriptor = syscall("inotify_init1", 0)
    syscall("inotify_add_watch", descriptor, victim.directory.encode() + b"\0", _IN_ALL_EVENTS)
    os.close(descriptor)


def fanotify(targets: Targets, victim: Victim) -> None:
    """Open a fanotify group."""
    try:
        os.close(syscall("fanotify_init", _FAN_CLASS_NOTIF | _FAN_REPORT_FID, os.O_RDONLY))
    except OSError as error:
        raise Absent("no fanotify for this user") if error.errno == errno.EINVAL else error


def open_by_handle(targets: Targets, victim: Victim) -> None:
    """Open the secret by its file handle, past every directory (the way out of many containers)."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", _HANDLE_BYTES, 0), 8 + _HANDLE_BYTES)
    mount = ctypes.create_string_buffer(4)
    syscall("name_to_handle_at", _AT_FDCWD, victim.secret_file.encode() + b"\0", handle, mount, 0)
    directory = os.open(victim.directory, os.O_RDONLY)
    descriptor = syscall("open_by_handle_at", directory, handle, os.O_RDONLY)
    if os.read(descriptor, 64) != victim.secret:
        raise OSError(errno.EIO, "other bytes")


def read_guarded(targets: Targets, victim: Victim) -> None:
    """Read a file of the starting uid, mode 0400, that lies in the own directory."""
    Path(targets.own(GUARDED)).read_bytes()


def keep_a_file(targets: Targets, victim: Victim) -> None:
    """Leave a file behind in the own directory, to be there after a restart."""
    path = Path(targets.own("left-behind"))
    path.write_bytes(b"x")
    path.unlink()


def make_set_uid_file(targets: Targets, victim: Victim) -> None:
    """Make a set-uid file in the own directory, which would lend this uid to any user of the host."""
    path = Path(targets.own("set-uid"))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o700)
    try:
        os.fchmod(descriptor, 0o4700)
    finally:
        os.close(descriptor)
        path.unlink()


def read_environment_of_self(targets: Targets, victim: Victim) -> None:
    """Read the environment that the supervisor was started with."""
    Path("/proc/self/environ").read_bytes()


def write_own_memory_file(targets: Targets, victim: Victim) -> None:
    """Write to /proc/self/mem, which ignores page protection."""
    place = ctypes.create_string_buffer(8)
    descriptor = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(descriptor, b"x", ctypes.addressof(place))


def push_terminal_input(targets: Targets, victim: Victim) -> None:
    """Open a terminal and push a character into its input (TIOCSTI), as if its owner had typed."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what closing the terminal sends
    master, slave = pty.openpty()
    try:
        if os.getsid(0) != os.getpid():
            os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        fcntl.ioctl(slave, termios.TIOCSTI, b"x")
    except OSError as error:
        raise Absent("the kernel has no TIOCSTI") if error.errno == errno.EIO else error
    finally:
        os.close(master)
        os.close(slave)

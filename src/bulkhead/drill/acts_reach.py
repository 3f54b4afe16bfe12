"""Hostile acts on a running installation: its real folders, processes and listeners, named by whoever runs the drill.

Unlike the probes these may meet live processes, so they only look: what they read is a planted canary or the first
octets of a mapped program, never a secret. Each returns what it found and raises OSError where it was refused.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bulkhead.supervisor.syscalls import syscall

READ_MAX = 256  # octets of one canary
NAMES_MAX = 200
FILES_MAX = 10_000
_TIMEOUT = 1.0
_MAGIC = 4  # octets of a mapped program that prove a memory was read


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_file(path: str) -> str:
    """The first octets of a file, hex."""
    with Path(path).open("rb") as file:
        return file.read(READ_MAX).hex()


def list_folder(path: str) -> list[str]:
    """Names in a folder."""
    return sorted(entry.name for entry in Path(path).iterdir())[:NAMES_MAX]


def read_memory(pid: int, address: int) -> str:
    """Octets of another process's memory, hex: by process_vm_readv, else by /proc/PID/mem."""
    here = ctypes.create_string_buffer(_MAGIC)
    try:
        local, remote = _Iovec(ctypes.addressof(here), _MAGIC), _Iovec(address, _MAGIC)
        syscall("process_vm_readv", pid, local, 1, remote, 1, 0)
        return here.raw.hex()
    except OSError:
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        return os.pread(descriptor, _MAGIC, address).hex()
    finally:
        os.close(descriptor)


def signal_process(pid: int) -> bool:
    """Whether a signal may be sent (signal 0, which is none)."""
    os.kill(pid, 0)
    return True


def connect_tcp(host: str, port: int) -> bool:
    """Connect to a listener."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(_TIMEOUT)
        made.connect((host, port))
    return True


def connect_unix(path: str) -> bool:
    """Connect to a supervisor's door."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.settimeout(_TIMEOUT)
        made.connect(path)
    return True


def send_udp(host: str, port: int) -> bool:
    """Send a datagram: how most malware first calls home."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", (host, port))
    return True


def search_own_disk(token: str) -> dict[str, int]:
    """Files and octets below the own root, and how many of them hold the token (hex)."""
    wanted, files, octets, found = bytes.fromhex(token), 0, 0, 0
    for folder, _, names in os.walk("/" if not Path("/proc/self").exists() else "."):
        for name in names:
            path = Path(folder, name)
            if files >= FILES_MAX or path.is_symlink() or not path.is_file():
                continue
            files += 1
            octets += path.stat().st_size
            with path.open("rb") as file:
                found += wanted in file.read(READ_MAX)
    return {"files": files, "octets": octets, "found": found}


ACTS: Mapping[str, Callable[..., Any]] = {
    "read_file": read_file,
    "list_folder": list_folder,
    "read_memory": read_memory,
    "signal_process": signal_process,
    "connect_tcp": connect_tcp,
    "connect_unix": connect_unix,
    "send_udp": send_udp,
    "search_own_disk": search_own_disk,
}


def attempt(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """{"answer": "succeeded", "found": ...} or {"answer": name of the error}."""
    try:
        return {"answer": "succeeded", "found": ACTS[name](**arguments)}
    except OSError as error:
        return {"answer": errno.errorcode.get(error.errno or 0, type(error).__name__)}
    except (TypeError, ValueError, KeyError, struct.error) as error:
        return {"answer": type(error).__name__}

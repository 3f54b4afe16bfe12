"""Hostile acts on a running installation: its real folders, processes and listeners, named by whoever runs the drill.

Unlike the probes these may meet live processes, so they only look: what they read is a planted canary or the first
octets of a mapped program, never a secret. Each returns what it found and raises OSError where it was refused.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bulkhead.supervisor.syscalls import syscall

READ_MAX = 256  # octets of one canary
NAMES_MAX = 200
FILES_MAX = 10_000
SEARCH_MAX = 64 << 20  # octets of one file
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


def find_tokens(tokens: list[str]) -> dict[str, Any]:
    """Which of the tokens (hex) stand anywhere in the files below the own root, and how many files there are."""
    return search_tokens(own_root(), tokens)


def own_root() -> Path:
    """The own directory: the root where it was changed, else the working directory."""
    return Path("/" if not Path("/proc/self").exists() else ".")


def search_tokens(folder: Path, tokens: Sequence[str]) -> dict[str, Any]:
    """The same in any folder. At most FILES_MAX files of SEARCH_MAX octets each."""
    wanted = {bytes.fromhex(token): token for token in tokens}
    found: set[str] = set()
    files = 0
    for path in _plain_files(folder):
        files += 1
        with path.open("rb") as file:
            content = file.read(SEARCH_MAX)
        found |= {text for token, text in wanted.items() if token in content}
    return {"files": files, "tokens": sorted(found)}


def open_own_files() -> dict[str, int]:
    """How many of the own files could be written: each is opened for it, and nothing is written."""
    files, writable = 0, 0
    for path in _plain_files(own_root()):
        files += 1
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError:
            continue
        writable += 1
    return {"files": files, "writable": writable}


def own_layout() -> dict[str, int]:
    """Where the program, the C library and the heap lie in this process: the same in every fork of one image."""
    library = ctypes.CDLL(None)
    return {
        "libc": ctypes.cast(library.getpid, ctypes.c_void_p).value or 0,
        "python": ctypes.cast(ctypes.pythonapi.Py_Initialize, ctypes.c_void_p).value or 0,
        "heap": id(os),  # made before the fork: what this process imported itself lies elsewhere in each
    }


def _plain_files(folder: Path) -> Iterator[Path]:
    count = 0
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here, name)
            if count < FILES_MAX and not path.is_symlink() and path.is_file():
                count += 1
                yield path


ACTS: Mapping[str, Callable[..., Any]] = {
    "read_file": read_file,
    "list_folder": list_folder,
    "read_memory": read_memory,
    "signal_process": signal_process,
    "connect_tcp": connect_tcp,
    "connect_unix": connect_unix,
    "send_udp": send_udp,
    "search_own_disk": search_own_disk,
    "find_tokens": find_tokens,
    "open_own_files": open_own_files,
    "own_layout": own_layout,
}


def attempt(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """{"answer": "succeeded", "found": ...} or {"answer": name of the error}."""
    try:
        return {"answer": "succeeded", "found": ACTS[name](**arguments)}
    except OSError as error:
        return {"answer": errno.errorcode.get(error.errno or 0, type(error).__name__)}
    except (TypeError, ValueError, KeyError, struct.error) as error:
        return {"answer": type(error).__name__}

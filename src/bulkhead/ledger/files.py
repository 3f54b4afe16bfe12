"""The file operations of the log, and nothing more: what a crash test replaces.

Every path is relative to the log's directory, which is opened once; so the same paths work before and after chroot.
Nothing is durable before `sync` (contents) and `sync_directory` (names) returned. `rename` replaces a file at once.
"""

import errno
import fcntl
import os
from typing import Protocol

from bulkhead.errors import TemporaryFailure


class Files(Protocol):
    """What the log asks of a file system. Every method raises OSError where the system does."""

    def read(self, path: str, *, limit: int) -> bytes:
        """The whole file. Raises FileNotFoundError, and OSError (EFBIG) on a file over `limit` bytes."""

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""

    def write(self, path: str, data: bytes) -> None:
        """Make the file, or empty it, and write. Not synced."""

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        """Write into a file that exists. Not synced."""

    def truncate(self, path: str, length: int) -> None:
        """Cut a file that exists. Not synced."""

    def sync(self, path: str) -> None:
        """fdatasync: the file's bytes and length are durable on return."""

    def sync_directory(self, path: str) -> None:
        """The directory's names are durable on return."""

    def rename(self, old: str, new: str) -> None:
        """Within one directory, replacing `new`. Not synced."""

    def make_directory(self, path: str) -> bool:
        """Make a directory; False where it was there. Not synced."""

    def lock(self) -> None:
        """Hold the log until the process ends or `close`. Raises TemporaryFailure where another holds it."""

    def close(self) -> None:
        """Give back the lock and the directory."""


class DirectoryFiles:
    """Files below one directory. directory: must exist; mode of new files 0600, of directories 0700."""

    def __init__(self, directory: str) -> None:
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _open(self, path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self._root)

    def read(self, path: str, *, limit: int) -> bytes:
        """Files.read."""
        fd = self._open(path, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            if size > limit:
                raise OSError(errno.EFBIG, "file is larger than its limit", path)
            return _read_all(fd, 0, size)
        finally:
            os.close(fd)

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        """Files.read_at."""
        fd = self._open(path, os.O_RDONLY)
        try:
            return _read_all(fd, offset, length)
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes) -> None:
        """Files.write."""
        self._write(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0, data)

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        """Files.write_at."""
        self._write(path, os.O_WRONLY, offset, data)

    def _write(self, path: str, flags: int, offset: int, data: bytes) -> None:
        fd = self._open(path, flags)
        try:
            rest = memoryview(data)
            while rest:
                written = os.pwrite(fd, rest, offset)
                rest, offset = rest[written:], offset + written
        finally:
            os.close(fd)

    def truncate(self, path: str, length: int) -> None:
        """Files.truncate."""
        fd = self._open(path, os.O_WRONLY)
        try:
            os.ftruncate(fd, length)
        finally:
            os.close(fd)

    def sync(self, path: str) -> None:
        """Files.sync. A write error that the kernel kept for this file is raised here."""
        fd = self._open(path, os.O_RDONLY)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def sync_directory(self, path: str) -> None:
        """Files.sync_directory."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Files.rename."""
        os.rename(old, new, src_dir_fd=self._root, dst_dir_fd=self._root)

    def make_directory(self, path: str) -> bool:
        """Files.make_directory."""
        try:
            os.mkdir(path, 0o700, dir_fd=self._root)
        except FileExistsError:
            return False
        return True

    def lock(self) -> None:
        """Files.lock: flock on the log's directory itself, so no lock file is left behind."""
        try:
            fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TemporaryFailure(
                "the ledger is in use by another process; stop it or ask it", code="locked"
            ) from None

    def close(self) -> None:
        """Files.close."""
        os.close(self._root)


def _read_all(fd: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length and (part := os.pread(fd, length, offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)

"""Every file operation of the store but SQLite's own: what a test may trace, refuse or drop.

Paths are relative to the data directory, which is the process's working directory before and after chroot.
Every method raises OSError where the system does.
"""

import os
from pathlib import Path

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class Disk:
    """The operations and nothing more; nothing is durable before `fdatasync` or `fsync_directory` returned."""

    def create(self, path: str) -> int:
        """A descriptor of a new file, mode 0600; one that exists raises FileExistsError. Its name is not synced."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)

    def open(self, path: str) -> int:
        """A descriptor for reading."""
        return os.open(path, os.O_RDONLY | _FLAGS)

    def close(self, fd: int) -> None:
        """Give a descriptor back."""
        os.close(fd)

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`. Not synced."""
        written = os.pwrite(fd, data, offset)
        while written < len(data):
            written += os.pwrite(fd, memoryview(data)[written:], offset + written)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset`; fewer only at the end of the file."""
        data = os.pread(fd, length, offset)
        while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
            data += more
        return data

    def fdatasync(self, fd: int) -> None:
        """The file's bytes and length are durable on return."""
        os.fdatasync(fd)

    def fsync_directory(self, path: str) -> None:
        """The directory's names are durable on return."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_directory(self, path: str) -> None:
        """Make a directory, mode 0700, where there is none. Not synced."""
        Path(path).mkdir(mode=0o700, exist_ok=True)

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(entry.name for entry in Path(path).iterdir())

    def size(self, path: str) -> int:
        """Bytes of a file; 0 where there is none."""
        try:
            return Path(path).stat().st_size
        except FileNotFoundError:
            return 0

    def unlink(self, path: str) -> None:
        """Remove a file's name; one that is gone is no error. Not synced."""
        Path(path).unlink(missing_ok=True)

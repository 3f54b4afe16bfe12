"""Room on the disk that a holder keeps for a stop: a file of zeros beside its database, given back when it is needed.

On a full disk the writer truncates it, commits the stop alone in what that freed, and at once takes back what is left,
so that the next stop has room too. Somebody else on the same file system may be faster, within the moment between; the
stop then holds in memory, and says so. A file system that copies on write promises nothing of what was allocated.
"""

import contextlib
import logging
import os
import sqlite3
import time
from pathlib import Path

from bulkhead.holder.database_file import sqlite_code

RESERVE_BYTES = 1 << 20  # a stop with its event and receipt: some 10 pages of 4 KiB, and as many of indexes
PIECE = 1 << 16
AGAIN_SECONDS = 30.0
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})  # a quota, and a log that cannot grow, are I/O errors
_log = logging.getLogger("bulkhead.holder")


def is_full(error: BaseException) -> bool:
    """Whether a transaction failed for want of room, or as it does then."""
    return isinstance(error, sqlite3.Error) and sqlite_code(error) in _FULL


class Reserve:
    """held: octets that it has. For one thread. path: beside the database; it stays open."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._size, self.held, self._next = size, 0, 0.0
        self._descriptor = -1
        with contextlib.suppress(OSError):  # not one file more: then there is no reserve
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.fill()

    def fill(self) -> None:
        """Take as much of its size as there is."""
        if self._descriptor < 0:
            return
        try:
            found = os.fstat(self._descriptor)
            self.held = min(found.st_size, found.st_blocks * 512, self._size)
            while self.held < self._size:
                piece = min(PIECE, self._size - self.held)
                self.held += os.pwrite(self._descriptor, bytes(piece), self.held)
            os.fsync(self._descriptor)
        except OSError as error:
            _log.error("%d of %d octets are kept for a stop on a full disk: %s", self.held, self._size, error.strerror)

    def fill_again(self) -> None:
        """The same, where it lacks some, and not too often."""
        if self.held < self._size and time.monotonic() >= self._next:
            self._next = time.monotonic() + AGAIN_SECONDS
            self.fill()

    def release(self) -> None:
        """Give it back to the file system, now: it is free for the next write."""
        self.held = 0
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.fsync(self._descriptor)

    def close(self) -> None:
        """The file stays as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

"""A consistent copy of a database that is written meanwhile, made beside the loop and never in its way.

A read transaction fixes what is copied at one moment; the copy is made from it in a thread, in steps of STEP_PAGES, by
SQLite's backup interface. While it is made the write-ahead log cannot be emptied: who must (a key was destroyed) waits
for the copy's end, on the loop and not on the writer's thread. The copy lies in the compartment's own directory and is
overwritten before it is unlinked, as what it copies may be destroyed tomorrow.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bulkhead.holder.database import Database
from bulkhead.holder.database_file import connect

COPY = Path("backup.copy")
STEP_PAGES = 256
STEP_PAUSE = 0.001  # seconds between steps: others get the disk and the interpreter
PIECE = 1 << 18


class Snapshot:
    """What a database holds at this moment. `copy` in a thread, then `pieces`; `close` in any case."""

    def __init__(self, database: Database, path: Path = COPY) -> None:
        self._database, self._path = database, path
        self._reader: sqlite3.Connection | None = connect(database.path, secure_delete=False)
        self._reader.execute("PRAGMA query_only=ON")
        self._reader.execute("BEGIN")
        (pages,) = self._reader.execute("PRAGMA page_count").fetchone()
        self._reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on nothing changes for it
        (size,) = self._reader.execute("PRAGMA page_size").fetchone()
        self.octets: int = pages * size
        self._file: int | None = None
        database.hold_log(self)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a query, of that moment. Before `copy`."""
        if self._reader is None:
            raise ValueError("the snapshot is copied")
        return self._reader.execute(statement).fetchall()

    def copy(self) -> None:
        """Make the copy. Blocks; raises sqlite3.Error and OSError."""
        if self._reader is None:
            raise ValueError("the snapshot is copied")
        remove_copy(self._path)
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        target = sqlite3.connect(self._path, isolation_level=None)
        try:
            target.execute("PRAGMA journal_mode=OFF")
            target.execute("PRAGMA synchronous=OFF")
            self._reader.backup(target, pages=STEP_PAGES, progress=lambda *_: time.sleep(STEP_PAUSE))
        finally:
            target.close()
        self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self.octets = os.fstat(self._file).st_size

    def release(self) -> None:
        """Let the write-ahead log be emptied again; what was copied stays."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            self._database.let_log_go(self)

    @property
    def descriptor(self) -> int:
        """The copy's file. Raises ValueError before there is one: our bug."""
        if self._file is None:
            raise ValueError("the snapshot is not copied yet")
        return self._file

    def pieces(self) -> Iterator[bytes]:
        """The copy, a whole database file. Blocks."""
        for offset in range(0, self.octets, PIECE):
            yield os.pread(self.descriptor, PIECE, offset)

    def close(self) -> None:
        """Drop snapshot and copy."""
        self.release()
        if self._file is not None:
            os.close(self._file)
            self._file = None
        remove_copy(self._path)


def remove_copy(path: Path = COPY) -> None:
    """Overwrite and unlink what a copy left, also one of a process that was killed."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for offset in range(0, os.fstat(descriptor).st_size, PIECE):
                os.pwrite(descriptor, bytes(PIECE), offset)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()

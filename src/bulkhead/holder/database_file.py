"""One holder's SQLite file: how it is opened, and its schema brought up to date, one transaction a step."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from bulkhead.errors import IntegrityError

CHECKPOINT_PAGES = 1000
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_RECEIPTS = """
CREATE TABLE IF NOT EXISTS receipt (
    request_id BLOB PRIMARY KEY, kept INTEGER NOT NULL, reply BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS receipt_kept ON receipt (kept);
"""


def connect(path: Path, *, secure_delete: bool) -> sqlite3.Connection:
    """A connection as every holder uses it: WAL, FULL, foreign keys, no implicit transactions."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA secure_delete={'ON' if secure_delete else 'OFF'}")
    return connection


def open_database(path: Path, migrations: Sequence[str], *, secure_delete: bool) -> sqlite3.Connection:
    """The writing connection, its schema brought up to date. Raises IntegrityError on a damaged or newer file."""
    connection = None
    try:
        connection = connect(path, secure_delete=secure_delete)
        _migrate(connection, path, migrations)
        connection.executescript(_RECEIPTS)
    except BaseException as error:
        if connection is not None:
            connection.close()  # which rolls back what a migration began
        if isinstance(error, sqlite3.Error) and sqlite_code(error) in _DAMAGED:
            raise IntegrityError(f"{path.name}: {error}; keep it and restore it from a backup") from None
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise IntegrityError(f"{path.name} was written by a newer build (schema {version}); start that build")
    for number in range(version, len(migrations)):
        connection.executescript(f"BEGIN; {migrations[number]}; PRAGMA user_version = {number + 1}; COMMIT;")


def sqlite_code(error: BaseException) -> int:
    """SQLite's primary result code; SQLITE_ERROR where SQLite had no part in it."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF

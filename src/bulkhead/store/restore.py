"""store's part of a restore, offline: accounts destroyed since, UIDVALIDITY, and the whole checked."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.store.changes import Effects
from bulkhead.store.disk import Disk
from bulkhead.store.fsck import check
from bulkhead.store.handle_admin import remove_account
from bulkhead.store.schema import DATABASE, MIGRATIONS
from bulkhead.store.segment import HEADER_BYTES, path_of

WIPE_BYTES = 1 << 20


async def finish(home: Path, destroyed: Iterable[AccountId], *, history_intact: bool) -> None:
    """Remove the mail of accounts destroyed since; give every mailbox a new UIDVALIDITY unless nothing came since.

    Clients may have seen UIDs, flags and MODSEQs that this state never gave out: under another UIDVALIDITY they read
    everything anew.
    """
    database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)
    try:
        await database.write(lambda connection: _finish(connection, destroyed, history_intact))
        await database.truncate_wal()
    finally:
        await database.close()


def _finish(connection: sqlite3.Connection, destroyed: Iterable[AccountId], history_intact: bool) -> None:
    for account in destroyed:
        remove_account(connection, Effects(), account)
    connection.execute("DELETE FROM receipt")
    connection.execute("DELETE FROM answer_body")
    if history_intact:
        return
    connection.execute(
        "UPDATE mailbox SET uid_validity = n.value FROM (SELECT b.seq, max(a.uid_validity, ?)"
        " + row_number() OVER (PARTITION BY b.account ORDER BY b.seq) AS value"
        " FROM mailbox b JOIN account a ON a.seq = b.account) AS n WHERE n.seq = mailbox.seq",
        (int(time.time()),),
    )
    connection.execute(
        "UPDATE account SET uid_validity = m.value FROM (SELECT account, max(uid_validity) AS value FROM mailbox"
        " GROUP BY account) AS m WHERE m.account = account.seq"
    )


def make_empty(home: Path) -> int:
    """Take all mail out of a store that is not running: accounts, mailboxes and names stay; how many messages it had.

    No number of a mailbox, a page, a keyword or a segment is given out again that was before.
    """
    old, new = home / DATABASE, home / f"{DATABASE}.empty"
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("ATTACH ? AS old", (str(old),))
        ((version,),) = connection.execute("PRAGMA old.user_version")
        for migration in MIGRATIONS[:version]:
            connection.executescript(migration)
        connection.execute(f"PRAGMA user_version = {int(version)}")
        connection.execute("BEGIN")
        connection.execute("DELETE FROM meta")
        for table in ("meta", "account", "mailbox", "keyword", "subscription"):
            connection.execute(f"INSERT INTO {table} SELECT * FROM old.{table}")  # noqa: S608 - names of ours
        connection.execute("DELETE FROM sqlite_sequence")
        connection.execute("INSERT INTO sqlite_sequence SELECT * FROM old.sqlite_sequence")
        for statement in _EMPTY:
            connection.execute(statement)
        ((messages,),) = connection.execute("SELECT count(DISTINCT email) FROM old.message")
        connection.execute("COMMIT")
    finally:
        connection.close()
    wipe(old)
    new.rename(old)
    return int(messages)


_EMPTY = (
    "UPDATE account SET used = 0, messages = 0, kept = 0",
    "UPDATE mailbox SET messages = 0, unseen = 0, deleted = 0, recent = 0, size = 0, deleted_size = 0, logged = 0,"
    " uid_next = 1, recent_from = 1, log_floor = modseq",
    "UPDATE meta SET value = max(value, (SELECT coalesce(max(number), 0) FROM old.segment)) WHERE name = 'reaped'",
)


def wipe(path: Path) -> None:
    """Overwrite a file and remove it: whose account is destroyed later, his keys are in no remains of it."""
    with path.open("r+b") as file:
        for _ in range(0, path.stat().st_size, WIPE_BYTES):
            file.write(bytes(WIPE_BYTES))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def missing_segments(home: Path) -> list[int]:
    """Segments that the database names and that are not there."""
    connection = sqlite3.connect(home / DATABASE)
    try:
        named = [number for (number,) in connection.execute("SELECT number FROM segment WHERE live > 0")]
    finally:
        connection.close()
    return [number for number in named if not (home / path_of(number)).is_file()]


def content_of(home: Path) -> tuple[int, str]:
    """(messages, a hash of all): the sum, modulo 2**256, of SHA-256(id | SHA-256(what is stored)) of each.

    Two stores with the same have the same messages, octet by octet, whatever segments they lie in. It finds what was
    lost or changed by itself; who may choose messages could make two sets of one sum.
    """
    connection, total, count = sqlite3.connect(home / DATABASE), 0, 0
    rows = connection.execute(
        "SELECT email, segment, offset, summary_size + header_size + body_size FROM email ORDER BY segment, offset"
    )
    opened, descriptor = 0, -1
    try:
        for email, segment, offset, size in rows:
            if segment != opened:
                if descriptor >= 0:
                    os.close(descriptor)
                opened, descriptor = segment, os.open(home / path_of(segment), os.O_RDONLY | os.O_CLOEXEC)
            content = hashlib.sha256(os.pread(descriptor, size, offset + HEADER_BYTES)).digest()
            total += int.from_bytes(hashlib.sha256(bytes(email) + content).digest())
            count += 1
    finally:
        connection.close()
        if descriptor >= 0:
            os.close(descriptor)
    return count, (total % (1 << 256)).to_bytes(32).hex()


def problems_of(home: Path) -> tuple[int, list[str]]:
    """(messages, problems in words): database and segments against each other, every stored part read."""
    before = Path.cwd()
    os.chdir(home)
    try:
        report = check(Path(DATABASE), Disk(), True)
    finally:
        os.chdir(before)
    return report.messages, list(report.problems)

"""What subscribers deleted, kept for a while: rows `deleted` hold on to an email as a message row does.

States of a message: in a mailbox -> deleted (no message row; key, slot and parts stay; counted in no quota and no
mailbox) -> in a mailbox again, under a new UID, or released: key, slot and parts go as with an EXPUNGE that keeps
nothing. Each arrow is one transaction, so a cut leaves the message on one side of it. An account's destruction takes
all of it along.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bulkhead.boundary.faults import log_fault
from bulkhead.errors import Error
from bulkhead.store.changes import Effects
from bulkhead.store.rows import DELETED, SLICE, Row, drop_references, number_list

if TYPE_CHECKING:
    from bulkhead.store.state import State

LOOK_SECONDS = 600.0  # between two looks for what has been kept long enough
_log = logging.getLogger("bulkhead.store")


class Retention(NamedTuple):
    """seconds: how long, 0: not at all.   octets: of one account; what would be more is not kept."""

    seconds: int = 0
    octets: int = 0


def release_emails(
    connection: sqlite3.Connection, effects: Effects, account: int, mailbox: int, rows: Sequence[Row]
) -> None:
    """Rows that were taken out of a mailbox: quota is given back; they are kept, or their references dropped."""
    octets = sum(row.size for row in rows)
    connection.execute(
        "UPDATE account SET used = used - ?, messages = messages - ? WHERE seq = ?", (octets, len(rows), account)
    )
    kept = 0
    if effects.keep_octets:
        kept = connection.execute(
            "UPDATE account SET kept = kept + ?1 WHERE seq = ?2 AND kept + ?1 <= ?3",
            (octets, account, effects.keep_octets),
        ).rowcount
    if not kept:
        drop_references(connection, effects, account, [row.email_seq for row in rows])
        return
    connection.executemany(
        "INSERT INTO deleted (account, mailbox, email, flags, at) VALUES (?, ?, ?, ?, unixepoch())",
        [(account, mailbox, row.email_seq, row.flags & ~DELETED) for row in rows],
    )


def keep_mailbox(connection: sqlite3.Connection, effects: Effects, mailbox: int) -> None:
    """The row of a mailbox that is about to go, as long as messages of it are kept."""
    if effects.keep_octets:
        connection.execute(
            "INSERT INTO deleted_mailbox SELECT seq, account, mailbox, role, sealed_name, tag FROM mailbox"
            " WHERE seq = ?1 AND EXISTS (SELECT 1 FROM deleted WHERE deleted.mailbox = ?1)",
            (mailbox,),
        )


def forget_mailboxes(connection: sqlite3.Connection, mailboxes: Sequence[int]) -> None:
    """Rows of deleted mailboxes of which nothing is kept any more."""
    connection.execute(
        "DELETE FROM deleted_mailbox WHERE mailbox IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM deleted WHERE deleted.mailbox = deleted_mailbox.mailbox)",
        (number_list(mailboxes),),
    )


def expire(connection: sqlite3.Connection, effects: Effects, before: int) -> bool:
    """Release what was deleted before that time, 2,000 messages at most; whether there may be more."""
    rows = connection.execute(
        "SELECT d.number, d.account, d.mailbox, d.email, e.size FROM deleted d CROSS JOIN email e"
        " WHERE d.at < ? AND e.seq = d.email ORDER BY d.at LIMIT ?",
        (before, SLICE),
    ).fetchall()
    for account in {row[1] for row in rows}:
        _release(connection, effects, account, [(row[0], row[3], row[4]) for row in rows if row[1] == account])
    forget_mailboxes(connection, sorted({row[2] for row in rows}))
    return len(rows) == SLICE


def release_older(connection: sqlite3.Connection, effects: Effects, account: int, below: bytes) -> None:
    """What is kept under a mailbox key of a generation below this one (u32), and was never filed."""
    rows = connection.execute(
        "SELECT d.number, d.mailbox, d.email, e.size FROM email e CROSS JOIN deleted d WHERE e.account = ?"
        " AND e.page = 0 AND substr(e.sealed_key, 4, 4) < ? AND d.email = e.seq",
        (account, below),
    ).fetchall()
    _release(connection, effects, account, [(number, email, size) for number, _, email, size in rows])
    forget_mailboxes(connection, sorted({row[1] for row in rows}))


def _release(
    connection: sqlite3.Connection, effects: Effects, account: int, rows: Sequence[tuple[int, int, int]]
) -> None:
    """Kept messages of one account: number, email and size of each."""
    connection.execute(
        "DELETE FROM deleted WHERE number IN (SELECT value FROM json_each(?))", (number_list(row[0] for row in rows),)
    )
    connection.execute("UPDATE account SET kept = kept - ? WHERE seq = ?", (sum(size for *_, size in rows), account))
    drop_references(connection, effects, account, [email for _, email, _ in rows])


class Keeper:
    """Releases what has been kept long enough, at start and from time to time."""

    def __init__(self, state: "State", retention: Retention) -> None:
        self._state, self.retention = state, retention
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """No further step."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def look(self) -> None:
        """Release what is due now; without retention, all of it."""
        before = int(time.time()) - self.retention.seconds if self.retention.seconds else 1 << 60
        due = self._state.database.first("SELECT 1 FROM deleted WHERE at < ? LIMIT 1", (before,))
        while due and await self._state.commit_step(lambda connection, effects: expire(connection, effects, before)):
            await asyncio.sleep(0)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Error as error:  # a full disk, a store that stops: the next look tries again
                _log.warning("deleted messages stay for now: %s", error.public)
            except Exception as error:
                log_fault("fault in retention", error)
            await asyncio.sleep(LOOK_SECONDS)

"""What a subscriber is told of changes to his addresses: kept with the change, taken by courier, dropped once told.

Whoever has stolen a member of staff's session adds an alias or a forward unseen; the mailbox's owner sees it here.
Addresses of others are masked in a notice, and all of an account's go when it is cancelled.
"""

import sqlite3

from bulkhead.boundary.messages.to_directory import BindingRow, NoticeKind, NoticeRow
from bulkhead.directory.schema import AddressKind
from bulkhead.directory.transitions import Status
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId

WAITING_MAX = 100_000  # of one tenant; past it the oldest is not told
KEPT_MS = 7 * 86_400_000  # how long one is tried
_TAKE = """
SELECT notice.number, notice.kind, notice.about, notice.at, account.id, account.binding, address.shown
FROM notice JOIN account ON account.id = notice.account
JOIN address ON address.account = account.number AND address.kind = ?
WHERE notice.number > ? AND account.status < ? AND account.binding IS NOT NULL AND notice.at > ?
ORDER BY notice.number LIMIT ?
"""


def put(connection: sqlite3.Connection, account: bytes, kind: NoticeKind, about: str, now: int) -> None:
    """In the transaction of the change. Of an account that is closed none: nobody reads it."""
    row = connection.execute(
        "INSERT INTO notice (account, kind, about, at) SELECT id, ?, ?, ? FROM account WHERE id = ? AND status < ? "
        "RETURNING number",
        (kind, about, now, account, Status.CANCELLED),
    ).fetchone()
    if row is not None:
        connection.execute("DELETE FROM notice WHERE number <= ?", (row[0] - WAITING_MAX,))


def take(database: Database, limit: int, now: int, after: int) -> tuple[NoticeRow, ...]:
    """The oldest that wait, of numbers above `after`."""
    rows = database.read(_TAKE, (AddressKind.MAIN, after, Status.CANCELLED, now - KEPT_MS, limit))
    return tuple(
        NoticeRow(number, kind, about, at, shown, BindingRow(AccountId(account), record))
        for number, kind, about, at, account, record, shown in rows
    )


def drop(connection: sqlite3.Connection, number: int, now: int) -> None:
    """It was told; what is too old goes with it."""
    connection.execute("DELETE FROM notice WHERE number = ? OR at <= ?", (number, now - KEPT_MS))


def forget(connection: sqlite3.Connection, number: int) -> None:
    """Of an account that is closed, by its number."""
    connection.execute("DELETE FROM notice WHERE account = (SELECT id FROM account WHERE number = ?)", (number,))

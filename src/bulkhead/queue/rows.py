"""Envelopes in SQLite: what is queued, for whom, since when, and when each recipient is due.

Functions that take a connection run within the caller's transaction.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from bulkhead.boundary.messages.to_queue import Attempted, DueRecipient, Enqueue, Outcome, ReportAttempt, Work
from bulkhead.errors import Refused
from bulkhead.holder import order_rows, outbox, stop, surfaces
from bulkhead.holder.database import Database
from bulkhead.queue import forwards
from bulkhead.queue.schedule import Schedule
from bulkhead.queue.spending import MIGRATION

DATABASE = "queue.sqlite"
WAITING = 0  # a recipient's state; otherwise Outcome.DELIVERED or Outcome.FAILED
WORK_BYTES_MAX = 150_000  # of one reply: a message with many recipients is lent in parts
ERROR_MAX = 200  # characters kept of the last error

MIGRATIONS = (
    """
    CREATE TABLE message (
        queue_id BLOB PRIMARY KEY, reverse_path TEXT NOT NULL, box BLOB NOT NULL, size INTEGER NOT NULL,
        header_size INTEGER NOT NULL, body_size INTEGER NOT NULL, enqueued INTEGER NOT NULL, next_due INTEGER NOT NULL,
        expires INTEGER NOT NULL, warn_after INTEGER NOT NULL, warned INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX message_due ON message (next_due);
    CREATE INDEX message_age ON message (enqueued);
    CREATE TABLE recipient (
        queue_id BLOB NOT NULL REFERENCES message (queue_id) ON DELETE CASCADE, number INTEGER NOT NULL,
        address TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
        due INTEGER NOT NULL, status TEXT NOT NULL DEFAULT '', PRIMARY KEY (queue_id, number)
    ) WITHOUT ROWID
    """,
    """
    ALTER TABLE message ADD COLUMN lent INTEGER NOT NULL DEFAULT 0;     -- recipients of an attempt not reported yet
    ALTER TABLE message ADD COLUMN lent_to TEXT NOT NULL DEFAULT '';    -- the channel that makes it
    CREATE TABLE tally (
        one INTEGER PRIMARY KEY CHECK (one = 1), delivered INTEGER NOT NULL, failed INTEGER NOT NULL,
        unknown INTEGER NOT NULL
    );
    INSERT INTO tally VALUES (1, 0, 0, 0)
    """,
    MIGRATION,
    f"{outbox.SCHEMA}; {stop.SCHEMA}; {order_rows.SCHEMA}",
    order_rows.FLOOR,
    f"""
    {surfaces.SCHEMA};
    ALTER TABLE message ADD COLUMN account BLOB NOT NULL DEFAULT x'';     -- who sent it; empty: nobody's
    ALTER TABLE message ADD COLUMN held INTEGER NOT NULL DEFAULT 0;       -- its account's outbound mail is stopped
    DROP INDEX message_due;
    CREATE INDEX message_due ON message (held, next_due);
    CREATE INDEX message_account ON message (account)
    """,
    order_rows.WAIT,
    forwards.MIGRATION,
)

_WORK = "queue_id, reverse_path, box, size, header_size, body_size, enqueued, expires, warn_after, warned"


@dataclass(slots=True)
class Tally:
    """How many recipients one report settled, and whether the message is gone."""

    delivered: int = 0
    failed: int = 0
    unknown: int = 0
    gone: bool = False


def exists(database: Database, queue_id: bytes) -> bool:
    """Whether a message of that id is queued."""
    return database.first("SELECT 1 FROM message WHERE queue_id = ?", (queue_id,)) is not None


def sender(database: Database, queue_id: bytes) -> bytes:
    """The account that sent a message; empty: nobody's."""
    row = database.first("SELECT account FROM message WHERE queue_id = ?", (queue_id,))
    return b"" if row is None else bytes(row[0])


def insert(
    connection: sqlite3.Connection, request: Enqueue, now: int, schedule: Schedule, *, held: bool = False
) -> None:
    """Queue a message whose file is durable; due at once, unless it is held. Raises Refused (`exists`)."""
    try:
        connection.execute(
            "INSERT INTO message (queue_id, reverse_path, box, size, header_size, body_size, enqueued, next_due, "
            "expires, warn_after, account, held) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request.queue_id, request.reverse_path, request.box, request.size, request.header_size,
                request.body_size, now, now, schedule.expires(now), schedule.warn_after(now),
                request.account or b"", held,
            ),
        )  # fmt: skip
    except sqlite3.IntegrityError:
        raise Refused("a message of that id is queued", code="exists") from None
    connection.executemany(
        "INSERT INTO recipient (queue_id, number, address, due) VALUES (?, ?, ?, ?)",
        [(request.queue_id, number, address, now) for number, address in enumerate(request.recipients)],
    )


def destroy(connection: sqlite3.Connection, account: bytes, reverse_path: str, now: int) -> list[bytes]:
    """Delete what an account sent, under any address, what its address sent before accounts were kept, and its tallies.

    Returns the ids of those messages.
    """
    own = "FROM message WHERE account = ? AND account <> x'' OR reverse_path <> '' AND lower(reverse_path) = lower(?)"
    gone = [row[0] for row in connection.execute(f"SELECT queue_id {own}", (account, reverse_path))]
    connection.execute(f"DELETE {own}", (account, reverse_path))
    connection.execute("DELETE FROM spent WHERE account = ?", (account,))
    forwards.cancel(connection, account, now)
    return gone


def due(database: Database, now: int, limit: int, leased: set[bytes]) -> list[Work]:
    """Up to `limit` messages that are due and not leased, oldest due first, with their due recipients.

    A reply has a size: recipients that do not fit stay due, and are lent after this attempt was reported.
    """
    works: list[Work] = []
    room = WORK_BYTES_MAX
    rows = database.read(
        f"SELECT {_WORK} FROM message WHERE held = 0 AND next_due <= ? ORDER BY next_due LIMIT ?",  # noqa: S608  constants only
        (now, limit + len(leased)),
    )
    for queue_id, reverse_path, box, size, header_size, body_size, enqueued, expires, warn_after, warned in rows:
        if queue_id in leased:
            continue
        if len(works) >= limit or room <= 0:
            break
        recipients: list[DueRecipient] = []
        attempts = 0
        for number, address, tried in database.read(
            "SELECT number, address, attempts FROM recipient WHERE queue_id = ? AND state = ? AND due <= ?",
            (queue_id, WAITING, now),
        ):
            room -= len(address.encode()) + 8
            if room <= 0 and recipients:
                break
            recipients.append(DueRecipient(number, address))
            attempts = max(attempts, tried)
        room -= 512 + len(reverse_path) + len(box)
        works.append(
            Work(
                queue_id, reverse_path, tuple(recipients), box, size, header_size, body_size, enqueued, attempts,
                expires, warn_after, bool(warned),
            )
        )  # fmt: skip
    return works


def lend(connection: sqlite3.Connection, works: list[Work], to: str) -> None:
    """Write down who tries these. An attempt by another that was never reported has an unknown outcome: counted."""
    for work in works:
        connection.execute(
            "UPDATE tally SET unknown = unknown + "
            "coalesce((SELECT lent FROM message WHERE queue_id = ? AND lent_to <> ?), 0)",
            (work.queue_id, to),
        )
        connection.execute(
            "UPDATE message SET lent = ?, lent_to = ? WHERE queue_id = ?", (len(work.recipients), to, work.queue_id)
        )


def forget_lenders(connection: sqlite3.Connection) -> None:
    """The whole cell is new, and with it every courier: what was lent then has an unknown outcome."""
    connection.execute("UPDATE tally SET unknown = unknown + (SELECT coalesce(sum(lent), 0) FROM message)")
    connection.execute("UPDATE message SET lent = 0, lent_to = '' WHERE lent > 0")


def hold(connection: sqlite3.Connection, closed: Callable[[bytes], bool]) -> None:
    """Bring what is held in step with what is stopped; one look a sender."""
    senders = connection.execute("SELECT account, min(held), max(held) FROM message GROUP BY account").fetchall()
    for account, lowest, highest in senders:
        if not lowest == highest == (held := bool(account) and closed(account)):
            connection.execute("UPDATE message SET held = ? WHERE account = ?", (held, account))


def held(database: Database, member: Callable[[bytes], bool]) -> int:
    """Messages of these senders."""
    senders = database.read("SELECT account, count(*) FROM message GROUP BY account")
    return sum(count for account, count in senders if account and member(account))


def next_due(database: Database, after: int) -> int:
    """When the next message becomes due after `after`, or 0."""
    row = database.first("SELECT min(next_due) FROM message WHERE held = 0 AND next_due > ?", (after,))
    return int(row[0] or 0)


def record(
    connection: sqlite3.Connection, report: ReportAttempt, now: int, schedule: Schedule, jitter: float, tally: Tally
) -> Attempted:
    """Write what an attempt came to. Recipients already settled are left as they are; `tally` gets what changed.

    Raises Refused (`bad-outcome`) on an outcome that is none.
    """
    queue_id = report.queue_id
    row = connection.execute("SELECT expires FROM message WHERE queue_id = ?", (queue_id,)).fetchone()
    if row is None:
        return Attempted(0, 0)
    last_error = ""
    for outcome in report.outcomes:
        found = connection.execute(
            "SELECT attempts FROM recipient WHERE queue_id = ? AND number = ? AND state = ?",
            (queue_id, outcome.number, WAITING),
        ).fetchone()
        if found is None:
            continue
        attempts = found[0] + 1
        if outcome.outcome in (Outcome.DELIVERED, Outcome.FAILED):
            state, again = outcome.outcome, now
        elif outcome.outcome in (Outcome.DEFERRED, Outcome.UNKNOWN):
            state, again = WAITING, schedule.next_attempt(now, attempts, row[0], jitter=jitter)
        else:
            raise Refused("no such outcome", code="bad-outcome")
        tally.delivered += outcome.outcome == Outcome.DELIVERED
        tally.failed += outcome.outcome == Outcome.FAILED
        tally.unknown += outcome.outcome == Outcome.UNKNOWN
        if outcome.outcome != Outcome.DELIVERED:
            last_error = f"{outcome.status} {outcome.text}"[:ERROR_MAX]
        connection.execute(
            "UPDATE recipient SET state = ?, attempts = ?, due = ?, status = ? WHERE queue_id = ? AND number = ?",
            (state, attempts, again, outcome.status, queue_id, outcome.number),
        )
    connection.execute(
        "UPDATE tally SET delivered = delivered + ?, failed = failed + ?, unknown = unknown + ?",
        (tally.delivered, tally.failed, tally.unknown),
    )
    left, again = connection.execute(
        "SELECT count(*), min(due) FROM recipient WHERE queue_id = ? AND state = ?", (queue_id, WAITING)
    ).fetchone()
    if not left:
        tally.gone = True
        connection.execute("DELETE FROM message WHERE queue_id = ?", (queue_id,))
        return Attempted(0, 0)
    connection.execute(
        "UPDATE message SET lent = 0, lent_to = '', next_due = ?, attempts = attempts + 1, warned = max(warned, ?), "
        "last_error = CASE ? WHEN '' THEN last_error ELSE ? END WHERE queue_id = ?",
        (again, report.warned, last_error, last_error, queue_id),
    )
    return Attempted(left, again)


def hasten(connection: sqlite3.Connection, now: int) -> None:
    """Make everything due now."""
    connection.execute("UPDATE recipient SET due = ? WHERE state = ? AND due > ?", (now, WAITING, now))
    connection.execute("UPDATE message SET next_due = ? WHERE next_due > ?", (now, now))

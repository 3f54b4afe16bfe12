"""What an executor keeps of rosters and orders. Every change is within the caller's transaction."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bulkhead.boundary.messages.orders import OrderRow as OrderReply
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.holder.database import Database

SCHEMA = """
CREATE TABLE roster (
    one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, hash BLOB NOT NULL, data BLOB NOT NULL,
    roots BLOB NOT NULL             -- hash of the pinned roots that it was taken under
);
CREATE TABLE officer_order (
    serial BLOB PRIMARY KEY,
    hash BLOB NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL,
    due INTEGER NOT NULL,           -- ms: executed then; permits until then; lapses then; 0: nothing is to come
    at INTEGER NOT NULL,            -- ms, when it came to this state; of a stop its epoch
    day INTEGER NOT NULL,           -- days since 1970, when it was taken
    forget INTEGER NOT NULL,        -- ms, from when on an order of this serial could not be taken any more
    officers TEXT NOT NULL, data BLOB NOT NULL, approvals BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX officer_order_due ON officer_order (due) WHERE due > 0;
CREATE TABLE passkey_counter (key BLOB PRIMARY KEY, counter INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE order_clock (one INTEGER PRIMARY KEY CHECK (one = 1), seen INTEGER NOT NULL);
INSERT INTO order_clock VALUES (1, 0)
"""
# floor: the roster from which on more than stops are taken; the one of a backup, and others after it, may be old
FLOOR = "ALTER TABLE order_clock ADD COLUMN floor INTEGER NOT NULL DEFAULT 0"
# waited: ms for which the executor has run since it took an order that waits: nobody withdraws one where nobody listens
WAIT = "CREATE TABLE order_wait (serial BLOB PRIMARY KEY, waited INTEGER NOT NULL) WITHOUT ROWID"
_COLUMNS = "serial, hash, action, state, due, at, day, forget, officers, data, approvals"
SHOWN_MAX = 1000
KEPT_MAX = 20_000  # rows; what could be taken again is never forgotten for it


class OrderState:
    """Where an order is here."""

    WAITS = "waits"
    EXECUTED = "executed"
    PERMITS = "permits"
    USED = "used"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of officer_order."""

    serial: bytes
    hash: bytes
    action: str
    state: str
    due: int
    at: int
    day: int
    forget: int
    officers: str
    data: bytes
    approvals: bytes

    def as_reply(self) -> OrderReply:
        """What the submitter and the list show."""
        return OrderReply(self.serial, self.hash, self.action, self.state, self.due, self.at, self.officers)

    def signed(self) -> tuple[SignedApproval, ...]:
        """The signatures it was taken with."""
        return msgspec.msgpack.decode(self.approvals, type=tuple[SignedApproval, ...])


def pack(approvals: Sequence[SignedApproval]) -> bytes:
    """As they are kept."""
    return msgspec.msgpack.encode(tuple(approvals))


def find(database: Database, serial: bytes) -> Kept | None:
    """The order of this serial."""
    return _kept(database.first(f"SELECT {_COLUMNS} FROM officer_order WHERE serial = ?", (serial,)))  # noqa: S608  # ours


def of_state(database: Database, state: str, now: int | None = None) -> list[Kept]:
    """Orders in a state, those that are due at `now` alone where that is given."""
    query = f"SELECT {_COLUMNS} FROM officer_order WHERE state = ?"  # noqa: S608  # ours
    if now is None:
        rows = database.read(f"{query} ORDER BY at", (state,))
    else:
        rows = database.read(f"{query} AND due > 0 AND due <= ? ORDER BY due LIMIT 64", (state, now))
    return [Kept(*row) for row in rows]


def executed(database: Database, actions: Sequence[str]) -> list[Kept]:
    """The newest orders of these actions that were executed; a receipt is asked for soon."""
    marks = ", ".join("?" * len(actions))
    query = f"SELECT {_COLUMNS} FROM officer_order WHERE state = ? AND action IN ({marks}) ORDER BY at DESC LIMIT ?"  # noqa: S608  # ours
    return [Kept(*row) for row in database.read(query, (OrderState.EXECUTED, *actions, SHOWN_MAX))]


def newest(database: Database, limit: int) -> list[Kept]:
    """The newest orders."""
    query = f"SELECT {_COLUMNS} FROM officer_order ORDER BY at DESC LIMIT ?"  # noqa: S608  # ours
    return [Kept(*row) for row in database.read(query, (limit,))]


def taken_on(connection: sqlite3.Connection, action: str, day: int) -> int:
    """Orders of an action that were taken on a day and not withdrawn."""
    count = "SELECT count(*) FROM officer_order WHERE action = ? AND day = ? AND state <> ? AND length(data) > 0"
    return int(connection.execute(count, (action, day, OrderState.WITHDRAWN)).fetchone()[0])


def put(connection: sqlite3.Connection, kept: Kept) -> None:
    """Write an order down, or where it has come to; the clock with it."""
    values: tuple[Any, ...] = tuple(getattr(kept, name) for name in _COLUMNS.split(", "))
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT OR REPLACE INTO officer_order VALUES ({marks})", values)  # noqa: S608  # question marks
    see(connection, kept.at)
    if kept.state == OrderState.WAITS:
        connection.execute("INSERT OR IGNORE INTO order_wait VALUES (?, 0)", (kept.serial,))
    connection.execute(
        "DELETE FROM officer_order WHERE forget < ? AND due = 0 AND (SELECT count(*) FROM officer_order) > ?",
        (kept.at, KEPT_MAX),
    )


def put_roster(connection: sqlite3.Connection, *, values: tuple[int, bytes, bytes, bytes]) -> None:
    """The roster in force: version, hash, octets, hash of the roots."""
    connection.execute("INSERT OR REPLACE INTO roster (one, version, hash, data, roots) VALUES (1, ?, ?, ?, ?)", values)


def after_restore(connection: sqlite3.Connection, newest: int = 0) -> None:
    """What waited may have been withdrawn since, and the roster followed by another: neither is acted on.

    newest: the newest roster that the log names. Orders name their roster; so the one behind it ends whatever was
    signed before it, also what was executed since and is known here no more.
    """
    known = "SELECT coalesce(max(version), 0) FROM roster"
    connection.execute(f"UPDATE order_clock SET floor = max(floor, max(?, ({known})) + 1)", (newest,))  # noqa: S608  # ours
    ended = "UPDATE officer_order SET state = ?, due = 0 WHERE state IN (?, ?)"
    connection.execute(ended, (OrderState.FAILED, OrderState.WAITS, OrderState.PERMITS))


def see(connection: sqlite3.Connection, now: int) -> None:
    """The clock was at `now`; it is never believed to be earlier again."""
    connection.execute("UPDATE order_clock SET seen = max(seen, ?)", (now,))


def wait_on(connection: sqlite3.Connection, elapsed: int) -> None:
    """The executor ran for `elapsed` ms more; orders that waited before this was counted begin at 0."""
    waiting = "SELECT serial FROM officer_order WHERE state = ?"
    connection.execute(f"DELETE FROM order_wait WHERE serial NOT IN ({waiting})", (OrderState.WAITS,))  # noqa: S608  # ours
    connection.execute("UPDATE order_wait SET waited = waited + ?", (elapsed,))
    begun = "INSERT OR IGNORE INTO order_wait SELECT serial, 0 FROM officer_order WHERE state = ?"
    connection.execute(begun, (OrderState.WAITS,))


def waited(database: Database, serial: bytes) -> int:
    """For how many ms the executor has run since it took this order."""
    row = database.first("SELECT waited FROM order_wait WHERE serial = ?", (serial,))
    return 0 if row is None else int(row[0])


def count_passkey(connection: sqlite3.Connection, key: bytes, counter: int) -> bool:
    """Whether a passkey's counter went up, and note it. A passkey that counts nothing says 0 always.

    Source: W3C Web Authentication level 3, section 6.1.1; a counter that does not rise is refused.
    """
    row = connection.execute("SELECT counter FROM passkey_counter WHERE key = ?", (key,)).fetchone()
    if row is not None and row[0] >= counter and (row[0] or counter):
        return False
    connection.execute("INSERT OR REPLACE INTO passkey_counter VALUES (?, ?)", (key, counter))
    return True


def count_session(connection: sqlite3.Connection, key: bytes, counter: int) -> bool:
    """As count_passkey, of what opens sessions alone: an order that was approved before one opened is still taken."""
    return count_passkey(connection, b"session" + key, counter)


def _kept(row: Any) -> Kept | None:
    return None if row is None else Kept(*row)

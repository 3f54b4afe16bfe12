"""What each account sent out of this cell in the last hour and day, and when that is enough.

Counted here, durably and beside the message itself, because the workers of submit are several and are restarted. It
binds subscribers and whoever has their password; a compromised submit can name another account.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulkhead.errors import Refused
from bulkhead.holder.database import Database

HOUR = 3_600_000  # ms
DAY_HOURS = 24

MIGRATION = """
    CREATE TABLE spent (
        account BLOB NOT NULL, hour INTEGER NOT NULL, messages INTEGER NOT NULL, recipients INTEGER NOT NULL,
        PRIMARY KEY (account, hour)
    ) WITHOUT ROWID;
    CREATE INDEX spent_hour ON spent (hour)
    """


@dataclass(frozen=True, slots=True)
class Allowance:
    """The [queue] settings; 0 is no limit."""

    messages_per_hour: int
    recipients_per_hour: int
    recipients_per_day: int

    @classmethod
    def configured(cls, section: Mapping[str, Any]) -> "Allowance":
        """From the section, which config has checked."""
        return cls(
            int(section["messages_per_account_hour"]),
            int(section["recipients_per_account_hour"]),
            int(section["recipients_per_account_day"]),
        )


def require_allowance(
    database: Database | sqlite3.Connection, account: bytes, recipients: int, now: int, allowance: Allowance
) -> None:
    """Raises Refused (`sent-too-much`) where one more message to so many recipients is over a limit.

    now: ms. An hour is the present one and the share of the one before it that lies within 60 minutes.
    """
    read = database.read if isinstance(database, Database) else database.execute
    hour, into = divmod(now, HOUR)
    rows = {
        at: (messages, count)
        for at, messages, count in read(
            "SELECT hour, messages, recipients FROM spent WHERE account = ? AND hour > ? ORDER BY hour",
            (account, hour - DAY_HOURS),
        )
    }
    present, before = rows.get(hour, (0, 0)), rows.get(hour - 1, (0, 0))
    share = 1 - into / HOUR
    messages_hour, recipients_hour = (int(present[at] + before[at] * share) for at in (0, 1))
    recipients_day = sum(count for _, count in rows.values())
    for spent, more, limit in (
        (messages_hour, 1, allowance.messages_per_hour),
        (recipients_hour, recipients, allowance.recipients_per_hour),
        (recipients_day, recipients, allowance.recipients_per_day),
    ):
        if limit and spent + more > limit:
            raise Refused("the account has sent as much as it may for now", code="sent-too-much")


def spend(connection: sqlite3.Connection, account: bytes, recipients: int, now: int) -> None:
    """Count one message; counts older than a day are dropped."""
    hour = now // HOUR
    connection.execute("DELETE FROM spent WHERE hour <= ?", (hour - DAY_HOURS - 1,))
    connection.execute(
        "INSERT INTO spent VALUES (?, ?, 1, ?) ON CONFLICT (account, hour) DO UPDATE "
        "SET messages = messages + 1, recipients = recipients + excluded.recipients",
        (account, hour, recipients),
    )

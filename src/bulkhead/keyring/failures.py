"""keyring's own count of wrong passwords, by account, an hour at a time, durable before the answer.

It is what bounds a compromised auth: that may ask as often as it likes, and kill us as often as it can.
Accounts that do not exist share one row, so that guessing names costs no space and takes the same time.
"""

import time
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

from bulkhead.holder.database import Database

HOUR = 3600
NO_ACCOUNT = bytes(16)


class Failures:
    """limit: wrong answers for one account in an hour before none is given."""

    def __init__(self, database: Database, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._database, self.limit, self._clock = database, limit, clock
        rows = database.read("SELECT mid, began, failures FROM failure WHERE began > ?", (int(clock()) - HOUR,))
        self._counts: dict[bytes, tuple[int, int]] = {mid: (began, failures) for mid, began, failures in rows}

    def exhausted(self, mid: bytes) -> bool:
        """Whether this account's hour is used up: then even the right password is answered as a wrong one."""
        began, failures = self._counts.get(mid, (0, 0))
        return failures >= self.limit and began > self._clock() - HOUR

    async def count(self, mid: bytes) -> None:
        """One failure more; returns once it is durable."""
        now = int(self._clock())
        began, failures = self._counts.get(mid, (0, 0))
        if began <= now - HOUR:
            began, failures = now, 0
        self._counts[mid] = (began, failures + 1)
        await self._database.write(partial(_write, mid=mid, began=began, failures=failures + 1))

    async def forget_old(self) -> None:
        """Drop counts of hours that are over."""
        oldest = int(self._clock()) - HOUR
        self._counts = {mid: count for mid, count in self._counts.items() if count[0] > oldest}
        if self._database.first("SELECT 1 FROM failure WHERE began <= ? LIMIT 1", (oldest,)) is not None:
            await self._database.write(partial(_forget, oldest=oldest))


def _write(connection: Connection, *, mid: bytes, began: int, failures: int) -> None:
    connection.execute("INSERT OR REPLACE INTO failure VALUES (?, ?, ?)", (mid, began, failures))


def _forget(connection: Connection, *, oldest: int) -> None:
    connection.execute("DELETE FROM failure WHERE began <= ?", (oldest,))

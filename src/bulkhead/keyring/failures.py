"""keyring's own count of wrong passwords, by account, an hour at a time, durable before the answer.

It is what bounds a compromised auth: that may ask as often as it likes, and kill us as often as it can.
Accounts that do not exist share one row, so that guessing names costs no space and takes the same time.

How many accounts failed within an hour is the number of rows, and has a ceiling. Where it is reached, an account that
has no row is answered as if its password were wrong: what keyring refuses there, a compromised auth could refuse too,
and an honest one reaches its own ceiling first.
"""

import time
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

from bulkhead.holder.database import Database

HOUR = 3600
NO_ACCOUNT = bytes(16)


class Failures:
    """limit: wrong answers for one account in an hour before none is given. accounts_max: those that have any."""

    def __init__(
        self, database: Database, limit: int, accounts_max: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self.limit, self.accounts_max, self._clock = database, limit, accounts_max, clock
        rows = database.read("SELECT mid, began, failures FROM failure WHERE began > ?", (int(clock()) - HOUR,))
        self._counts: dict[bytes, tuple[int, int]] = {mid: (began, failures) for mid, began, failures in rows}

    def exhausted(self, mid: bytes) -> bool:
        """Whether this account's hour, or the tenant's, is used up: then the right password, too, is a wrong one."""
        if self._is_one_too_many(mid):
            return True
        began, failures = self._counts.get(mid, (0, 0))
        return failures >= self.limit and began > self._clock() - HOUR

    async def count(self, mid: bytes) -> None:
        """One failure more; returns once it is durable."""
        now = int(self._clock())
        mid = NO_ACCOUNT if self._is_one_too_many(mid) else mid
        began, failures = self._counts.get(mid, (0, 0))
        if began <= now - HOUR:
            began, failures = now, 0
        self._counts[mid] = (began, failures + 1)
        await self._database.write(partial(_write, mid=mid, began=began, failures=failures + 1))

    def _is_one_too_many(self, mid: bytes) -> bool:
        return mid not in self._counts and len(self._counts) >= self.accounts_max

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

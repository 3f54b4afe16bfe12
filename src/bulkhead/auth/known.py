"""Networks from which an account's password was right: strangers do not slow them down.

A row is a keyed hash of account and network, with the day. Kept by account: 8 of them, as long as auth.known_days says.
They are written once a minute, all in one transaction, and again after a week: a login waits for none. What was not
written yet is forgotten by a crash, and learnt again at the next login.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

from bulkhead.auth.rows import Rows
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.records.derive import Hmac, derive

PER_ACCOUNT = 8
RENEW_DAYS = 7
DAY = 86_400
RECENT_MAX = 1 << 16  # in memory, of about 150 octets; and as many that wait to be written
_Tag = tuple[bytes, bytes]


class Known:
    """days: how long a network is remembered after its last login."""

    def __init__(self, database: Database, rows: Rows, days: int, clock: Callable[[], float] = time.time) -> None:
        self._database, self._rows, self.days, self._clock = database, rows, days, clock
        self._digest = Hmac(derive(rows.keys.index, "known-network")).digest
        self._recent: OrderedDict[bytes, int] = OrderedDict()  # tag: day
        self._unwritten: dict[_Tag, int] = {}

    def has(self, account: AccountId, network: bytes) -> bool:
        """Whether a login from there was right, in the last days."""
        return self._day(account, self._tag(account, network)) > self._today() - self.days

    def remember(self, account: AccountId, network: bytes) -> None:
        """A login from there was right."""
        tag, today = self._tag(account, network), self._today()
        if self._day(account, tag) <= today - min(RENEW_DAYS, self.days) and len(self._unwritten) < RECENT_MAX:
            self._unwritten[self._rows.owner(account), tag] = today
            self._note(tag, today)

    async def flush(self) -> None:
        """Write what was learnt. Raises TemporaryFailure; then it is tried again."""
        if not self._unwritten:
            return
        learnt, self._unwritten = self._unwritten, {}
        try:
            await self._database.write(partial(_write, learnt=learnt))
        except BaseException:
            self._unwritten = learnt | self._unwritten
            raise

    def forget(self, account: AccountId) -> None:
        """Nothing of this account is in memory; its rows go with its other rows."""
        owner = self._rows.owner(account)
        self._unwritten = {key: day for key, day in self._unwritten.items() if key[0] != owner}
        self._recent.clear()

    def _day(self, account: AccountId, tag: bytes) -> int:
        day = self._recent.get(tag)
        if day is None:
            select = "SELECT day FROM known WHERE owner = ? AND tag = ?"
            row = self._database.first(select, (self._rows.owner(account), tag))
            if row is None:
                return -self.days  # before every day that is remembered
            day = int(row[0])
            self._note(tag, day)
        return day

    def _note(self, tag: bytes, day: int) -> None:
        self._recent[tag] = day
        if len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    def _tag(self, account: AccountId, network: bytes) -> bytes:
        return self._digest(account + network)[:8]

    def _today(self) -> int:
        return int(self._clock()) // DAY


def _write(connection: Connection, *, learnt: dict[_Tag, int]) -> None:
    rows = [(owner, tag, day) for (owner, tag), day in learnt.items()]
    connection.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", rows)
    oldest = (
        "DELETE FROM known WHERE owner = ?1 AND tag NOT IN "
        "(SELECT tag FROM known WHERE owner = ?1 ORDER BY day DESC LIMIT ?2)"
    )
    connection.executemany(oldest, [(owner, PER_ACCOUNT) for owner in {owner for owner, _ in learnt}])

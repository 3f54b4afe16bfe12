"""Which login is tried, and which is refused unread: by source, account, gate and the spread over accounts.

Counted is what was wrong: an attempt counts from its arrival, and is taken back where the password was right or
nothing was answered. Who comes from a network where this account's password was right before (known.py) is held up by
nobody else. Whoever is new waits, at most auth.delay_seconds_max from his first attempt, while strangers guess at that
account, or flood its gate, or try many accounts. Numbers and argument: docs/credentials.md, "Guessing online".

An account has four leaky buckets, each of an eighth of what keyring allows in an hour, and filled again in an hour: at
either gate one for strangers and one for known networks. So in no hour can they pass keyring's limit, whoever guesses
through auth; and a gate that is compromised, and claims what source it likes, leaves the other gate its logins.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bulkhead.auth.known import Known
from bulkhead.errors import Error, Refused
from bulkhead.holder.levels import Levels, Spread
from bulkhead.holder.rules import Tried
from bulkhead.holder.sources import Source
from bulkhead.holder.waits import Waits, delay
from bulkhead.identifiers import AccountId

MINUTE, HOUR = 60, 3600
NETWORK_FREE = 8  # wrong passwords from one network for one account before it waits
ACCOUNT_FREE = 32  # from all strangers before every new network waits
CROWD = 4  # wrong passwords from one network in an hour, while many accounts are tried or a gate is flooded
SHARE = 1 / 8  # of keyring's failures_per_hour: a bucket, and what it loses in an hour
ACCOUNTS_MAX = 1 << 17  # more than the 120,000 that all strangers together have in an hour by default


class Limit(Enum):
    """Why an attempt is refused unread. The values are the names in the ledger."""

    SOURCE = "over_source"
    ACCOUNT = "over_account"
    STUFFING = "over_accounts"
    GATE = "over_gate"
    NETWORK = "over_network"
    DELAY = "delayed"


@dataclass(slots=True)
class Attempt:
    """One login. who: account and gate. been: the password was right from there. over: what refuses it, or None.

    known: the same, and it was not wrong from there as often as that is let be since.
    """

    who: bytes
    source: Source
    gate: bytes
    been: bool
    known: bool
    over: Limit | None = None


class Limits:
    """refused: by limit, since start."""

    def __init__(
        self, known: Known, settings: Mapping[str, Mapping[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._known, self.refused, self.tried = known, Counter[Limit](), Tried()
        self._sources, self._networks, self._gates = Levels(1, 1, clock), Levels(1, 1, clock), Levels(1, 1, clock)
        self._by_strangers, self._by_known = Levels(1, 1, clock, ACCOUNTS_MAX), Levels(1, 1, clock, ACCOUNTS_MAX)
        self._crowded, self._tenant = Levels(CROWD, CROWD / HOUR, clock), Levels(1, 1, clock)
        self._waits = Waits(NETWORK_FREE, 1.0, clock)
        self.spread = Spread(1, clock)
        self.set(settings)

    def set(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the limits of these settings; what was counted stays."""
        auth, share = settings["auth"], settings["keyring"]["failures_per_hour"] * SHARE
        self._sources.capacity = auth["failures_per_source_minute"]
        self._networks.capacity = auth["failures_per_network_minute"]
        self._gates.capacity = auth["failures_per_gate_minute"]
        for levels in (self._sources, self._networks, self._gates):
            levels.per_second = levels.capacity / MINUTE
        for levels in (self._by_strangers, self._by_known):
            levels.capacity, levels.per_second = share, share / HOUR
        self._tenant.capacity = HOUR / MINUTE * auth["failing_accounts_per_minute"]
        self._tenant.per_second = self._tenant.capacity / HOUR
        self._longest, self._waits.longest = auth["delay_seconds_max"], auth["delay_network_seconds_max"]
        self.spread.ceiling = auth["failing_accounts_per_minute"]
        self._known.days = auth["known_days"]
        self.tried.set(auth)

    @contextmanager
    def attempt(self, account: AccountId, source: str, gate: str) -> Iterator[Attempt]:
        """One login, from arrival to outcome: wrong where Refused leaves the block, right where nothing does."""
        attempt = self._begin(account, source, gate)
        if attempt.over is not None:
            self.refused[attempt.over] += 1
            yield attempt
            return
        levels = self._levels(attempt)
        key = attempt.who + attempt.source.network
        for level, name in levels:
            level.add(name)
        before = self._waits.count(key, attempt.source.region)
        try:
            yield attempt
        except Refused:
            if not attempt.known:
                self.spread.note(account)
            if not attempt.been:
                self.tried.note(attempt.source, attempt.gate, account)
            raise
        except Error:  # not answered
            _take_back(levels)
            self._waits.put_back(key, attempt.source.region, before)
            raise
        _take_back(levels)
        self._waits.put_back(key, attempt.source.region, None)
        if attempt.source.network:
            self._known.remember(account, attempt.source.network)

    def forget(self, account: AccountId) -> None:
        """Nothing was wrong for this account until now; what sources, networks and gates did stays."""
        for counted in (self._by_strangers, self._by_known, self._waits):
            counted.forget(account)

    def _begin(self, account: AccountId, text: str, gate: str) -> Attempt:
        source = Source.of(text)
        known = bool(source.network) and self._known.has(account, source.network)
        attempt = Attempt(self._who(account, gate), source, gate.encode(), known, known)
        if attempt.known and self._by_known.is_full(attempt.who):
            attempt.known = False
        if not attempt.known:
            attempt.over = self._over(attempt, account)
        return attempt

    def _who(self, account: AccountId, gate: str) -> bytes:
        return account + gate.encode()

    def _over(self, attempt: Attempt, account: AccountId) -> Limit | None:
        who, source = attempt.who, attempt.source
        crowd = self._crowd(attempt)
        hold = delay(self._by_strangers.of(who), free=ACCOUNT_FREE, longest=self._longest)
        ready = self._waits.is_ready(who + source.network, source.region, self._longest if crowd else hold)
        if self.spread.over:
            self.spread.note(account)  # refused or not: the ceiling holds as long as it is tried
        if self._sources.is_full(source.host) or (not attempt.been and self.tried.stops(source, attempt.gate)):
            return Limit.SOURCE
        if not ready:
            return crowd or Limit.DELAY
        if crowd in (Limit.STUFFING, Limit.GATE) and self._crowded.is_full(source.network):
            return crowd
        if self._tenant.is_full(b""):
            return Limit.STUFFING
        return Limit.ACCOUNT if self._by_strangers.is_full(who) else None

    def _crowd(self, attempt: Attempt) -> Limit | None:
        """What makes everybody new wait longest."""
        if self.spread.over:
            return Limit.STUFFING
        if self._gates.is_full(attempt.gate):
            return Limit.GATE
        return Limit.NETWORK if self._networks.is_full(attempt.source.network) else None

    def _levels(self, attempt: Attempt) -> list[tuple[Levels, bytes]]:
        if attempt.known:
            return [(self._by_known, attempt.who)]
        source = attempt.source
        return [
            (self._by_strangers, attempt.who), (self._gates, attempt.gate),
            (self._sources, source.host), (self._networks, source.network),
            (self._crowded, source.network), (self._tenant, b""),
        ]  # fmt: skip


def _take_back(levels: list[tuple[Levels, bytes]]) -> None:
    for level, name in levels:
        level.add(name, -1)

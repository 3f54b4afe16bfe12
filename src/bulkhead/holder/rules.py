"""Stops that a holder makes by itself of what it sees itself: one subject, for a time, and then it lapses.

A subject is a source at a gate, a process of a gate, or one account's outgoing mail: never a tenant, and never an
account for what strangers do. The stop is one of a surface (surfaces.py) that names the digest of its subject: in
memory at once, durable with its event, lapsing once the ledger has it. Officers confirm it by the same stop without an
end, and lift it before its time. What is counted is in memory, bounded, and forgotten by a restart; what is stopped
is not. docs/containment.md, "Rules".
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.errors import Error, TemporaryFailure
from bulkhead.holder.session_reach import SessionReach
from bulkhead.holder.sources import Source, network_text
from bulkhead.holder.surfaces import Surfaces

HELD_MAX = 64  # stops of one rule in force at a time: nobody fills the table of stops from outside
MINUTE_MS = 60_000
SUBJECTS_MAX = 4096  # counted at a time; a flood of them makes a rule forget, never stop more
WINDOW_SECONDS = 3600.0  # of stuffing
BURST_SECONDS = 600.0
BASELINE = 10  # so many times the mean of its compartment's busy minutes is unusual
SHARE = 1 / 64  # of a minute in that mean
CAP = 10  # times the configured number: above that no baseline makes it usual
ACCOUNTS = 16  # of so many at least are the keys that stop a process: one subscriber, or some, stop none
_log = logging.getLogger("bulkhead.rules")


def subject_digest(subject: bytes) -> bytes:
    """What a stop names it by."""
    return hashlib.sha256(subject).digest()


class Rule:
    """One rule of one holder. bit: its surface. minutes: for how long it stops; 0: it does not. fired: since start."""

    def __init__(self, name: str, bit: int, surfaces: Surfaces, exchange: Exchange) -> None:
        self.name, self.bit, self._surfaces, self._exchange = name, bit, surfaces, exchange
        self.minutes, self.fired = 0, 0
        self._tasks: dict[bytes, asyncio.Task[None]] = {}

    def held(self) -> int:
        """How many of its stops are in force."""
        return self._surfaces.count_closed(self.bit)

    def stops(self, subject: bytes) -> bool:
        """Whether this subject is stopped."""
        return self._surfaces.closed_to_subject(self.bit, subject_digest(subject))

    def fire(self, subject: bytes, why: str) -> None:
        """Stop it, unless it is, or too many are. why: for the ledger, no address in it. Returns at once."""
        digest = subject_digest(subject)
        if not self.minutes or digest in self._tasks or self._surfaces.closed_to_subject(self.bit, digest):
            return
        if len(self._tasks) + self.held() >= HELD_MAX:
            _log.error("rule %s: %d stops are in force, and no more are made: %s", self.name, HELD_MAX, why)
            return
        self.fired += 1
        task = self._tasks[digest] = asyncio.get_running_loop().create_task(self._stop(digest, why))
        task.add_done_callback(lambda _: self._tasks.pop(digest, None))

    async def _stop(self, digest: bytes, why: str) -> None:
        now = time.time_ns() // 1_000_000
        kind, until = RECEIVERS[self._exchange.me.compartment].StopSurfaces, now + self.minutes * MINUTE_MS
        request = kind(Stamp.fresh(f"rule:{self.name}"), now, self.bit, digest, until, f"rule {self.name}: {why}"[:200])
        _log.warning("rule %s, for %d minutes: %s", self.name, self.minutes, why)
        try:
            await self._surfaces.stop(request)
        except Error as error:
            _log.error("rule %s: %s", self.name, error.public)


@dataclass(slots=True)
class _Window:
    since: float
    seen: set[bytes] = field(default_factory=set)


class Tried:
    """Accounts that wrong passwords came for from one network by one gate, within an hour; so many fire the rule.

    The gate is part of the subject: one that is compromised, and claims what source it likes, stops only its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rule: Rule | None = None
        self._clock, self._limit, self._minutes = clock, 0, 0
        self._windows: OrderedDict[bytes, _Window] = OrderedDict()

    def set(self, section: Mapping[str, Any]) -> None:
        """Take auth.failing_accounts_per_network_hour, 0: off, and auth.rule_minutes."""
        self._limit, self._minutes = section.get("failing_accounts_per_network_hour", 0), section.get("rule_minutes", 0)
        if self.rule is not None:
            self.rule.minutes = self._minutes

    def watch(self, surfaces: Surfaces, exchange: Exchange) -> None:
        """From now on the rule fires; before there are surfaces nothing is stopped."""
        self.rule = Rule("stuffing", Surface.RULE_SOURCE, surfaces, exchange)
        self.rule.minutes = self._minutes

    def held(self) -> int:
        """How many networks are stopped."""
        return 0 if self.rule is None else self.rule.held()

    def stops(self, source: Source, gate: bytes) -> bool:
        """Whether nobody new is taken from there by that gate."""
        return self.rule is not None and bool(source.network) and self.rule.stops(_from(source, gate))

    def note(self, source: Source, gate: bytes, account: bytes) -> None:
        """A password was wrong, from where this account's was not right before."""
        if self.rule is None or not self._limit or not source.network:
            return
        subject, now = _from(source, gate), self._clock()
        window = self._windows.get(subject)
        if window is None or now - window.since >= WINDOW_SECONDS:
            window = self._windows[subject] = _Window(now)
        self._windows.move_to_end(subject)
        window.seen.add(account[:8])
        if len(window.seen) >= self._limit:
            del self._windows[subject]
            where = f"{gate.decode('ascii', 'replace')}, {network_text(source.network)}"
            self.rule.fire(subject, f"{where}: wrong passwords for {self._limit} accounts in an hour")
        elif len(self._windows) > SUBJECTS_MAX:
            self._windows.popitem(last=False)


def _from(source: Source, gate: bytes) -> bytes:
    return gate + b"/" + source.network


class WorkerRate:
    """Message keys that each process of a gate has opened in this minute. More than is usual stops that process.

    Usual is ten times the mean of the busy minutes of its compartment, no less than what is configured and no more
    than ten times that. end: ends the sessions of a channel. The process that takes its place is another subject.
    accounts: no account's keys count for more than that part of what is configured. Else one subscriber with a large
    mailbox stops process after process, and all who read there.
    """

    def __init__(
        self, rule: Rule, end: Callable[[Channel], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rule, self._end, self.clock, self._floor, self.accounts = rule, end, clock, 0, ACCOUNTS
        self._minute, self._opened, self._means = 0, dict[Channel, int](), dict[str, float]()
        self._of = dict[tuple[Channel, bytes], int]()  # in this minute, by account

    def set(self, section: Mapping[str, Any]) -> None:
        """Take keyring.keys_per_worker_minute, 0: off, and keyring.rule_minutes."""
        self._floor, self.rule.minutes = section.get("keys_per_worker_minute", 0), section.get("rule_minutes", 0)

    def usual(self, compartment: str) -> int:
        """Keys a minute up to which nothing is stopped."""
        return min(CAP * self._floor, max(self._floor, int(BASELINE * self._means.get(compartment, 0.0))))

    def add(self, channel: Channel, account: bytes, keys: int) -> None:
        """So many more of an account were opened."""
        minute = int(self.clock() // 60)
        if minute != self._minute:
            for one, count in self._opened.items():
                mean = self._means.get(one.compartment, 0.0)
                self._means[one.compartment] = mean + (count - mean) * SHARE
            self._minute, self._opened, self._of = minute, {}, {}
        own = self._of.get((channel, account), 0)
        keys = min(keys, max(0, self._floor // self.accounts - own))
        self._of[channel, account] = own + keys
        opened = self._opened[channel] = self._opened.get(channel, 0) + keys
        if self._floor and self.rule.minutes and opened > self.usual(channel.compartment):
            why = f"{channel.compartment} {channel.worker}: {opened} message keys in a minute"
            self.rule.fire(_process(channel), f"{why}, usual are up to {self.usual(channel.compartment)}")
            self._end(channel)

    def require_open(self, channel: Channel) -> None:
        """Raises TemporaryFailure (`contained`) for a process that is stopped: the password was no wrong one."""
        if self.rule.stops(_process(channel)):
            raise TemporaryFailure("this process is stopped for now", code="contained")


def _process(channel: Channel) -> bytes:
    return f"{channel.compartment}/{channel.worker}/{channel.incarnation}".encode()


def watch_workers(
    surfaces: Surfaces, exchange: Exchange, reach: SessionReach, section: Mapping[str, Any]
) -> WorkerRate:
    """What keeps sessions is reached by stops, and its openings are watched."""
    surfaces.reach, surfaces.workers = reach, reach.workers
    rate = WorkerRate(Rule("key-openings", Surface.RULE_WORKER, surfaces, exchange), reach.end_channel)
    rate.set(section)
    return rate


class SenderBurst:
    """Recipients elsewhere that one account sent to within ten minutes; more than so many hold what it sends."""

    def __init__(self, rule: Rule, clock: Callable[[], float] = time.monotonic) -> None:
        self.rule, self._clock, self._limit = rule, clock, 0
        self._sent: OrderedDict[bytes, tuple[float, int]] = OrderedDict()  # since when, how many

    def set(self, section: Mapping[str, Any]) -> None:
        """Take queue.burst_recipients_max, 0: off, and queue.rule_minutes."""
        self._limit, self.rule.minutes = section.get("burst_recipients_max", 0), section.get("rule_minutes", 0)

    def note(self, account: bytes, recipients: int) -> None:
        """So many more, durably queued."""
        if not self._limit:
            return
        since, sent = self._sent.pop(account, (self._clock(), 0))
        if self._clock() - since >= BURST_SECONDS:
            since, sent = self._clock(), 0
        sent += recipients
        if sent > self._limit:
            self.rule.fire(account, f"an account sent to {sent} recipients in ten minutes")
            return
        self._sent[account] = since, sent
        if len(self._sent) > SUBJECTS_MAX:
            self._sent.popitem(last=False)

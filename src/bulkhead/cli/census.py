"""One tenant's census: every credential opened, its two halves matched, and both matched with the account's status.

auth and keyring cannot be joined by their row keys, and neither is told of the other: the command line asks directory
for account ids, a status at a time, and both for the records of these accounts. What disagrees is asked for again
after a while, as a change of password or of status may have been under way.
"""

import asyncio
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.messages.census import ACCOUNTS_MAX, HALVES_BYTES
from bulkhead.boundary.messages.to_auth import CountCredentials, MatchAuth
from bulkhead.boundary.messages.to_directory import STATUS_BYTES, STATUSES_MAX, ListStatuses
from bulkhead.boundary.messages.to_keyring import CountKeyring, MatchKeyring
from bulkhead.cli.account_steps import STATUS_NAMES
from bulkhead.cli.records import PAGE_SECONDS, Opened, open_auth, open_keyring
from bulkhead.cli.road import Road
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, format_id
from bulkhead.records.record import Kind

UNDER_WAY = 3  # batches at once
AGAIN_SECONDS = 2.0
AGAIN_MAX = 10_000  # disagreements asked for again; of more, the rest is counted as it was
LISTED_MAX = 100
NO_STATUS = "-"  # where records were not matched with accounts
STRAY = "stray"  # records of no account
_OPEN = (AccountState.OPEN, AccountState.SWITCHED_OFF)  # a login that is switched off is so besides
_CLOSED = (AccountState.SUSPENDED, AccountState.BOTH)
EXPECTED = {
    1: _OPEN, 2: _OPEN, 3: _CLOSED, 4: _CLOSED, 5: (AccountState.DESTROYED,), 6: (AccountState.DESTROYED,)
}  # fmt: skip
"""AccountStatus to the states that auth and keyring may have, both the same."""
_STATES = {
    0: "unknown", AccountState.OPEN: "open", AccountState.SUSPENDED: "suspended", AccountState.DESTROYED: "destroyed",
    AccountState.SWITCHED_OFF: "switched off", AccountState.BOTH: "suspended and switched off",
}  # fmt: skip
_ROW = struct.Struct(">Q16sB")
_HALVES = struct.Struct(">BBIHI")


@dataclass(slots=True)
class Of:
    """Of one status: its accounts, those without any credential, and what both holders have of them."""

    accounts: int = 0
    bare: int = 0
    auth: Opened = field(default_factory=Opened)
    keyring: Opened = field(default_factory=Opened)


@dataclass(slots=True)
class Census:
    """What was found. mismatches: all; mismatched: the first, as (account, what disagrees)."""

    matched: bool = True
    by_status: defaultdict[str, Of] = field(default_factory=lambda: defaultdict(Of))
    mismatches: int = 0
    mismatched: list[tuple[str, str]] = field(default_factory=list)

    def total(self, compartment: str) -> Opened:
        """Of one holder, all statuses together."""
        whole = Opened()
        for of in self.by_status.values():
            part: Opened = getattr(of, compartment)
            whole.counts += part.counts
            whole.faults += part.faults
            whole.problems += part.problems
        return whole


async def count_quickly(road: Road) -> Census:
    """Every record opened and counted, none matched with its account or its other half."""
    census = Census(matched=False)
    of = census.by_status[NO_STATUS]
    of.auth, of.keyring = await asyncio.gather(open_auth(road), open_keyring(road))
    return census


async def count_accounts(road: Road) -> Census:
    """The whole census. Raises as a road does."""
    census, suspects = Census(), list[tuple[int, AccountId]]()
    waiting: defaultdict[int, list[tuple[int, AccountId]]] = defaultdict(list)
    under_way: set[asyncio.Task[None]] = set()

    async def match(status: int, batch: list[tuple[int, AccountId]]) -> None:
        suspects.extend(await _match(road, census.by_status[STATUS_NAMES[status]], status, batch))

    async def begin(status: int) -> None:
        batch, waiting[status] = waiting[status][:ACCOUNTS_MAX], waiting[status][ACCOUNTS_MAX:]
        under_way.add(asyncio.create_task(match(status, batch)))
        if len(under_way) >= UNDER_WAY:
            done, left = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way.intersection_update(left)
            for task in done:
                task.result()

    after, more = 0, True
    try:
        while more:
            rows = (await road.ask("directory", ListStatuses(after), timeout=PAGE_SECONDS)).rows
            for number, account, status in _ROW.iter_unpack(rows):
                waiting[status].append((number, account))
                after = number
            more = len(rows) == STATUS_BYTES * STATUSES_MAX
            for status in list(waiting):
                while len(waiting[status]) >= ACCOUNTS_MAX or (waiting[status] and not more):
                    await begin(status)
        await asyncio.gather(*under_way)
    finally:
        for task in under_way:
            task.cancel()
    await _look_again(road, census, suspects)
    await _count_strays(road, census)
    return census


async def _match(road: Road, of: Of, status: int, batch: list[tuple[int, AccountId]]) -> list[tuple[int, AccountId]]:
    """Count the records of one batch; the accounts where something disagrees."""
    ids = b"".join([account for _, account in batch])
    auth, keyring = await asyncio.gather(
        road.ask("auth", MatchAuth(ids), timeout=PAGE_SECONDS),
        road.ask("keyring", MatchKeyring(ids), timeout=PAGE_SECONDS),
    )
    of.auth.add(auth)
    of.keyring.add(keyring)
    of.accounts += len(batch)
    rows = list(_HALVES.iter_unpack(auth.halves))
    of.bare += sum(1 for row in rows if not row[1] and not row[3])
    if auth.halves == keyring.halves and not auth.halves[::HALVES_BYTES].strip(bytes(EXPECTED[status])):
        return []
    others = _HALVES.iter_unpack(keyring.halves)
    return [who for who, mine, theirs in zip(batch, rows, others, strict=True) if _disagreement(status, mine, theirs)]


def _disagreement(status: int, auth: tuple[Any, ...], keyring: tuple[Any, ...]) -> str:
    """What is wrong with an account, in words; empty: nothing."""
    name, expected, found = STATUS_NAMES[status], EXPECTED[status], []
    for compartment, state in (("auth", auth[0]), ("keyring", keyring[0])):
        if state not in expected:
            found.append(f"{name} in directory, {_STATES.get(state, state)} in {compartment}")
    if not found and auth[0] != keyring[0]:
        found.append(f"{_STATES[auth[0]]} in auth, {_STATES[keyring[0]]} in keyring")
    if auth[1:3] != keyring[1:3]:
        found.append(f"main password: auth has {_main(auth)}, keyring has {_main(keyring)}")
    if auth[3:] != keyring[3:]:
        found.append(f"app passwords: auth has {auth[3]} (g {auth[4]}), keyring has {keyring[3]} (g {keyring[4]})")
    return "; ".join(found)


def _main(halves: tuple[Any, ...]) -> str:
    return f"g {halves[2]}" + (f" and {halves[1] - 1} more" if halves[1] > 1 else "") if halves[1] else "none"


async def _look_again(road: Road, census: Census, suspects: list[tuple[int, AccountId]]) -> None:
    """Keep of the suspects those that still disagree a while later."""
    if suspects:
        await asyncio.sleep(AGAIN_SECONDS)
    for number, account in suspects[:AGAIN_MAX]:
        rows = (await road.ask("directory", ListStatuses(number - 1, 1))).rows
        auth, keyring = await asyncio.gather(
            road.ask("auth", MatchAuth(account)), road.ask("keyring", MatchKeyring(account))
        )
        status = _ROW.unpack(rows)[2]
        what = _disagreement(status, _HALVES.unpack(auth.halves), _HALVES.unpack(keyring.halves))
        if what:
            census.mismatches += 1
            if len(census.mismatched) < LISTED_MAX:
                census.mismatched.append((format_id("acc", account), what))
    census.mismatches += max(0, len(suspects) - AGAIN_MAX)


async def _count_strays(road: Road, census: Census) -> None:
    """Where a holder has more records than its accounts have, open all: the difference belongs to no account."""
    auth_count = await road.ask("auth", CountCredentials(), timeout=PAGE_SECONDS)
    if auth_count.credentials > census.total("auth").of_kind(Kind.AUTH_HALF):
        _subtract(census.by_status[STRAY].auth, await open_auth(road), census.total("auth"))
    keyring_count = await road.ask("keyring", CountKeyring(), timeout=PAGE_SECONDS)
    seen = census.total("keyring")
    if keyring_count.credentials > seen.of_kind(Kind.KEYRING_HALF) or keyring_count.mailboxes > seen.of_kind(
        Kind.MAILBOX
    ):
        _subtract(census.by_status[STRAY].keyring, await open_keyring(road), census.total("keyring"))


def _subtract(stray: Opened, everything: Opened, seen: Opened) -> None:
    """What `seen` has not; `seen` counts what the accounts have."""
    stray.counts = everything.counts - seen.counts
    stray.faults = max(0, everything.faults - seen.faults)
    stray.problems = [problem for problem in everything.problems if problem not in set(seen.problems)]

"""Logins that fail take the same time whatever was wrong: compared by ranks, with the effect size told.

Rank-biserial correlation r = 2U / (n m) - 1 of Mann and Whitney's U: 0 where neither kind tends to be slower, 1 or -1
where each of one kind is slower than each of the other. Without an effect r deviates by sqrt((n + m + 1) / (3 n m)).
"""

import asyncio
import itertools
import math
import random
import time
from pathlib import Path

import pytest
from tests.records.legacy_vectors import VECTORS

from bulkhead.boundary.messages.to_auth import Scope, SetPassword
from bulkhead.boundary.messages.to_directory import AccountStatus, AddAccount, SetAccountStatus
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys, SetHalfState
from bulkhead.boundary.messages.to_store import OpenAccount
from bulkhead.drill.bare_cell import FAILURE_SECONDS, BareCell, opened, stamp
from bulkhead.identifiers import AccountId, new_id
from bulkhead.imports.digest_text import parse_password
from bulkhead.records.legacy_digest import legacy_digest

LOGINS = 60  # of each kind, taken in turn, so that a busy moment is everybody's


def rank_biserial(one: list[float], other: list[float]) -> float:
    """r of two samples; equal values count half."""
    u = sum((a > b) + 0.5 * (a == b) for a in one for b in other)
    return 2 * u / (len(one) * len(other)) - 1


def test_the_statistic_is_one_for_separate_samples_and_nothing_for_equal_ones() -> None:
    assert rank_biserial([3.0, 4.0], [1.0, 2.0]) == 1 and rank_biserial([1.0, 2.0], [3.0, 4.0]) == -1
    assert rank_biserial([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 0


@pytest.mark.slow
def test_unknown_wrong_suspended_and_legacy_logins_cannot_be_told_apart_by_their_time(tmp_path: Path) -> None:
    async def scenario() -> dict[str, list[float]]:
        async with opened(tmp_path / "cell") as cell:
            return await _times(cell)

    times = asyncio.run(scenario())
    deviation = math.sqrt((2 * LOGINS + 1) / (3 * LOGINS * LOGINS))
    right = times.pop("right")
    for one, other in itertools.combinations(times, 2):
        r = rank_biserial(times[one], times[other])
        print(f"{one} / {other}: r = {r:+.3f} ({abs(r) / deviation:.1f} deviations)")
        assert abs(r) < 4.5 * deviation, (one, other, r)
    assert all(
        rank_biserial(right, failed) == -1 for failed in times.values()
    )  # the control: a success is told at once


async def _imported(cell: BareCell, text: str) -> str:
    """The address of a fresh account whose password is still the digest of another server."""
    person, imported = await cell.add_person(), parse_password(text, clear=False)
    assert imported.recipe is not None
    legacy, account = imported.recipe.legacy(), AccountId(new_id())
    created = await cell.ask("cli", "keyring", CreateMailboxKeys(stamp(), account))
    await cell.ask("cli", "store", OpenAccount(stamp(), account, 0))
    address = f"old-{person.address}"
    await cell.ask("cli", "directory", AddAccount(stamp(), address, created.binding, 0))
    request = SetPassword(stamp(), account, imported.octets, created.token, Scope.ALL, legacy.scheme, legacy.salt)
    await cell.ask("cli", "auth", request)
    await cell.ask("cli", "directory", SetAccountStatus(stamp(), address, AccountStatus.ACTIVE, "drill"))
    return address


def _digests() -> dict[str, str]:
    """A digest of a plain hash, and the dearest of those whose cost lies well below the bare cell's failure_seconds."""
    found: dict[str, tuple[float, str]] = {}
    for _, text, password in VECTORS:
        recipe = parse_password(text, clear=False).recipe
        assert recipe is not None
        begin = time.perf_counter()
        legacy_digest(recipe, password)
        found[recipe.scheme.value] = (time.perf_counter() - begin, text)
    cheap = [(seconds, name, text) for name, (seconds, text) in found.items() if seconds < FAILURE_SECONDS / 4]
    return {name: text for _, name, text in (min(cheap), max(cheap))}


async def _times(cell: BareCell) -> dict[str, list[float]]:
    wrong, suspended, closed = [await cell.add_person() for _ in range(3)]
    await cell.ask("cli", "keyring", SetHalfState(stamp(), suspended.account, 2))
    await cell.ask("cli", "directory", SetAccountStatus(stamp(), closed.address, AccountStatus.SUSPENDED, "drill"))
    legacy = {f"legacy {name}": (await _imported(cell, text), b"a password") for name, text in _digests().items()}
    kinds = legacy | {
        "unknown": (f"nobody@{cell.domain}", b"a password"),
        "wrong": (wrong.address, b"a password"),
        "suspended, right": (suspended.address, suspended.password),
        "suspended, wrong": (suspended.address, b"a password"),
        "closed, right": (closed.address, closed.password),
        "right": (wrong.address, wrong.password),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    draw = random.Random(1906)
    for _ in range(LOGINS):
        for kind, (login, password) in draw.sample(list(kinds.items()), len(kinds)):  # none always after the same one
            start = time.monotonic()
            admitted = await cell.admits("access", login, password)
            times[kind].append(time.monotonic() - start)
            assert admitted == (kind == "right")
    return times

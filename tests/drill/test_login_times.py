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

from bulkhead.boundary.messages.to_directory import AccountStatus, SetAccountStatus
from bulkhead.boundary.messages.to_keyring import SetHalfState
from bulkhead.drill.bare_cell import BareCell, opened, stamp

LOGINS = 60  # of each kind, taken in turn, so that a busy moment is everybody's


def rank_biserial(one: list[float], other: list[float]) -> float:
    """r of two samples; equal values count half."""
    u = sum((a > b) + 0.5 * (a == b) for a in one for b in other)
    return 2 * u / (len(one) * len(other)) - 1


def test_the_statistic_is_one_for_separate_samples_and_nothing_for_equal_ones() -> None:
    assert rank_biserial([3.0, 4.0], [1.0, 2.0]) == 1 and rank_biserial([1.0, 2.0], [3.0, 4.0]) == -1
    assert rank_biserial([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 0


@pytest.mark.slow
def test_unknown_wrong_and_suspended_logins_cannot_be_told_apart_by_their_time(tmp_path: Path) -> None:
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


async def _times(cell: BareCell) -> dict[str, list[float]]:
    wrong, suspended, closed = [await cell.add_person() for _ in range(3)]
    await cell.ask("cli", "keyring", SetHalfState(stamp(), suspended.account, 2))
    await cell.ask("cli", "directory", SetAccountStatus(stamp(), closed.address, AccountStatus.SUSPENDED, "drill"))
    kinds = {
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

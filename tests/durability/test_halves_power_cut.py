"""A password change that was acknowledged survives a power cut in both halves; one under way leaves old or new."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.durability.halves_runner import ACCOUNTS, CHANGES, password
from tests.durability.replay import cut_points, disks
from tests.durability.strace_log import Call, read_calls
from tests.durability.traced import have_strace, traced, wait_for_end
from tests.keyring.two_halves import SETTINGS, TENANT, TwoHalves, new_cell, opened, settled

from bulkhead.identifiers import AccountId

CUTS = 50
pytestmark = pytest.mark.skipif(not have_strace(), reason="needs the Debian package strace")


@dataclass(frozen=True, slots=True)
class Mark:
    """A change of an account's password began or was acknowledged, at that line of the trace."""

    line: int
    done: bool
    account: AccountId
    number: int


@dataclass(frozen=True, slots=True)
class Trace:
    root: Path
    calls: list[Call]
    marks: list[Mark]


def run_traced(directory: Path, left_out: str = "") -> Trace:
    """Set passwords again and again under strace; killed in the end."""
    with traced(directory, "tests.durability.halves_runner", 0, left_out) as ends:
        wait_for_end(ends[0])
    data = directory / "data"
    calls = read_calls(directory / "trace", data)
    return Trace(data, calls, list(marks_of(calls)))


def marks_of(calls: list[Call]) -> Iterator[Mark]:
    for call in calls:
        if call.name == "sendto" and call.strings[0].startswith(b"MARK ") and call.strings[0] != b"MARK end\n":
            _, what, account, number = call.strings[0].split()
            yield Mark(call.begun, what == b"done", AccountId(bytes.fromhex(account.decode())), int(number))


async def wrong(trace: Trace, target: Path, cut: int, *, refusals: bool) -> list[str]:
    """Accounts that neither their acknowledged password nor the one under way opens, or that an older one does."""
    keys = new_cell(target / "unused").keys
    async with opened(TwoHalves(target, keys, {"id": str(TENANT)} | SETTINGS)) as cell:  # type: ignore[arg-type]
        # A change that comes to its end voids logins under way, as it ends sessions: that is a moment, and no loss.
        await settled(lambda: not cell.database("auth").read("SELECT 1 FROM change"))

        async def wrong_with(account: AccountId) -> str:
            mine = [mark for mark in trace.marks if mark.account == account and mark.line < cut]
            done = max((mark.number for mark in mine if mark.done), default=-1)
            begun = max((mark.number for mark in mine), default=-1)
            numbers = range(max(0, done - 1 if refusals else done), begun + 1)
            answers = await asyncio.gather(*(cell.admits(account, password(number)) for number in numbers))
            admitted = [number for number, yes in zip(numbers, answers, strict=True) if yes]
            if done < 0 or (len(admitted) == 1 and admitted[0] >= done):
                return ""
            return f"{account.hex()}: {done} acknowledged, {begun} begun, admitted {admitted}"

        return [text for text in await asyncio.gather(*map(wrong_with, {mark.account for mark in trace.marks})) if text]


def first_loss(trace: Trace, directory: Path, count: int, seed: int) -> tuple[int, list[str]] | None:
    """The first cut after which something is wrong, if any. Every other cut lets a random part survive."""
    chance = random.Random(seed)
    first = min(mark.line for mark in trace.marks)
    replies = [mark.line for mark in trace.marks if mark.done]
    cuts = [cut for cut in cut_points(replies, trace.calls[-1].ended, count, chance) if cut > first]
    for number, (cut, model) in enumerate(disks(trace.root, trace.calls, cuts)):
        target = directory / f"cut{number}"
        for name in ("auth", "keyring"):
            (target / name).mkdir(parents=True)
        model.write_to(target, chance if number % 2 else None)
        for name in ("auth", "keyring"):  # `tenant add` wrote these long before
            (target / name / "keys.sealed").write_bytes((trace.root / name / "keys.sealed").read_bytes())
        try:
            found = asyncio.run(wrong(trace, target, cut, refusals=number % 8 == 0))
        except Exception as error:
            found = [f"does not open: {error}"]
        if found:
            return cut, found
    return None


def test_a_password_that_was_acknowledged_survives_a_power_cut_and_one_under_way_leaves_old_or_new(
    tmp_path: Path,
) -> None:
    trace = run_traced(tmp_path)
    assert len(trace.marks) == 2 * ACCOUNTS * CHANGES
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(trace, cuts, CUTS, seed=5) is None


def test_leaving_out_the_halves_syncs_is_noticed(tmp_path: Path) -> None:
    careless = run_traced(tmp_path, "wal")
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(careless, cuts, 30, seed=6) is not None

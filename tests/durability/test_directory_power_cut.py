"""Accounts and their status survive a power cut once the command line was told so."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.directory.conftest import running
from tests.durability.directory_runner import CALLERS, EACH
from tests.durability.replay import cut_points, disks
from tests.durability.strace_log import Call, read_calls
from tests.durability.traced import have_strace, traced, wait_for_end

from bulkhead.boundary.messages.to_directory import AccountStatus, CheckDirectory, ListAccounts

CUTS = 120
pytestmark = pytest.mark.skipif(not have_strace(), reason="needs the Debian package strace")


@dataclass(frozen=True, slots=True)
class Mark:
    """An account has this status, acknowledged at that line of the trace."""

    line: int
    address: str
    status: int


@dataclass(frozen=True, slots=True)
class Trace:
    root: Path
    calls: list[Call]
    marks: list[Mark]


def run_traced(directory: Path, left_out: str = "") -> Trace:
    """Add and suspend accounts under strace; killed in the end."""
    with traced(directory, "tests.durability.directory_runner", 0, left_out) as ends:
        wait_for_end(ends[0])
    data = directory / "data"
    calls = read_calls(directory / "trace", data)
    words = ((call.begun, call.strings[0].split()) for call in calls if call.name == "sendto")
    marks = [
        Mark(line, word[1].decode(), int(word[2])) for line, word in words if word[0] == b"MARK" and len(word) == 3
    ]
    return Trace(data, calls, marks)


async def wrong(trace: Trace, target: Path, cut: int) -> list[str]:
    """Accounts that are gone, or whose status is older than what was acknowledged."""
    due: dict[str, int] = {}
    for mark in trace.marks:
        if mark.line < cut:
            due[mark.address] = mark.status
    async with running(target) as directory:
        found = list((await directory.ask(CheckDirectory())).problems)
        rows = {row.address: row.status for row in (await directory.ask(ListAccounts())).rows}
    found += [f"{address} is gone" for address in due.keys() - rows.keys()]
    for address, status in due.items():
        if status == AccountStatus.SUSPENDED and rows.get(address) != status:
            found.append(f"{address} is suspended no more")
    return found


def first_loss(
    trace: Trace, directory: Path, count: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, list[str]] | None:
    """The first cut after which something is wrong, if any. Every other cut lets a random part survive."""
    chance = random.Random(seed)
    first = min(mark.line for mark in trace.marks)
    replies = [mark.line for mark in trace.marks]
    cuts = [cut for cut in cut_points(replies, trace.calls[-1].ended, count, chance) if cut > first]
    for number, (cut, model) in enumerate(disks(trace.root, trace.calls, cuts)):
        target = directory / f"cut{number}"
        target.mkdir()
        model.write_to(target, chance if number % 2 else None)
        (target / "keys.sealed").write_bytes((trace.root / "keys.sealed").read_bytes())  # from long before
        monkeypatch.chdir(target)
        try:
            found = asyncio.run(wrong(trace, target, cut))
        except Exception as error:
            found = [f"does not open: {error}"]
        if found:
            return cut, found
    return None


def test_acknowledged_accounts_and_suspensions_survive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = run_traced(tmp_path)
    assert len(trace.marks) == 2 * CALLERS * EACH
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(trace, cuts, CUTS, 8, monkeypatch) is None


def test_leaving_out_the_directorys_syncs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    careless = run_traced(tmp_path, "wal")
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(careless, cuts, 40, 9, monkeypatch) is not None

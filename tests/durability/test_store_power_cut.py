"""Nothing acknowledged is lost at a power cut: shown by traced system calls and dropped writes, not by kills."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from tests.durability.replay import DiskModel, disks
from tests.durability.traced import SEGMENT_BYTES, Trace, have_strace, run_traced
from tests.store.world import World

CUTS = 500
pytestmark = pytest.mark.skipif(not have_strace(), reason="needs the Debian package strace")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return run_traced(tmp_path_factory.mktemp("traced"))


def cut_points(trace: Trace, count: int, chance: random.Random) -> list[int]:
    """Right behind every acknowledgement, and anywhere, `count` in all."""
    replies = sorted(set(trace.acknowledged.values()))
    behind = [line + 1 for line in replies]
    last = trace.calls[-1].ended + 1
    anywhere = [chance.randrange(1, last) for _ in range(max(0, count - len(behind)))]
    return sorted(chance.sample(behind, min(len(behind), count)) + anywhere)


def lost(trace: Trace, target: Path, cut: int) -> list[str]:
    """What is wrong with the store that a cut left: problems, and acknowledged emails that are gone."""
    before = Path.cwd()
    os.chdir(target)
    try:
        return asyncio.run(_lost(trace, cut))
    finally:
        os.chdir(before)


async def _lost(trace: Trace, cut: int) -> list[str]:
    try:
        world = await World(segment_bytes=SEGMENT_BYTES).start()
    except Exception as error:
        return [f"does not open: {error}"]
    try:
        problems = list((await world.check(deep=True)).problems)
        stored = {bytes(row[0]) for row in world.store.state.database.read("SELECT email FROM email")}
    finally:
        await world.stop()
    gone = [email.hex() for email, line in trace.acknowledged.items() if line < cut and email not in stored]
    return problems + gone


def first_loss(trace: Trace, directory: Path, count: int, seed: int) -> tuple[int, list[str]] | None:
    """The first cut after which something is wrong, if any. Every other cut lets a random part survive."""
    chance = random.Random(seed)
    for number, (cut, model) in enumerate(disks(trace.root, trace.calls, cut_points(trace, count, chance))):
        target = directory / f"cut{number}"
        target.mkdir()
        model.write_to(target, chance if number % 2 else None)
        found = lost(trace, target, cut)
        if found:
            return cut, found
    return None


def test_every_acknowledged_message_survives_a_power_cut_at_five_hundred_points(trace: Trace, tmp_path: Path) -> None:
    assert len(trace.acknowledged) >= 250
    assert first_loss(trace, tmp_path, CUTS, seed=1) is None


def test_no_reply_leaves_before_its_bytes_and_its_commit_are_synced(trace: Trace) -> None:
    model, calls = DiskModel(trace.root), iter(sorted(trace.calls, key=lambda call: call.ended))
    pending = next(calls, None)
    for email, line in sorted(trace.acknowledged.items(), key=lambda item: item[1]):
        while pending is not None and pending.ended < line:
            model.take(pending)
            pending = next(calls, None)
        segments = [file for name, file in model.names.items() if name.startswith("segments/")]
        assert any(email in file.synced for file in segments), "replied before the segment or its name was durable"
        rows = [file for name, file in model.names.items() if name.startswith("store.sqlite")]
        assert any(email in file.synced for file in rows), "replied before the row was durable"


@pytest.mark.parametrize("left_out", ["segment", "directory", "wal"])
def test_leaving_out_one_kind_of_sync_is_noticed(left_out: str, tmp_path: Path) -> None:
    careless = run_traced(tmp_path, left_out)
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(careless, cuts, 60, seed=2) is not None


def test_few_syncs_serve_many_messages(trace: Trace) -> None:
    syncs = sum(call.name in {"fsync", "fdatasync"} for call in trace.calls)
    assert syncs < 1.0 * len(trace.acknowledged)

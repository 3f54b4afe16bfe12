"""A power cut at any step of a compaction loses nothing and leaves nothing that the next start does not clear away."""

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.durability.conversation import turns_of
from tests.durability.replay import DiskModel, cut_points, disks
from tests.durability.strace_log import Call, read_calls
from tests.durability.traced import have_strace, requests_to, traced
from tests.store.world import ACCESS, CLI, KEYRING, MX, STORE, World, copy_for, payload, stamp

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store
from bulkhead.identifiers import new_id

SEGMENT_BYTES = 1 << 15
DELIVERIES, CUTS = 160, 300
pytestmark = pytest.mark.skipif(not have_strace(), reason="needs the Debian package strace")


@dataclass(slots=True)
class Trace:
    """One run: its calls, where each delivery and each expunge was acknowledged, which emails were ever to go."""

    root: Path
    calls: list[Call]
    delivered: dict[bytes, int]  # email to line of the reply
    expunged: dict[bytes, int]
    doomed: set[bytes]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return run(tmp_path_factory.mktemp("compacted"))


def run(directory: Path, left_out: str = "") -> Trace:
    """Deliver and expunge while the store compacts, under strace."""
    arguments = (str(SEGMENT_BYTES), left_out, "compact")
    with traced(directory, "tests.durability.store_runner", 4, *arguments) as ends:
        by_uid = asyncio.run(load(ends))
    data = directory / "data"
    calls = read_calls(directory / "trace", data)
    trace = Trace(data, calls, {}, {}, set())
    for turn in turns_of(calls, requests_to("store")):
        if isinstance(turn.request, to_store.DeliverMail):
            trace.delivered |= dict.fromkeys((copy.email for copy in turn.request.copies), turn.answered)
        elif isinstance(turn.request, to_store.Expunge):
            gone = {by_uid[uid] for first, last in turn.request.uids for uid in range(first, last + 1)}
            trace.expunged |= dict.fromkeys(gone, turn.answered)
            trace.doomed |= gone
    return trace


async def load(ends: list) -> dict[int, bytes]:
    """UID to email."""
    edges = []
    for channel, end in zip((MX, ACCESS, KEYRING, CLI), ends, strict=True):
        exchange = Exchange(channel, lambda *_: None)
        exchange.attach(end, STORE, 1)
        edges.append(exchange.to("store"))
    mx, access, keyring, cli = edges
    account, handle = new_id(), new_id()
    await cli.call(to_store.OpenAccount(stamp(), account, 0))
    grant = to_store.Grant(handle, account, to_store.Rights.ALL, *ACCESS, (int(time.time()) + 600) * 1000)
    await keyring.call(to_store.GrantSessions((grant,), True, 0))
    inbox = (await access.call(to_store.ListMailboxes(handle))).rows[0].mailbox
    by_uid: dict[int, bytes] = {}
    for turn in range(1, DELIVERIES + 1):
        copy = copy_for(account, sealed=(40, 60, 1000 + 97 * (turn % 23)))
        await mx.call(to_store.DeliverMail(stamp(), (copy,)), payload(copy))
        by_uid[turn] = copy.email
        if turn % 16 == 0:  # 3 of 4 go, so that what stays is moved again and again
            uids = tuple((uid, uid) for uid in range(turn - 15, turn + 1) if uid % 4)
            _, reader = await access.open(to_store.Expunge(stamp(), handle, inbox, uids, deleted_only=False))
            await reader.read_all()
            await asyncio.sleep(0.15)
    return by_uid


def first_loss(trace: Trace, directory: Path, count: int, seed: int) -> tuple[int, list[str]] | None:
    """The first cut after which something is wrong, if any. Every other cut lets a random part survive."""
    chance = random.Random(seed)
    removals = [call.ended for call in trace.calls if call.name.startswith("unlink") and "segments/" in str(call)]
    replies = [*trace.delivered.values(), *trace.expunged.values()]
    cuts = cut_points(replies, trace.calls[-1].ended + 1, count * 2 // 3, chance)
    cuts = sorted(cuts + [chance.choice(removals) + 1 for _ in range(count // 3) if removals])
    for number, (cut, model) in enumerate(disks(trace.root, trace.calls, cuts)):
        target = directory / f"cut{number}"
        target.mkdir()
        model.write_to(target, chance if number % 2 else None)
        found = asyncio.run(wrong(trace, target, cut))
        if found:
            return cut, found
    return None


async def wrong(trace: Trace, target: Path, cut: int) -> list[str]:
    """Problems, acknowledged emails that are gone, expunged ones that are back, and files that nothing names."""
    with contextlib.chdir(target):
        try:
            world = await World(segment_bytes=SEGMENT_BYTES).start()
        except Exception as error:
            return [f"does not open: {error}"]
        try:
            found = list((await world.check(deep=True)).problems)
            database = world.store.state.database
            stored = {bytes(row[0]) for row in database.read("SELECT email FROM email")}
            await asyncio.sleep(0.01)
            named = {number for (number,) in database.read("SELECT number FROM segment")}
            files = {int(path.stem) for path in Path("segments").iterdir()}
        finally:
            await world.stop()
    sure = {email for email, line in trace.delivered.items() if line < cut} - trace.doomed
    back = {email for email, line in trace.expunged.items() if line < cut} & stored
    found += [f"lost {email.hex()}" for email in sure - stored] + [f"back {email.hex()}" for email in back]
    return found + [f"nothing names segment {number}" for number in files - named]


def test_a_cut_at_any_step_of_a_compaction_loses_nothing_and_leaves_nothing(trace: Trace, tmp_path: Path) -> None:
    assert first_loss(trace, tmp_path, CUTS, seed=1) is None


def test_live_mail_was_moved_in_that_run_and_the_room_of_the_dead_is_free(trace: Trace) -> None:
    model = DiskModel(trace.root)
    written = []
    for call in sorted(trace.calls, key=lambda call: call.ended):
        model.take(call)
        if call.name == "pwrite64" and call.path.startswith("segments/"):
            written.append(call.strings[0])
    records = Counter(re.findall(rb"BHSG\x01\x01\0\0.{16}(.{16})", b"".join(written), re.DOTALL))
    kept = set(trace.delivered) - trace.doomed
    assert sum(records[email] > 1 for email in kept) > len(kept) // 2
    assert len([name for name in model.files if name.startswith("segments/")]) <= 6


@pytest.mark.parametrize("left_out", ["segment", "directory", "wal", "copies"])
def test_leaving_out_one_kind_of_sync_is_noticed(left_out: str, tmp_path: Path) -> None:
    careless = run(tmp_path, left_out)
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(careless, cuts, 60, seed=2) is not None

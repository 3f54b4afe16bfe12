"""What the queue acknowledged survives a power cut: traced system calls, and unsynced writes dropped."""

import asyncio
import hashlib
import random
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.durability.conversation import Turn, turns_of
from tests.durability.replay import cut_points, disks
from tests.durability.strace_log import Call, read_calls
from tests.durability.traced import have_strace, requests_to, traced
from tests.queue.queue_host import QueueHost, body_of, message

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_queue import (
    Enqueue,
    ListQueue,
    Outcome,
    ReadQueued,
    RecipientOutcome,
    ReportAttempt,
    TakeWork,
)
from bulkhead.errors import Error
from bulkhead.identifiers import new_id

CUTS, CALLERS, EACH = 240, 6, 30
SIZES = (500, 3_000, 70_000)
pytestmark = pytest.mark.skipif(not have_strace(), reason="needs the Debian package strace")


@dataclass(frozen=True, slots=True)
class Trace:
    root: Path
    calls: list[Call]
    turns: list[Turn]


def run_traced(directory: Path, left_out: str = "") -> Trace:
    """Enqueue, try and report under strace; killed in the end."""
    with traced(directory, "tests.durability.queue_runner", 2, left_out) as ends:
        asyncio.run(load(ends))
    data = directory / "data"
    calls = read_calls(directory / "trace", data)
    return Trace(data, calls, turns_of(calls, requests_to("queue")))


def size_of(queue_id: bytes) -> int:
    return SIZES[queue_id[5] % len(SIZES)]


def delivered(queue_id: bytes) -> bool:
    """Half of the messages are delivered; the others wait for their next attempt."""
    return hashlib.sha256(queue_id).digest()[0] % 2 == 0


async def load(ends: list[socket.socket]) -> None:
    callers = []
    for name, end in zip(("submit", "courier"), ends, strict=True):
        exchange = Exchange(Channel(name, 0, 1), lambda *_: None)
        exchange.attach(end, Channel("queue", 0, 1), 1)
        callers.append(exchange.to("queue"))
    submit, courier = callers
    done = asyncio.Event()

    async def enqueue() -> None:
        for _ in range(EACH):
            queue_id = (
                bytes([random.randrange(8)]) + new_id()[1:]
            )  # few directories: names come and go in the same ones
            size = size_of(queue_id)
            await submit.call(message(queue_id, "a@far.example", size=size), body_of(queue_id, size))

    async def work() -> None:
        while (items := (await courier.call(TakeWork(4))).items) or not done.is_set():
            for item in items:
                _, reader = await courier.open(ReadQueued(item.queue_id))
                assert await reader.read_all() == body_of(item.queue_id, size_of(item.queue_id))
                outcome = Outcome.DELIVERED if delivered(item.queue_id) else Outcome.DEFERRED
                outcomes = (RecipientOutcome(0, outcome, "2.0.0", "said"),)
                await courier.call(ReportAttempt(Stamp.fresh("courier"), item.queue_id, outcomes, False))
            await asyncio.sleep(0)

    working = asyncio.ensure_future(work())
    await asyncio.gather(*(enqueue() for _ in range(CALLERS)))
    done.set()
    await working


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return run_traced(tmp_path_factory.mktemp("queue"))


async def lost(trace: Trace, target: Path, cut: int) -> list[str]:
    """What is wrong with the queue that a cut left."""
    owed = {turn.request.queue_id for turn in trace.turns if isinstance(turn.request, Enqueue) and turn.answered < cut}
    reported = [turn for turn in trace.turns if isinstance(turn.request, ReportAttempt)]
    settled = {turn.request.queue_id for turn in reported if delivered(turn.request.queue_id)}
    perhaps = {turn.request.queue_id for turn in reported if turn.came < cut} & settled
    surely = {turn.request.queue_id for turn in reported if turn.answered < cut}
    try:
        host = QueueHost(target, messages_max=10_000).open()
    except Exception as error:
        return [f"does not open: {error}"]
    try:
        wrong = list((await host.check()).problems)
        rows = {row.queue_id: row for row in (await host.ask(ListQueue(0, 500), "cli")).rows}
        wrong += [f"{queue_id.hex()} is gone" for queue_id in owed - perhaps - set(rows)]
        wrong += [f"{queue_id.hex()} is back" for queue_id in surely & settled & set(rows)]
        wrong += [
            f"{queue_id.hex()} forgot its attempt" for queue_id in surely & set(rows) if not rows[queue_id].attempts
        ]
        for queue_id in rows:
            try:
                _, reader = await host.peers["courier"].to("queue").open(ReadQueued(queue_id))
                if await reader.read_all() != body_of(queue_id, size_of(queue_id)):
                    wrong.append(f"{queue_id.hex()} has another text")
            except Error as error:
                wrong.append(f"{queue_id.hex()}: {error.public}")
    finally:
        await host.close()
    return wrong


def first_loss(trace: Trace, directory: Path, count: int, seed: int) -> tuple[int, list[str]] | None:
    """The first cut after which something is wrong, if any. Every other cut lets a random part survive."""
    chance = random.Random(seed)
    cuts = cut_points((turn.answered for turn in trace.turns), trace.calls[-1].ended, count, chance)
    for number, (cut, model) in enumerate(disks(trace.root, trace.calls, cuts)):
        target = directory / f"cut{number}"
        target.mkdir()
        model.write_to(target, chance if number % 2 else None)
        found = asyncio.run(lost(trace, target, cut))
        if found:
            return cut, found
    return None


def test_every_acknowledged_message_that_was_not_reported_survives_a_power_cut(trace: Trace, tmp_path: Path) -> None:
    kinds = Counter(type(turn.request) for turn in trace.turns)
    assert kinds[Enqueue] == kinds[ReportAttempt] == CALLERS * EACH
    assert first_loss(trace, tmp_path, CUTS, seed=3) is None


@pytest.mark.parametrize("left_out", ["file", "directory", "wal", "order"])
def test_leaving_out_one_sync_or_removing_a_file_too_early_is_noticed(left_out: str, tmp_path: Path) -> None:
    careless = run_traced(tmp_path, left_out)
    cuts = tmp_path / "cuts"
    cuts.mkdir()
    assert first_loss(careless, cuts, 120, seed=4) is not None

"""What a set of accounts sent waits in the queue while their outbound mail is stopped, by an order too."""

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhead.boundary.messages import to_auth, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_directory import ResolveRecipient, Reverse, SetForward
from bulkhead.boundary.messages.to_queue import CountQueue, LiftSurfaces, ListQueue, ReadSurfaces, TakeWork
from bulkhead.drill.bare_cell import BareCell, Person, letter, opened, stamp
from bulkhead.drill.officers import now_ms
from bulkhead.drill.semantic_orders import MODULES
from bulkhead.errors import TemporaryFailure
from bulkhead.identifiers import parse_address
from bulkhead.queue import rows, state

GUARDS = {"keyring": to_keyring, "auth": to_auth, "queue": to_queue, "store": to_store}


async def send(cell: BareCell, sender: Person) -> None:
    """A message in the queue, as submit puts it there."""
    to = [parse_address("friend@far.example")]
    await cell.outbound().enqueue(
        cell.exchanges["submit"], parse_address(sender.address), to, letter(), account=sender.account
    )


async def taken(cell: BareCell) -> list[str]:
    """Whose mail courier gets now."""
    return [work.reverse_path for work in (await cell.exchanges["courier"].to("queue").call(TakeWork(16))).items]


async def check(directory: Path) -> None:
    async with opened(directory) as cell:
        roster = cell.people.roster()
        data = cell.people.use(roster)
        for name in GUARDS:
            await cell.ask("cli", name, MODULES[name].InstallRoster(stamp(), data, cell.people.sign(data)))
        person, other = await cell.add_person(), await cell.add_person()
        await send(cell, person)
        digest = hashlib.sha256(person.account).digest()
        parameters = {"surfaces": int(Surface.OUTBOUND), "accounts": digest.hex()}
        order = cell.people.order("stop-surfaces", parameters).encode()
        for name, module in GUARDS.items():
            await cell.exchanges["cli"].to(name).call(module.StageAccounts(stamp(), digest), person.account)
            row = await cell.ask("cli", name, module.SubmitOrder(stamp(), order, cell.people.by(order, "ada")))
            assert row.state == "executed", name
        await send(cell, person)
        await send(cell, other)
        await asyncio.sleep(0.05)
        state = await cell.ask("cli", "queue", ReadSurfaces(Surface.OUTBOUND, digest))
        assert state.messages == 2 and [one.members for one in state.stopped] == [1]
        assert await taken(cell) == [other.address]
        assert len((await cell.ask("cli", "queue", ListQueue())).rows) == 3
        await cell.ask("cli", "queue", LiftSurfaces(stamp(), now_ms(), Surface.OUTBOUND, digest, "over"))
        await asyncio.sleep(0.05)
        assert await taken(cell) == [person.address] * 2


async def forwards(directory: Path) -> None:
    async with opened(directory, settings={"directory": {"forwards_elsewhere_max": 1}}) as cell:
        person = await cell.add_person()
        await cell.ask("cli", "directory", SetForward(stamp(), person.address, ("friend@far.example",), False))

        async def forward() -> None:
            asked = ResolveRecipient(person.address, Reverse.GIVEN)
            (statement,) = (await cell.ask("mx", "directory", asked)).forwards
            await cell.outbound().forward(cell.exchanges["mx"], statement, letter(), actor="mx", utf8=False)

        await forward()
        digest = hashlib.sha256(person.account).digest()
        await cell.exchanges["cli"].to("queue").call(to_queue.StageAccounts(stamp(), digest), person.account)
        stop = to_queue.StopSurfaces(stamp(), now_ms(), Surface.OUTBOUND, digest, 0, "test")
        await cell.ask("cli", "queue", stop)
        await forward()
        assert await taken(cell) == []
        assert len((await cell.ask("cli", "queue", ListQueue())).rows) == 2
        await cell.ask("cli", "queue", LiftSurfaces(stamp(), now_ms(), Surface.OUTBOUND, digest, "over"))
        await asyncio.sleep(0.05)
        assert [path[:4] for path in await taken(cell)] == ["fwd-", "fwd-"]


async def burst(directory: Path) -> None:
    async with opened(directory, settings={"queue": {"burst_recipients_max": 2, "rule_minutes": 60}}) as cell:
        person, other = await cell.add_person(), await cell.add_person()
        for sender in (person, other, person, other):
            await send(cell, sender)
        assert await taken(cell) == [person.address, other.address, person.address, other.address]
        await send(cell, person)  # the third
        state = await cell.ask("cli", "queue", ReadSurfaces())
        while not state.stopped:
            await asyncio.sleep(0.01)
            state = await cell.ask("cli", "queue", ReadSurfaces())
        await send(cell, person)
        assert await taken(cell) == []
        (stopped,) = state.stopped
        assert stopped.surface == Surface.RULE_SENDER
        assert (await cell.ask("cli", "queue", CountQueue())).rule_stops == 1
        roster = cell.people.use(cell.people.roster())
        await cell.ask("cli", "queue", to_queue.InstallRoster(stamp(), roster, cell.people.sign(roster)))
        parameters = {"surfaces": int(Surface.RULE_SENDER), "accounts": stopped.accounts.hex()}
        order = cell.people.order("stop-surfaces", parameters).encode()
        row = await cell.ask("cli", "queue", to_queue.SubmitOrder(stamp(), order, cell.people.by(order, "ada")))
        (confirmed,) = (await cell.ask("cli", "queue", ReadSurfaces())).stopped
        assert row.state == "executed" and stopped.until and not confirmed.until
        lift = LiftSurfaces(stamp(), now_ms() + 1, Surface.RULE_SENDER, stopped.accounts, "a newsletter")
        await cell.ask("cli", "queue", lift)
        found: list[str] = []
        while len(found) < 2:
            await asyncio.sleep(0.01)
            found += await taken(cell)
        assert found == [person.address] * 2


async def cut(directory: Path, patched: pytest.MonkeyPatch) -> None:
    """The queue ends after a stop, or its lift, is durable, and before its messages are brought in step."""
    async with opened(directory) as cell:
        person, other = await cell.add_person(), await cell.add_person()
        digest = hashlib.sha256(person.account).digest()
        await cell.exchanges["cli"].to("queue").call(to_queue.StageAccounts(stamp(), digest), person.account)
        done = threading.Event()
        for _ in range(16):  # as many as are lent at a time
            await send(cell, person)
        await send(cell, other)
        for request, sender in (
            (to_queue.StopSurfaces(stamp(), now_ms(), Surface.OUTBOUND, digest, 0, "test"), other),
            (LiftSurfaces(stamp(), now_ms() + 1, Surface.OUTBOUND, digest, "over"), person),
        ):
            done.clear()
            with patched.context() as cut_off:
                cut_off.setattr(rows, "hold", lambda *_, **__: done.set())
                await cell.ask("cli", "queue", request)
                await asyncio.to_thread(done.wait)
            await cell.restart("queue")
            found: list[str] = []
            while sender.address not in found:
                await asyncio.sleep(0.01)
                found = await taken(cell)
            assert sender is person or person.address not in found


async def full(directory: Path, patched: pytest.MonkeyPatch) -> None:
    """The disk refuses what brings the messages in step with a lift, once."""
    async with opened(directory) as cell:
        person = await cell.add_person()
        digest = hashlib.sha256(person.account).digest()
        await cell.exchanges["cli"].to("queue").call(to_queue.StageAccounts(stamp(), digest), person.account)
        await cell.ask("cli", "queue", to_queue.StopSurfaces(stamp(), now_ms(), Surface.OUTBOUND, digest, 0, "test"))
        await send(cell, person)
        hold, refused = rows.hold, list[bool]()

        def refuse_once(connection: sqlite3.Connection, closed: Callable[[bytes], bool]) -> None:
            if not refused:
                refused.append(True)
                raise TemporaryFailure("storage failed", code="storage")
            hold(connection, closed)

        patched.setattr(state, "REMIND_SECONDS", 0.01)
        patched.setattr(rows, "hold", refuse_once)
        await cell.ask("cli", "queue", LiftSurfaces(stamp(), now_ms() + 1, Surface.OUTBOUND, digest, "over"))
        found: list[str] = []
        while not found:
            await asyncio.sleep(0.01)
            found = await taken(cell)
        assert refused and found == [person.address]


@pytest.mark.timeout(20)
def test_a_stop_and_its_lift_reach_what_is_queued_though_the_queue_ended_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(cut(tmp_path / "cell", monkeypatch))


@pytest.mark.timeout(20)
def test_mail_of_a_stop_that_is_over_goes_once_the_disk_takes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(full(tmp_path / "cell", monkeypatch))


def test_more_recipients_in_ten_minutes_than_is_usual_hold_what_that_account_sends_and_nobody_elses(
    tmp_path: Path,
) -> None:
    asyncio.run(burst(tmp_path / "cell"))


def test_a_signed_stop_holds_what_a_set_sent_before_and_sends_after_and_nothing_of_others(tmp_path: Path) -> None:
    asyncio.run(check(tmp_path / "cell"))


def test_what_an_account_forwards_elsewhere_waits_with_what_it_sent(tmp_path: Path) -> None:
    asyncio.run(forwards(tmp_path / "cell"))

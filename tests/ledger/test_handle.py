"""The ledger over its edges: retries known across everything, a full disk that is over once there is room."""

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import (
    AppendEvents,
    CheckLedger,
    Event,
    ProveInclusion,
    ReadCheckpoint,
    ReadEntries,
)
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.ledger.appending import Ledger
from bulkhead.ledger.create import LOG, SUBJECT, begin_log, create_keys, origin_of, public_key, signer_of
from bulkhead.ledger.event import parse_event, subject_id
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import NoteSigner, SignatureType, VerifierKey, parse_note, verify_checkpoint
from bulkhead.ledger.process import start

TENANT, ROOT = TenantId("kddi"), bytes(range(32))
WITNESS = NoteSigner("partner.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32), SignatureType.COSIGNATURE)
LEDGER = {
    "ledger": {"origin": "", "late_seconds": 60, "alive_seconds": 600},
    "pinned": {"ledger_witness": str(WITNESS.verifier)},
}
KEYS = create_keys()
ORIGIN = "bulkhead/kddi"


class World:
    """A started ledger, a holder and a command line."""

    def __init__(self) -> None:
        self.ledger = Exchange(Channel("ledger", 0, 1), _violation)
        self.keyring = Exchange(Channel("keyring", 0, 1), _violation)
        self.cli = Exchange(Channel("cli", 0, 1), _violation)
        self.service: Any = None
        self.generation = 0

    def join(self) -> None:
        self.generation += 1
        for peer in (self.keyring, self.cli):
            ours, theirs = socket.socketpair()
            peer.attach(ours, self.ledger.me, self.generation)
            self.ledger.attach(theirs, peer.me, self.generation)

    async def append(self, *events: Event, request_id: bytes | None = None) -> int:
        stamp = Stamp.fresh("test", request_id=request_id)
        return (await self.keyring.to("ledger").call(AppendEvents(stamp, events))).first

    async def entries(self) -> list[bytes]:
        return list((await self.cli.to("ledger").call(ReadEntries(0))).entries)

    async def check(self) -> Any:
        return await self.cli.to("ledger").call(CheckLedger())


def _violation(*what: object) -> None:
    raise AssertionError(what)


def event(kind: str = "StopLogins", account: bytes = b"", **details: Any) -> Event:
    return Event(kind, int(time.time() * 1000), "officer:abc", account, details)


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    if not Path("keys.sealed").exists():
        Path("keys.sealed").write_bytes(KEYS.seal(TENANT, "ledger", 1, ROOT))
        LOG.mkdir()
        origin = origin_of(TENANT)
        create_log(DirectoryFiles(str(LOG)), signer_of(KEYS, origin), origin)
    world = World()
    world.join()
    host = Host(world.ledger.me, TENANT, {"id": TENANT, **LEDGER}, world.ledger, root_key=ROOT)
    world.service = await start(host)
    try:
        yield world
    finally:
        if world.service is not None:
            await world.service.stop()
        for exchange in (world.ledger, world.keyring, world.cli):
            exchange.close()


Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with running() as world:
                await asyncio.wait_for(test(world), 30)

        asyncio.run(main())

    return go


def test_an_event_is_logged_with_its_sender_under_a_checkpoint_that_verifies_and_names_no_account(run: Run) -> None:
    account = AccountId(new_id())

    async def test(world: World) -> None:
        assert await world.append(event(account=account, reason="drill", epoch=2)) == 0
        (entry,) = await world.entries()
        logged = parse_event(entry)
        assert logged.kind.name == "StopLogins" and logged.details["compartment"] == "keyring"
        assert logged.details["reason"] == "drill" and logged.details["epoch"] == 2
        assert logged.subjects == (subject_id(KEYS.current(SUBJECT)[1], account),)
        assert account.hex().encode() not in entry
        note = parse_note((await world.cli.to("ledger").call(ReadCheckpoint())).text.encode())
        checkpoint = verify_checkpoint(note, ORIGIN, VerifierKey(ORIGIN, public_key(KEYS)))
        assert checkpoint.size == 1
        assert (await world.cli.to("ledger").call(ProveInclusion(0, 1))).hashes == ()

    run(test)


def test_a_retry_is_answered_and_not_repeated_in_the_same_run_and_after_a_restart(run: Run) -> None:
    request_id = new_id()

    async def first(world: World) -> None:
        await world.append(event(), event())
        assert await world.append(event("StopSessions"), event(), request_id=request_id) == 2
        assert await world.append(event("StopSessions"), event(), request_id=request_id) == 2
        assert len(await world.entries()) == 4

    async def second(world: World) -> None:
        assert await world.append(event("StopSessions"), event(), request_id=request_id) == 2
        assert len(await world.entries()) == 4
        assert await world.append(event()) == 4

    run(first)
    run(second)


def test_a_request_id_that_another_compartment_used_up_hides_no_event(run: Run) -> None:
    async def test(world: World) -> None:
        known = new_id()
        directory = Exchange(Channel("directory", 0, 1), _violation)
        ours, theirs = socket.socketpair()
        directory.attach(ours, world.ledger.me, 1)
        world.ledger.attach(theirs, directory.me, 1)
        await directory.to("ledger").call(AppendEvents(Stamp.fresh("test", request_id=known), (event("DomainAdded"),)))
        assert await world.append(event("RecoveryUsed"), request_id=known) == 1
        assert [parse_event(entry).kind.name for entry in await world.entries()] == ["DomainAdded", "RecoveryUsed"]
        directory.close()

    run(test)


def test_a_retry_that_overtakes_its_own_answer_appends_nothing(run: Run) -> None:
    async def test(world: World) -> None:
        request_id = new_id()
        both = await asyncio.gather(*(world.append(event(), request_id=request_id) for _ in range(5)))
        assert both == [0] * 5
        assert len(await world.entries()) == 1

    run(test)


@pytest.mark.parametrize(
    "bad",
    [
        event("NoSuchEvent"),
        event(reason="user@kddi.example"),
        event(account=b"short"),
        event(Name="upper case"),
        Event("StopLogins", 1 << 60, "cell", b"", {}),
        Event("StopLogins", 1, "", b"", {}),
    ],
)
def test_what_is_no_event_is_refused_and_nothing_of_its_request_is_logged(run: Run, bad: Event) -> None:
    async def test(world: World) -> None:
        with pytest.raises(Refused):
            await world.append(event(), bad)
        assert await world.entries() == []
        assert await world.append(event()) == 0

    run(test)


def test_many_callers_share_few_checkpoints(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    renames = []
    rename = DirectoryFiles.rename
    monkeypatch.setattr(DirectoryFiles, "rename", lambda *a: (renames.append(a), rename(*a))[1])

    async def test(world: World) -> None:
        renames.clear()
        indexes = await asyncio.gather(*(world.append(event(number=number)) for number in range(200)))
        assert sorted(indexes) == list(range(200))
        assert len(renames) < 40
        assert (await world.check()).problems == ()

    run(test)


def test_the_largest_requests_fit_and_many_of_them_at_once(run: Run) -> None:
    large = {f"d{number}": "x" * 1000 for number in range(7)}

    async def test(world: World) -> None:
        requests = [world.append(*[event(**large)] * 25) for _ in range(60)]  # 10 MB, above what one batch may hold
        assert sorted(await asyncio.gather(*requests)) == list(range(0, 1500, 25))
        assert (await world.check()).problems == ()

    run(test)


@pytest.mark.parametrize("step", ["write_at", "sync", "write", "rename", "sync_directory"])
def test_after_a_full_disk_the_log_goes_on_by_itself_and_a_retry_is_logged_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def test(world: World) -> None:
        await world.append(event())
        request_id = new_id()
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryFiles, step, _no_room)
            for _ in range(3):
                with pytest.raises(TemporaryFailure):
                    await world.append(event(), event(), request_id=request_id)
        assert await world.append(event(), event(), request_id=request_id) == 1
        assert await world.append(event(), event(), request_id=request_id) == 1
        assert await world.append(event()) == 3
        assert len(await world.entries()) == 4
        assert (await world.check()).problems == ()

    run(test)


def _no_room(*arguments: object, **named: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_fault_of_ours_is_told_to_those_who_wait(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("bulkhead.ledger.log.encode_record", _bug)
            with pytest.raises(TemporaryFailure):
                await asyncio.wait_for(world.append(event()), 5)
        assert await world.append(event()) == 0

    run(test)


def _bug(*arguments: object) -> bytes:
    raise ValueError("our bug")


@pytest.mark.parametrize("where", ["tile", "journal"])
def test_check_finds_a_flipped_byte_and_names_the_file(run: Run, where: str) -> None:
    async def test(world: World) -> None:
        for _ in range(13):
            await world.append(*[event()] * 100)
        assert (await world.check()).problems == ()
        path = Path("log/journal") if where == "journal" else Path("log/tile/entries/000")
        octets = bytearray(path.read_bytes())
        at = len(octets) - 200 if where == "journal" else len(octets) // 2
        octets[at] ^= 1
        path.write_bytes(octets)
        (problem,) = (await world.check()).problems
        assert ("journal" if where == "journal" else "entries/000") in problem

    run(test)


def test_a_check_does_not_stop_appends(run: Run) -> None:
    async def test(world: World) -> None:
        for _ in range(30):
            await world.append(*[event()] * 100)
        check = asyncio.create_task(world.check())
        await asyncio.sleep(0)
        assert await world.append(event()) == 3000
        report = await check
        assert report.problems == () and report.entries in (3000, 3001)

    run(test)


def test_stop_waits_for_what_was_asked_for(run: Run) -> None:
    answers: list[asyncio.Task[int]] = []

    async def first(world: World) -> None:
        answers.extend(asyncio.create_task(world.append(event())) for _ in range(20))
        while not world.ledger._state._in_flight:
            await asyncio.sleep(0)
        await world.service.stop()
        world.service = None

    async def second(world: World) -> None:
        assert len(await world.entries()) == 20

    run(first)
    run(second)


def test_ledger_keeps_nothing_of_a_request_that_is_done(run: Run) -> None:
    async def test(world: World) -> None:
        await asyncio.gather(*(world.append(event()) for _ in range(50)))
        ledger = world.ledger._state
        assert isinstance(ledger, Ledger) and not ledger._in_flight and not ledger._pending

    run(test)


def test_a_ledger_whose_log_is_gone_begins_no_second_history(run: Run) -> None:
    async def first(world: World) -> None:
        await world.append(event())

    run(first)
    shutil.rmtree(LOG)

    async def second(world: World) -> None:
        raise AssertionError("it started")

    with pytest.raises(IntegrityError, match="restore the ledger"):
        run(second)


def test_the_log_of_a_new_tenant_begins_with_its_making(tmp_path: Path) -> None:
    begin_log(KEYS, tmp_path, TENANT, "cli")
    log = open_log(DirectoryFiles(str(tmp_path / LOG)), signer_of(KEYS, origin_of(TENANT)), origin_of(TENANT))
    assert [parse_event(entry).kind.name for entry in log.entries(0, log.size)] == ["TenantCreated"]
    log.close()
    with pytest.raises(IntegrityError):
        begin_log(KEYS, tmp_path, TENANT, "cli")

"""The live ledger: cosignatures of the pinned witness, acts that came late, and a log that says that it lives."""

import asyncio
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ledger.test_handle import KEYS, ORIGIN, WITNESS, Run, World, event, run

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import AddCosignature, Cosigned, Event, ReadCheckpoint
from bulkhead.errors import Refused
from bulkhead.ledger import lateness, process
from bulkhead.ledger.create import signer_of
from bulkhead.ledger.event import parse_event
from bulkhead.ledger.note import (
    Checkpoint,
    Note,
    NoteSigner,
    SignatureType,
    add_signatures,
    cosign,
    parse_note,
    sign_checkpoint,
    verify_cosignature,
)

__all__ = ["run"]
LOG = signer_of(KEYS, ORIGIN)


async def newest(world: World) -> Note:
    return parse_note((await world.cli.to("ledger").call(ReadCheckpoint())).text.encode())


async def cosigned(world: World) -> str:
    return (await world.cli.to("ledger").call(ReadCheckpoint())).cosigned


async def add(world: World, note: Note) -> Cosigned:
    return await world.cli.to("ledger").call(AddCosignature(Stamp.fresh("test"), note.encode().decode()))


def signed(note: Note, at: int, witness: NoteSigner = WITNESS) -> Note:
    return add_signatures(note, [cosign(note, witness, time=at)])


def head(size: int, signer: NoteSigner = LOG) -> Note:
    """A checkpoint of another history."""
    return sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), signer)


def test_the_log_carries_the_pinned_witness_line_and_keeps_it_across_restarts(run: Run) -> None:
    async def first(world: World) -> None:
        await world.append(event())
        note = signed(await newest(world), 100)
        assert (await add(world, note)) == Cosigned(1, 100)
        assert verify_cosignature(await newest(world), WITNESS.verifier) == 100
        await world.append(event())
        assert "partner.example" not in (await newest(world)).encode().decode()
        assert parse_note((await cosigned(world)).encode()) == note

    async def second(world: World) -> None:
        assert verify_cosignature(parse_note((await cosigned(world)).encode()), WITNESS.verifier) == 100
        assert (await add(world, signed(await newest(world), 200))).size == 2

    run(first)
    run(second)


def test_a_newest_checkpoint_carries_one_line_of_the_witness_and_not_every_one(run: Run) -> None:
    async def test(world: World) -> None:
        await world.append(event())
        for at in (100, 200, 200, 300):
            await add(world, signed(await newest(world), at))
        note = await newest(world)
        assert len(note.signatures) == 2 and verify_cosignature(note, WITNESS.verifier) == 300

    run(test)


def test_no_other_cosignature_is_carried(run: Run) -> None:
    other = NoteSigner(WITNESS.name, Ed25519PrivateKey.generate(), SignatureType.COSIGNATURE)

    async def test(world: World) -> None:
        await world.append(event(), event())
        note = await newest(world)
        await add(world, signed(note, 100))
        spoiled = signed(note, 200).encode().replace(note.text.encode(), note.text.replace("\n2\n", "\n1\n").encode())
        stranger = NoteSigner(ORIGIN, other.private)
        cases = {
            "bad-cosignature": [note, signed(note, 200, other), parse_note(spoiled), signed(head(2, stranger), 200)],
            "older-cosignature": [signed(note, 99), signed(head(1), 200)],
            "not-this-log": [signed(head(2), 200), signed(head(9), 200)],
        }
        for code, notes in cases.items():
            for one in notes:
                with pytest.raises(Refused) as refused:
                    await add(world, one)
                assert refused.value.code == code
        assert verify_cosignature(await newest(world), WITNESS.verifier) == 100
        await world.service.reload(
            {"pinned": {"ledger_witness": ""}, "ledger": {"late_seconds": 0, "alive_seconds": 0}}
        )
        with pytest.raises(Refused) as refused:
            await add(world, signed(note, 300))
        assert refused.value.code == "no-witness"

    run(test)


def test_a_damaged_cosigned_file_costs_the_log_nothing(run: Run) -> None:
    async def first(world: World) -> None:
        await world.append(event())
        await add(world, signed(await newest(world), 100))
        path = Path("log/cosigned")
        path.write_bytes(path.read_bytes()[:-9] + b"x" + path.read_bytes()[-8:])

    async def second(world: World) -> None:
        assert await cosigned(world) == ""
        await world.append(event())

    run(first)
    run(second)


def test_acts_that_come_late_are_said_so_once_a_minute_and_compartment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late() -> Event:
        return Event("StopLogins", int(time.time() * 1000) - 90_000, "officer:abc", b"", {})

    async def test(world: World) -> None:
        await world.append(event())
        await world.append(late(), event(), late())
        await world.append(late())
        kinds = [parse_event(entry) for entry in await world.entries()]
        (said,) = [one for one in kinds if one.kind.name == "EventsLate"]
        assert said.details["of"] == "keyring" and said.details["events"] == 2
        assert 90_000 <= int(said.details["waited_ms"] or 0) < 100_000 and said.details["compartment"] == "ledger"
        monkeypatch.setattr(lateness, "AGAIN_SECONDS", 0.0)
        await world.append(late())
        assert [parse_event(entry).kind.name for entry in await world.entries()].count("EventsLate") == 2

    run(test)


def test_a_log_without_other_entries_says_that_it_lives(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TICK_SECONDS", 0.01)

    async def test(world: World) -> None:
        await world.append(event())
        await world.service.reload(
            {"pinned": {"ledger_witness": ""}, "ledger": {"late_seconds": 60, "alive_seconds": 0.05}}
        )
        while len(await world.entries()) < 3:
            await asyncio.sleep(0.01)
        assert parse_event((await world.entries())[2]).kind.name == "LedgerAlive"

    run(test)

"""An export waits for the log to have the end of its own canaries, whoever else ends meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from bulkhead.cli import export_cell
from bulkhead.ledger.event import EVENTS, Event, SubjectId, encode_event

NAME = "export-1-ab"


def _end(actor: str, subject: int) -> bytes:
    subjects = (SubjectId(bytes([subject]) * 16),)
    return encode_event(Event(EVENTS["HalfDestroyed"], 1, actor, subjects, {"version": 1, "compartment": "keyring"}))


def test_ends_of_others_and_one_end_told_twice_are_not_taken_for_those_of_the_canaries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = [_end("cli", 7), _end("cli", 8), _end(NAME, 1), _end(NAME, 1)]
    looks: list[int] = []

    async def read_checkpoint(_: Any) -> tuple[Any, Any]:
        looks.append(len(log))
        if len(looks) == 3:
            log.append(_end(NAME, 2))
        return SimpleNamespace(size=len(log)), None

    async def read_entries(_: Any, first: int, size: int) -> AsyncIterator[tuple[int, bytes]]:
        for index in range(first, size):
            yield index, log[index]

    monkeypatch.setattr(export_cell, "read_checkpoint", read_checkpoint)
    monkeypatch.setattr(export_cell, "read_entries", read_entries)
    asyncio.run(export_cell.log_their_end(None, 0, 2, NAME))  # type: ignore[arg-type]  # whom the stand-ins ask
    assert len(looks) == 3

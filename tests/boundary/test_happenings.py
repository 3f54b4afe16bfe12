"""What is counted on its way to the ledger, and that supervisor and ledger understand each other."""

import asyncio

import pytest

from bulkhead.boundary.first_of_kind import KINDS_MAX, OTHERS, FirstOfKind
from bulkhead.boundary.happenings import Happening, What
from bulkhead.errors import BoundaryViolation
from bulkhead.ledger.event import EVENTS, Event, encode_event
from bulkhead.ledger.own import event_of
from bulkhead.supervisor.control import pack_happening, unpack_happening
from bulkhead.supervisor.happenings import lock_text
from bulkhead.supervisor.lock import LockReport, Mechanism, Outcome, Step


async def test_the_first_of_a_kind_is_said_at_once_and_then_only_how_many_more_until_there_are_none() -> None:
    said: list[tuple[tuple[str, ...], int, int]] = []
    first = FirstOfKind(lambda *what: said.append(what), seconds=0.02)
    for worker in range(1000):
        first.saw(("mx", "bad frame"), worker)
    first.saw(("access", "bad frame"), 3)
    assert said == [(("mx", "bad frame"), 0, 1), (("access", "bad frame"), 3, 1)]
    await asyncio.sleep(0.1)
    assert said[2:] == [(("mx", "bad frame"), 999, 999)]
    first.saw(("mx", "bad frame"), 5)
    assert said[3:] == [(("mx", "bad frame"), 5, 1)]


async def test_kinds_without_end_are_counted_together() -> None:
    said: list[tuple[str, ...]] = []
    first = FirstOfKind(lambda kind, *_: said.append(kind))
    for number in range(1000):
        first.saw((str(number),), 0)
    assert len(said) == KINDS_MAX + 1
    assert said[-1] == OTHERS


@pytest.mark.parametrize("what", What)
def test_what_the_supervisor_packs_is_an_event_that_the_log_takes(what: What) -> None:
    happening = Happening(what, 1_700_000_000_000, 1 << 62, "store", 7, "signal 9", 2**32 - 1, bytes(range(32)))
    assert unpack_happening(pack_happening(happening)) == happening
    event = event_of(happening)
    encode_event(Event(EVENTS[event.kind], event.time, event.actor, (), event.details))


def test_a_happening_that_is_cut_or_unknown_is_a_violation() -> None:
    packed = pack_happening(Happening(What.STARTED, 1))
    for bad in (packed[:-1], packed + b"\0", b"\x09" + packed[1:]):
        with pytest.raises(BoundaryViolation):
            unpack_happening(bad)


def test_the_text_of_locks_names_what_any_process_lacks() -> None:
    whole = Step(Mechanism.SECCOMP, Outcome.APPLIED, "")
    assert lock_text([LockReport((whole,))]) == "whole"
    lacking = (Step(Mechanism.UID, Outcome.MISSING, ""), Step(Mechanism.LANDLOCK, Outcome.PARTIAL, ""), whole)
    assert lock_text([LockReport((whole,)), LockReport(lacking)]) == "missing uid; partial landlock"

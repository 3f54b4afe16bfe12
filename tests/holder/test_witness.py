"""Witnessed acts against a real ledger: in the log before they happen, once, and with no address."""

import asyncio
from typing import Any

import pytest

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.witness import ACTOR_MAX, TEXT_MAX, actor_text, ledger_text, witness
from bulkhead.identifiers import new_id


async def test_an_event_is_in_the_log_when_witness_returns(make_cell: Any) -> None:
    async with make_cell() as cell:
        await witness(cell.auth, Stamp.fresh("officer:abc"), "StopLifted", {"epoch": 3}, new_id())
        (event,) = await cell.entries()
        assert (event.kind.name, event.actor, event.details["epoch"]) == ("StopLifted", "officer:abc", 3)
        assert event.details["compartment"] == "auth" and len(event.subjects) == 1


async def test_an_act_that_is_asked_for_again_is_logged_once_also_across_restarts_of_the_ledger(make_cell: Any) -> None:
    stamp = Stamp.fresh("officer:abc")
    async with make_cell() as cell:
        await asyncio.gather(*(witness(cell.auth, stamp, "StopLifted", {}) for _ in range(3)))
        await cell.stop_ledger()
        await cell.start_ledger()
        await witness(cell.auth, stamp, "StopLifted", {})
        assert len(await cell.entries()) == 1
        await witness(cell.auth, Stamp.fresh("officer:abc"), "StopLifted", {})
        assert len(await cell.entries()) == 2


async def test_the_witness_of_an_act_is_no_retry_of_another_request_with_the_acts_own_id(make_cell: Any) -> None:
    stamp = Stamp.fresh("officer:abc")
    async with make_cell() as cell:
        await witness(cell.auth, stamp, "StopLifted", {})
        (event,) = await cell.entries()
        assert event.details["request"] != stamp.request_id.hex()


async def test_without_a_ledger_there_is_no_witness(make_cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.05)
    async with make_cell(ledger=False) as cell:
        with pytest.raises(TemporaryFailure):
            await witness(cell.auth, Stamp.fresh("officer:abc"), "StopLifted", {})


async def test_what_the_ledger_refuses_is_not_witnessed(make_cell: Any) -> None:
    async with make_cell() as cell:
        with pytest.raises(Refused):
            await witness(cell.auth, Stamp.fresh("officer:abc"), "NoSuchEvent", {})
        assert await cell.entries() == []


@pytest.mark.parametrize("actor", ["@" * 64, "", "\x00\x1b[2J", "user@kddi.example", "長" * 64])
async def test_whatever_name_asks_an_act_can_be_witnessed(make_cell: Any, actor: str) -> None:
    async with make_cell() as cell:
        await witness(cell.auth, Stamp.fresh(actor), "StopLifted", {"reason": ledger_text("@" * 1024)})
        (event,) = await cell.entries()
        assert event.actor.isprintable() and "@" not in event.actor


def test_texts_for_the_ledger_are_printable_short_and_hold_no_at_sign() -> None:
    assert ledger_text("call from a@b.example\r\n\x00") == "call from a at b.example   "
    assert len(ledger_text("@" * 1024)) == TEXT_MAX and len(actor_text("@" * 64)) == ACTOR_MAX
    assert ledger_text("\ud800") == " " and actor_text("") == "cell"
    assert ledger_text("理由") == "理由"

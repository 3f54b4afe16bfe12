"""What incident keeps of a contract: one in force, one entry a change, no measure by an older one."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.incident.cell import start_incident
from tests.keyring.two_halves import TwoHalves, new_cell, opened, settled, stamp

from bulkhead.boundary.messages.to_incident import (
    AdoptContract,
    ContractState,
    GiveNotice,
    ReadContract,
    RecordMeasures,
    TermRow,
)
from bulkhead.errors import Refused

TEXT = "schema = 1\n[backup]\nhours = 26\n"


def _row(standing: int, measured: int = 30) -> TermRow:
    return TermRow("backup.hours", 26, measured, standing, 4, "")


async def _record(cell: TwoHalves, text: str, checked: int, *rows: TermRow) -> None:
    digest = hashlib.sha256(text.encode()).digest()
    await cell.ask("cli", "incident", RecordMeasures(stamp(), digest, checked, b"{}", rows))


async def _state(cell: TwoHalves) -> ContractState:
    return await cell.ask("cli", "incident", ReadContract())  # type: ignore[no-any-return]  # the request's reply


def test_each_change_of_standing_is_one_entry_and_survives_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(new_cell(tmp_path)) as cell:
            await start_incident(cell)
            assert (await _state(cell)).text == ""
            await cell.ask("cli", "incident", AdoptContract(stamp(), TEXT))
            for checked, standing in ((1, 1), (2, 2), (3, 2), (4, 1), (5, 3), (6, 1), (7, 2), (8, 3)):
                await _record(cell, TEXT, checked, _row(standing))
            expected = ["ContractAdopted", "ContractBroken", "ContractKept", "ContractBroken", "ContractKept"]
            await settled(lambda: len(cell.seen.kinds()) >= len(expected))
            assert cell.seen.kinds() == expected
            await cell.services.pop("incident").stop()
            cell.exchanges.pop("incident").close()
            await start_incident(cell)
            (term,) = (await _state(cell)).terms
            assert (term.standing, term.since, term.entry) == (3, 8, 4)

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_measure_by_another_contract_and_an_older_one_are_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(new_cell(tmp_path)) as cell:
            await start_incident(cell)
            with pytest.raises(Refused):
                await _record(cell, TEXT, 1, _row(1))
            await cell.ask("cli", "incident", AdoptContract(stamp(), TEXT))
            await _record(cell, TEXT, 5, _row(2))
            with pytest.raises(Refused):
                await _record(cell, TEXT, 4, _row(1))
            await cell.ask("cli", "incident", AdoptContract(stamp(), TEXT + "# newer\n"))
            with pytest.raises(Refused):
                await _record(cell, TEXT, 6, _row(1))
            state = await _state(cell)
            assert (state.terms, state.checked, state.facts) == ((), 0, b"{}")

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_notice_reaches_the_ledger_without_an_address(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(new_cell(tmp_path)) as cell:
            await start_incident(cell)
            await cell.ask("cli", "incident", GiveNotice(stamp(), 3, "a canary of taro@kddi.example was used"))
            await settled(lambda: "NoticeGiven" in cell.seen.kinds())
            (event,) = cell.seen.events
            assert event.details == {"entry": 3, "text": "a canary of taro at kddi.example was used"}

    asyncio.run(asyncio.wait_for(work(), 30))

"""What incident keeps of known flaws: each change is one entry of the ledger, and silence is told once a day."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.incident.cell import start_incident
from tests.keyring.two_halves import TwoHalves, new_cell, opened, settled, stamp

from bulkhead.boundary.messages.to_incident import AdvisoryRow, ComponentState, ReadComponents, RecordComponents
from bulkhead.errors import Refused
from bulkhead.incident.advisories import AGAIN_MS, CLOSED_MAX

HASH = bytes(range(32))


def row(advisory: str, *, severity: int = 3, published: int = 100, why: str = "") -> AdvisoryRow:
    return AdvisoryRow(advisory, "h11", "0.16.0", severity, published, 200, HASH, "console", why=why)


@dataclass(slots=True)
class Kept:
    """A running incident, and what it is told."""

    cell: TwoHalves

    async def record(self, checked: int, *rows: AdvisoryRow, inventory: bytes = HASH) -> None:
        """A comparison that found these."""
        await self.cell.ask("cli", "incident", RecordComponents(stamp(), checked, 90, inventory, 5, 60, 1, 0, rows))

    async def state(self) -> ComponentState:
        """What it keeps."""
        return await self.cell.ask("cli", "incident", ReadComponents())  # type: ignore[no-any-return]  # the reply

    async def seen(self, count: int) -> list[str]:
        """Kinds of the ledger's entries, once there are so many."""
        await settled(lambda: len(self.cell.seen.kinds()) >= count)
        return list(self.cell.seen.kinds())


def _run(tmp_path: Path, work: Any) -> None:
    async def inside() -> None:
        async with opened(new_cell(tmp_path)) as cell:
            await start_incident(cell)
            await work(Kept(cell))

    asyncio.run(asyncio.wait_for(inside(), 30))


def test_an_advisory_is_opened_and_closed_once_each_and_survives_a_restart(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        assert (await kept.state()).checked == 0
        await kept.record(1, row("A-1"))
        await kept.record(2, row("A-1"))
        await kept.record(3, row("A-1"), row("A-2"))
        await kept.record(4, row("A-2"), row("A-1", why="version 0.16.1 runs"))
        expected = ["AdvisoryOpened", "ComponentsChecked"] * 2 + ["AdvisoryClosed", "ComponentsChecked"]
        assert await kept.seen(6) == expected
        assert kept.cell.seen.events[0].details == {
            "advisory": "A-1", "component": "h11", "version": "0.16.0", "severity": "high", "published": 100,
            "came": 200, "sha256": HASH.hex(), "compartments": "console",
        }  # fmt: skip
        assert kept.cell.seen.events[4].details["why"] == "version 0.16.1 runs"
        cell = kept.cell
        await cell.services.pop("incident").stop()
        cell.exchanges.pop("incident").close()
        await start_incident(cell)
        state = await kept.state()
        assert [(one.advisory, one.opened, one.closed) for one in state.rows] == [("A-2", 3, 0), ("A-1", 1, 4)]
        assert (state.checked, state.components, state.inventory, state.records, state.unsure) == (4, 90, HASH, 5, 1)

    _run(tmp_path, work)


def test_a_record_that_says_something_else_is_told_again_and_keeps_since_when_it_is_open(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        await kept.record(1, row("A-1"))
        await kept.record(2, row("A-1", severity=4, published=50))
        assert await kept.seen(4) == ["AdvisoryOpened", "ComponentsChecked"] * 2
        assert [one.opened for one in (await kept.state()).rows] == [1]

    _run(tmp_path, work)


def test_one_that_comes_back_is_opened_again(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        for checked, rows in ((1, [row("A-1")]), (2, []), (3, [row("A-1")])):
            await kept.record(checked, *rows)
        kinds = [kind for kind in await kept.seen(6) if kind != "ComponentsChecked"]
        assert kinds == ["AdvisoryOpened", "AdvisoryClosed", "AdvisoryOpened"]
        assert [(one.opened, one.closed) for one in (await kept.state()).rows] == [(3, 0)]

    _run(tmp_path, work)


def test_that_nothing_changed_is_told_once_a_day_and_another_inventory_at_once(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        for checked in (1, 2, AGAIN_MS, AGAIN_MS + 1, AGAIN_MS + 2):
            await kept.record(checked)
        await kept.record(AGAIN_MS + 3, inventory=bytes(32))
        assert await kept.seen(3) == ["ComponentsChecked"] * 3
        assert [event.details["inventory"] for event in kept.cell.seen.events] == [HASH.hex(), HASH.hex(), "0" * 64]

    _run(tmp_path, work)


def test_an_older_comparison_is_refused(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        await kept.record(5, row("A-1"))
        with pytest.raises(Refused):
            await kept.record(4)
        assert len((await kept.state()).rows) == 1

    _run(tmp_path, work)


def test_a_comparison_of_a_time_to_come_does_not_stand_in_the_way_of_later_ones(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        await kept.record(1 << 50, row("A-1"))
        await kept.record(5, row("A-2"))
        state = await kept.state()
        assert (state.checked, [one.advisory for one in state.rows if not one.closed]) == (5, ["A-2"])

    _run(tmp_path, work)


def test_closed_ones_are_kept_up_to_a_limit_and_open_ones_always(tmp_path: Path) -> None:
    async def work(kept: Kept) -> None:
        for batch in range(CLOSED_MAX // 100 + 2):
            await kept.record(batch + 1, row("open"), *(row(f"A-{batch}-{number}") for number in range(99)))
        state = await kept.state()
        assert len(state.rows) == 200 and state.rows[0].closed == 0
        database = kept.cell.services["incident"].seeds.database
        assert 0 < database.first("SELECT count(*) FROM advisory WHERE closed > 0")[0] <= CLOSED_MAX

    _run(tmp_path, work)

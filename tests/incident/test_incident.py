"""What incident promises: it knows canaries by hash only, hears what auth tells, and makes no flood of either."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.incident.cell import WORDS, add_weak, copies_of, first_cracked, plant, start_incident
from tests.keyring.two_halves import TwoHalves, new_cell, opened, settled, stamp

from bulkhead.auth.watch import CANARIES_PER_HOUR
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import LoginsRefused
from bulkhead.boundary.messages.to_incident import Canary, CheckIncident, ConfirmLogin, LoginConfirmed, PlantCanaries
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, new_id
from bulkhead.incident import seeds
from bulkhead.records.common_passwords import common_passwords

PASSWORD = b"correct horse battery staple"


def _run(root: Path, work: Callable[[TwoHalves], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened(new_cell(root)) as cell:
            await start_incident(cell)
            await asyncio.wait_for(work(cell), 30)

    asyncio.run(whole())


def test_a_canary_is_never_admitted_and_a_person_always_is(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        person, canary = await cell.add_account(PASSWORD), await add_weak(cell, WORDS[3])
        await plant(cell, canary)
        assert await cell.admits(person, PASSWORD)
        for _ in range(2):
            assert not await cell.admits(canary, WORDS[3])
        copy = (await copies_of(cell))["live"]
        assert (copy.right, copy.wrong, copy.canaries) == (2, 0, 1)
        await settled(lambda: "CanaryUsed" in cell.seen.kinds())
        (event,) = [event for event in cell.seen.events if event.kind == "CanaryUsed"]
        assert event.account == b"" and event.details["copy"] == "live" and event.details["password_right"] is True

    _run(tmp_path, work)


def test_a_wrong_password_for_a_canary_is_heard_of_and_a_known_network_is_not(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        person, canary = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        await plant(cell, canary)
        heard: list[LoginsRefused] = []
        real = cell.exchanges["auth"].to("incident").tell
        assert await cell.admits(person, PASSWORD)
        cell.state("auth").logins.watch._exchange = _Listening(cell.exchanges["auth"], heard)
        assert not await cell.admits(person, b"a slip of the fingers")
        assert not await cell.admits(canary, b"a guess")
        await settled(lambda: bool(heard))
        assert [login.account for fact in heard for login in fact.logins] == [canary]
        real(heard[0])
        for _ in range(3000):
            if (await copies_of(cell))["live"].wrong:
                break
            await asyncio.sleep(0.02)
        assert (await copies_of(cell))["live"].wrong == 1

    _run(tmp_path, work)


class _Listening:
    """auth's exchange, listened to."""

    def __init__(self, exchange: Exchange, heard: list[LoginsRefused]) -> None:
        self._exchange, self._heard = exchange, heard

    def edge_to(self, compartment: str) -> Any:
        return self._exchange.edge_to(compartment)

    def to(self, _: str) -> "_Listening":
        return self

    def tell(self, fact: LoginsRefused) -> bool:
        self._heard.append(fact)
        return True


def test_logins_go_on_without_incident_and_past_what_it_may_refuse(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        people = [await cell.add_account(PASSWORD) for _ in range(3)]
        watch = cell.state("auth").logins.watch
        for _ in range(CANARIES_PER_HOUR):
            watch._canaries.add(b"")
        await plant(cell, people[0])
        assert await cell.admits(people[0], PASSWORD)  # as if a compromised incident had said so sixty times
        watch._canaries.add(b"", -CANARIES_PER_HOUR)
        await plant(cell, people[1])
        assert not await cell.admits(people[1], PASSWORD)
        await cell.services.pop("incident").stop()
        cell.exchanges.pop("incident").close()
        assert await cell.admits(people[2], PASSWORD)

    _run(tmp_path, work)


def test_the_files_of_incident_hold_no_account_id(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, decoy = AccountId(new_id()), AccountId(new_id())
        request = PlantCanaries(stamp(), "backup-1", (Canary(account, decoy),))
        await cell.ask("cli", "incident", request)
        await cell.ask("cli", "incident", request)  # the same request twice plants once
        assert (await copies_of(cell))["backup-1"].canaries == 1
        for who in (account, decoy):
            assert (await cell.ask("auth", "incident", ConfirmLogin(who, b"\x7f\0\0"))) == LoginConfirmed(True)
        assert await cell.ask("auth", "incident", ConfirmLogin(AccountId(new_id()), b"")) == LoginConfirmed(False)
        report = await cell.ask("cli", "incident", CheckIncident())
        assert (report.records, report.problems) == (2, ())
        content = b"".join(path.read_bytes() for path in (cell.root / "incident").iterdir())
        assert account not in content and decoy not in content
        (row,) = (await copies_of(cell))["backup-1"].networks
        assert (row.network, row.count) == ("127.0.0.0/24", 2)

    _run(tmp_path, work)


def test_a_flood_of_networks_fills_neither_table_nor_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "NETWORKS_MAX", 5)

    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        await plant(cell, account)
        own = cell.services["incident"].seeds
        for round_ in range(3):
            for number in range(40):
                own.hit(own.find(account), bytes([10, round_, number]), right=False)
            await own.flush()
        copy = (await copies_of(cell))["live"]
        assert copy.wrong == 120 and len(copy.networks) <= 6
        await asyncio.sleep(0.3)
        assert cell.seen.kinds().count("CanaryUsed") <= 6

    _run(tmp_path, work)


def test_the_list_is_there_after_a_restart_and_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        await plant(cell, account)
        await cell.services.pop("incident").stop()
        cell.exchanges.pop("incident").close()
        again = await start_incident(cell)
        assert again.find(account) is not None
        monkeypatch.setattr(seeds, "SEEDS_MAX", 3)
        with pytest.raises(Refused, match="the list holds"):
            await plant(cell, AccountId(new_id()))

    _run(tmp_path, work)


def test_who_cracks_a_stolen_copy_with_the_top_of_lists_meets_canaries_and_names_the_copy(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        people = [await cell.add_account(PASSWORD + str(number).encode()) for number in range(6)]
        people += [await add_weak(cell, common_passwords()[900 + number]) for number in range(2)]
        canaries = [await add_weak(cell, WORDS[5 * number]) for number in range(3)]
        await plant(cell, *canaries)
        first = first_cracked(cell, [*people, *canaries], WORDS)
        assert first is not None and first[0] in canaries
        assert not await cell.admits(*first)
        assert (await copies_of(cell))["live"].right == 1

    _run(tmp_path, work)

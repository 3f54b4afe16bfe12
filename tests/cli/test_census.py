"""The census over a real auth and a real keyring: every disagreement is found, counted and listed."""

import asyncio
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.auth.test_app_passwords import MAIN, make
from tests.keyring.test_revocation import revoke
from tests.keyring.two_halves import TENANT, TwoHalves, refused, run, stamp

from bulkhead.boundary.messages.revocation import RevokedKind
from bulkhead.boundary.messages.to_auth import MatchAuth, SetLoginState
from bulkhead.boundary.messages.to_directory import AccountStatus, ListStatuses, StatusPage
from bulkhead.boundary.messages.to_keyring import MatchKeyring, SetHalfState
from bulkhead.cli import census as census_module
from bulkhead.cli.census import STRAY, Census, count_accounts, count_quickly
from bulkhead.cli.credentials import digest_of, report_of, weakness
from bulkhead.holder import census as holder_census
from bulkhead.identifiers import AccountId, format_id, new_id
from bulkhead.records.record import Kind

ACTIVE, SUSPENDED, CANCELLED = AccountStatus.ACTIVE, AccountStatus.SUSPENDED, AccountStatus.CANCELLED


class CellRoad:
    """The command line's road to a cell in this process; what directory would say is given."""

    def __init__(self, cell: TwoHalves, statuses: dict[AccountId, int]) -> None:
        self.cell, self.statuses = cell, statuses

    async def ask(self, compartment: str, request: Any, *, timeout: float = 10.0) -> Any:
        if isinstance(request, ListStatuses):
            rows = [struct.pack(">Q16sB", number, *row) for number, row in enumerate(self.statuses.items(), 1)]
            return StatusPage(b"".join(rows[request.after : request.after + request.limit]))
        return await self.cell.ask("cli", compartment, request)


async def counted(cell: TwoHalves, statuses: dict[AccountId, int]) -> Census:
    return await count_accounts(CellRoad(cell, statuses))  # type: ignore[arg-type]  # asks as a Road does


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "ACCOUNTS_MAX", 2)
    monkeypatch.setattr(census_module, "STATUSES_MAX", 3)
    monkeypatch.setattr(census_module, "AGAIN_SECONDS", 0.0)


def test_a_sound_cell_is_counted_by_status_and_nothing_disagrees(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(b"correct horse battery") for _ in range(5)]
        bare = AccountId(new_id())
        await cell.create(bare)
        for state, account in ((2, accounts[3]), (3, accounts[4])):
            await cell.ask("cli", "keyring", SetHalfState(stamp(), account, state))
            await cell.ask("cli", "auth", SetLoginState(stamp(), account, state))
        statuses = dict.fromkeys([*accounts[:3], bare], ACTIVE) | {accounts[3]: SUSPENDED, accounts[4]: CANCELLED}
        census = await counted(cell, statuses)
        assert (census.mismatches, STRAY in census.by_status) == (0, False)
        scheme = "argon2id(m=8,t=1,p=1)"
        assert census.by_status["active"].auth.counts == {(1, scheme, 1, 1): 3}
        assert census.by_status["suspended"].auth.counts == {(1, scheme, 3, 1): 1}
        assert census.by_status["active"].keyring.counts == {(2, "", 1, 1): 3, (4, "", 0, 1): 4}
        assert (census.by_status["active"].accounts, census.by_status["active"].bare) == (4, 1)
        quick = await count_quickly(CellRoad(cell, {}))  # type: ignore[arg-type]  # as above
        assert quick.total("auth").counts == census.total("auth").counts
        assert quick.total("keyring").counts == census.total("keyring").counts
        report = report_of(str(TENANT), 1, census)
        assert report["records"] == sum(row["count"] for row in report["counts"]) == 4 + 4 + 5

    run(tmp_path, work)


@pytest.mark.parametrize("at_once", [1, 1 << 16])
def test_accounts_are_answered_in_the_order_asked_each_with_all_its_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(holder_census, "SLICE_ACCOUNTS", 2)
    monkeypatch.setattr(holder_census, "HALVES_AT_ONCE", at_once)

    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(MAIN) for _ in range(7)]
        for number, account in enumerate(accounts):
            for _ in range(number % 3):
                await make(cell, account)
        accounts.insert(3, AccountId(new_id()))
        for request in (MatchAuth, MatchKeyring):
            compartment = "auth" if request is MatchAuth else "keyring"
            reply = await cell.ask("cli", compartment, request(b"".join(accounts)))
            rows = list(struct.iter_unpack(">BBIHI", reply.halves))
            assert [row[1] for row in rows] == [1, 1, 1, 0, 1, 1, 1, 1]
            assert [row[3] for row in rows] == [0, 1, 2, 0, 0, 1, 2, 0]
            assert sum(row.count for row in reply.counts if row.kind in (1, 2)) == 7 + 6
            assert sum(row.count for row in reply.counts) == 13 + (6 if request is MatchAuth else 7)

    run(tmp_path, work)


def test_every_disagreement_is_listed_and_every_stray_counted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        sound, lost, behind, closed, _stray = [await cell.add_account(b"correct horse battery") for _ in range(5)]
        auth, keyring = (cell.services[name] for name in ("auth", "keyring"))
        bid = auth._auth.rows.bid(lost, 0)
        await cell.database("auth").write(lambda c: c.execute("DELETE FROM half WHERE bid = ?", (bid,)))
        other = keyring._keyring.keys.bid(behind, 0)
        await cell.database("keyring").write(lambda c: c.execute("UPDATE half SET g = 2 WHERE bid = ?", (other,)))
        await cell.ask("cli", "keyring", SetHalfState(stamp(), closed, 2))
        census = await counted(cell, dict.fromkeys((sound, lost, behind, closed), ACTIVE))
        assert dict(census.mismatched) == {
            format_id("acc", lost): "main password: auth has none, keyring has g 1",
            format_id("acc", behind): "main password: auth has g 1, keyring has g 2",
            format_id("acc", closed): "active in directory, suspended in keyring",
        }
        assert census.mismatches == 3
        assert census.total("keyring").faults == 1  # g is bound: a half under another g does not open
        assert census.by_status[STRAY].auth.of_kind(Kind.AUTH_HALF) == 1
        assert census.by_status[STRAY].keyring.counts == {(2, "", 1, 1): 1, (4, "", 0, 1): 1}
        found = await counted(cell, dict.fromkeys((sound, AccountId(new_id())), ACTIVE))
        ((_, what),) = found.mismatched
        assert what == "active in directory, unknown in keyring"

    run(tmp_path, work)


def test_what_agrees_by_the_time_it_is_asked_again_is_no_finding(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(b"correct horse battery")
        await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 2))
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 2))
        road = CellRoad(cell, {account: ACTIVE})
        counting = asyncio.create_task(count_accounts(road))  # type: ignore[arg-type]  # as above
        await asyncio.sleep(0)
        road.statuses[account] = SUSPENDED
        assert (await counting).mismatches == 0

    run(tmp_path, work)


@pytest.mark.parametrize("which", [RevokedKind.MAIN, RevokedKind.APP, RevokedKind.ALL])
def test_what_an_epoch_revokes_is_counted_as_revoked_in_both_halves(tmp_path: Path, which: int) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        await make(cell, account)
        await revoke(cell, which)
        kept = await cell.add_account(MAIN)
        road = CellRoad(cell, dict.fromkeys((account, kept), ACTIVE))
        for census in (await count_accounts(road), await count_quickly(road)):  # type: ignore[arg-type]  # as above
            report = report_of(str(TENANT), 1, census)
            assert report["revoked_auth"] == report["revoked_keyring"] == (which & 1) + (which >> 1)
            states = {
                (row["record"], row["scheme"] == "hkdf", row["state"]): row["count"]
                for row in report["counts"]
                if row["record"] in ("auth half", "keyring half")
            }
            app = "revoked" if which & RevokedKind.APP else "active"
            gone = (which & 1) + (which >> 1)
            assert states.get(("auth half", True, app)) == 1
            assert states.get(("auth half", False, "revoked"), 0) == which & 1
            assert states["keyring half", False, "revoked"] == gone
            assert states["keyring half", False, "active"] == 3 - gone

    run(tmp_path, work)


def test_ids_of_another_length_are_refused(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        for compartment, request in (("auth", MatchAuth(bytes(17))), ("keyring", MatchKeyring(bytes(31)))):
            with refused("bad-account"):
                await cell.ask("cli", compartment, request)

    run(tmp_path, work)


def test_the_worst_protected_come_first() -> None:
    schemes = [
        "hkdf",
        "argon2id(m=19456,t=2,p=1)",
        "argon2id(m=8,t=1,p=1)(SSHA)",
        "unreadable",
        "argon2id(m=8,t=1,p=1)",
    ]
    assert sorted(schemes, key=weakness) == [
        "unreadable", "argon2id(m=8,t=1,p=1)(SSHA)", "argon2id(m=8,t=1,p=1)", "argon2id(m=19456,t=2,p=1)", "hkdf",
    ]  # fmt: skip


def test_the_digest_is_that_of_one_line_of_ordered_json() -> None:
    report = report_of("stnet", 1, Census())
    line = json.dumps(json.loads(json.dumps(report)), sort_keys=True, separators=(",", ":"))
    shown = subprocess.run(["sha256sum"], input=line.encode(), capture_output=True, check=True).stdout
    assert shown.split()[0].decode() == digest_of(report).hex()

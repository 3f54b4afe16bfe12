"""Support cases and consent codes, in a bare cell: directory, store and auth for real."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkhead.boundary.messages import to_auth, to_directory, to_store
from bulkhead.boundary.messages.to_ledger import ReadEntries
from bulkhead.boundary.support import (
    ACT_NUMBERS,
    CASE_LIFE_MAX_MS,
    CASES_PER_HOUR,
    CONSENT_LIFE_MS,
    CONSENT_TRIES,
    HOUR_MS,
    LOOKS_PER_HOUR,
    SUPPORT_ACTS,
)
from bulkhead.drill.bare_cell import BareCell, Person, answer, opened, stamp
from bulkhead.drill.officers import now_ms
from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.ledger.event import parse_event
from bulkhead.records.case import Case, decode_case

CODE = b"20260617"
MODULES: dict[str, Any] = {"directory": to_directory, "store": to_store, "auth": to_auth}
UNLOCK, REVOKE, END, RECOVER = (
    ACT_NUMBERS[name] for name in ("unlock", "revoke-app-passwords", "end-sessions", "request-recovery")
)


def play(root: Path, work: Callable[[BareCell], Awaitable[None]], *, roster: bool = True) -> None:
    async def whole() -> None:
        async with opened(root) as cell:
            if roster:
                await install(cell)
            await work(cell)

    asyncio.run(whole())


async def install(cell: BareCell, **changes: Any) -> None:
    made = cell.people.roster(**changes)
    data = cell.people.use(made)
    for name, module in MODULES.items():
        await cell.ask("cli", name, module.InstallRoster(stamp(), data, cell.people.sign(data)))


async def open_case(cell: BareCell, case: Case, signer: str = "", at: tuple[str, ...] = tuple(MODULES)) -> Any:
    data, approvals = cell.people.signed_case(case, signer)
    for name in at:
        row = await answer(cell.exchanges["cli"], name, MODULES[name].OpenCase(stamp(), data, approvals))
    return row


async def opened_case(cell: BareCell, person: Person, officer: str = "sup") -> bytes:
    case = cell.people.case(person.account, person.address, officer)
    assert not isinstance(await open_case(cell, case), str)
    return case.number


async def consent(cell: BareCell, person: Person, code: bytes = CODE, password: bytes = b"") -> Any:
    request = to_auth.GiveConsent(
        stamp(), person.account, bytes(bytearray(password or person.password)), bytes(bytearray(code))
    )
    return await answer(cell.exchanges["cli"], "auth", request)


async def act(cell: BareCell, number: bytes, what: int, code: bytes = CODE) -> Any:
    return await answer(cell.exchanges["cli"], "auth", to_auth.ActInCase(stamp(), number, what, bytes(bytearray(code))))


async def show(cell: BareCell, number: bytes, address: str) -> Any:
    return await answer(cell.exchanges["cli"], "directory", to_directory.ShowCard(stamp(), number, address))


async def told(cell: BareCell) -> list[tuple[str, dict[str, Any]]]:
    await asyncio.sleep(0.05)  # what narrows is told afterwards
    entries = await cell.ask("cli", "ledger", ReadEntries(0))
    found = [parse_event(entry) for entry in entries.entries]
    return [(event.kind.name, dict(event.details)) for event in found if event.kind.number in range(110, 116)]


def test_a_card_is_masked_counts_and_is_in_the_ledger_before_it_is_shown(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person("taro")
        alias = f"alias@{cell.domain}"
        await cell.ask("cli", "directory", to_directory.AddAlias(stamp(), person.address, alias))
        number = await opened_case(cell, person)
        card = await show(cell, number, person.address)
        assert (card.address, card.aliases, card.forwards) == (person.address, 1, 0)
        case = cell.people.case(person.account, alias)
        await open_case(cell, case)
        assert (await show(cell, case.number, alias)).address == f"t***@{cell.domain}"
        usage = await cell.ask("cli", "store", to_store.ShowUsage(stamp(), number))
        logins = await cell.ask("cli", "auth", to_auth.ShowLoginCard(stamp(), number))
        assert (usage.used, logins.app_passwords) == (0, 0)
        kinds = [kind for kind, _ in await told(cell)]
        assert kinds.count("SupportCardShown") == 4 and kinds.count("SupportCaseOpened") == 6
        await cell.stop("ledger")
        with pytest.raises(TemporaryFailure):
            await (
                cell.exchanges["cli"]
                .to("directory")
                .call(to_directory.ShowCard(stamp(), number, person.address), timeout=0.5)
            )

    play(tmp_path / "cell", work)


def test_a_case_shows_no_other_address_and_does_not_say_whether_it_exists(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person, other = await cell.add_person(), await cell.add_person()
        number = await opened_case(cell, person)
        assert await show(cell, number, other.address) == "other-account"
        assert await show(cell, number, f"nobody@{cell.domain}") == "other-account"
        crossed = cell.people.case(other.account, person.address)  # a console that put another account behind it
        await open_case(cell, crossed)
        assert await show(cell, crossed.number, person.address) == "other-account"

    play(tmp_path / "cell", work)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tenant": "kddi"}, "other-tenant"),
        ({"issued": 1, "expires": 2}, "expired"),
        ({"issued": 2**45, "expires": 2**45 + 1}, "not-yet"),
        ({"expires": 2**44}, "too-long"),
        ({"roster": 9}, "old-roster"),
        ({"officer": "nobody"}, "unknown-officer"),
        ({"officer": "ops"}, "other-role"),
        ({"officer": "eng"}, "other-role"),
        ({"officer": "bot"}, "other-role"),
    ],
)
def test_faulty_cases_are_refused_by_name(changes: dict[str, Any], code: str, faulty: dict[str, Any]) -> None:
    assert faulty[repr(changes)] == code


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What auth says to each fault, by the changes."""
    found: dict[str, Any] = {}
    changes: list[dict[str, Any]] = [
        {"tenant": "kddi"}, {"issued": 1, "expires": 2}, {"issued": 2**45, "expires": 2**45 + 1},
        {"expires": 2**44}, {"roster": 9}, {"officer": "nobody"}, {"officer": "ops"}, {"officer": "eng"},
        {"officer": "bot"},
    ]  # fmt: skip

    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        for one in changes:
            case = replace(cell.people.case(person.account, person.address), **one)
            signer = case.officer if case.officer in cell.people.keys else "sup"
            found[repr(one)] = await open_case(cell, case, signer, ("auth",))

    play(tmp_path_factory.mktemp("faulty") / "cell", work)
    return found


def test_nobody_opens_a_case_without_an_officers_signature_once_there_is_a_roster(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        local = replace(
            cell.people.case(person.account, person.address, "cli"), roster=0, roster_hash=bytes(32)
        ).encode()
        for name, module in MODULES.items():
            row = await cell.ask("cli", name, module.OpenCase(stamp(), local))
            assert row.role == "local", name
        number = decode_case(local).number
        assert not isinstance(await show(cell, number, person.address), str)
        await install(cell)
        assert await show(cell, number, person.address) == "no-case"  # it ended with the first roster
        again = replace(cell.people.case(person.account, person.address, "cli")).encode()
        request = to_directory.OpenCase(stamp(), again)
        assert await answer(cell.exchanges["cli"], "directory", request) == "unsigned"
        assert await open_case(cell, cell.people.case(person.account, person.address), "sec") == "unknown-key"

    play(tmp_path / "cell", work, roster=False)


def test_a_case_ends_by_its_hour_by_closing_and_with_its_officer(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        first, second, third = [await opened_case(cell, person) for _ in range(3)]
        for name, module in MODULES.items():
            await cell.ask("cli", name, module.CloseCase(stamp(), first))
        assert await show(cell, first, person.address) == "no-case"
        assert await act(cell, first, RECOVER, b"") == "no-case"
        directory = cell.services["directory"]._directory
        directory.orders.cases._clock = lambda: now_ms() + HOUR_MS + 1
        assert await show(cell, second, person.address) == "no-case"
        directory.orders.cases._clock = now_ms
        assert not isinstance(await show(cell, third, person.address), str)
        await install(cell, officers=tuple(one for one in cell.people.officers() if one.name != "sup"))
        assert await show(cell, third, person.address) == "no-case"

    play(tmp_path / "cell", work)


def test_cases_and_looks_of_one_officer_are_capped_by_the_hour_across_restarts(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        numbers = [await opened_case(cell, person) for _ in range(CASES_PER_HOUR)]
        assert await open_case(cell, cell.people.case(person.account, person.address)) == "case-cap"
        for _ in range(LOOKS_PER_HOUR):
            assert not isinstance(await show(cell, numbers[0], person.address), str)
        assert await show(cell, numbers[1], person.address) == "look-cap"
        await cell.restart("directory")
        assert await show(cell, numbers[1], person.address) == "look-cap"
        other = await opened_case(cell, person, "ada")
        assert not isinstance(await show(cell, other, person.address), str)

    play(tmp_path / "cell", work)


def test_a_code_needs_the_password_and_lets_one_act_happen_once(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person, other = await cell.add_person(), await cell.add_person()
        number = await opened_case(cell, person)
        assert await consent(cell, person, password=b"wrong password") == "bad-credentials"
        assert await act(cell, number, UNLOCK) == "bad-consent"
        assert not isinstance(await consent(cell, other), str)
        assert await act(cell, number, UNLOCK) == "bad-consent"  # it is another account's
        assert not isinstance(await consent(cell, person), str)
        assert await act(cell, number, 99) == "unknown-act"
        assert await act(cell, number, UNLOCK, b"2026061") == "bad-consent"
        request = to_auth.ActInCase(stamp(), number, UNLOCK, bytes(bytearray(CODE)))
        assert not isinstance(await answer(cell.exchanges["cli"], "auth", request), str)
        again = to_auth.ActInCase(request.stamp, number, UNLOCK, bytes(bytearray(CODE)))
        assert not isinstance(await answer(cell.exchanges["cli"], "auth", again), str)  # an answer that was lost
        assert await act(cell, number, UNLOCK) == "bad-consent"
        acted = [details for kind, details in await told(cell) if kind == "SupportActed"]
        assert [(one["act"], one["officer"]) for one in acted] == [("unlock", "sup")]

    play(tmp_path / "cell", work)


def test_a_code_is_void_after_its_tries_its_time_and_the_next_one_also_across_a_restart(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        number = await opened_case(cell, person)
        await consent(cell, person)
        for tries in range(CONSENT_TRIES):
            if tries == CONSENT_TRIES - 1:
                await cell.restart("auth")
            assert await act(cell, number, UNLOCK, b"00000000") == "bad-consent"
        assert await act(cell, number, UNLOCK) == "bad-consent"
        assert "ConsentVoid" in [kind for kind, _ in await told(cell)]
        await consent(cell, person)
        await consent(cell, person, b"11111111")
        assert await act(cell, number, UNLOCK) == "bad-consent"
        orders = cell.auth.orders
        orders._clock = lambda: now_ms() + CONSENT_LIFE_MS + 1
        assert await act(cell, number, UNLOCK, b"11111111") == "bad-consent"

    play(tmp_path / "cell", work)


def test_acts_end_sessions_and_app_passwords_and_forget_waits_of_this_account_alone(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person, other = await cell.add_person(), await cell.add_person()
        number = await opened_case(cell, person)
        _, session = await cell.log_in("access", person)
        _, others = await cell.log_in("access", other)
        for one in (person, other):
            request = to_auth.AddAppPassword(
                stamp(), one.account, bytes(bytearray(one.password)), new_id(), to_auth.Scope.IMAP, ""
            )
            await cell.ask("cli", "auth", request)
        for what in (END, REVOKE):
            await consent(cell, person)
            assert not isinstance(await act(cell, number, what), str)
        live = {one.account for one in cell.keyring.sessions.all()}
        assert live == {other.account} and session.handle != others.handle
        for one, left in ((person, 0), (other, 1)):
            rows = (await cell.ask("cli", "auth", to_auth.ListAppPasswords(one.account))).rows
            assert len(rows) == left
        limits = cell.auth.logins.limits
        for one in (person, other):
            assert not await cell.admits("access", one, b"wrong")
            assert limits._by_strangers.of(one.account + b"access") + limits._by_known.of(one.account + b"access") > 0
        await consent(cell, person)
        assert not isinstance(await act(cell, number, UNLOCK), str)
        assert limits._by_known.of(person.account + b"access") == 0
        assert limits._by_strangers.of(person.account + b"access") == 0
        assert limits._by_known.of(other.account + b"access") + limits._by_strangers.of(other.account + b"access") > 0

    play(tmp_path / "cell", work)


def test_what_widens_is_not_done_without_the_ledger_and_leaves_the_code_good(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person()
        number = await opened_case(cell, person)
        await consent(cell, person)
        await cell.stop("ledger")
        unlock = to_auth.ActInCase(stamp(), number, UNLOCK, bytes(bytearray(CODE)))
        with pytest.raises(TemporaryFailure):
            await cell.exchanges["cli"].to("auth").call(unlock, timeout=0.5)
        assert cell.auth.database.read("SELECT tries FROM consent") == [(0,)]
        assert not isinstance(await act(cell, number, END), str)  # what narrows is done without it
        assert cell.auth.database.read("SELECT tries FROM consent") == []

    play(tmp_path / "cell", work)


def test_neither_code_nor_address_nor_account_is_in_auths_files_or_the_ledger(tmp_path: Path) -> None:
    async def work(cell: BareCell) -> None:
        person = await cell.add_person("hanako")
        number = await opened_case(cell, person)
        await consent(cell, person)
        await act(cell, number, UNLOCK, b"00000000")
        await told(cell)

    play(tmp_path / "cell", work)
    for name in ("auth", "ledger", "store"):
        for path in (tmp_path / "cell" / name).rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            assert CODE not in data and b"hanako" not in data, path


def test_a_case_is_read_in_its_one_form_only() -> None:
    ends = 1 + CASE_LIFE_MAX_MS
    case = Case(TenantId("bare"), new_id(), "sup", AccountId(new_id()), bytes(32), "r", 1, ends)
    data = case.encode()
    assert decode_case(data) == case
    for wrong in (
        data[:-1],
        data + b" ",
        data.replace(b'"v":1', b'"v":2'),
        data.replace(b'"reason":"r"', b'"reason":""'),
    ):
        with pytest.raises(IntegrityError):
            decode_case(wrong)
    with pytest.raises(ValueError, match="no case"):
        replace(case, reason="a@b").encode()


def test_every_act_has_one_number_and_one_name() -> None:
    assert {row.number for row in SUPPORT_ACTS.values()} == set(ACT_NUMBERS.values()) == set(SUPPORT_ACTS)

"""The directory through its edges."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.directory.conftest import SETTINGS, TENANT, Running, running

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.registry import carried_by, requests_of
from bulkhead.boundary.messages.to_directory import (
    AccountStatus,
    AddAccount,
    AddDomain,
    BindingRow,
    CheckDirectory,
    CheckSender,
    CountAccounts,
    FindLogin,
    ListAccounts,
    ListDomains,
    RecipientVerdict,
    ResolveRecipient,
    Reverse,
    Service,
    SetAccountStatus,
    SetServices,
    ShowAccount,
)
from bulkhead.boundary.peers import PEERS
from bulkhead.directory.book import DirectoryBook
from bulkhead.directory.elsewhere import Elsewhere
from bulkhead.directory.handle import HANDLERS
from bulkhead.directory.reach import Reach
from bulkhead.directory.transitions import TRANSITIONS, Status
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, new_id

With = Callable[..., None]


def test_every_message_to_directory_has_a_handler() -> None:
    named = {request for peering in PEERS if peering.server == "directory" for request in requests_of(peering)}
    assert named | set(carried_by("directory")) == set(HANDLERS)


def test_every_status_has_its_transitions_and_none_leads_out_of_purged() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert not TRANSITIONS[Status.PURGED]
    assert {Status.CANCELLED} == {old for old, new in TRANSITIONS.items() if Status.PURGED in new}
    assert all(Status.CANCELLED in new for old, new in TRANSITIONS.items() if old < Status.CANCELLED)


async def _status(directory: Running, address: str, status: int, reason: str = "") -> Any:
    return await directory.ask(SetAccountStatus(Stamp.fresh("test"), address, status, reason))


def test_an_address_is_found_in_any_case_and_however_it_is_quoted(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account = await directory.add("Taro.Yamada@KDDI.example")
        for text in ("taro.yamada@kddi.example", "TARO.YAMADA@kddi.EXAMPLE", '"taro.yamada"@kddi.example'):
            found = await directory.ask(ResolveRecipient(text), "mx")
            assert (found.verdict, found.binding) == (RecipientVerdict.LOCAL, BindingRow(account, b"binding"))
            assert (await directory.ask(FindLogin(text), "access")).account == account

    with_directory(test)


def test_dotted_local_parts_of_japanese_carriers_are_addresses(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add("foo..bar@kddi.example")
        found = await directory.ask(ResolveRecipient('"foo..bar"@kddi.example'), "courier")
        assert found.verdict == RecipientVerdict.LOCAL

    with_directory(test)


def test_each_verdict_is_given_for_its_own_reason(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add("a@kddi.example")
        for text, verdict in (
            ("b@kddi.example", RecipientVerdict.NO_SUCH_ADDRESS),
            ("a@elsewhere.example", RecipientVerdict.NOT_OURS),
            ("postmaster@elsewhere.example", RecipientVerdict.NOT_OURS),
            ("not an address", RecipientVerdict.NO_SUCH_ADDRESS),
        ):
            assert (await directory.ask(ResolveRecipient(text), "mx")).verdict == verdict
        for status in (AccountStatus.SUSPENDED, AccountStatus.DORMANT, AccountStatus.CANCELLED):
            await _status(directory, "a@kddi.example", status)
            found = await directory.ask(ResolveRecipient("a@kddi.example"), "mx")
            assert (found.verdict, found.binding) == (RecipientVerdict.CLOSED, None)

    with_directory(test)


def test_postmaster_reaches_the_first_account_that_receives(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        first = await directory.add("a@kddi.example")
        second = await directory.add("b@other.example")
        for text in ("postmaster@kddi.example", "PostMaster@other.example", "postmaster"):
            assert (await directory.ask(ResolveRecipient(text), "mx")).binding.account == first
        await _status(directory, "a@kddi.example", AccountStatus.SUSPENDED)
        assert (await directory.ask(ResolveRecipient("postmaster"), "mx")).binding.account == second
        own = await directory.add("postmaster@kddi.example")
        assert (await directory.ask(ResolveRecipient("POSTMASTER@kddi.example"), "mx")).binding.account == own

    with_directory(test)


def test_postmaster_reaches_the_configured_address(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add("a@kddi.example")
        chosen = await directory.add("desk@kddi.example")
        assert (await directory.ask(ResolveRecipient("postmaster@kddi.example"), "mx")).binding.account == chosen

    settings = {**SETTINGS, "directory": {"default_quota_bytes": 1, "postmaster": "desk@kddi.example"}}
    with_directory(test, settings)


def test_a_name_that_may_not_log_in_gets_a_stable_decoy_that_no_account_has(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account = await directory.add("a@kddi.example")
        decoys = set()
        for login in ("nobody@kddi.example", "x", "", "a b@c"):
            first = (await directory.ask(FindLogin(login), "submit")).account
            assert first == (await directory.ask(FindLogin(login.upper()), "submit")).account
            assert len(first) == 16
            decoys.add(first)
        assert len(decoys) == 4 and account not in decoys
        await _status(directory, "a@kddi.example", AccountStatus.SUSPENDED)
        assert (await directory.ask(FindLogin("a@kddi.example"), "submit")).account != account

    with_directory(test)


def test_only_the_owner_may_send_under_an_address(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        owner = await directory.add("a@kddi.example")
        other = await directory.add("b@kddi.example")
        await directory.ask(CheckSender(owner, "A@kddi.example"), "submit")
        for account, text in ((other, "a@kddi.example"), (owner, "c@kddi.example"), (owner, "<>")):
            with pytest.raises(Refused) as refusal:
                await directory.ask(CheckSender(account, text), "submit")
            assert refusal.value.code == "not-owner"

    with_directory(test)


def test_an_address_is_never_given_again_once_cancelled_or_purged(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add("a@kddi.example")
        with pytest.raises(Refused) as taken:
            await directory.add("A@kddi.example")
        assert taken.value.code == "address-taken"
        for status in (AccountStatus.CANCELLED, AccountStatus.PURGED):
            await _status(directory, "a@kddi.example", status)
            with pytest.raises(Refused) as refusal:
                await directory.add("a@KDDI.example")
            assert refusal.value.code == "tombstone"

    with_directory(test)


def test_a_purged_address_is_in_no_file(with_directory: With, tmp_path: Path) -> None:
    async def test(directory: Running) -> None:
        await directory.add("unmistakable@kddi.example")
        assert any(b"unmistakable" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        await _status(directory, "unmistakable@kddi.example", AccountStatus.CANCELLED)
        await _status(directory, "unmistakable@kddi.example", AccountStatus.PURGED)
        assert not any(b"unmistakable" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        report = await directory.ask(CheckDirectory())
        assert (report.accounts, report.problems) == (1, ())

    with_directory(test)


def test_a_transition_outside_the_table_is_refused_and_one_repeated_is_not(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add("a@kddi.example")
        await _status(directory, "a@kddi.example", AccountStatus.ACTIVE)
        assert (await _status(directory, "a@kddi.example", AccountStatus.ACTIVE)).status == AccountStatus.ACTIVE
        for status, code in ((AccountStatus.PURGED, "no-such-transition"), (9, "no-such-status")):
            with pytest.raises(Refused) as refusal:
                await _status(directory, "a@kddi.example", status)
            assert refusal.value.code == code

    with_directory(test)


def test_events_name_the_account_by_id_and_hold_no_address(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account = await directory.add("secret.name@kddi.example")
        await _status(directory, "secret.name@kddi.example", AccountStatus.ACTIVE, "first password")
        with pytest.raises(Refused):
            await _status(directory, "secret.name@kddi.example", AccountStatus.SUSPENDED, "asked by x@y.example")
        for _ in range(6000):
            if len(directory.events) == 3:
                break
            await asyncio.sleep(0.01)
        assert [event.kind for event in directory.events] == ["DomainAdded", "AccountAdded", "AccountStatusChanged"]
        assert [event.account for event in directory.events] == [b"", account, account]
        assert "secret" not in repr(directory.events)

    with_directory(test)


def test_what_opens_again_is_in_the_ledger_before_and_once(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        address = "again@kddi.example"
        await directory.add(address)
        await _status(directory, address, AccountStatus.ACTIVE)  # the first time: nothing opens that was closed
        await directory.ask(SetServices(Stamp.fresh("test"), address, Service.SEND | Service.LOGIN, "asked"))
        await _status(directory, address, AccountStatus.SUSPENDED)
        assert [event for event in directory.events if event.kind == "AccountReopened"] == []
        reinstating = SetAccountStatus(Stamp.fresh("test"), address, AccountStatus.ACTIVE, "found")
        switching = SetServices(Stamp.fresh("test"), address, Service.LOGIN, "paid")
        directory.refused.add("AccountReopened")
        for request in (reinstating, switching):
            with pytest.raises(TemporaryFailure):
                await directory.ask(request)
        row = await directory.ask(ShowAccount(address))
        assert (row.status, row.closed) == (AccountStatus.SUSPENDED, Service.SEND | Service.LOGIN)
        directory.refused.clear()
        for request in (reinstating, switching, reinstating, switching):
            row = await directory.ask(request)
        assert (row.status, row.closed) == (AccountStatus.ACTIVE, Service.LOGIN)
        opened = [event.details for event in directory.events if event.kind == "AccountReopened"]
        assert opened == [{"from": "suspended", "reason": "found"}, {"services": "send"}]

    with_directory(test)


def test_adding_the_same_pair_again_changes_nothing(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account = await directory.add("a@kddi.example")
        await directory.add("a@kddi.example", account)
        counts = await directory.ask(CountAccounts())
        assert (counts.addresses, counts.domains, [row.accounts for row in counts.rows]) == (1, 1, [1])
        with pytest.raises(Refused) as refusal:
            await directory.add("b@kddi.example", account)
        assert refusal.value.code == "account-taken"

    with_directory(test)


def test_an_account_of_a_foreign_domain_is_refused(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        with pytest.raises(Refused) as refusal:
            await directory.ask(AddAccount(Stamp.fresh("test"), "a@b.example", BindingRow(new_id(), b"x"), 0))
        assert refusal.value.code == "no-such-domain"
        with pytest.raises(Refused) as unknown:
            await directory.ask(ShowAccount("a@b.example"))
        assert unknown.value.code == "no-such-address"

    with_directory(test)


async def _all(directory: Running, domain: str, limit: int) -> list[str]:
    found: list[str] = []
    while page := (await directory.ask(ListAccounts(domain, found[-1] if found else "", limit))).rows:
        assert len(page) <= limit
        found += [row.address for row in page]
    return found


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_pages_of_any_size_give_every_account_once_in_order(with_directory: With, limit: int) -> None:
    async def test(directory: Running) -> None:
        wanted = sorted(f"user{n}@{domain}" for n in range(6) for domain in ("kddi.example", "au.example"))
        for address in wanted:
            await directory.add(address.replace("user", "User"))
        assert [address.lower() for address in await _all(directory, "", limit)] == wanted
        of_one = [address for address in wanted if address.endswith("@au.example")]
        assert [address.lower() for address in await _all(directory, "AU.example", limit)] == of_one
        rows = (await directory.ask(ListDomains())).rows
        assert [(row.domain, row.accounts) for row in rows] == [("au.example", 6), ("kddi.example", 6)]

    with_directory(test)


def test_a_page_of_the_longest_addresses_fits_into_one_message(with_directory: With) -> None:
    domain = ".".join(["d" * 60] * 3) + ".x"

    async def test(directory: Running) -> None:
        await directory.ask(AddDomain(Stamp.fresh("test"), domain))
        requests = [
            AddAccount(Stamp.fresh("test"), f"{n:064}@{domain}", BindingRow(new_id(), b"b" * 512), 1)
            for n in range(1000)
        ]
        await asyncio.gather(*(directory.ask(request) for request in requests))
        assert len(await _all(directory, "", 1000)) == 1000

    with_directory(test)


def test_a_worker_that_asked_for_too_many_unknown_addresses_is_told_nothing_until_the_next_minute(
    with_directory: With,
) -> None:
    async def scenario(directory: Running) -> None:
        await directory.add("known@kddi.example")
        for number in range(3):
            found = await directory.ask(ResolveRecipient(f"u{number}@kddi.example"), "mx")
            assert found.verdict == RecipientVerdict.NO_SUCH_ADDRESS
        for address in ("known@kddi.example", "other@kddi.example"):  # the right one too: it would be confirmed
            with pytest.raises(TemporaryFailure):
                await directory.ask(ResolveRecipient(address), "mx")
        found = await directory.ask(ResolveRecipient("known@kddi.example"), "submit")
        assert found.verdict == RecipientVerdict.LOCAL
        for number in range(4):
            with pytest.raises(Refused if number < 3 else TemporaryFailure):
                await directory.ask(CheckSender(AccountId(new_id()), "known@kddi.example"), "submit")
        directory.service._directory.guesses._clock = lambda: 60.0 * 10**6
        assert (await directory.ask(ResolveRecipient("known@kddi.example"), "mx")).verdict == RecipientVerdict.LOCAL

    with_directory(scenario, {"id": "kddi", "directory": SETTINGS["directory"] | {"unknown_per_worker_minute": 3}})


def test_a_check_tells_of_rows_that_contradict_each_other(with_directory: With, tmp_path: Path) -> None:
    async def test(directory: Running) -> None:
        await directory.add("a@kddi.example")
        assert (await directory.ask(CheckDirectory())).problems == ()
        with sqlite3.connect(tmp_path / "directory.sqlite") as other:
            other.execute("UPDATE domain SET accounts = 5")
            other.execute("UPDATE tally SET accounts = 7")
            other.execute("UPDATE address SET key = 'b@kddi.example'")
        assert len((await directory.ask(CheckDirectory())).problems) == 3

    with_directory(test)


def test_a_change_asked_again_after_a_restart_is_answered_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    added = AddAccount(Stamp.fresh("test"), "a@kddi.example", BindingRow(new_id(), b"x"), 5)
    cancelled = SetAccountStatus(Stamp.fresh("test"), "a@kddi.example", AccountStatus.CANCELLED, "left")

    async def first() -> Any:
        async with running(tmp_path) as directory:
            await directory.ask(AddDomain(Stamp.fresh("test"), "kddi.example"))
            await directory.ask(added)
            return await directory.ask(cancelled)

    async def second(answer: Any) -> None:
        async with running(tmp_path) as directory:
            await directory.ask(added)  # under a new id it would be refused: the address is a tombstone
            assert await directory.ask(cancelled) == answer
            assert [(row.status, row.accounts) for row in (await directory.ask(CountAccounts())).rows] == [
                (AccountStatus.CANCELLED, 1)
            ]

    asyncio.run(second(asyncio.run(first())))


def test_a_decoy_is_the_same_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def decoy() -> bytes:
        async with running(tmp_path) as directory:
            return bytes((await directory.ask(FindLogin("nobody@kddi.example"), "access")).account)

    assert asyncio.run(decoy()) == asyncio.run(decoy())


@given(st.text(max_size=300))
def test_no_text_of_a_client_breaks_a_look_up(text: str) -> None:
    book = DirectoryBook(_Empty(), b"d" * 32, b"t" * 32, 0)  # type: ignore[arg-type]
    elsewhere = Elsewhere(_Empty(), b"t" * 32, TENANT, lambda: 0, 5)  # type: ignore[arg-type]  # as above
    assert Reach(_Empty(), elsewhere).resolve(text, Reverse.NULL).verdict in {  # type: ignore[arg-type]  # as above
        RecipientVerdict.NO_SUCH_ADDRESS, RecipientVerdict.NOT_OURS,
    }  # fmt: skip
    assert len(book.find_login(text)) == 16
    with pytest.raises(Refused):
        book.check_sender(b"a" * 16, text)


class _Empty:
    """A database in which nothing is found."""

    @staticmethod
    def first(_: str, __: tuple[object, ...] = ()) -> None:
        return None


def test_a_domain_goes_when_no_address_is_left_and_its_addresses_stay_refused(
    with_directory: Callable[..., None],
) -> None:
    async def test(directory: Running) -> None:
        one, gone = "a@kddi.example", "kddi.example"
        await directory.add(one)
        await directory.ask(m.AddGroup(Stamp.fresh("test"), "team@kddi.example"))

        async def refusal(request: object) -> str:
            with pytest.raises(Refused) as raised:
                await directory.ask(request)
            return raised.value.code

        assert await refusal(m.RemoveDomain(Stamp.fresh("test"), gone)) == "not-empty"
        for status in (5, 6):
            await directory.ask(m.SetAccountStatus(Stamp.fresh("test"), one, status, "end"))
        assert await refusal(m.RemoveDomain(Stamp.fresh("test"), gone)) == "not-empty"
        await directory.ask(m.RemoveGroup(Stamp.fresh("test"), "team@kddi.example"))
        await directory.ask(m.RemoveDomain(Stamp.fresh("test"), gone))
        assert (await directory.ask(m.ResolveRecipient(one), "mx")).verdict == m.RecipientVerdict.NOT_OURS
        assert await refusal(m.RemoveDomain(Stamp.fresh("test"), gone)) == "no-such-domain"
        assert (await directory.ask(m.CheckDirectory())).problems == ()
        await directory.ask(m.AddDomain(Stamp.fresh("test"), gone))
        for taken in (one, "team@kddi.example"):
            row = m.AddAccount(Stamp.fresh("test"), taken, m.BindingRow(AccountId(new_id()), b"binding"), 0)
            assert await refusal(row) == "tombstone"

    with_directory(test)

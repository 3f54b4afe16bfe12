"""Aliases, groups, forwards, switches and classes: what each reaches, what none reaches, and what stays reserved."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.directory.conftest import Running, running

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import AccountStatus, RecipientVerdict, Service
from bulkhead.cli.import_halves import take_directory
from bulkhead.errors import Refused

With = Callable[..., None]
A, B, C = "a@kddi.example", "b@kddi.example", "c@kddi.example"


def _stamp() -> Stamp:
    return Stamp.fresh("test")


async def _reaches(directory: Running, text: str) -> set[bytes]:
    found = await directory.ask(m.ResolveRecipient(text), "mx")
    return {found.binding.account, *(other.account for other in found.others)} if found.binding else set()


async def _verdict(directory: Running, text: str) -> int:
    return int((await directory.ask(m.ResolveRecipient(text), "mx")).verdict)


async def _code(directory: Running, request: object) -> str:
    with pytest.raises(Refused) as raised:
        await directory.ask(request)
    return raised.value.code


async def _sound(directory: Running) -> None:
    assert (await directory.ask(m.CheckDirectory())).problems == ()


def test_an_alias_receives_and_sends_and_nobody_logs_in_by_it(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account, other = await directory.add(A), await directory.add(B)
        await directory.ask(m.AddAlias(_stamp(), A, "Info@kddi.example"))
        assert await _reaches(directory, "info@KDDI.example") == {account}
        await directory.ask(m.CheckSender(account, "info@kddi.example"), "submit")
        with pytest.raises(Refused):
            await directory.ask(m.CheckSender(other, "info@kddi.example"), "submit")
        assert (await directory.ask(m.FindLogin("info@kddi.example"), "access")).account != account
        assert (await directory.ask(m.ShowAccount("info@kddi.example"))).address == A
        rows = (await directory.ask(m.ListAccounts())).rows
        assert [row.address for row in rows] == [A, B]
        await _sound(directory)

    with_directory(test)


def test_a_removed_alias_reaches_nobody_and_is_given_to_its_account_alone(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account, _ = await directory.add(A), await directory.add(B)
        await directory.ask(m.AddAlias(_stamp(), A, "x@kddi.example"))
        await directory.ask(m.RemoveAlias(_stamp(), "x@kddi.example"))
        assert await _verdict(directory, "x@kddi.example") == RecipientVerdict.NO_SUCH_ADDRESS
        with pytest.raises(Refused):
            await directory.ask(m.CheckSender(account, "x@kddi.example"), "submit")
        assert await _code(directory, m.AddAlias(_stamp(), B, "x@kddi.example")) == "tombstone"
        assert await _code(directory, m.AddGroup(_stamp(), "x@kddi.example")) == "tombstone"
        assert await _code(directory, m.RemoveAlias(_stamp(), A)) == "no-such-address"
        await directory.ask(m.AddAlias(_stamp(), A, "X@kddi.example"))
        assert await _reaches(directory, "x@kddi.example") == {account}
        await _sound(directory)

    with_directory(test)


def test_every_address_of_a_purged_account_is_refused_for_ever(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A), await directory.add(B)
        for alias in ("x@kddi.example", "y@kddi.example"):
            await directory.ask(m.AddAlias(_stamp(), A, alias))
        await directory.ask(m.RemoveAlias(_stamp(), "y@kddi.example"))
        for status in (AccountStatus.CANCELLED, AccountStatus.PURGED):
            await directory.ask(m.SetAccountStatus(_stamp(), A, status, ""))
        for alias in (A, "x@kddi.example", "y@kddi.example"):
            assert await _code(directory, m.AddAlias(_stamp(), B, alias)) == "tombstone"
        await _sound(directory)

    with_directory(test)


def test_a_group_reaches_each_member_that_receives_and_takes_no_more_than_a_delivery(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        one, two = await directory.add(A), await directory.add(B)
        await directory.ask(m.AddGroup(_stamp(), "team@kddi.example"))
        assert await _verdict(directory, "team@kddi.example") == RecipientVerdict.CLOSED
        for address in (A, B):
            await directory.ask(m.SetMember(_stamp(), "team@kddi.example", address))
        assert await _reaches(directory, "TEAM@kddi.example") == {one, two}
        await directory.ask(m.SetAccountStatus(_stamp(), A, AccountStatus.SUSPENDED, ""))
        assert await _reaches(directory, "team@kddi.example") == {two}
        for number in range(98):
            await directory.add(f"n{number}@kddi.example")
            await directory.ask(m.SetMember(_stamp(), "team@kddi.example", f"n{number}@kddi.example"))
        await directory.add(C)
        assert await _code(directory, m.SetMember(_stamp(), "team@kddi.example", C)) == "full"
        await directory.ask(m.SetMember(_stamp(), "team@kddi.example", B))  # who is in it already is no one more
        assert len((await directory.ask(m.ShowGroup("team@kddi.example"))).addresses) == 100
        (row,) = (await directory.ask(m.ListGroups())).rows
        assert (row.address, row.members) == ("team@kddi.example", 100)
        assert await _code(directory, m.AddAlias(_stamp(), A, "team@kddi.example")) == "address-taken"
        await directory.ask(m.RemoveGroup(_stamp(), "team@kddi.example"))
        assert await _verdict(directory, "team@kddi.example") == RecipientVerdict.NO_SUCH_ADDRESS
        assert await _code(directory, m.AddGroup(_stamp(), "team@kddi.example")) == "tombstone"
        await _sound(directory)

    with_directory(test)


def test_a_forward_is_in_the_ledger_goes_one_step_and_loses_nothing(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a, b, c = await directory.add(A), await directory.add(B), await directory.add(C)
        await directory.ask(m.SetForward(_stamp(), A, (B,)))
        assert "ForwardChanged" in [event.kind for event in directory.events]
        assert await _reaches(directory, A) == {a, b}
        await directory.ask(m.SetForward(_stamp(), A, (B,), False))
        assert await _reaches(directory, A) == {b}
        await directory.ask(m.SetForward(_stamp(), B, (C, A), False))
        assert await _reaches(directory, A) == {b}  # B's own forward is not followed
        assert await _reaches(directory, B) == {a, c}
        await directory.ask(m.SetAccountStatus(_stamp(), B, AccountStatus.SUSPENDED, ""))
        assert await _reaches(directory, A) == {a}  # nobody takes it: it stays
        assert await _code(directory, m.SetForward(_stamp(), A, ("x@elsewhere.example",))) == "not-ours"
        assert await _code(directory, m.SetForward(_stamp(), A, (A,))) == "not-ours"
        await directory.ask(m.SetForward(_stamp(), A, ()))
        assert await _reaches(directory, A) == {a}
        await _sound(directory)

    with_directory(test)


def test_a_cancelled_account_is_in_no_group_and_no_forward_of_anybody(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a, _ = await directory.add(A), await directory.add(B)
        await directory.ask(m.AddGroup(_stamp(), "team@kddi.example"))
        await directory.ask(m.SetMember(_stamp(), "team@kddi.example", B))
        await directory.ask(m.SetForward(_stamp(), A, (B,), False))
        await directory.ask(m.SetForward(_stamp(), B, (A,)))
        await directory.ask(m.SetAccountStatus(_stamp(), B, AccountStatus.CANCELLED, ""))
        assert await _reaches(directory, A) == {a}
        assert (await directory.ask(m.ShowRoutes(A))).forwards == ()
        assert (await directory.ask(m.ShowGroup("team@kddi.example"))).addresses == ()
        await _sound(directory)

    with_directory(test)


@pytest.mark.parametrize("service", [Service.LOGIN, Service.RECEIVE, Service.SEND])
def test_a_service_that_is_off_is_off_and_the_others_are_on(with_directory: With, service: int) -> None:
    async def test(directory: Running) -> None:
        account = await directory.add(A)
        assert (await directory.ask(m.SetServices(_stamp(), A, service, "abuse"))).closed == service
        logs_in = (await directory.ask(m.FindLogin(A), "access")).account == account
        receives = await _reaches(directory, A) == {account}
        try:
            await directory.ask(m.CheckSender(account, A), "submit")
            sends = True
        except Refused:
            sends = False
        assert (logs_in, receives, sends) == (
            service != Service.LOGIN, service != Service.RECEIVE, service != Service.SEND,
        )  # fmt: skip
        assert (await directory.ask(m.SetServices(_stamp(), A, 0, ""))).closed == 0
        assert await _code(directory, m.SetServices(_stamp(), A, 8, "")) == "no-such-status"

    with_directory(test)


def test_a_class_gives_quota_switches_and_limits(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A), await directory.add(B)
        await directory.ask(m.DefineClass(_stamp(), m.ClassRow("free", 1 << 20, Service.SEND, 1, 0)))
        assert await _code(directory, m.SetClass(_stamp(), A, "gold")) == "no-such-class"
        row = await directory.ask(m.SetClass(_stamp(), A, "free"))
        assert (row.quota_bytes, row.closed, row.class_name) == (1 << 20, Service.SEND, "free")
        await directory.ask(m.AddAlias(_stamp(), A, "x@kddi.example"))
        assert await _code(directory, m.AddAlias(_stamp(), A, "y@kddi.example")) == "full"
        assert await _code(directory, m.SetForward(_stamp(), A, (B,))) == "full"
        (one,) = (await directory.ask(m.ListClasses())).rows
        assert (one.name, one.accounts) == ("free", 1)
        assert await _code(directory, m.DefineClass(_stamp(), m.ClassRow("No Name", 0, 0, 0, 0))) == "bad-class"
        assert (await directory.ask(m.SetQuota(_stamp(), A, 5))).quota_bytes == 5

    with_directory(test)


def test_a_search_gives_what_begins_so_in_order_and_page_by_page(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        names = [f"taro{number:03}@kddi.example" for number in range(150)]
        for name in (*names, "tar@kddi.example", "tarp@kddi.example", "z@kddi.example"):
            await directory.add(name)
        first = (await directory.ask(m.SearchAccounts("Taro", "", 1000))).rows
        rest = (await directory.ask(m.SearchAccounts("Taro", first[-1].address, 1000))).rows
        assert [row.address for row in (*first, *rest)] == names and len(first) == 100
        assert [row.address for row in (await directory.ask(m.SearchAccounts(names[7], ""))).rows] == [names[7]]
        assert (await directory.ask(m.SearchAccounts("", ""))).rows == ()

    with_directory(test)


def test_what_is_asked_twice_is_told_to_the_ledger_once(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A), await directory.add(B)
        for request in (
            m.AddAlias(_stamp(), A, "x@kddi.example"), m.SetForward(_stamp(), A, (B,)),
            m.AddGroup(_stamp(), "team@kddi.example"), m.SetServices(_stamp(), A, Service.SEND, ""),
        ):  # fmt: skip
            await directory.ask(request)
            await directory.ask(request)
        kinds = [event.kind for event in directory.events]
        for kind in ("AddressAdded", "GroupChanged", "ServicesChanged"):
            assert kinds.count(kind) <= 1
        assert kinds.count("ForwardChanged") == 1

    with_directory(test)


def test_a_cell_that_is_carried_elsewhere_keeps_its_routes_classes_and_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `import cell` does with the exported database (cli/import_halves.py)."""
    monkeypatch.chdir(tmp_path)

    async def seen(directory: Running) -> list[object]:
        requests = (m.ShowRoutes(A), m.ShowGroup("team@kddi.example"), m.ListClasses(), m.ShowAccount(B))
        return [await directory.ask(request) for request in requests]

    async def main() -> None:
        async with running(tmp_path) as directory:
            for address in (A, B):
                await directory.add(address)
            await directory.ask(m.DefineClass(_stamp(), m.ClassRow("basic", 5000, Service.SEND, 2, 2)))
            for request in (
                m.AddAlias(_stamp(), A, "x@kddi.example"), m.AddAlias(_stamp(), A, "y@kddi.example"),
                m.RemoveAlias(_stamp(), "y@kddi.example"), m.AddGroup(_stamp(), "team@kddi.example"),
                m.SetMember(_stamp(), "team@kddi.example", B), m.SetForward(_stamp(), A, (B,), False),
                m.SetClass(_stamp(), B, "basic"), m.SetServices(_stamp(), B, Service.LOGIN, "test"),
            ):  # fmt: skip
                await directory.ask(request)
            before = await seen(directory)
        assert len(await take_directory(tmp_path)) == 2
        async with running(tmp_path) as directory:
            assert await seen(directory) == before
            assert before[0].retired == ("y@kddi.example",) and before[3].closed == Service.LOGIN  # type: ignore[attr-defined]

    asyncio.run(main())

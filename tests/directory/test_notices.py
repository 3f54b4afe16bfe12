"""Notices to subscribers: kept with the change, taken by courier, gone once told, with the account, or too old."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.directory.conftest import Running

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import AccountStatus, AddAlias, NoticeKind, RemoveAlias, SetForward
from bulkhead.courier.notices import compose
from bulkhead.directory import notices
from bulkhead.errors import PeerError

With = Callable[..., None]
ME, ALIAS, OTHER = "me@kddi.example", "alias@kddi.example", "other@kddi.example"


async def waiting(directory: Running) -> list[m.NoticeRow]:
    return list((await directory.ask(m.TakeNotices(16), "courier")).rows)


async def ask(directory: Running, kind: Any, *fields: Any) -> Any:
    return await directory.ask(kind(Stamp.fresh("test"), *fields))


def test_each_change_of_addresses_is_told_to_its_account_once(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        account = await directory.add(ME)
        await directory.add(OTHER)
        await ask(directory, AddAlias, ME, ALIAS)
        await ask(directory, AddAlias, ME, ALIAS)  # it is there
        await ask(directory, SetForward, ME, (OTHER,))
        await ask(directory, SetForward, ME, (OTHER,), False)
        await ask(directory, SetForward, ME, ())
        await ask(directory, RemoveAlias, ALIAS)
        rows = await waiting(directory)
        assert [(row.kind, row.about) for row in rows] == [
            (NoticeKind.ALIAS_ADDED, ALIAS), (NoticeKind.FORWARD_SET, "o***@kddi.example"),
            (NoticeKind.FORWARD_ENDED, ""), (NoticeKind.ALIAS_REMOVED, ALIAS),
        ]  # fmt: skip
        assert {(row.address, row.binding.account) for row in rows} == {(ME, account)}
        for row in rows[:3]:
            await directory.ask(m.DropNotice(Stamp.fresh("courier"), row.number), "courier")
        assert [row.number for row in await waiting(directory)] == [rows[3].number]

    with_directory(test)


def test_a_closed_account_is_told_nothing_and_its_notices_are_gone(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(ME)
        await ask(directory, AddAlias, ME, ALIAS)
        await ask(directory, m.SetAccountStatus, ME, AccountStatus.CANCELLED, "gone")
        assert await waiting(directory) == []
        await ask(directory, RemoveAlias, ALIAS)  # of whom nobody reads it any more
        database = directory.service._directory.book.database
        assert database.first("SELECT count(*) FROM notice") == (0,)

    with_directory(test)


def test_a_notice_is_tried_for_a_time_and_the_oldest_give_way(
    with_directory: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(directory: Running) -> None:
        await directory.add(ME)
        monkeypatch.setattr(notices, "WAITING_MAX", 2)
        for number in range(4):
            await ask(directory, AddAlias, ME, f"a{number}@kddi.example")
        assert [row.about for row in await waiting(directory)] == ["a2@kddi.example", "a3@kddi.example"]
        after = m.TakeNotices(16, (await waiting(directory))[0].number)
        assert [row.about for row in (await directory.ask(after, "courier")).rows] == ["a3@kddi.example"]
        monkeypatch.setattr(notices, "KEPT_MS", -1)
        assert await waiting(directory) == []

    with_directory(test)


def test_a_notice_is_a_message_that_no_machine_answers() -> None:
    row = m.NoticeRow(1, NoticeKind.FORWARD_SET, "o***@x.example", 1_800_000_000_000, ME, m.BindingRow(bytes(16), b"b"))  # type: ignore[arg-type]  # any account
    text = compose(row, "mx.kddi.example", 1_800_000_100.0).decode()
    head, _, body = text.partition("\r\n\r\n")
    assert f"To: <{ME}>" in head and "Auto-Submitted: auto-generated" in head and "postmaster@kddi.example" in head
    assert "o***@x.example" in body and "2027-01-15" in body
    assert all(len(line) < 998 for line in text.split("\r\n"))


def test_what_is_no_address_is_neither_repeated_in_a_notice_nor_told() -> None:
    def row(about: str, address: str = ME, at: int = 1) -> m.NoticeRow:
        return m.NoticeRow(1, NoticeKind.ALIAS_ADDED, about, at, address, m.BindingRow(bytes(16), b"b"))  # type: ignore[arg-type]  # any account

    said = compose(row("a@x.example, pay\r\nnow, b@x.example"), "mx.kddi.example", 1.0).decode()
    assert "Mail to a@x.example, b@x.example now" in said and "pay" not in said
    assert "Mail to other addresses now" in compose(row("pay now"), "mx.kddi.example", 1.0).decode()
    assert "1970-01-01" in compose(row(ALIAS, at=(1 << 63) - 1), "mx.kddi.example", 1.0).decode()
    with pytest.raises(PeerError):
        compose(row(ALIAS, f"{ME}>\r\nSubject: x"), "mx.kddi.example", 1.0)

"""APPEND of several messages over a real cell (RFC 3502): all or none, and no memory kept."""

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.access import append


@pytest.fixture
def raw(cell: Cell, account: Account) -> Raw:
    return cell.raw(account)


def literal(data: bytes) -> bytes:
    return b"{%d+}\r\n%s" % (len(data), data)


def left(cell: Cell) -> int:
    return cell.services["access"].worker.budget._left


def test_several_messages_go_in_under_uids_in_a_row(cell: Cell, account: Account, raw: Raw) -> None:
    cell.deliver(account, message("0"))
    raw.command("SELECT INBOX")
    command = b"APPEND INBOX " + b" ".join(
        (b"(\\Seen own)", literal(message("1")), b'" 1-Feb-1994 21:52:25 -0800"', literal(message("2")),
         literal(message("3", body=b"x" * 700_000)))
    )  # fmt: skip
    lines = raw.command(command)
    assert b"* 4 EXISTS\r\n" in lines
    assert lines[-1].split(b"]")[0].split()[1:3] == [b"OK", b"[APPENDUID"]
    assert lines[-1].split(b"]")[0].split()[-1] == b"2:4"
    told = raw.command("FETCH 2:4 (FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    for line, subject in zip(told, (b"1", b"2", b"3"), strict=False):
        assert b"Subject: " + subject in line
    assert b"\\Seen own" in told[0] and b" 1-Feb-1994" not in told[0]
    assert b'" 2-Feb-1994 05:52:25 +0000"' in told[1]
    assert left(cell) == 256 << 20


def test_synchronizing_literals_are_asked_for_one_by_one(raw: Raw) -> None:
    raw.send(b"a APPEND Trash {3}\r\n")
    assert raw.line().startswith(b"+ ")
    raw.send(b"abc (\\Flagged) {2}\r\n")
    assert raw.line().startswith(b"+ ")
    raw.send(b"de\r\n")
    assert raw.until(b"a ")[-1].startswith(b"a OK [APPENDUID ")
    assert b"MESSAGES 2 " in raw.command("STATUS Trash (MESSAGES UNSEEN)")[0]


@pytest.mark.parametrize(
    ("rest", "answer"),
    [
        (b" {0+}\r\n", b"NO"), (b" {0}", b"NO"), (b" (\\Seen)", b"BAD"), (b" garbage", b"BAD"),
        (b" {99999999}", b"NO [TOOBIG]"), (b" (\\Bogus) {3+}\r\nabc", b"BAD"), (b" {3000}", b"NO [OVERQUOTA]"),
        (b" " + literal(b"x" * 3000), b"NO [OVERQUOTA]"),
    ],
)  # fmt: skip
def test_an_error_in_a_later_message_appends_none(cell: Cell, rest: bytes, answer: bytes) -> None:
    raw = cell.raw(cell.add_account(quota=3000))
    done = raw.command(b"APPEND INBOX " + literal(message("1")) + rest)[-1]
    assert done.startswith(b"T2 " + answer)
    assert b"MESSAGES 0" in raw.command("STATUS INBOX (MESSAGES)")[0]
    assert left(cell) == 256 << 20


def test_an_empty_message_cancels_an_append_of_one_too(raw: Raw) -> None:
    assert raw.command("APPEND INBOX {0}")[-1].startswith(b"T2 NO ")
    assert raw.command("APPEND INBOX {0+}\r\n")[-1].startswith(b"T3 NO ")
    assert b"MESSAGES 0" in raw.command("STATUS INBOX (MESSAGES)")[0]


def test_messages_too_large_together_are_refused(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "TOGETHER_MAX", 10)
    assert b" OK " in raw.command(b"APPEND INBOX " + literal(b"12345") + b" " + literal(b"67890"))[-1]
    assert b" NO [TOOBIG] " in raw.command(b"APPEND INBOX " + literal(b"12345") + b" " + literal(b"678901"))[-1]


def test_a_client_that_leaves_within_an_append_leaves_nothing(cell: Cell, account: Account) -> None:
    before = cell.raw(account)
    raw = cell.raw(account)
    raw.send(b"a APPEND INBOX {3+}\r\nabc {100}\r\n")
    assert raw.line().startswith(b"+ ")
    raw.close()
    assert b"MESSAGES 0" in before.command("STATUS INBOX (MESSAGES)")[0]

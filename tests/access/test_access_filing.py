"""Filing: what arrived goes into pages once, whoever files it, and no message is lost or delayed by it."""

import threading
import time

import pytest
from tests.access.cell import Account, Cell, Raw, message

from bulkhead.access import filing
from bulkhead.boundary.messages import to_store


def pages(cell: Cell, account: Account) -> list[int]:
    """Summaries used in each page of the account."""
    rows = cell.rows(
        "SELECT p.used FROM page p JOIN account a ON a.seq = p.account WHERE a.account = ? ORDER BY p.page", account.id
    )
    return [used for (used,) in rows]


def envelopes(raw: Raw) -> list[bytes]:
    return raw.command("UID FETCH 1:* ENVELOPE")[:-1]


def test_mail_is_filed_after_select_in_full_pages(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(300)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    first = envelopes(raw)
    cell.wait_filed(account)
    assert sum(pages(cell, account)) == 300
    assert envelopes(raw) == first
    other = cell.raw(account)
    other.command("EXAMINE INBOX")
    assert envelopes(other) == first


def test_later_mail_goes_to_the_newest_page_while_it_is_open(cell: Cell, account: Account) -> None:
    for count in (3, 4):
        cell.deliver(account, *(message(f"{n}") for n in range(count)))
        raw = cell.raw(account)
        raw.command("SELECT INBOX")
        cell.wait_filed(account)
    assert pages(cell, account) == [7]
    assert len(envelopes(raw)) == 7


def test_two_sessions_that_file_at_once_lose_nothing(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}", extra=b"X-Pad: " + b"p" * 500 + b"\r\n") for n in range(600)))
    sessions = [cell.raw(account) for _ in range(4)]
    with cell.sending() as sent:
        threads = [threading.Thread(target=raw.command, args=("SELECT INBOX",)) for raw in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cell.wait_filed(account)
    assert sum(pages(cell, account)) == 600
    assert sum(isinstance(request, to_store.FileMessages) for request in sent) >= len(pages(cell, account))
    listed = [envelopes(raw) for raw in sessions]
    assert len(listed[0]) == 600
    assert all(lines == listed[0] for lines in listed)


def test_filing_changes_no_uid_and_tells_nobody(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(5)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.wait_filed(account)
    assert raw.command("NOOP") == [b"T3 OK NOOP completed\r\n"]
    assert raw.command("FETCH 1:* UID")[:-1] == [b"* %d FETCH (UID %d)\r\n" % (n, n) for n in range(1, 6)]


def test_mail_that_comes_during_a_session_is_filed_a_little_later(
    cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "SETTLE_SECONDS", 0.05)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.deliver(account, message("one"), message("two"))
    assert b"* 2 EXISTS\r\n" in raw.command("NOOP")
    cell.wait_filed(account)


def test_a_copied_message_is_filed_once(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("one"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.command("COPY 1 INBOX")
    raw.command("COPY 1 Archive")
    cell.wait_filed(account)
    for mailbox in ("INBOX", "Archive"):
        raw.command(f"SELECT {mailbox}")
        cell.wait_filed(account)
    assert pages(cell, account) == [1]
    assert len(raw.command("FETCH 1:* ENVELOPE")) == 2


def test_pop3_reads_and_deletes_mail_that_nobody_filed(cell: Cell, account: Account) -> None:
    text = message("one")
    cell.deliver(account, text, message("two"))
    pop = cell.pop(account)
    assert b"\r\n".join(pop.retr(1)[1]) + b"\r\n" == text
    pop.dele(1)
    pop.quit()
    assert cell.arrived(account) == 1
    assert cell.pop(account).stat()[0] == 1


def test_a_half_dead_page_is_written_anew_and_every_session_still_reads_its_messages(
    cell: Cell, account: Account
) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(20)))
    old, other = cell.raw(account), cell.raw(account)
    old.command("SELECT INBOX")
    cell.wait_filed(account)
    listed = envelopes(old)
    old.command("STORE 1:11 +FLAGS (\\Deleted)")
    old.command("EXPUNGE")
    versions = "SELECT p.version, p.held FROM page p JOIN account a ON a.seq = p.account WHERE a.account = ?"
    assert cell.rows(versions, account.id) == [(1, 20)]
    other.command("SELECT INBOX")
    ends = time.monotonic() + 60
    while cell.rows(versions, account.id) != [(2, 9)] and time.monotonic() < ends:
        time.sleep(0.02)
    assert cell.rows(versions, account.id) == [(2, 9)]
    live = [line.split(b"(", 1)[1] for line in listed[11:]]
    for raw in (old, other, cell.raw(account)):
        raw.command("EXAMINE INBOX")
        assert [line.split(b"(", 1)[1] for line in envelopes(raw)] == live
    cell.deliver(account, message("later"))
    other.command("SELECT INBOX")
    cell.wait_filed(account)
    assert pages(cell, account) == [21]
    assert len(envelopes(other)) == 10


@pytest.mark.parametrize(
    "text",
    [
        b"\r\n",
        b"",
        b"From: " + b"a," * 5000 + b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 1200,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nContent-Type:message/rfc822\r\n\r\n\r\n" * 300,
    ],
)
def test_no_message_is_refused_for_what_its_summary_takes(cell: Cell, account: Account, text: bytes) -> None:
    cell.deliver(account, text)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    assert raw.command("FETCH 1 RFC822.SIZE")[0] == b"* 1 FETCH (RFC822.SIZE %d)\r\n" % len(text)

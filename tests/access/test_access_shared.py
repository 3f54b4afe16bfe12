"""Several sessions on one mailbox, holders that restart, sessions that are ended."""

import contextlib
import os
import time
from pathlib import Path

import pytest
from tests.access.cell import Account, Cell, message, stamp

from bulkhead.access import account as account_calls
from bulkhead.boundary import exchange
from bulkhead.boundary.messages.to_keyring import LiftSessionStop, StopTenantSessions


def test_sessions_on_one_mailbox_see_each_others_changes(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(4)))
    one, two = cell.raw(account), cell.raw(account)
    one.command("SELECT INBOX")
    two.command("SELECT INBOX")
    one.command("STORE 2 +FLAGS.SILENT (\\Flagged new-word)")
    told = two.command("NOOP")
    assert b"* 2 FETCH (UID 2 FLAGS (\\Flagged new-word))\r\n" in told
    assert any(line.startswith(b"* FLAGS (") and b"new-word" in line for line in told)
    cell.deliver(account, message("5"))
    assert b"* 5 EXISTS\r\n" in one.command("NOOP")
    assert b"* 5 EXISTS\r\n" in two.command("CHECK")
    one.command("STORE 1,3 +FLAGS (\\Deleted)")
    one.command("EXPUNGE")
    assert [line for line in two.command("NOOP") if b"EXPUNGE" in line] == [b"* 3 EXPUNGE\r\n", b"* 1 EXPUNGE\r\n"]
    assert two.command("FETCH 1:* UID")[:-1] == [
        b"* 1 FETCH (UID 2)\r\n",
        b"* 2 FETCH (UID 4)\r\n",
        b"* 3 FETCH (UID 5)\r\n",
    ]


def test_numbers_do_not_move_during_fetch_store_and_search(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(4)))
    one, two = cell.raw(account), cell.raw(account)
    one.command("SELECT INBOX")
    two.command("SELECT INBOX")
    one.command("STORE 1 FLAGS (\\Deleted)")
    one.command("EXPUNGE")
    time.sleep(0.2)
    for command in ("FETCH 2 UID", "STORE 2 +FLAGS (\\Seen)", "SEARCH ALL", "FETCH 2 (UID ENVELOPE)"):
        lines = two.command(command)
        assert not any(b"EXPUNGE\r\n" in line for line in lines), command
        assert b" OK " in lines[-1]
    assert b"(UID 2)" in two.command("FETCH 2 UID")[0]
    gone = two.command("FETCH 1:2 ENVELOPE")
    assert len(gone) == 2 and b"OK [EXPUNGEISSUED]" in gone[-1]
    assert b"* 1 EXPUNGE\r\n" in two.command("UID FETCH 2 FLAGS")
    assert b"(UID 2)" in two.command("FETCH 1 UID")[0]


def test_a_message_that_comes_and_goes_unseen_is_never_mentioned(cell: Cell, account: Account) -> None:
    one, two = cell.raw(account), cell.raw(account)
    one.command("SELECT INBOX")
    two.command("SELECT INBOX")
    cell.deliver(account, message("x"), message("y"))
    one.command("NOOP")
    one.command("STORE 1 FLAGS (\\Deleted)")
    one.command("EXPUNGE")
    assert [line for line in two.command("NOOP") if line[2:3].isdigit()] == [b"* 1 EXISTS\r\n", b"* 0 RECENT\r\n"]
    assert b"(UID 2)" in two.command("FETCH 1 UID")[0]


def test_a_mailbox_deleted_under_a_session_ends_it(cell: Cell, account: Account) -> None:
    one, two = cell.raw(account), cell.raw(account)
    one.command("CREATE doomed")
    two.command("SELECT doomed")
    one.command("DELETE doomed")
    two.send(b"A NOOP\r\n")
    assert b"deleted" in two.until(b"* BYE")[-1]


def test_a_restart_of_the_store_is_survived_by_every_session(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"))
    raw, idling = cell.raw(account), cell.raw(account)
    raw.command("SELECT INBOX")
    idling.command("SELECT INBOX")
    idling.send(b"I IDLE\r\n")
    idling.line()
    cell.restart("store")
    assert b" OK " in raw.command("FETCH 1 (FLAGS ENVELOPE BODY.PEEK[])")[-1]
    assert b" OK " in raw.command("STORE 1 +FLAGS (\\Answered)")[-1]
    assert b"(UID 1 FLAGS (\\Answered))" in idling.until(b"* 1 FETCH")[-1]
    cell.deliver(account, message("2"))
    assert idling.until(b"* 2 EXISTS")
    idling.send(b"DONE\r\n")
    assert idling.until(b"I OK")


def test_a_command_during_which_the_store_is_away_is_refused_and_the_session_goes_on(
    cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ATTACH_SECONDS", 0.3)
    monkeypatch.setattr(exchange.Exchange.attached, "__defaults__", (0.3,))
    monkeypatch.setattr(account_calls, "AGAIN_SECONDS", 0.1)
    cell.deliver(account, message("1"))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.kill("store")
    for command in ("FETCH 1 BODY[]", "STATUS INBOX (MESSAGES)", "STORE 1 FLAGS (\\Seen)", "SELECT INBOX"):
        assert b" NO [UNAVAILABLE]" in raw.command(command)[-1]
    assert b" BAD " in raw.command("FETCH 1 FLAGS")[-1]  # a failed SELECT leaves no mailbox selected
    cell.revive("store")
    raw.command("SELECT INBOX")
    assert b" OK " in raw.command("FETCH 1 BODY[]")[-1]


def test_a_store_that_restarts_again_and_again_loses_no_change(cell: Cell, account: Account) -> None:
    cell.deliver(account, *(message(f"{n}") for n in range(60)))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    restarts = 0
    for n in range(1, 61):
        raw.send(b"S%d STORE %d +FLAGS (k%d)\r\n" % (n, n, n % 5))
        if n % 6 == 0:
            restarts += 1
            cell.restart("store")
        assert raw.until(b"S%d " % n)[-1].split()[1] == b"OK"
        assert b" OK " in raw.command(f"FETCH {n} (FLAGS ENVELOPE)")[-1]
    assert restarts == 10
    flags = raw.command("FETCH 1:* FLAGS")[:-1]
    assert [line for line in flags if line.split(b"FLAGS")[1].count(b"k") != 1] == []


def test_a_large_message_is_sent_whole_though_the_store_restarts_meanwhile(cell: Cell, account: Account) -> None:
    text = message("large", bytes(32 + n % 90 for n in range(1_000_000)) * 20)
    cell.deliver(account, text)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.send(b"A FETCH 1 BODY.PEEK[]\r\n")
    first = raw.file.readline()
    size = int(first[first.index(b"{") + 1 : first.index(b"}")])
    found = raw.file.read(1_000_000)
    cell.restart("store")
    found += raw.file.read(size - len(found))
    assert found == text
    assert raw.until(b"A ")[-1].startswith(b"A OK")


def test_a_message_that_cannot_be_sent_whole_ends_the_connection_and_no_line_is_added(
    cell: Cell, account: Account
) -> None:
    text = message("large", bytes(32 + n % 90 for n in range(1_000_000)) * 20)
    cell.deliver(account, text)
    raw, pop = cell.raw(account), cell.pop(account)
    raw.command("SELECT INBOX")
    raw.send(b"A FETCH 1 BODY.PEEK[]\r\n")
    raw.file.readline()
    found = raw.file.read(1_000_000)
    pop._putcmd("RETR 1")
    assert pop._getresp().startswith(b"+OK")
    cell.cut("access", "store")
    cell.forget_grants()  # so that store cannot go on when the edge is there again
    cell.connect("access", "store")
    with contextlib.suppress(OSError):
        found += raw.file.read()
    assert len(found) < len(text) and text.startswith(found)
    with contextlib.suppress(OSError):
        assert b"-ERR" not in pop.file.read()
    assert cell.raw(account).command("SELECT INBOX")


def test_sessions_outlive_an_edge_to_store_that_is_replaced(cell: Cell, account: Account) -> None:
    raw, idling = cell.raw(account), cell.raw(account)
    for client in (raw, idling):
        client.command("SELECT INBOX")
    idling.send(b"I IDLE\r\n")
    idling.line()
    cell.cut("access", "store")
    cell.connect("access", "store")
    cell.deliver(account, message("after"))
    assert idling.until(b"* 1 EXISTS")
    idling.send(b"DONE\r\n")
    assert idling.until(b"I OK")
    raw.command("NOOP")
    assert b" OK " in raw.command("FETCH 1 BODY.PEEK[]")[-1]


def test_a_restart_of_keyring_ends_sessions_with_bye(cell: Cell, account: Account) -> None:
    raw, idling, pop = cell.raw(account), cell.raw(account), cell.raw(listener="pop3s")
    raw.command("SELECT INBOX")
    idling.send(b"I IDLE\r\n")
    idling.line()
    cell.restart("keyring")
    for ended in (raw, idling):
        assert ended.until(b"* BYE [UNAVAILABLE]")
        assert ended.line() == b""
    pop.send(b"NOOP\r\n")  # it had no session: it goes on
    assert pop.line()
    again = cell.raw(account)
    assert b" OK " in again.command("SELECT INBOX")[-1]


def test_a_stop_of_sessions_ends_them_and_admits_nobody(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    cell.ask(StopTenantSessions(stamp(), 100, True, True, "drill"), "keyring")
    assert raw.until(b"* BYE [UNAVAILABLE]")
    refused = cell.raw()
    assert b" NO " in refused.command(f'LOGIN {account.address} "correct horse battery"')[-1]
    cell.ask(LiftSessionStop(stamp(), 101, "drill"), "keyring")
    assert b" OK " in cell.raw(account).command("SELECT INBOX")[-1]


def test_sessions_are_told_goodbye_when_access_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    before = Path.cwd()
    other = Cell(tmp_path_factory.mktemp("stopped"))
    try:
        person = other.add_account()
        sessions = [other.raw(person), other.raw(person), other.raw()]
        sessions[0].send(b"I IDLE\r\n")
        sessions[0].line()
    finally:
        other.close()
        os.chdir(before)
    for raw in sessions:
        assert raw.until(b"* BYE")


def test_a_message_is_recent_in_the_one_session_that_was_told_first(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"))
    looking = cell.raw(account)
    assert b"* 2 RECENT\r\n" in looking.command("EXAMINE INBOX")
    assert b"(MESSAGES 2 RECENT 2)" in looking.command("STATUS INBOX (MESSAGES RECENT)")[0]
    one, two = cell.raw(account), cell.raw(account)
    assert b"* 2 RECENT\r\n" in one.command("SELECT INBOX")
    assert b"* 0 RECENT\r\n" in two.command("SELECT INBOX")
    cell.deliver(account, message("3"))
    assert b"* 3 RECENT\r\n" in one.command("NOOP")
    assert b"* 0 RECENT\r\n" in two.command("NOOP")
    assert b"(FLAGS (\\Recent))" in one.command("FETCH 3 FLAGS")[0]
    assert b"(FLAGS ())" in two.command("FETCH 3 FLAGS")[0]
    one.command("STORE 1 FLAGS.SILENT (\\Deleted)")
    assert one.command("EXPUNGE")[0] == b"* 1 EXPUNGE\r\n"
    assert one.command("SEARCH RECENT")[0] == b"* SEARCH 1 2\r\n"
    two.command("NOOP")
    assert two.command("SEARCH OLD")[0] == b"* SEARCH 1 2\r\n"


def test_from_is_searched_as_the_envelope_has_it(cell: Cell, account: Account) -> None:
    cell.deliver(account, b"From: <user-from (comment)@ (comment) domain.example>\r\nSubject: x\r\n\r\nText\r\n")
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    assert raw.command("SEARCH FROM user-from@domain.example")[0] == b"* SEARCH 1\r\n"
    assert raw.command("SEARCH FROM comment")[0] == b"* SEARCH 1\r\n"


def test_a_name_that_is_no_utf7_is_refused_with_no_and_listed_as_nothing(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    assert b" NO [CANNOT]" in raw.command("SELECT a&b")[-1]
    assert [line[:2] for line in raw.command('LIST "" a&b*')] == [b"T3"]

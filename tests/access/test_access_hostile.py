"""Hostile clients: a clear answer, nothing lost, and the session goes on, or ends where a limit says so."""

import time

import pytest
from tests.access.cell import PASSWORD, Account, Cell, Raw, message

from bulkhead.access.worker import SESSIONS_PER_ACCOUNT_MAX, Settings
from bulkhead.wire.imap.limits import SEARCH_STRING_MAX

HOSTILE = [
    b"",
    b" ",
    b"\x00",
    b"FETCH",
    b"FETCH 1",
    b"FETCH 0 FLAGS",
    b"FETCH 99999999999999999999 FLAGS",
    b"FETCH 1:1:1 FLAGS",
    b"FETCH 1 (FLAGS",
    b"FETCH 1 BODY[",
    b"FETCH 1 BODY[]<5>",
    b"FETCH 1 BODY[]<0.0>",
    b"FETCH 1 BODY[99999999999.1]",
    b"FETCH 1 BODY[HEADER.FIELDS ()]",
    b"FETCH 1 NONSENSE",
    b"FETCH 2:9 FLAGS",
    b"STORE 1 FLAGS (\\Recent)",
    b"STORE 1 FLAGS (\\*)",
    b"STORE 1 FLAGS ((x))",
    b"STORE 1 FLAGS (" + b"k" * 65 + b")",
    b"STORE 5 FLAGS (\\Seen)",
    b"SEARCH",
    b"SEARCH " + b"(" * 60 + b"ALL" + b")" * 60,
    b"SEARCH " + b"NOT " * 60 + b"ALL",
    b"SEARCH BODY \"" + b"x" * (SEARCH_STRING_MAX + 1) + b"\"",
    b"SEARCH SINCE 31-Feb-2020",
    b"SEARCH CHARSET X-EVIL TEXT x",
    b"COPY 1",
    b"COPY 1 &AA-",
    b"COPY 1 \xff\xfe",
    b"CREATE " + b"a/" * 30 + b"a",
    b"CREATE \"a\rb\"",
    b"CREATE ../../etc/passwd\x00",
    b"CREATE &Jjo!",
    b"RENAME INBOX",
    b"LIST",
    b"STATUS INBOX ()",
    b"STATUS INBOX (EVERYTHING)",
    b"APPEND INBOX",
    b"APPEND INBOX (\\Seen) \"99-Foo-2020 00:00:00 +0000\" {3}",
    b"APPEND INBOX {99999999999}",
    b"APPEND INBOX {5+}\r\nab\r\n\r\n",
    b"UID",
    b"UID NONSENSE 1",
    b"UID FETCH (1) FLAGS",
    b"LOGIN a b",
    b"AUTHENTICATE PLAIN AAAA",
    b"STARTTLS",
    b"ENABLE",
    b"ID (\"a\")",
    b"XYZZY",
    b"IDLE now",
]  # fmt: skip


@pytest.fixture(scope="module")
def victim(cell: Cell) -> Account:
    account = cell.add_account()
    cell.deliver(account, message("kept"))
    return account


@pytest.mark.parametrize("command", HOSTILE)
def test_a_hostile_command_is_refused_and_the_session_goes_on(cell: Cell, victim: Account, command: bytes) -> None:
    raw = cell.raw(victim)
    raw.command("SELECT INBOX")
    raw.send(b"H " + command + b"\r\n")
    raw.send(b"E NOOP\r\n")
    lines = raw.until(b"E ")
    assert lines[-1].startswith(b"E OK")
    assert lines[0].split()[1] in (b"BAD", b"NO")
    assert raw.command("FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[0].count(b"Subject: kept") == 1


@pytest.mark.parametrize("command", [command for command in HOSTILE if not command.endswith(b"}")])
def test_a_hostile_command_before_login_is_refused(cell: Cell, victim: Account, command: bytes) -> None:
    raw = cell.raw()
    raw.send(b"H " + command + b"\r\n")
    raw.send(b"E NOOP\r\n")
    lines = raw.until(b"E ")
    assert lines[-1].startswith(b"E OK")
    assert lines[0].split()[1] in (b"BAD", b"NO")


def test_a_command_line_without_end_is_ended_and_takes_no_memory(cell: Cell, victim: Account) -> None:
    raw = cell.raw()
    assert ends(raw, b"A" * 100_000)
    raw = cell.raw(victim)
    assert ends(raw, b"A" * 1_000_000)


def test_bad_commands_in_a_row_end_the_connection(cell: Cell, victim: Account) -> None:
    for raw in (cell.raw(), cell.raw(victim)):
        assert ends(raw, b"x y z\r\n" * 60)


def ends(raw: Raw, data: bytes) -> bool:
    try:
        raw.send(data)
        while line := raw.line():
            if line.startswith(b"* BYE"):
                return raw.line() == b""
    except OSError:
        return True  # reset while we were still sending
    return True


def test_a_literal_before_login_has_a_limit(cell: Cell) -> None:
    raw = cell.raw()
    assert raw.command("LOGIN {5000}")[-1].startswith(b"T1 BAD [TOOBIG]")
    assert raw.command("LOGIN {100000000}")[-1].startswith(b"T2 BAD")
    raw.send(b"T3 LOGIN {100000000+}\r\n")
    assert raw.line().startswith(b"* BYE")


def test_a_login_in_literals_works(cell: Cell, victim: Account) -> None:
    raw = cell.raw()
    name, password = victim.address.encode(), PASSWORD.encode()
    raw.send(b"A LOGIN {%d}\r\n" % len(name))
    assert raw.line().startswith(b"+")
    raw.send(name + b" {%d+}\r\n" % len(password) + password + b"\r\n")
    assert raw.until(b"A ")[-1].startswith(b"A OK")


def test_an_append_that_is_too_large_is_refused_before_it_is_sent(cell: Cell, victim: Account) -> None:
    raw = cell.raw(victim)
    limit = cell.settings["access"]["append_bytes_max"]
    assert raw.command(f"APPEND INBOX {{{limit + 1}}}")[-1].startswith(b"T2 NO [TOOBIG]")
    raw.send(b"A APPEND INBOX {%d}\r\n" % limit)
    assert raw.line().startswith(b"+")
    raw.close()
    time.sleep(0.1)
    assert cell.services["access"].worker.budget._left == 256 << 20


def test_an_append_beyond_the_quota_is_refused_before_it_is_sent(cell: Cell) -> None:
    account = cell.add_account(quota=2000)
    raw = cell.raw(account)
    assert raw.command("APPEND INBOX {2001}")[-1].startswith(b"T2 NO [OVERQUOTA]")
    text = message("fits")
    raw.send(b"A APPEND INBOX {%d+}\r\n" % len(text) + text + b"\r\n")
    assert raw.until(b"A ")[-1].startswith(b"A OK")


def test_appends_beyond_the_memory_of_a_worker_are_put_off(cell: Cell, victim: Account) -> None:
    limit = cell.settings["access"]["append_bytes_max"]
    holders = []
    for _ in range(4):
        raw = cell.raw(victim)
        raw.send(b"A APPEND INBOX {%d}\r\n" % limit)
        assert raw.line().startswith(b"+")
        holders.append(raw)
    raw = cell.raw(victim)
    assert raw.command("APPEND INBOX {10}")[-1].startswith(b"T2 NO [UNAVAILABLE]")
    for holder in holders:
        holder.close()
    time.sleep(0.2)
    raw.send(b"A APPEND INBOX {10}\r\n")
    assert raw.line().startswith(b"+")


def test_an_append_with_text_behind_its_message_is_refused_and_nothing_is_stored(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.send(b"A APPEND INBOX {3+}\r\nabc {3+}\r\ndef more\r\n")
    assert raw.until(b"A ")[-1].startswith(b"A BAD")
    assert b"MESSAGES 0" in raw.command("STATUS INBOX (MESSAGES)")[0]


def test_a_connection_without_login_ends(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = cell.services["access"].worker
    monkeypatch.setattr(worker, "settings", Settings(1800, 600, 0.3, 1000, 10))
    started = time.monotonic()
    for raw in (cell.raw(), cell.raw(listener="pop3s")):
        assert raw.line()[:5] in (b"* BYE", b"-ERR ")
        assert raw.line() == b""
    assert time.monotonic() - started < 20


def test_pipelined_commands_are_answered_in_order(cell: Cell, victim: Account) -> None:
    raw = cell.raw(victim)
    raw.command("SELECT INBOX")
    count = 3000
    raw.send(b"".join(b"P%d NOOP\r\n" % n for n in range(count)))
    for n in range(count):
        assert raw.line() == b"P%d OK NOOP completed\r\n" % n


def test_a_client_that_reads_nothing_holds_up_only_itself(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("large", b"x" * 3_000_000))
    stuck = cell.raw(account)
    stuck.command("SELECT INBOX")
    stuck.send(b"".join(b"P%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(50)))
    time.sleep(0.3)
    other = cell.raw(account)
    started = time.monotonic()
    other.command("SELECT INBOX")
    other.command("FETCH 1 (FLAGS ENVELOPE)")
    assert time.monotonic() - started < 20
    stuck.close()


def test_one_account_has_at_most_so_many_sessions_in_a_worker(cell: Cell, account: Account) -> None:
    """A mailbox of a million messages takes memory in every session: no subscriber uses up the worker's."""
    sessions = [cell.raw(account) for _ in range(SESSIONS_PER_ACCOUNT_MAX)]
    late = cell.raw()
    login = f'LOGIN {account.address} "{PASSWORD}"'
    assert late.command(login)[-1].split()[1] == b"NO"
    assert late.command("NOOP")[-1].split()[1] == b"OK"
    other = cell.raw(cell.add_account())
    sessions.pop().command("LOGOUT")
    assert late.command(login)[-1].split()[1] == b"OK"
    for raw in (*sessions, other, late):
        raw.close()

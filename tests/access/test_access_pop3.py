"""POP3 with poplib and octet by octet, against the real holders."""

import base64
import poplib

import pytest
from tests.access.cell import PASSWORD, Account, Cell, Raw, message

TEXTS = [
    message("one", b"first\r\n.\r\n..dots\r\n.end"),
    message("two", b"bare\n.\nlines\nsecond\r\n"),
    message("three", b"".join(b"%05d\r\n" % n for n in range(30_000))),
    b"\r\n.only a body\r\n",
    b"Subject: only a header\r\n",
]


@pytest.fixture
def drop(cell: Cell, account: Account) -> poplib.POP3_SSL:
    cell.deliver(account, *TEXTS)
    return cell.pop(account)


def line(raw: Raw, command: bytes) -> bytes:
    raw.send(command + b"\r\n")
    return raw.line()


def body(raw: Raw) -> bytes:
    """A multi-line response as octets, dots taken away (RFC 1939 section 3)."""
    data = b""
    while not (data.endswith(b"\r\n.\r\n") or data == b".\r\n"):
        data += raw.file.readline()
    data = data[:-3]
    return data.removeprefix(b".").replace(b"\n.", b"\n") if data.startswith(b".") else data.replace(b"\n.", b"\n")


def test_a_maildrop_is_listed_read_and_left_as_it_was(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    assert drop.stat() == (5, sum(map(len, TEXTS)))
    assert drop.list()[1] == [b"%d %d" % (n, len(text)) for n, text in enumerate(TEXTS, 1)]
    identifiers = [entry.split()[1] for entry in drop.uidl()[1]]
    assert len(set(identifiers)) == 5
    assert drop.uidl(2).split()[2] == identifiers[1]
    assert drop.list(3).split()[2] == b"%d" % len(TEXTS[2])
    drop.quit()
    again = cell.pop(account)
    assert [entry.split()[1] for entry in again.uidl()[1]] == identifiers


@pytest.mark.parametrize("number", range(1, 6))
def test_messages_come_back_as_they_went_in(cell: Cell, account: Account, number: int) -> None:
    cell.deliver(account, *TEXTS)
    raw = cell.raw(listener="pop3s")
    line(raw, b"USER " + account.address.encode())
    assert line(raw, b"PASS " + PASSWORD.encode()).startswith(b"+OK")
    assert line(raw, b"RETR %d" % number) == b"+OK %d octets\r\n" % len(TEXTS[number - 1])
    found, text = body(raw), TEXTS[number - 1]
    assert found == (text if text.endswith(b"\r\n") else text + b"\r\n")


def test_top_gives_the_header_and_so_many_lines(drop: poplib.POP3_SSL) -> None:
    header = TEXTS[2].split(b"\r\n\r\n")[0].split(b"\r\n")
    assert drop.top(3, 0)[1] == [*header, b""]
    assert drop.top(3, 2)[1] == [*header, b"", b"00000", b"00001"]
    assert drop.top(1, 99)[1][-1] == b".end"
    assert drop.top(4, 1)[1] == [b"", b".only a body"]
    assert drop.top(5, 3)[1] == [b"Subject: only a header"]
    assert len(drop.top(3, 20_000)[1]) == len(header) + 1 + 20_000


def test_deletion_takes_effect_at_quit_alone(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    drop.dele(1)
    drop.dele(3)
    for command in (lambda: drop.retr(1), lambda: drop.dele(1), lambda: drop.list(3), lambda: drop.retr(99)):
        with pytest.raises(poplib.error_proto):
            command()
    assert drop.stat()[0] == 3
    drop.rset()
    assert drop.stat()[0] == 5
    drop.dele(2)
    drop.close()
    again = cell.pop(account)
    assert again.stat()[0] == 5
    again.dele(2)
    again.retr(1)
    again.quit()
    assert cell.pop(account).stat()[0] == 4
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    assert [b"\\Seen" in found for found in raw.command("FETCH 1:* FLAGS")[:-1]] == [True, False, False, False]


def test_a_maildrop_is_held_by_one_session_at_a_time(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        cell.pop(account)
    drop.noop()
    drop.quit()
    assert cell.pop(account).stat()[0] == 5


def test_mail_that_imap_expunged_is_gone_and_said_to_be(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    raw.command("STORE 2 FLAGS (\\Deleted)")
    raw.command("EXPUNGE")
    with pytest.raises(poplib.error_proto, match="gone"):
        drop.retr(2)
    assert drop.stat()[0] == 5
    drop.dele(2)
    drop.quit()


def test_logins_are_refused_with_a_code_and_may_be_tried_again(cell: Cell, account: Account) -> None:
    pop = cell.pop()
    assert {"USER", "SASL", "TOP", "UIDL", "PIPELINING"} <= set(pop.capa())
    for command in (lambda: pop.pass_("x"), pop.stat, lambda: pop._shortcmd("RETR 1")):
        with pytest.raises(poplib.error_proto):
            command()
    pop.user(account.address)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        pop.pass_("wrong")
    pop.user(account.address)
    pop.pass_(PASSWORD)
    assert "USER" not in pop.capa()


def test_auth_plain_works_with_and_without_an_initial_response(cell: Cell, account: Account) -> None:
    response = base64.b64encode(f"\0{account.address}\0{PASSWORD}".encode())
    raw = cell.raw(listener="pop3s")
    assert line(raw, b"AUTH PLAIN " + response).startswith(b"+OK")
    assert line(raw, b"QUIT").startswith(b"+OK")
    raw = cell.raw(listener="pop3s")
    assert line(raw, b"AUTH PLAIN") == b"+ \r\n"
    assert line(raw, b"*").startswith(b"-ERR")
    assert line(raw, b"AUTH CRAM-MD5").startswith(b"-ERR")
    assert line(raw, b"AUTH PLAIN") == b"+ \r\n"
    assert line(raw, response).startswith(b"+OK")


HOSTILE = [b"", b"RETR", b"RETR 0", b"RETR -1", b"RETR 1 1", b"RETR 99999999999", b"TOP 1", b"TOP 1 -1", b"LIST x",
           b"XYZZY", b"DELE \x00", b"STAT now", b"UIDL 7", b"USER a", b"A" * 300]  # fmt: skip


@pytest.mark.parametrize("command", HOSTILE)
def test_a_hostile_command_is_refused_and_the_session_goes_on(cell: Cell, account: Account, command: bytes) -> None:
    raw = cell.raw(listener="pop3s")
    line(raw, b"USER " + account.address.encode())
    assert line(raw, b"PASS " + PASSWORD.encode()).startswith(b"+OK")
    assert line(raw, command).startswith(b"-ERR")
    assert line(raw, b"STAT") == b"+OK 0 0\r\n"


def test_pipelined_commands_are_answered_in_order(cell: Cell, account: Account) -> None:
    raw = cell.raw(listener="pop3s")
    raw.send(b"USER " + account.address.encode() + b"\r\nPASS " + PASSWORD.encode() + b"\r\nSTAT\r\nNOOP\r\nQUIT\r\n")
    assert [raw.line()[:3] for _ in range(5)] == [b"+OK"] * 5
    assert raw.line() == b""


def test_a_restart_of_keyring_ends_a_session_and_deletes_nothing(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"))
    pop = cell.pop(account)
    pop.dele(1)
    cell.restart("keyring")
    assert pop.file.readline().startswith(b"-ERR [SYS/TEMP]")
    assert pop.file.readline() == b""
    assert cell.pop(account).stat()[0] == 1


def test_a_restart_of_store_is_survived(drop: poplib.POP3_SSL, cell: Cell) -> None:
    cell.restart("store")
    assert len(drop.retr(3)[1]) > 30_000
    drop.dele(1)
    cell.restart("store")
    drop.quit()

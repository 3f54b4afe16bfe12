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


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_a_session_that_lost_its_maildrop_deletes_nothing(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    drop.dele(1)
    cell.restart("store")
    other = cell.pop(account)
    with pytest.raises(poplib.error_proto, match="took this mailbox"):
        drop.quit()
    assert other.stat()[0] == 5
    other.dele(1)
    other.quit()
    assert cell.pop(account).stat()[0] == 4


def test_a_lock_is_free_again_however_its_session_ended(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    drop.sock.shutdown(2)
    drop.close()
    for _ in range(100):
        try:
            again = cell.pop(account)
            break
        except poplib.error_proto as error:
            assert b"[IN-USE]" in error.args[0]
    again.quit()
    cell.pop(account).quit()
    cell.pop(account).quit()


def test_a_failed_update_is_said_to_be_one_and_removes_nothing(
    drop: poplib.POP3_SSL, cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop.dele(1)
    drop.dele(4)
    with monkeypatch.context() as patch:
        patch.setattr("bulkhead.store.handle_maildrop.remove_all", lambda *_: 1 / 0)
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\]"):
            drop.quit()
    assert cell.pop(account).stat()[0] == 5


def test_deletions_of_any_pattern_are_one_update(drop: poplib.POP3_SSL, cell: Cell, account: Account) -> None:
    for number in (1, 3, 4):
        drop.dele(number)
    with cell.sending() as sent:
        drop.quit()
    assert [type(request).__name__ for request in sent].count("UpdateMaildrop") == 1
    assert [entry.split()[1] for entry in cell.pop(account).list()[1]] == [b"%d" % len(TEXTS[at]) for at in (1, 4)]


# --- unique-ids -------------------------------------------------------------------------------------------------------


def test_a_message_shows_the_unique_id_that_it_brought_along(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1"), message("2"), message("3"))

    async def name(mailbox: int) -> None:
        database = cell.services["store"].state.database
        await database.write(lambda c: c.execute("INSERT INTO uidl VALUES (?, 2, 'Old~UIDL.{2}')", (mailbox,)))

    ((inbox,),) = cell.rows("SELECT inbox FROM account WHERE account = ?", account.id)
    cell.holders.run(name(inbox))
    pop = cell.pop(account)
    first, second, third = (entry.split()[1] for entry in pop.uidl()[1])
    assert second == b"Old~UIDL.{2}"
    assert pop.uidl(2).split()[2] == second
    assert {len(first), len(third)} == {16}


def test_a_header_from_outside_sets_no_unique_id(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("1", extra=b"X-UIDL: forged\r\nX-Dovecot-UIDL: forged\r\n"))
    assert b"forged" not in b"".join(cell.pop(account).uidl()[1])


# --- reading ahead ----------------------------------------------------------------------------------------------------


def test_draining_a_maildrop_asks_in_batches(cell: Cell, account: Account) -> None:
    texts = [message(str(n), b"%d\r\n" % n * (n % 7)) for n in range(150)]
    cell.deliver(account, *texts)
    pop = cell.pop(account)
    with cell.sending() as sent:
        found = [b"\r\n".join(pop.retr(n)[1]) + b"\r\n" for n in range(1, 151)]
    assert found == texts
    assert len(sent) < 40


@pytest.mark.parametrize("order", [(5, 4, 3, 2, 1), (1, 2, 4, 5, 1, 2, 3), (2, 2, 3, 3, 4)])
def test_messages_in_any_order_come_back_as_they_went_in(
    drop: poplib.POP3_SSL, order: tuple[int, ...]
) -> None:  # fmt: skip
    for number in order:
        text = TEXTS[number - 1]
        found = b"\r\n".join(drop.retr(number)[1]) + b"\r\n"
        assert found.replace(b"\n", b"").replace(b"\r", b"") == text.replace(b"\n", b"").replace(b"\r", b"")


def test_top_and_retr_of_many_may_be_mixed(drop: poplib.POP3_SSL) -> None:
    for number in (1, 2, 3):
        assert drop.top(number, 0)[1][0] == TEXTS[number - 1].split(b"\r\n")[0]
    for number in (3, 4, 5):
        assert len(drop.retr(number)[1]) > 0
        assert len(drop.top(number, 1)[1]) > 0


def test_a_message_expunged_after_it_was_read_ahead_may_still_be_sent(
    cell: Cell, account: Account
) -> None:  # fmt: skip
    cell.deliver(account, *[message(str(n)) for n in range(20)])
    pop, raw = cell.pop(account), cell.raw(account)
    for number in (1, 2, 3):
        pop.retr(number)
    raw.command("SELECT INBOX")
    raw.command("STORE 1:20 FLAGS (\\Deleted)")
    raw.command("EXPUNGE")
    gone = 0
    for number in range(4, 21):
        try:
            pop.retr(number)
        except poplib.error_proto as error:
            assert b"gone" in error.args[0]
            gone += 1
    assert gone


def test_a_restart_of_store_while_messages_are_read_ahead_is_survived(cell: Cell, account: Account) -> None:
    texts = [message(str(n)) for n in range(60)]
    cell.deliver(account, *texts)
    pop = cell.pop(account)
    for number in range(1, 61):
        if number in (3, 17, 40):
            cell.restart("store")
        assert b"\r\n".join(pop.retr(number)[1]) + b"\r\n" == texts[number - 1]


# --- SASL and UTF8 ----------------------------------------------------------------------------------------------------


def test_auth_login_works(cell: Cell, account: Account) -> None:
    raw = cell.raw(listener="pop3s")
    assert line(raw, b"AUTH LOGIN") == b"+ VXNlcm5hbWU6\r\n"
    assert line(raw, base64.b64encode(account.address.encode())) == b"+ UGFzc3dvcmQ6\r\n"
    assert line(raw, base64.b64encode(PASSWORD.encode())).startswith(b"+OK")


def test_utf8_is_accepted_before_the_login(cell: Cell, account: Account) -> None:
    cell.deliver(account, "Subject: 件名\r\n\r\n本文\r\n".encode())
    raw = cell.raw(listener="pop3s")
    assert line(raw, b"UTF8").startswith(b"+OK")
    line(raw, b"USER " + account.address.encode())
    assert line(raw, b"PASS " + PASSWORD.encode()).startswith(b"+OK")
    assert line(raw, b"RETR 1").startswith(b"+OK")
    assert body(raw) == "Subject: 件名\r\n\r\n本文\r\n".encode()

"""The listeners in clear: TLS comes before any login, and nothing said or sent before it counts."""

import imaplib
import poplib

import pytest
from tests.access.cell import PASSWORD, Account, Cell, Raw, message

WORDS = {"imap": (b"a STARTTLS", b"a OK"), "pop3": (b"STLS", b"+OK")}


def answer(raw: Raw, command: bytes) -> bytes:
    raw.send(command + b"\r\n")
    return raw.line()


def test_imap_clients_log_in_after_starttls(cell: Cell, account: Account) -> None:
    client = imaplib.IMAP4("127.0.0.1", cell.ports["imap"], timeout=30)
    assert {"STARTTLS", "LOGINDISABLED"} <= set(client.capabilities)
    assert not {"AUTH=PLAIN", "SASL-IR"} & set(client.capabilities)
    client.starttls(cell.client_tls)
    assert not {"STARTTLS", "LOGINDISABLED"} & set(client.capabilities)
    assert "AUTH=PLAIN" in client.capabilities
    client.login(account.address, PASSWORD)
    assert client.select()[0] == "OK"
    client.logout()


def test_pop3_clients_log_in_after_stls(cell: Cell, account: Account) -> None:
    cell.deliver(account, message("one"))
    client = poplib.POP3("127.0.0.1", cell.ports["pop3"], timeout=30)
    assert "STLS" in client.capa() and not {"USER", "SASL"} & set(client.capa())
    client.stls(cell.client_tls)
    assert "STLS" not in client.capa() and {"USER", "SASL"} <= set(client.capa())
    client.user(account.address)
    client.pass_(PASSWORD)
    assert client.stat()[0] == 1
    client.quit()


def test_no_password_is_taken_in_clear(cell: Cell, account: Account) -> None:
    raw = cell.raw(listener="imap")
    assert b"NO [PRIVACYREQUIRED]" in answer(raw, f'a LOGIN {account.address} "{PASSWORD}"'.encode())
    assert b"NO [PRIVACYREQUIRED]" in answer(raw, b"b AUTHENTICATE PLAIN")
    raw = cell.raw(listener="pop3")
    for command in (f"USER {account.address}", f"PASS {PASSWORD}", "AUTH PLAIN"):
        assert answer(raw, command.encode()).startswith(b"-ERR begin TLS")


@pytest.mark.parametrize("listener", WORDS)
@pytest.mark.parametrize("behind", [b"x", b"CAPA\r\n", b"b CAPABILITY\r\n", b"\x16\x03\x01"])
def test_what_follows_in_the_same_packet_ends_the_connection(cell: Cell, listener: str, behind: bytes) -> None:
    raw = cell.raw(listener=listener)
    raw.send(WORDS[listener][0] + b"\r\n" + behind)
    answers = []
    while answered := raw.line():
        answers.append(answered)
    assert not any(line.startswith(WORDS[listener][1]) for line in answers)


@pytest.mark.parametrize("listener", WORDS)
def test_tls_is_begun_once(cell: Cell, listener: str) -> None:
    raw = cell.raw(listener=listener)
    command, good = WORDS[listener]
    assert answer(raw, command).startswith(good)
    raw.start_tls()
    assert not answer(raw, command).startswith(good)


@pytest.mark.parametrize("listener", WORDS)
def test_a_client_that_cannot_do_tls_after_all_is_let_go(cell: Cell, listener: str) -> None:
    raw = cell.raw(listener=listener)
    answer(raw, WORDS[listener][0])
    raw.send(b"no TLS at all\r\n" * 20)
    try:
        assert not raw.sock.recv(4096).startswith(b"+OK")
    except (TimeoutError, ConnectionError):
        pass


def test_a_user_name_said_in_clear_is_forgotten(cell: Cell, account: Account) -> None:
    raw = cell.raw(listener="pop3")
    answer(raw, b"USER " + account.address.encode())
    assert answer(raw, b"STLS").startswith(b"+OK")
    raw.start_tls()
    assert answer(raw, b"PASS " + PASSWORD.encode()) == b"-ERR USER comes first\r\n"

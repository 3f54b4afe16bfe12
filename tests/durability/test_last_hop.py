"""No gate says yes before the holder behind it did: while that is stopped, no byte comes, and when it goes on, the yes.

The holder's own half, that its Done leaves after its syncs, is proved by traced system calls in the power-cut tests.
"""

import contextlib
import imaplib
import os
import signal
import smtplib
import socket
from collections.abc import Callable, Iterator

import pytest
from tests.live import Live, Mailbox

SILENCE_SECONDS = 1.0
TEXT = b"Subject: held\r\n\r\ntext\r\n"


@contextlib.contextmanager
def stopped(live: Live, compartment: str) -> Iterator[None]:
    """The compartment takes no step meanwhile."""
    pid = live.pid("t0", compartment)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_silent(sock: socket.socket) -> None:
    """Not one byte arrives."""
    sock.settimeout(SILENCE_SECONDS)
    with pytest.raises(TimeoutError):
        raise AssertionError(f"a reply without its Done: {sock.recv(1000)!r}")
    sock.settimeout(30)


def send_while_stopped(live: Live, smtp: smtplib.SMTP, sender: str, to: Mailbox, holder: str) -> int:
    """A transaction whose final dot comes while the holder is stopped; the code that comes after."""
    smtp.ehlo_or_helo_if_needed()
    assert [smtp.mail(sender)[0], smtp.rcpt(to.address)[0], smtp.docmd("DATA")[0]] == [250, 250, 354]
    sock = smtp.sock
    assert sock is not None
    with stopped(live, holder):
        smtp.send(TEXT + b".\r\n")
        assert_silent(sock)
    return smtp.getreply()[0]


def test_mx_says_250_only_after_store_said_done(live: Live) -> None:
    box = live.mailbox()
    with live.mx() as smtp:
        assert send_while_stopped(live, smtp, "a@elsewhere.example", box, "store") == 250
    assert live.subjects(box) == ["held"]


def test_submit_says_250_for_its_own_cell_only_after_store_said_done(live: Live) -> None:
    author, box = live.mailbox(), live.mailbox()
    with live.submission(author) as smtp:
        assert send_while_stopped(live, smtp, author.address, box, "store") == 250
    assert live.subjects(box) == ["held"]


def test_submit_says_250_for_another_cell_only_after_queue_said_done(live: Live) -> None:
    author, box = live.mailbox(), live.mailbox("t1")
    with live.submission(author) as smtp:
        assert send_while_stopped(live, smtp, author.address, box, "queue") == 250
    live.wait_subject(box, "held")


def _append(imap: imaplib.IMAP4_SSL) -> Callable[[], None]:
    imap.send(b"a1 APPEND INBOX {%d}\r\n" % len(TEXT))
    assert imap.readline().startswith(b"+")
    return lambda: imap.send(TEXT + b"\r\n")


def _command(line: bytes) -> Callable[[imaplib.IMAP4_SSL], Callable[[], None]]:
    return lambda imap: lambda: imap.send(b"a1 " + line + b"\r\n")


@pytest.mark.parametrize(
    "begin",
    [
        _append,
        _command(b"STORE 1 +FLAGS.SILENT (\\Deleted)"),
        _command(b"COPY 1 INBOX"),
        _command(b"CREATE Kept"),
        _command(b"EXPUNGE"),
    ],
    ids=["APPEND", "STORE", "COPY", "CREATE", "EXPUNGE"],
)
def test_access_says_ok_only_after_store_said_done(
    live: Live, begin: Callable[[imaplib.IMAP4_SSL], Callable[[], None]]
) -> None:
    box = live.mailbox()
    live.deliver(box)
    with live.imap(box) as imap:
        imap.store("1", "+FLAGS", "(\\Flagged)")
        go_on = begin(imap)
        with stopped(live, "store"):
            go_on()
            assert_silent(imap.sock)
        lines = [imap.readline()]
        while not lines[-1].startswith(b"a1 "):
            lines.append(imap.readline())
        assert lines[-1].startswith(b"a1 OK"), lines


def test_dele_is_answered_at_quit_only_after_store_said_done(live: Live) -> None:
    box = live.mailbox()
    live.deliver(box)
    with live.pop3(box) as pop3:
        pop3.dele(1)
        with stopped(live, "store"):
            pop3.sock.sendall(b"QUIT\r\n")
            assert_silent(pop3.sock)
        assert pop3.file.readline().startswith(b"+OK")
    assert live.subjects(box) == []

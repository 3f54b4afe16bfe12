"""What sessions are in the middle of when another compartment is killed, they finish; only keyring's death ends them.

IDLE, a FETCH of many messages, an APPEND and a RETR, each with half of its octets on the way.
"""

import contextlib
import os
import poplib
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.durability.imap_session import Ended, Imap, Line, fetched
from tests.live import Live, Mailbox
from tests.supervisor.test_workers import until

from bulkhead.boundary.processes import PROCESSES

MESSAGES, SIZE = 60, 150_000  # far more than the sockets between hold
RECEIVE_BYTES = 64 << 10  # of the clients' sockets
OTHERS = sorted(PROCESSES.keys() - {"access", "keyring"})


@dataclass(frozen=True, slots=True)
class Full:
    """A cell, and a mailbox in it with much in it."""

    live: Live
    box: Mailbox
    text: bytes


@pytest.fixture(scope="module")
def full() -> Iterator[Full]:
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # short: a socket's path has 108 bytes
        live = Live(Path(directory) / "i", 1, {"access.workers": 2, "mx.workers": 2, "submit.workers": 2})
        try:
            box = live.mailbox()
            text = b"Subject: long\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * (SIZE // 72)
            with live.imap(box) as imap:
                for _ in range(MESSAGES):
                    assert imap.append("INBOX", "", "", text)[0] == "OK"
            yield Full(live, box, text)
        finally:
            live.stop()


@dataclass(frozen=True, slots=True)
class Sessions:
    """Four sessions, each in the middle of something."""

    idling: Imap
    fetching: Imap
    appending: Imap
    pop3: poplib.POP3_SSL
    first: Line  # what the FETCH had given


def session(full: Full) -> Imap:
    imap = Imap(full.live, full.box)
    imap.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    assert imap.command(b"SELECT INBOX").status == "OK"
    return imap


@contextlib.contextmanager
def begun(full: Full) -> Iterator[Sessions]:
    """IDLE, FETCH, APPEND and RETR, begun and not ended."""
    with (
        session(full) as idling,
        session(full) as fetching,
        session(full) as appending,
        full.live.pop3(full.box) as pop3,
    ):
        idling.send(b"I IDLE\r\n")
        while not idling.line().text.startswith(b"+"):
            pass
        fetching.send(b"F UID FETCH 1:* (UID BODY.PEEK[])\r\n")
        first = fetching.line()
        appending.send(b"A APPEND INBOX {%d}\r\n" % len(full.text))
        assert appending.line().text.startswith(b"+")
        appending.send(full.text[: SIZE // 2])
        pop3._putcmd("RETR 1")
        assert pop3._getresp().startswith(b"+OK")
        yield Sessions(idling, fetching, appending, pop3, first)


def rest(imap: Imap, tag: bytes) -> tuple[list[Line], bytes]:
    lines = []
    while not (line := imap.line()).text.startswith(tag):
        lines.append(line)
    return lines, line.text


def pids(live: Live, compartment: str) -> set[int]:
    return {row["pid"] for row in live.processes("t0") if row["compartment"] == compartment and row["pid"]}


def kill(live: Live, compartment: str) -> set[int]:
    """kill -9 of all its workers."""
    gone = pids(live, compartment)
    for pid in gone:
        os.kill(pid, signal.SIGKILL)
    return gone


@pytest.mark.parametrize("compartment", OTHERS)
def test_what_is_half_done_is_finished_though_another_compartment_is_killed(full: Full, compartment: str) -> None:
    with begun(full) as sessions:
        there = len(kill(full.live, compartment))
        sessions.appending.send(full.text[SIZE // 2 :] + b"\r\n")
        lines, answer = rest(sessions.fetching, b"F ")
        assert answer.startswith(b"F OK")
        found = [item for item in map(fetched, [sessions.first, *lines]) if item and item.literal]
        assert len(found) >= MESSAGES and {item.literal for item in found} == {full.text}
        _, answer = rest(sessions.appending, b"A ")
        assert answer.startswith(b"A OK [APPENDUID ")
        while b"EXISTS" not in sessions.idling.line().text:
            pass
        sessions.idling.send(b"DONE\r\n")
        assert rest(sessions.idling, b"I ")[1].startswith(b"I OK")
        lines_read = []
        while (line := sessions.pop3._getline()[0]) != b".":
            lines_read.append(line)
        assert b"\r\n".join(lines_read) + b"\r\n" == full.text
        until(lambda: len(pids(full.live, compartment)) == there)
        sessions.pop3.dele(1)
        assert sessions.pop3._shortcmd("QUIT").startswith(b"+OK")


def test_the_death_of_keyring_ends_sessions_and_says_so_where_a_line_may_stand(full: Full) -> None:
    with begun(full) as sessions:
        while sessions.pop3._getline()[0] != b".":
            pass
        kill(full.live, "keyring")
        for imap in (sessions.idling, sessions.appending):
            with pytest.raises(Ended, match=r"\* BYE \[UNAVAILABLE\]"):
                rest(imap, b"never ")
        with pytest.raises(Ended):  # within a literal no line may stand
            rest(sessions.fetching, b"never ")
        with pytest.raises((poplib.error_proto, OSError), match=r"-ERR \[SYS/TEMP\]"):
            sessions.pop3.noop()
    until(lambda: bool(pids(full.live, "keyring")))
    with session(full) as again:
        answer = again.command(b"UID FETCH 1:* (UID)")
        assert answer.status == "OK" and len(answer.lines) >= MESSAGES

"""An IMAP client that reads everything it is told: for clients that keep a model of their mailboxes."""

import re
import select
from collections.abc import Iterator
from dataclasses import dataclass, field
from socket import create_connection

from tests.live import SECONDS, Live, Mailbox

_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
_UID, _MODSEQ, _FLAGS = re.compile(rb"UID (\d+)"), re.compile(rb"MODSEQ \((\d+)\)"), re.compile(rb"FLAGS \(([^)]*)\)")


class NotIn(OSError):
    """No connection, or no login: nothing was asked yet."""


class Ended(OSError):
    """The session ended; what was asked last is unknown."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Octets sent as a literal, after the server's go-ahead."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One response, without its literals, and those."""

    text: bytes
    literals: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Answer:
    """What a command got. status: OK, NO or BAD."""

    status: str
    text: bytes
    lines: list[Line] = field(default_factory=list)

    def code(self, name: str) -> list[bytes]:
        """The words of a response code, in whichever line it stands; empty where it is not there."""
        for text in (self.text, *(line.text for line in self.lines)):
            if found := re.search(rb"\[" + name.encode() + rb" ([^\]]*)\]", text):
                return found[1].split()
        return []

    def number(self, name: str) -> int:
        """A response code's number; 0 where it is not there."""
        return int((self.code(name) or [b"0"])[0])


@dataclass(frozen=True, slots=True)
class Fetched:
    """One FETCH response. Absent items: 0, None, empty."""

    uid: int
    modseq: int
    flags: frozenset[str] | None
    literal: bytes


def fetched(line: Line) -> Fetched | None:
    """The FETCH response in this line, if it is one."""
    if not re.match(rb"\* \d+ FETCH ", line.text):
        return None
    text = line.text
    uid, modseq, flags = _UID.search(text), _MODSEQ.search(text), _FLAGS.search(text)
    names = None if flags is None else frozenset(flags[1].decode().split()) - {"\\Recent"}
    return Fetched(
        int(uid[1]) if uid else 0, int(modseq[1]) if modseq else 0, names, b"".join(line.literals)
    )  # fmt: skip


def vanished(line: Line) -> list[int]:
    """The UIDs of a VANISHED response."""
    found = re.match(rb"\* VANISHED (?:\(EARLIER\) )?([\d:,]+)", line.text)
    return list(uids_of(found[1])) if found else []


def uids_of(text: bytes) -> Iterator[int]:
    """The numbers of a set as the server writes them, each of its parts ascending."""
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        yield from range(int(low), int(high or low) + 1)


def set_of(uids: list[int]) -> bytes:
    """A set of these."""
    return b",".join(b"%d" % uid for uid in uids)


class Imap:
    """A logged-in session with QRESYNC enabled. Raises NotIn before that, Ended after."""

    def __init__(self, live: Live, box: Mailbox) -> None:
        endpoint = live.endpoints[box.tenant]
        self.selected = ""
        self._count, self._buffer = 0, bytearray()
        try:
            raw = create_connection((endpoint.address, endpoint.imaps), timeout=SECONDS)
            try:
                self.sock = live.tls.wrap_socket(raw, server_hostname=endpoint.address)
            except OSError:
                raw.close()
                raise
            self.line()
            login = self.command(f'LOGIN "{box.address}" "{box.password}"'.encode())
            if login.status != "OK":
                raise NotIn(login.text.decode())
            self.command(b"ENABLE QRESYNC")
        except OSError as error:
            raise NotIn(str(error)) from error

    def __enter__(self) -> "Imap":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Just go."""
        self.sock.close()

    def send(self, octets: bytes) -> None:
        """Write. Raises Ended."""
        try:
            self.sock.sendall(octets)
        except OSError as error:
            raise Ended(str(error)) from error

    def _more(self) -> None:
        try:
            octets = self.sock.recv(1 << 18)
        except OSError as error:
            raise Ended(str(error)) from error
        if not octets:
            raise Ended("the connection was closed")
        self._buffer += octets

    def _physical(self) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            self._more()
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def line(self) -> Line:
        """One response, whole. Raises Ended at BYE too."""
        text = self._physical()
        literals = []
        while found := _LITERAL.search(text):
            while len(self._buffer) < int(found[1]):
                self._more()
            octets = bytes(self._buffer[: int(found[1])])
            del self._buffer[: len(octets)]
            literals.append(octets)
            text = text[: found.start()] + self._physical()
        if text.startswith(b"* BYE"):
            raise Ended(text.decode())
        return Line(text, tuple(literals))

    def command(self, *parts: bytes | Literal) -> Answer:
        """Send one command, its literals each after the go-ahead, and read up to its answer."""
        self._count += 1
        tag = b"A%d" % self._count
        out, lines = tag + b" ", list[Line]()
        for part in parts:
            if isinstance(part, bytes):
                out += part
                continue
            self.send(out + b"{%d}\r\n" % len(part.octets))
            answer = self._until(tag, lines)
            if answer is not None:
                return answer
            out = part.octets
        self.send(out + b"\r\n")
        while (answer := self._until(tag, lines)) is None:
            pass
        return answer

    def _until(self, tag: bytes, lines: list[Line]) -> Answer | None:
        """Read up to the answer, or to a go-ahead: then None."""
        while True:
            line = self.line()
            if line.text.startswith(b"+"):
                return None
            if line.text.startswith(tag + b" "):
                return Answer(line.text.split(b" ", 2)[1].decode().strip(), line.text, lines)
            lines.append(line)

    def idle(self, seconds: float) -> list[Line]:
        """IDLE until something comes or the time is over; everything that was told."""
        self.send(b"I IDLE\r\n")
        lines = []
        while not (line := self.line()).text.startswith(b"+"):
            lines.append(line)
        if not self._buffer and not self.sock.pending():
            select.select([self.sock], [], [], seconds)
        self.send(b"DONE\r\n")
        while not (line := self.line()).text.startswith(b"I "):
            lines.append(line)
        return lines

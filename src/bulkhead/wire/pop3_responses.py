"""What a POP3 server says, as bytes ready to send (RFC 1939; RFC 2449 sections 4, 6 and 8; RFC 6856 section 2)."""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from bulkhead.wire.pop3 import BEFORE_LOGIN, State

RESPONSE_MAX: Final = 512  # octets of a response's first line with CRLF, RFC 2449 section 4


class Code(Enum):
    """Extended response codes (RFC 2449 section 8; RFC 3206)."""

    AUTH = b"AUTH"
    IN_USE = b"IN-USE"
    SYS_PERM = b"SYS/PERM"
    SYS_TEMP = b"SYS/TEMP"


CAPABILITIES: Final[tuple[tuple[bytes, frozenset[State]], ...]] = (
    (b"TOP", frozenset(State)),
    (b"UIDL", frozenset(State)),
    (b"USER", BEFORE_LOGIN),
    (b"SASL PLAIN LOGIN", BEFORE_LOGIN),
    (b"UTF8", BEFORE_LOGIN),
    (b"RESP-CODES", frozenset(State)),
    (b"AUTH-RESP-CODE", frozenset(State)),
    (b"PIPELINING", frozenset(State)),
    (b"EXPIRE NEVER", frozenset(State)),
    (b"IMPLEMENTATION Bulkhead", frozenset(State)),
)
"""Capability and the states that show it (RFC 2449 section 6). No LOGIN-DELAY: there is none.

UTF8 is shown without USER: login names and passwords are octets to be equal, not prepared text (RFC 6856 section 2.2).
"""
_LOGINS: Final = (b"USER", b"SASL PLAIN LOGIN")


def ok(text: str = "") -> bytes:
    """`+OK text`. Raises ValueError on a text that is not one line of at most 512 octets: our bug."""
    return _status(b"+OK", text.encode("utf-8"))


def err(text: str, code: Code | None = None) -> bytes:
    """`-ERR [CODE] text`. Raises ValueError as ok does."""
    octets = text.encode("utf-8")
    return _status(b"-ERR", b"[%s] %s" % (code.value, octets) if code else octets)


def challenge(octets: bytes = b"") -> bytes:
    """`+ ` and a SASL challenge in base64 (RFC 5034 section 4)."""
    return b"+ %s\r\n" % octets


def _status(indicator: bytes, text: bytes) -> bytes:
    line = b"%s %s\r\n" % (indicator, text) if text else indicator + b"\r\n"
    if len(line) > RESPONSE_MAX or b"\r" in text or b"\n" in text:
        raise ValueError("a response is one line of at most 512 octets")
    return line


def multi_line(first: bytes, lines: Iterable[bytes]) -> bytes:
    """A whole multi-line response of our own lines, such as LIST: `first` from ok(), lines without their ends.

    No line may begin with a dot. Raises ValueError on such a line: our bug.
    """
    listed = list(lines)
    if any(line.startswith(b".") for line in listed):
        raise ValueError("a listed line begins with a dot")
    return b"".join((first, *[line + b"\r\n" for line in listed], b".\r\n"))


def capability_lines(state: State, *, secure: bool = True) -> list[bytes]:
    """The lines of the CAPA response in `state`; before TLS there is STLS and no login (RFC 2595 section 2.3)."""
    names = [name for name, states in CAPABILITIES if state in states]
    return names if secure else [*(name for name in names if name not in _LOGINS), b"STLS"]


class MessageRenderer:
    """A message as the body of a multi-line response, chunk by chunk (RFC 1939 section 3).

    A dot is doubled after every LF, bare ones too: clients that read up to LF would take LF, dot, CRLF for the end.
    """

    def __init__(self) -> None:
        self._last = b"\r\n"

    def render(self, chunk: bytes) -> bytes:
        """The octets to send for the next chunk of the message."""
        if not chunk:
            return b""
        dot = b"." if self._last.endswith(b"\n") and chunk.startswith(b".") else b""
        self._last = (self._last + chunk[-2:])[-2:]
        return dot + chunk.replace(b"\n.", b"\n..")

    def finish(self) -> bytes:
        """What ends the response: a line end if the message had none, and the final dot."""
        if self._last == b"\r\n":
            return b".\r\n"
        return b"\n.\r\n" if self._last.endswith(b"\r") else b"\r\n.\r\n"


class TopCut:
    """The first `lines` lines of a body that comes in chunks, for TOP."""

    def __init__(self, lines: int) -> None:
        self._left = lines

    @property
    def done(self) -> bool:
        """True when no later chunk is needed."""
        return self._left <= 0

    def cut(self, chunk: bytes) -> bytes:
        """The part of the next chunk that belongs to the answer."""
        if self.done:
            return b""
        ends = chunk.count(b"\n")
        if ends < self._left:
            self._left -= ends
            return chunk
        place = -1
        for _ in range(self._left):
            place = chunk.find(b"\n", place + 1)
        self._left = 0
        return chunk[: place + 1]

"""Replies as a client reads them (RFC 5321 section 4.2), from a server that may be hostile."""

import re
from typing import Final

from bulkhead.errors import BareNewline, LineTooLong, PeerError
from bulkhead.wire.smtp_codes import Reply

LINE_MAX: Final = 2000  # octets with CRLF: over the 512 of RFC 5321 section 4.5.3.1.5, as servers are
LINES_MAX: Final = 100  # a reply

_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class ReplyReader:
    """Takes replies out of an inbox. Memory: one reply of at most LINES_MAX lines."""

    def __init__(self) -> None:
        self._code = 0
        self._lines: list[str] = []

    def read(self, inbox: bytearray) -> Reply | None:
        """The next whole reply, or None. Text keeps printable US-ASCII; anything else becomes "?".

        Raises LineTooLong, BareNewline, or PeerError when it is no reply, its codes differ or its lines are too many.
        """
        while (line := _take_line(inbox)) is not None:
            match = _LINE.fullmatch(line)
            if match is None:
                raise PeerError("not an SMTP reply")
            code = int(match[1])
            if self._lines and code != self._code:
                raise PeerError("the lines of a reply have different codes")
            self._code = code
            self._lines.append(_UNPRINTABLE.sub("?", (match[3] or b"").decode("ascii", "replace")))
            if match[2] != b"-":
                lines, self._lines = self._lines, []
                return _reply(code, lines)
            if len(self._lines) >= LINES_MAX:
                raise PeerError("a reply has too many lines")
        return None


def _take_line(inbox: bytearray) -> bytes | None:
    end = inbox.find(b"\n")
    if end + 1 > LINE_MAX or (end < 0 and len(inbox) >= LINE_MAX):
        raise LineTooLong("a reply line is too long")
    if end < 0:
        return None
    line = bytes(inbox[: end + 1])
    del inbox[: end + 1]
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        raise BareNewline("a reply line must end in CRLF")
    return line[:-2]


def _reply(code: int, lines: list[str]) -> Reply:
    """The reply with its enhanced status taken from the text (RFC 2034 section 4), if its class fits."""
    found = _STATUS.match(lines[0])
    if found is None or int(found[1][0]) != code // 100:
        return Reply(code, "", tuple(lines))
    status = found[1]
    return Reply(code, status, tuple(line.removeprefix(status).lstrip(" ") for line in lines))

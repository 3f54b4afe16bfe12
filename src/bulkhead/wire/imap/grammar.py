"""Tokens of the IMAP grammar: a scanner over one whole command (RFC 3501 section 9).

A command is one run of bytes in which a literal stands as it came: `{5}`, CRLF, five octets.
"""

import re
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final

from bulkhead.errors import PeerError

_ATOM: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING_ATOM: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST_ATOM: Final = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_TAG: Final = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_QUOTED: Final = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_ESCAPE: Final = re.compile(rb'\\(["\\])')
_LITERAL: Final = re.compile(rb"~?\{([0-9]{1,10})\+?\}\r\n")
_NUMBER: Final = re.compile(rb"[0-9]{1,20}")
_DATE: Final = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
_DATE_TIME: Final = re.compile(
    rb'"([ 0-9]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)

MONTHS: Final = (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC")
NUMBER_MAX: Final = 0xFFFFFFFF  # RFC 3501 section 9: number is unsigned 32-bit
DATE_TIME_MAX: Final = 253_402_000_000  # days before the end of the year 9999
NUMBER64_MAX: Final = 0x7FFFFFFFFFFFFFFF  # RFC 9051 section 9: number64 is unsigned 63-bit


class Condition(Enum):
    """The words of a status response (RFC 3501 section 7.1)."""

    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"
    BYE = b"BYE"
    PREAUTH = b"PREAUTH"


class CommandError(PeerError):
    """One command cannot be taken; the connection goes on.

    `condition` is BAD or NO, `response_code` the text inside the brackets, or empty. The text never repeats what
    the client sent.
    """

    code = "imap-command"

    def __init__(self, public: str, *, condition: Condition = Condition.BAD, response_code: bytes = b"") -> None:
        super().__init__(public)
        self.condition, self.response_code = condition, response_code


class Scanner:
    """Reads tokens from one command; each method takes one token or raises CommandError.

    utf8_names: mailbox names are UTF-8 and not modified UTF-7 (RFC 9051 section 5.1).
    utf8_accept: the client has enabled UTF8=ACCEPT, so that all its text is UTF-8 (RFC 6855 section 3).
    """

    __slots__ = ("data", "pos", "utf8_accept", "utf8_names")

    def __init__(self, data: bytes, pos: int = 0, *, utf8_names: bool = False, utf8_accept: bool = False) -> None:
        self.data, self.pos = data, pos
        self.utf8_names, self.utf8_accept = utf8_names, utf8_accept

    def peek(self) -> bytes:
        """The next octet, empty at the end."""
        return self.data[self.pos : self.pos + 1]

    def at(self, token: bytes) -> bool:
        """True if `token` follows."""
        return self.data.startswith(token, self.pos)

    def accept(self, token: bytes) -> bool:
        """Take `token` if it follows."""
        if self.data.startswith(token, self.pos):
            self.pos += len(token)
            return True
        return False

    def accept_word(self, *words: bytes) -> bytes | None:
        """Take the atom that follows if it is one of the upper-case `words`, whatever its case."""
        found = _ATOM.match(self.data, self.pos)
        if found is None or found[0].upper() not in words:
            return None
        self.pos = found.end()
        return found[0].upper()

    def expect(self, token: bytes, what: str) -> None:
        """Take `token` or raise: `what` names it."""
        if not self.accept(token):
            raise CommandError(f"expected {what}")

    def space(self) -> None:
        """One space: RFC 3501 section 9 allows no more."""
        if not self.accept(b" "):
            raise CommandError("expected a space and an argument" if self.ended else "expected one space")

    @property
    def ended(self) -> bool:
        """True if only the end of the line is left."""
        return self.pos >= len(self.data) or self.data[self.pos :] == b"\r\n"

    def end(self) -> None:
        """Nothing but the end of the line."""
        if not self.ended:
            raise CommandError("unexpected text after the arguments")

    def _match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = pattern.match(self.data, self.pos)
        if found is None:
            raise CommandError(f"expected {what}")
        self.pos = found.end()
        return found[0]

    def tag(self) -> bytes:
        """The command's tag."""
        return self._match(_TAG, "a tag")

    def atom(self, what: str = "an atom") -> bytes:
        """An atom, case kept."""
        return self._match(_ATOM, what)

    def word(self, what: str = "a keyword") -> bytes:
        """An atom in upper case."""
        return self._match(_ATOM, what).upper()

    def number(self, what: str = "a number", *, maximum: int = NUMBER_MAX) -> int:
        """An unsigned number up to `maximum`."""
        value = int(self._match(_NUMBER, what))
        if value > maximum:
            raise CommandError("number too large")
        return value

    def nz_number(self, what: str = "a number from 1") -> int:
        """A number that is not 0 and has no leading 0."""
        if self.at(b"0"):
            raise CommandError(f"expected {what}")
        return self.number(what)

    def astring(self, what: str = "a string", *, maximum: int) -> bytes:
        """An atom, quoted string or literal of at most `maximum` octets."""
        found = _ASTRING_ATOM.match(self.data, self.pos)
        if found is None:
            return self.string(what, maximum=maximum)
        self.pos = found.end()
        return _bounded(found[0], what, maximum)

    def list_mailbox(self, *, maximum: int) -> bytes:
        """A mailbox pattern: as astring, with `%` and `*` allowed in the atom."""
        found = _LIST_ATOM.match(self.data, self.pos)
        if found is None:
            return self.string("a mailbox pattern", maximum=maximum)
        self.pos = found.end()
        return _bounded(found[0], "a mailbox pattern", maximum)

    def string(self, what: str = "a string", *, maximum: int) -> bytes:
        """A quoted string or literal of at most `maximum` octets, without NUL."""
        quoted = _QUOTED.match(self.data, self.pos)
        if quoted is not None:
            self.pos = quoted.end()
            value = quoted[1]
            return _bounded(_ESCAPE.sub(rb"\1", value) if b"\\" in value else value, what, maximum)
        literal = _LITERAL.match(self.data, self.pos)
        if literal is None:
            raise CommandError(f"expected {what}")
        size = int(literal[1])
        value = self.data[literal.end() : literal.end() + size]
        if len(value) != size:
            raise CommandError("literal is not complete")
        if b"\0" in value:
            raise CommandError("literal contains NUL")
        self.pos = literal.end() + size
        return _bounded(value, what, maximum)

    def nstring(self, what: str = "a string or NIL", *, maximum: int) -> bytes | None:
        """A string, or None for NIL."""
        if self.accept_word(b"NIL"):
            return None
        return self.string(what, maximum=maximum)

    def date(self) -> date:
        """A date such as 1-Feb-1994, quoted or not; no time and no zone."""
        quoted = self.accept(b'"')
        found = _DATE.match(self.data, self.pos)
        if found is None:
            raise CommandError("expected a date such as 1-Feb-1994")
        self.pos = found.end()
        if quoted:
            self.expect(b'"', "the end of the date's quotes")
        try:
            return date(int(found[3]), _month(found[2]), int(found[1]))
        except ValueError:
            raise CommandError("no such date") from None

    def date_time(self) -> int:
        """A quoted date-time as seconds since 1970 UTC; times out of what every zone can show become the nearest.

        A day below 10 may lack the space before it, as some clients write it.
        """
        found = _DATE_TIME.match(self.data, self.pos)
        if found is None:
            raise CommandError('expected a date-time such as " 1-Feb-1994 21:52:25 -0800"')
        self.pos = found.end()
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
        try:
            # 60 is a leap second: it counts as the second before
            local = datetime(
                int(year), _month(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
            )
            seconds = int((local - offset if sign == b"+" else local + offset).timestamp())
            return min(max(seconds, 0), DATE_TIME_MAX)
        except (ValueError, OverflowError):
            raise CommandError("no such date and time") from None


def _bounded(value: bytes, what: str, maximum: int) -> bytes:
    if len(value) > maximum:
        raise CommandError(f"{what.removeprefix('a ').removeprefix('an ')} is longer than {maximum} octets")
    return value


def _month(name: bytes) -> int:
    try:
        return MONTHS.index(name.upper()) + 1
    except ValueError:
        raise CommandError("no such month") from None

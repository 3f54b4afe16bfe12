"""POP3: bytes in, commands out (RFC 1939; CAPA and PIPELINING of RFC 2449; AUTH of RFC 5034; UTF8 of RFC 6856).

The caller acts on one event before it asks for the next, because `state` decides what the next command may be.
A field that holds a secret never shows in repr.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bulkhead.errors import CommandOutOfOrder, LineTooLong, PeerError
from bulkhead.wipe import cut_head, join_tail, wipe

LINE_MAX: Final = 255  # octets with CRLF, RFC 2449 section 4
SKIPPED_MAX: Final = 8 * 1024  # octets of an over-long line that are dropped before the connection ends
CONTINUATION_MAX: Final = 8 * 1024  # a line of SASL in base64
BAD_BEFORE_LOGIN_LOGIN: Final = 5
BAD_IN_ROW: Final = 20
NUMBER_MAX: Final = 0x7FFFFFFF

_NUMBER: Final = re.compile(rb"[0-9]{1,10}")
_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_-]{1,20}")
_BASE64: Final = re.compile(rb"=|[A-Za-z0-9+/]+={0,2}")


class State(Enum):
    """Where a session stands (RFC 1939 section 3)."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class User:
    """USER."""

    name: str


@dataclass(frozen=True, slots=True)
class Pass:
    """PASS: the rest of the line, spaces and all."""

    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH: mechanism in upper case, None to ask for the list; initial_response in base64, `=` if empty, or None."""

    mechanism: str | None
    initial_response: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Capa:
    """CAPA."""


@dataclass(frozen=True, slots=True)
class Stls:
    """STLS (RFC 2595 section 4): only of a receiver that begins in clear."""


@dataclass(frozen=True, slots=True)
class Utf8:
    """UTF8 (RFC 6856 section 2.1)."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT."""


@dataclass(frozen=True, slots=True)
class Stat:
    """STAT."""


@dataclass(frozen=True, slots=True)
class ListSizes:
    """LIST of one message, or of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Uidl:
    """UIDL of one message, or of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Retr:
    """RETR."""

    number: int


@dataclass(frozen=True, slots=True)
class Top:
    """TOP: the header and `lines` lines of the body."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Dele:
    """DELE."""

    number: int


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Rset:
    """RSET."""


Command = User | Pass | Auth | Capa | Stls | Utf8 | Quit | Stat | ListSizes | Uidl | Retr | Top | Dele | Noop | Rset


@dataclass(frozen=True, slots=True)
class Rejected:
    """Answer -ERR with this text and go on."""

    text: str


@dataclass(frozen=True, slots=True)
class ContinuationLine:
    """The line that expect_line() asked for, without its end: base64 of SASL, or `*`. Never shown."""

    data: bytes = field(repr=False)


Event = Command | Rejected | ContinuationLine


class CommandError(PeerError):
    """One command cannot be taken; the session goes on."""

    code = "pop3-command"


def _none(argument: bytes) -> None:
    if argument:
        raise CommandError("command takes no argument")


def _number(text: bytes, what: str = "a message number", *, least: int = 1) -> int:
    if _NUMBER.fullmatch(text) is None or not least <= int(text) <= NUMBER_MAX:
        raise CommandError(f"expected {what}")
    return int(text)


def _user(argument: bytes) -> Command:
    try:
        name = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError("user name is not UTF-8") from None
    if not name or not name.isprintable():
        raise CommandError("expected a user name")
    return User(name)


def _without_end(argument: bytes) -> bytes:
    """An argument and its CRLF, which is overwritten, without the CRLF."""
    octets = argument[:-2]
    wipe(argument)
    return octets


def _pass(argument: bytes) -> Command:
    if not argument:
        raise CommandError("expected a password")
    return Pass(argument)


def _bare(command: Callable[[], Command]) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        _none(argument)
        return command()

    return parse


def _optional(command: Callable[[int | None], Command]) -> Callable[[bytes], Command]:
    return lambda argument: command(_number(argument) if argument else None)


def _top(argument: bytes) -> Command:
    number, _, lines = argument.partition(b" ")
    return Top(_number(number), _number(lines, "a number of lines", least=0))


def _auth(argument: bytes) -> Command:
    if not argument:
        return Auth(None, None)
    mechanism, space, response = argument.partition(b" ")
    if _MECHANISM.fullmatch(mechanism) is None:
        raise CommandError("expected a SASL mechanism")
    if space and _BASE64.fullmatch(response) is None:
        raise CommandError("expected an initial response in base64")
    name = mechanism.decode("ascii").upper()
    wipe(argument)
    return Auth(name, response if space else None)


def _not_in_clear(argument: bytes) -> Command:
    raise CommandError("begin TLS with STLS before the login")


@dataclass(frozen=True, slots=True)
class CommandRule:
    """One row: the states that allow the command, and what reads its argument."""

    states: frozenset[State]
    parse: Callable[[bytes], Command]


BEFORE_LOGIN: Final = frozenset((State.AUTHORIZATION,))
AFTER_LOGIN: Final = frozenset((State.TRANSACTION,))
ANY: Final = BEFORE_LOGIN | AFTER_LOGIN

COMMANDS: Final[Mapping[bytes, CommandRule]] = {
    b"AUTH": CommandRule(BEFORE_LOGIN, _auth),
    b"CAPA": CommandRule(ANY, _bare(Capa)),
    b"DELE": CommandRule(AFTER_LOGIN, lambda argument: Dele(_number(argument))),
    b"LIST": CommandRule(AFTER_LOGIN, _optional(ListSizes)),
    b"NOOP": CommandRule(AFTER_LOGIN, _bare(Noop)),
    b"PASS": CommandRule(BEFORE_LOGIN, _pass),
    b"QUIT": CommandRule(ANY, _bare(Quit)),
    b"RETR": CommandRule(AFTER_LOGIN, lambda argument: Retr(_number(argument))),
    b"RSET": CommandRule(AFTER_LOGIN, _bare(Rset)),
    b"STAT": CommandRule(AFTER_LOGIN, _bare(Stat)),
    b"TOP": CommandRule(AFTER_LOGIN, _top),
    b"UIDL": CommandRule(AFTER_LOGIN, _optional(Uidl)),
    b"USER": CommandRule(BEFORE_LOGIN, _user),
    b"UTF8": CommandRule(BEFORE_LOGIN, _bare(Utf8)),
}
CLEAR_COMMANDS: Final[Mapping[bytes, CommandRule]] = {
    **COMMANDS,
    b"AUTH": CommandRule(BEFORE_LOGIN, _not_in_clear),
    b"PASS": CommandRule(BEFORE_LOGIN, _not_in_clear),
    b"STLS": CommandRule(BEFORE_LOGIN, _bare(Stls)),
    b"USER": CommandRule(BEFORE_LOGIN, _not_in_clear),
}
"""Before TLS on a listener in clear: STLS, and no login (RFC 2595 section 2.3)."""


class Pop3Receiver:
    """The receiving side of one POP3 session; the caller sets `state` on login and on QUIT.

    A line past 255 octets is answered with Rejected and dropped up to its end; past 8 KiB the session ends.
    """

    def __init__(self, *, state: State = State.AUTHORIZATION, secure: bool = True) -> None:
        """secure: whether TLS comes first; otherwise only STLS leads to a login."""
        self.state = state
        self._commands = COMMANDS if secure else CLEAR_COMMANDS
        self._inbox = bytearray()
        self._searched = 0
        self._continuation = False
        self._bad = 0

    def receive_data(self, data: bytes) -> None:
        """Take octets from the connection; call next_event() until None before giving more.

        Before login nothing that came stays anywhere but in the events and in `data`: the caller overwrites those.
        """
        join_tail(self._inbox, data)

    def expect_line(self) -> None:
        """The next line is a ContinuationLine and no command: for AUTH."""
        self._continuation = True

    def start_tls(self) -> None:
        """Take logins from now on, and STLS no more. Raises CommandOutOfOrder if octets in clear followed STLS."""
        if self._inbox:
            raise CommandOutOfOrder("nothing may follow STLS before TLS begins")
        self._commands = COMMANDS

    def next_event(self) -> Event | None:
        """Return the next event, or None when more octets are needed.

        Raises PeerError when the session must end: a limit was passed that cannot be answered, or more than 5 commands
        were refused before login, or 20 in a row after it.
        """
        line = self._read_line()
        if line is None:
            return None
        if self._continuation:
            self._continuation = False
            data = line[: -2 if line.endswith(b"\r\n") else -1]
            wipe(line)
            return ContinuationLine(data)
        try:
            command = self._parse(line)
        except CommandError as error:
            self._count_bad()
            return Rejected(error.public)
        finally:
            wipe(line)
        if self.state is not State.AUTHORIZATION:
            self._bad = 0
        return command

    def _read_line(self) -> bytes | None:
        limit = CONTINUATION_MAX if self._continuation else SKIPPED_MAX
        end = self._inbox.find(b"\n", self._searched) + 1
        if (end or len(self._inbox) + 1) > limit:
            raise LineTooLong("line too long")
        if not end:
            self._searched = len(self._inbox)
            return None
        line = cut_head(self._inbox, end)
        self._searched = 0
        return line

    def _parse(self, line: bytes) -> Command:
        if len(line) > LINE_MAX:
            raise CommandError(f"a line has at most {LINE_MAX} octets")
        if not line.endswith(b"\r\n") or line.find(b"\r") != len(line) - 2 or b"\0" in line:
            raise CommandError("a line ends in CRLF and holds no CR, LF or NUL")
        keyword, space, argument = line.partition(b" ")
        keyword, argument = (keyword, _without_end(argument)) if space else (line[:-2], b"")
        rule = self._commands.get(keyword.upper())
        if rule is None:
            raise CommandError("no such command")
        if self.state not in rule.states:
            raise CommandError(f"command is not allowed in the {self.state.value} state")
        return rule.parse(argument)

    def _count_bad(self) -> None:
        self._bad += 1
        if self._bad > (BAD_BEFORE_LOGIN_LOGIN if self.state is State.AUTHORIZATION else BAD_IN_ROW):
            raise PeerError("too many bad commands", code="too-many-bad-commands")

"""SMTP's vocabulary: reply codes, enhanced status codes, limits, and the Reply that both sides exchange.

Sources: RFC 5321 sections 4.2 and 4.5.3, RFC 3463, RFC 2034, RFC 4954 section 6, RFC 3207 section 4.
"""

import re
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

REPLY_LINE_MAX: Final = 512  # octets with CRLF, RFC 5321 section 4.5.3.1.5


class Code(IntEnum):
    """Reply codes (RFC 5321 section 4.2.3; RFC 4954 section 6)."""

    HELP = 214
    SERVICE_READY = 220
    CLOSING = 221
    AUTHENTICATED = 235
    OK = 250
    CANNOT_VERIFY = 252
    AUTH_CONTINUES = 334
    START_INPUT = 354
    UNAVAILABLE = 421
    MAILBOX_BUSY = 450
    LOCAL_ERROR = 451
    NO_STORAGE = 452
    TEMPORARY_AUTH_FAILURE = 454
    SYNTAX_ERROR = 500
    ARGUMENT_ERROR = 501
    NOT_IMPLEMENTED = 502
    OUT_OF_ORDER = 503
    PARAMETER_NOT_IMPLEMENTED = 504
    AUTH_REQUIRED = 530
    AUTH_INVALID = 535
    ENCRYPTION_REQUIRED = 538
    MAILBOX_UNAVAILABLE = 550
    MESSAGE_TOO_BIG = 552
    MAILBOX_NAME_INVALID = 553
    TRANSACTION_FAILED = 554
    PARAMETER_UNKNOWN = 555


class Status(StrEnum):
    """Enhanced status codes (RFC 3463 section 3; RFC 4954 section 6; RFC 5248 registry)."""

    NONE = ""
    OK = "2.0.0"
    SENDER_OK = "2.1.0"
    RECIPIENT_OK = "2.1.5"
    MESSAGE_OK = "2.6.0"
    AUTHENTICATED = "2.7.0"
    TEMPORARY = "4.0.0"
    MAILBOX_FULL = "4.2.2"
    SYSTEM_BUSY = "4.3.0"
    SHUTTING_DOWN = "4.3.2"
    TIMED_OUT = "4.4.2"
    TOO_MANY_RECIPIENTS = "4.5.3"
    TEMPORARY_AUTH_FAILURE = "4.7.0"
    PERMANENT = "5.0.0"
    NO_SUCH_MAILBOX = "5.1.1"
    BAD_RECIPIENT_SYNTAX = "5.1.3"
    BAD_SENDER_SYNTAX = "5.1.7"
    MAILBOX_DISABLED = "5.2.1"
    TOO_BIG = "5.3.4"
    PROTOCOL = "5.5.0"
    INVALID_COMMAND = "5.5.1"
    SYNTAX = "5.5.2"
    INVALID_ARGUMENTS = "5.5.4"
    AUTH_LINE_TOO_LONG = "5.5.6"
    MEDIA = "5.6.0"
    NON_ASCII_ADDRESS = "5.6.7"
    SECURITY = "5.7.0"
    NOT_AUTHORISED = "5.7.1"
    CREDENTIALS_INVALID = "5.7.8"
    ENCRYPTION_NEEDED = "5.7.11"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an SMTP receiver takes from a stranger. Octets count CRLF.

    The floors of RFC 5321 section 4.5.3.1 hold for the defaults: command line 512, text line 1000, 100 recipients.
    """

    message_bytes: int = 30 * 1024 * 1024  # announced by SIZE (RFC 1870)
    discard_bytes: int = 64 * 1024 * 1024  # read and dropped past message_bytes before the connection is closed
    recipients: int = 1000  # a transaction
    recipients_promised: int = 100  # of these, whoever they are; announced as RCPTMAX (RFC 9422 section 4)
    transactions: int = 0  # a session, then 421; announced as MAILMAX (RFC 9422 section 4); 0: no limit
    command_line: int = 512  # RFC 5321 section 4.5.3.1.4
    parameter_line: int = 2048  # MAIL and RCPT, whose extensions lengthen them (RFC 1870 section 4, RFC 4954 section 4)
    auth_line: int = 12288  # RFC 4954 section 4
    text_line: int = 1000  # RFC 5321 section 4.5.3.1.6, without the transparency dot
    skipped_bytes: int = 65536  # of one over-long command line before the connection is closed
    inbox_bytes: int = 1024 * 1024  # commands sent ahead while an answer is awaited
    bad_commands: int = 10  # refused commands before 421
    idle_commands: int = 100  # NOOP, RSET, VRFY, HELP, EHLO, refused MAIL between two accepted messages before 421
    auth_failures: int = 3  # failed AUTH before 421
    refused_recipients: int = 1000  # a session, before 421


DEFAULT_LIMITS: Final = Limits()

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: code, enhanced status ("" for none) and one or more lines of text.

    Raises ValueError when code or status is not valid, or their classes differ (RFC 2034 section 4).
    """

    code: int
    status: str
    lines: tuple[str, ...] = ("",)
    _rendered: bytes = field(default=b"", init=False, repr=False, compare=False)  # most replies are said many times

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599 or not self.lines:
            raise ValueError("a reply has a code of 200 to 599 and at least one line")
        if self.status and (not _STATUS.fullmatch(self.status) or int(self.status[0]) != self.code // 100):
            raise ValueError("the enhanced status does not fit the reply code")

    @property
    def positive(self) -> bool:
        """Whether the code is 2yz or 3yz."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """Whether the code is 4yz."""
        return 400 <= self.code < 500

    @property
    def text(self) -> str:
        """The lines on one line, without the codes."""
        return " ".join(self.lines)

    def __str__(self) -> str:
        return " ".join(part for part in (str(int(self.code)), str(self.status), self.text) if part)

    def render(self) -> bytes:
        """The reply's octets: every line at most 512 with CRLF, printable US-ASCII (anything else becomes "?")."""
        if not self._rendered:
            object.__setattr__(self, "_rendered", self._render())
        return self._rendered

    def _render(self) -> bytes:
        head = f"{self.status} " if self.status else ""
        room = REPLY_LINE_MAX - 6 - len(head)
        if len(self.lines) == 1 and len(line := self.lines[0]) <= room and line.isascii() and line.isprintable():
            return f"{int(self.code)} {head}{line}\r\n".encode("ascii")  # nearly all of them
        parts: list[str] = []
        for line in self.lines:
            clean = line if line.isascii() and line.isprintable() else _UNPRINTABLE.sub("?", line)
            parts.extend(clean[at : at + room] for at in range(0, len(clean) or 1, room))
        last = len(parts) - 1
        code = int(self.code)
        return "".join(f"{code}{' ' if at == last else '-'}{head}{part}\r\n" for at, part in enumerate(parts)).encode(
            "ascii"
        )


def reply(code: int, status: str, *lines: str) -> Reply:
    """A Reply of these lines. Raises ValueError as Reply does."""
    return Reply(code, status, lines)


CLOSING: Final = reply(Code.CLOSING, Status.OK, "Bye")
OK: Final = reply(Code.OK, Status.OK, "OK")
SENDER_OK: Final = reply(Code.OK, Status.SENDER_OK, "Sender OK")
RECIPIENT_OK: Final = reply(Code.OK, Status.RECIPIENT_OK, "Recipient OK")
MESSAGE_OK: Final = reply(Code.OK, Status.MESSAGE_OK, "Message accepted")
START_INPUT: Final = reply(Code.START_INPUT, Status.NONE, "Send the message, end with <CRLF>.<CRLF>")
START_TLS: Final = reply(Code.SERVICE_READY, Status.OK, "Begin TLS")
AUTHENTICATED: Final = reply(Code.AUTHENTICATED, Status.AUTHENTICATED, "Authenticated")
CANNOT_VERIFY: Final = reply(Code.CANNOT_VERIFY, Status.OK, "Not verified; send a message to find out")
HELP: Final = reply(Code.HELP, Status.OK, "See RFC 5321")

UNKNOWN_COMMAND: Final = reply(Code.SYNTAX_ERROR, Status.SYNTAX, "Command not recognised")
NOT_IMPLEMENTED: Final = reply(Code.NOT_IMPLEMENTED, Status.INVALID_COMMAND, "Command not implemented")
LINE_TOO_LONG: Final = reply(Code.SYNTAX_ERROR, Status.SYNTAX, "Line too long")
AUTH_LINE_TOO_LONG: Final = reply(Code.SYNTAX_ERROR, Status.AUTH_LINE_TOO_LONG, "Authentication line too long")
COMMAND_NEWLINE: Final = reply(Code.SYNTAX_ERROR, Status.SYNTAX, "Lines end in CRLF; a CR or LF stood alone")
NOT_PRINTABLE: Final = reply(Code.SYNTAX_ERROR, Status.SYNTAX, "Command has octets that are not printable US-ASCII")
ARGUMENT_ERROR: Final = reply(Code.ARGUMENT_ERROR, Status.INVALID_ARGUMENTS, "Syntax error in arguments")
PARAMETER_UNKNOWN: Final = reply(Code.PARAMETER_UNKNOWN, Status.INVALID_ARGUMENTS, "Parameter not recognised")
OUT_OF_ORDER: Final = reply(Code.OUT_OF_ORDER, Status.INVALID_COMMAND, "Bad sequence of commands")
NO_RECIPIENTS: Final = reply(Code.TRANSACTION_FAILED, Status.INVALID_COMMAND, "No valid recipients")
SYNCHRONISATION: Final = reply(
    Code.TRANSACTION_FAILED, Status.PROTOCOL, "Protocol synchronisation: input sent before it was asked for"
)
BAD_SENDER: Final = reply(Code.MAILBOX_NAME_INVALID, Status.BAD_SENDER_SYNTAX, "Sender address is not valid")
BAD_RECIPIENT: Final = reply(Code.MAILBOX_NAME_INVALID, Status.BAD_RECIPIENT_SYNTAX, "Recipient address is not valid")
NON_ASCII_ADDRESS: Final = reply(
    Code.MAILBOX_NAME_INVALID, Status.NON_ASCII_ADDRESS, "Address is not US-ASCII: say SMTPUTF8 with MAIL"
)
TOO_MANY_RECIPIENTS: Final = reply(
    Code.NO_STORAGE, Status.TOO_MANY_RECIPIENTS, "Too many recipients; send the rest next"
)
TOO_MANY_MESSAGES: Final = reply(Code.UNAVAILABLE, Status.SHUTTING_DOWN, "Too many messages in this connection")
CHUNK_SIZE: Final = reply(
    Code.ARGUMENT_ERROR,
    Status.INVALID_ARGUMENTS,
    "BDAT needs a size; where the next command begins is unknown; closing",
)
MESSAGE_TOO_BIG: Final = reply(Code.MESSAGE_TOO_BIG, Status.TOO_BIG, "Message exceeds the size limit")
MESSAGE_NEWLINE: Final = reply(
    Code.TRANSACTION_FAILED, Status.MEDIA, "Message refused: lines end in CRLF; a CR or LF stood alone"
)
MESSAGE_NUL: Final = reply(Code.TRANSACTION_FAILED, Status.MEDIA, "Message refused: it has a NUL octet")
MESSAGE_LINE_TOO_LONG: Final = reply(
    Code.TRANSACTION_FAILED, Status.MEDIA, "Message refused: it has a line of more than 998 octets"
)
TLS_FIRST: Final = reply(Code.AUTH_REQUIRED, Status.SECURITY, "Issue STARTTLS first")
AUTH_FIRST: Final = reply(Code.AUTH_REQUIRED, Status.SECURITY, "Authentication required")
AUTH_NEEDS_TLS: Final = reply(
    Code.ENCRYPTION_REQUIRED, Status.ENCRYPTION_NEEDED, "Encryption required: issue STARTTLS first"
)
AUTH_INVALID: Final = reply(Code.AUTH_INVALID, Status.CREDENTIALS_INVALID, "Authentication credentials invalid")
AUTH_MALFORMED: Final = reply(Code.ARGUMENT_ERROR, Status.SYNTAX, "Authentication exchange malformed")
AUTH_CANCELLED: Final = reply(Code.ARGUMENT_ERROR, Status.SECURITY, "Authentication cancelled")
AUTH_UNAVAILABLE: Final = reply(
    Code.TEMPORARY_AUTH_FAILURE, Status.TEMPORARY_AUTH_FAILURE, "Authentication not available now; try again"
)
MECHANISM_UNKNOWN: Final = reply(
    Code.PARAMETER_NOT_IMPLEMENTED, Status.INVALID_ARGUMENTS, "Authentication mechanism not offered"
)
TOO_MANY_ERRORS: Final = reply(Code.UNAVAILABLE, Status.SHUTTING_DOWN, "Too many errors; closing")
TIMED_OUT: Final = reply(Code.UNAVAILABLE, Status.TIMED_OUT, "Idle too long; closing")
SHUTTING_DOWN: Final = reply(Code.UNAVAILABLE, Status.SHUTTING_DOWN, "Service closing; try again")

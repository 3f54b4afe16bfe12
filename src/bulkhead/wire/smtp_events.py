"""What an SMTP receiver tells its caller. Those marked "answer" wait for one of the methods named."""

from dataclasses import dataclass, field
from enum import Enum

from bulkhead.identifiers import Address
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_notify import NO_WISH, Return, Wish


class Body(Enum):
    """The BODY parameter of MAIL (RFC 6152 section 3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Greeted:
    """EHLO or HELO; any transaction is gone. Answer: accept_hello, reject."""

    name: str  # as the client wrote it: a domain or an address literal, unverified
    extended: bool  # EHLO


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS. Answer: accept_tls, reject."""


@dataclass(frozen=True, slots=True)
class AuthStart:
    """AUTH with an offered mechanism. Answer: challenge, authenticated, reject."""

    mechanism: str
    initial: bytes | None = field(repr=False)  # the initial response still in base64; None when absent


@dataclass(frozen=True, slots=True)
class AuthLine:
    """The client's answer to a challenge, still in base64. Answer: challenge, authenticated, reject."""

    line: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL. Answer: accept_mail, reject."""

    reverse_path: Address | None  # None is `<>`
    size: int | None = None  # octets as announced (RFC 1870)
    body: Body = Body.SEVEN_BIT
    auth: str | None = None  # the AUTH parameter, xtext as written; informs, proves nothing (RFC 4954 section 5)
    utf8: bool = False  # SMTPUTF8 (RFC 6531 section 3.4)
    ret: Return | None = None  # RET (RFC 3461 section 4.3)
    envid: str = ""  # ENVID, xtext as written (RFC 3461 section 4.4)


@dataclass(frozen=True, slots=True)
class RcptTo:
    """RCPT. Answer: accept_recipient, reject."""

    address: Address | None  # None is `<Postmaster>` without a domain (RFC 5321 section 4.5.1)
    wish: Wish = NO_WISH  # NOTIFY and ORCPT (RFC 3461 sections 4.1 and 4.2)


@dataclass(frozen=True, slots=True)
class DataStart:
    """DATA after at least one recipient. Answer: accept_data, reject."""


@dataclass(frozen=True, slots=True)
class DataChunk:
    """Octets of the message in order: whole lines without their transparency dots, or a piece of a chunk."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChunkEnd:
    """A chunk of BDAT came that is not the last. Answer: accept_chunk; reject, after which the transaction is gone."""

    size: int  # octets of the message so far


@dataclass(frozen=True, slots=True)
class DataEnd:
    """The message is complete and well formed. Answer: accept_message once it is durable, or reject."""

    size: int  # octets handed over in DataChunk


@dataclass(frozen=True, slots=True)
class DataRefused:
    """The message was refused by the receiver itself, with `reply`: drop what was handed over."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET: the transaction is gone."""


@dataclass(frozen=True, slots=True)
class Idle:
    """NOOP, HELP or VRFY, answered by the receiver with `reply`, which tells nothing."""

    verb: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """A command was refused by the receiver itself, with `reply`."""

    verb: str  # "" when none could be read
    reply: Reply


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT: send what is due, then close."""


Event = (
    Greeted
    | StartTls
    | AuthStart
    | AuthLine
    | MailFrom
    | RcptTo
    | DataStart
    | DataChunk
    | ChunkEnd
    | DataEnd
    | DataRefused
    | Reset
    | Idle
    | CommandRefused
    | Quit
)

"""What an SMTP client tells its caller, and what it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_outcome import Outcome, RecipientResult


class TlsPolicy(Enum):
    """Whether a session may be in clear."""

    NEVER = "never"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"


class Awaited(Enum):
    """Which reply comes next, and how many seconds to wait for it (RFC 5321 section 4.5.3.2)."""

    GREETING = ("the greeting", 300)
    EHLO = ("EHLO", 300)
    HELO = ("HELO", 300)
    STARTTLS = ("STARTTLS", 300)
    RSET = ("RSET", 300)
    MAIL = ("MAIL", 300)
    RCPT = ("RCPT", 300)
    DATA = ("DATA", 120)
    FINAL_DOT = ("the final dot", 600)
    QUIT = ("QUIT", 300)

    def __init__(self, words: str, seconds: int) -> None:
        self.words, self.seconds = words, seconds


TEXT_BLOCK_SECONDS: Final = 180  # to write a piece of text, RFC 5321 section 4.5.3.2.5


@dataclass(frozen=True, slots=True)
class TlsWanted:
    """Hand the connection to TLS, then call tls_established, or connection_lost when the handshake fails."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A transaction may begin. Extensions by upper-case keyword, with their parameters as written."""

    extensions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TextWanted:
    """At least one recipient was accepted: call text for each piece, then end_text."""


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """Every recipient of the envelope, in its order, with its outcome.

    wishes_passed: the server knows DSN, so it tells the sender of what it delivers (RFC 3461 section 5.2.2).
    """

    results: tuple[RecipientResult, ...]
    wishes_passed: bool = False


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Close the connection. `outcome` tells what it means for mail not sent yet; None after QUIT."""

    outcome: Outcome | None
    reply: Reply | None
    reason: str


SenderEvent = TlsWanted | Ready | TextWanted | TransactionEnded | SessionEnded

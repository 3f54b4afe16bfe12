"""What became of each recipient of a transaction, as an SMTP client learns it."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from bulkhead.identifiers import Address
from bulkhead.wire.smtp_codes import Code, Reply
from bulkhead.wire.smtp_notify import NO_WISH, Wish


class Outcome(Enum):
    """The closed list of what may become of a recipient."""

    DELIVERED = "delivered"  # 2yz after the final dot: the server is responsible (RFC 5321 section 4.2.5)
    DEFERRED = "deferred"  # 4yz, or the connection was lost before the final dot: try again
    FAILED = "failed"  # 5yz
    UNKNOWN = "unknown"  # lost between the final dot and its reply: a new attempt may make a second copy


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a transaction carries beside the text."""

    reverse_path: Address | None  # None is `<>`
    recipients: tuple[Address, ...]
    size: int  # octets, for SIZE (RFC 1870)
    eight_bit: bool  # the text has octets above 127
    utf8_header: bool = False  # the header has UTF-8 (RFC 6532)
    wishes: tuple[Wish, ...] = ()  # one a recipient, or none at all (RFC 3461)
    ret: str = ""
    envid: str = ""

    def wish(self, at: int) -> Wish:
        """The wish for one recipient."""
        return self.wishes[at] if at < len(self.wishes) else NO_WISH

    @property
    def utf8_throughout(self) -> bool:
        """Whether no recipient can be reached without SMTPUTF8."""
        return self.utf8_header or not str(self.reverse_path or "").isascii()


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """One recipient's outcome, with the reply that decided it (None: nothing was said) and our own words."""

    address: Address
    outcome: Outcome
    reply: Reply | None
    reason: str
    status: str  # RFC 3463, the server's own where it gave one


def outcome_of(reply: Reply, *, at_rcpt: bool = False) -> Outcome:
    """What a reply means for a recipient. 552 to RCPT without a better status is "too many": try again.

    Source: RFC 5321 sections 4.2.1 and 4.5.3.1.10. Anything that is no success, 4yz or 5yz counts as DEFERRED.
    """
    if reply.code // 100 == 2:
        return Outcome.DELIVERED
    if reply.code // 100 == 5 and not (
        at_rcpt and reply.code == Code.MESSAGE_TOO_BIG and reply.status in ("", "5.5.3")
    ):
        return Outcome.FAILED
    return Outcome.DEFERRED


def status_of(reply: Reply, outcome: Outcome) -> str:
    """The reply's enhanced status, or the class's x.0.0 (RFC 3463 section 2)."""
    classes = {Outcome.DELIVERED: "2", Outcome.FAILED: "5"}
    digit = classes.get(outcome, "4")
    return reply.status if reply.status.startswith(digit) else f"{digit}.0.0"


class Transaction:
    """One envelope under way."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.results: list[RecipientResult | None] = [None] * len(envelope.recipients)
        self.offered: deque[int] = deque()  # recipients whose reply is due
        self.text_ended = False

    @property
    def pending(self) -> list[int]:
        """Recipients without an outcome."""
        return [at for at, result in enumerate(self.results) if result is None]

    @property
    def outcomes(self) -> tuple[RecipientResult, ...]:
        """The outcomes known so far, in the order of the envelope."""
        return tuple(result for result in self.results if result is not None)

    def settle(self, at: int, outcome: Outcome, reply: Reply | None, reason: str, status: str) -> None:
        """Note one recipient's outcome."""
        self.results[at] = RecipientResult(self.envelope.recipients[at], outcome, reply, reason, status)

    def settle_pending(self, outcome: Outcome, reply: Reply | None, reason: str, status: str) -> None:
        """Note this outcome for every recipient that has none."""
        for at in self.pending:
            self.settle(at, outcome, reply, reason, status)

    def settle_by_reply(self, reply: Reply, words: str) -> None:
        """Note what a reply to MAIL, DATA or the final dot means for every recipient that has no outcome."""
        outcome = outcome_of(reply)
        self.settle_pending(outcome, reply, f"in reply to {words}", status_of(reply, outcome))

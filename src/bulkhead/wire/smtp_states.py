"""The order of an SMTP session as one table; the receiver obeys it, the diagram in the manual is made from it.

Sources: RFC 5321 sections 3.1 to 3.3 and 4.1.4, RFC 3207 section 4.2, RFC 4954 section 4,
RFC 3030 section 2.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class Role(Enum):
    """Whom a receiver serves: other servers (RFC 5321), or the subscribers themselves (RFC 6409)."""

    MX = "mx"
    SUBMISSION = "submission"


class Phase(Enum):
    """Where a session stands."""

    __hash__ = object.__hash__  # members are their own equals; Enum's hashes the name, in Python, at every look-up

    CONNECTED = "connected"  # no greeting sent
    GREETED = "greeted"  # 220 sent, no EHLO yet
    READY = "ready"  # EHLO accepted, no transaction
    SENDER = "sender"  # MAIL accepted
    RECIPIENTS = "recipients"  # at least one RCPT accepted
    DATA = "data"  # 354 sent
    CHUNK = "chunk"  # a chunk of BDAT is being read
    CHUNKS = "chunks"  # a chunk came that was not the last
    ENDED = "ended"  # the message came, its reply is due
    AUTH = "auth"  # 334 sent
    TLS = "tls"  # 220 sent for STARTTLS
    CLOSED = "closed"


class Step(Enum):
    """What, once accepted, moves a session on."""

    __hash__ = object.__hash__

    GREETING = "220"
    HELLO = "EHLO/HELO"
    STARTTLS = "STARTTLS"
    TLS_ESTABLISHED = "TLS established"
    AUTH = "AUTH"
    AUTH_ENDED = "AUTH ended"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    FINAL_DOT = "final dot"
    BDAT = "BDAT"
    CHUNK_END = "end of a chunk"
    LAST_CHUNK = "end of the last chunk"
    MESSAGE_ANSWERED = "message answered"
    RSET = "RSET"
    QUIT = "QUIT"


_TALKING: Final = (Phase.READY, Phase.SENDER, Phase.RECIPIENTS, Phase.CHUNKS)

TRANSITIONS: Final[Mapping[tuple[Phase, Step], Phase]] = MappingProxyType(
    {
        (Phase.CONNECTED, Step.GREETING): Phase.GREETED,
        (Phase.GREETED, Step.HELLO): Phase.READY,
        (Phase.GREETED, Step.RSET): Phase.GREETED,
        (Phase.GREETED, Step.STARTTLS): Phase.TLS,
        (Phase.READY, Step.STARTTLS): Phase.TLS,
        (Phase.TLS, Step.TLS_ESTABLISHED): Phase.GREETED,
        (Phase.READY, Step.AUTH): Phase.AUTH,
        (Phase.AUTH, Step.AUTH_ENDED): Phase.READY,
        (Phase.READY, Step.MAIL): Phase.SENDER,
        (Phase.SENDER, Step.RCPT): Phase.RECIPIENTS,
        (Phase.RECIPIENTS, Step.RCPT): Phase.RECIPIENTS,
        (Phase.RECIPIENTS, Step.DATA): Phase.DATA,
        (Phase.DATA, Step.FINAL_DOT): Phase.ENDED,
        (Phase.RECIPIENTS, Step.BDAT): Phase.CHUNK,
        (Phase.CHUNKS, Step.BDAT): Phase.CHUNK,
        (Phase.CHUNK, Step.CHUNK_END): Phase.CHUNKS,
        (Phase.CHUNK, Step.LAST_CHUNK): Phase.ENDED,
        (Phase.CHUNKS, Step.MESSAGE_ANSWERED): Phase.READY,
        (Phase.ENDED, Step.MESSAGE_ANSWERED): Phase.READY,
        **{(phase, Step.HELLO): Phase.READY for phase in _TALKING},
        **{(phase, Step.RSET): Phase.READY for phase in _TALKING},
        **{(phase, Step.QUIT): Phase.CLOSED for phase in (Phase.GREETED, *_TALKING)},
    }
)


def state_diagram() -> str:
    """TRANSITIONS as a Mermaid state diagram, one arrow a pair of phases."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, step), after in TRANSITIONS.items():
        arrows.setdefault((phase, after), []).append(step.value)
    lines = [f"    {a.value} --> {b.value}: {', '.join(steps)}" for (a, b), steps in arrows.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Phase.CONNECTED.value}", *lines, "    closed --> [*]"])

"""The commands of an SMTP session: a table of what each needs, and what it asks of the caller.

A command is a pure function of the session's facts and the argument: it gives an event, or raises CommandError.
Sources: RFC 5321 section 4.1, RFC 3207 section 4, RFC 4954 section 4, RFC 6409 section 4.3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bulkhead.identifiers import DomainName
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_command import CommandError, parse_auth, parse_hello, parse_mail, parse_rcpt
from bulkhead.wire.smtp_events import (
    AuthStart,
    DataStart,
    Event,
    Greeted,
    Idle,
    Quit,
    Reset,
    StartTls,
)
from bulkhead.wire.smtp_states import TRANSITIONS, Phase, Step


@dataclass(slots=True)
class Session:
    """The facts on which commands depend."""

    hostname: DomainName
    limits: Limits
    tls_offered: bool
    tls_required: bool
    auth_required: bool
    mechanisms: tuple[str, ...]
    tls_active: bool
    phase: Phase = Phase.CONNECTED
    authenticated: bool = False
    extended: bool = False  # the client said EHLO
    recipients: int = 0
    transactions: int = 0  # begun in this session
    utf8: bool = False  # MAIL said SMTPUTF8
    dsn: bool = False  # RET, ENVID, NOTIFY and ORCPT are known

    def extensions(self) -> tuple[str, ...]:
        """The keywords of the reply to EHLO (RFC 5321 section 4.1.1.1)."""
        offers = ["PIPELINING", f"SIZE {self.limits.message_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        offers += ["CHUNKING", "SMTPUTF8", f"LIMITS {self._limits()}"]
        if self.dsn:
            offers.append("DSN")
        if self.tls_offered and not self.tls_active:
            offers.append("STARTTLS")
        if self.mechanisms and self.tls_active:
            offers.append(f"AUTH {' '.join(self.mechanisms)}")
        return tuple(offers)

    def _limits(self) -> str:
        """What holds for every client (RFC 9422 section 4); no number of domains is a limit, so none is named."""
        limits = self.limits
        mail = f"MAILMAX={limits.transactions} " if limits.transactions else ""
        return f"{mail}RCPTMAX={min(limits.recipients, limits.recipients_promised)}"


def run_command(session: Session, verb: str, argument: str) -> Event:
    """The event of this command. Raises CommandError when it is unknown, out of order or not well formed."""
    command = COMMANDS.get(verb)
    if command is None:
        raise CommandError(codes.UNKNOWN_COMMAND)
    step, run = command
    if step is not None and (session.phase, step) not in TRANSITIONS:
        no_recipients = step is Step.DATA and session.phase is Phase.SENDER
        raise CommandError(codes.NO_RECIPIENTS if no_recipients else codes.OUT_OF_ORDER)
    return run(session, argument)


def _ehlo(session: Session, argument: str) -> Event:
    return Greeted(parse_hello(argument), extended=True)


def _helo(session: Session, argument: str) -> Event:
    return Greeted(parse_hello(argument), extended=False)


def _starttls(session: Session, argument: str) -> Event:
    _no_argument(argument)
    if not session.tls_offered:
        raise CommandError(codes.NOT_IMPLEMENTED)
    if session.tls_active:
        raise CommandError(codes.OUT_OF_ORDER)
    return StartTls()


def _auth(session: Session, argument: str) -> Event:
    if not session.mechanisms:
        raise CommandError(codes.NOT_IMPLEMENTED)
    if not session.tls_active:
        raise CommandError(codes.AUTH_NEEDS_TLS)
    if session.authenticated:
        raise CommandError(codes.OUT_OF_ORDER)
    mechanism, initial = parse_auth(argument)
    if mechanism not in session.mechanisms:
        raise CommandError(codes.MECHANISM_UNKNOWN)
    return AuthStart(mechanism, initial)


def _mail(session: Session, argument: str) -> Event:
    if session.tls_required and not session.tls_active:
        raise CommandError(codes.TLS_FIRST)
    if session.auth_required and not session.authenticated:
        raise CommandError(codes.AUTH_FIRST)
    if 0 < session.limits.transactions <= session.transactions:
        raise CommandError(codes.TOO_MANY_MESSAGES)
    return parse_mail(argument, message_bytes=session.limits.message_bytes, dsn=session.dsn)


def _rcpt(session: Session, argument: str) -> Event:
    event = parse_rcpt(argument, utf8=session.utf8, dsn=session.dsn)
    if session.recipients >= session.limits.recipients:
        raise CommandError(codes.TOO_MANY_RECIPIENTS)
    return event


def _data(session: Session, argument: str) -> Event:
    _no_argument(argument)
    return DataStart()


def _rset(session: Session, argument: str) -> Event:
    _no_argument(argument)
    return Reset()


def _noop(session: Session, argument: str) -> Event:
    return Idle("NOOP", codes.OK)


def _help(session: Session, argument: str) -> Event:
    return Idle("HELP", codes.HELP)


def _vrfy(session: Session, argument: str) -> Event:
    if not argument:
        raise CommandError(codes.ARGUMENT_ERROR)
    if not argument.isascii() and not argument.upper().endswith(" SMTPUTF8"):  # RFC 6531 section 3.7.4.2
        raise CommandError(codes.NON_ASCII_ADDRESS)
    return Idle("VRFY", codes.CANNOT_VERIFY)  # RFC 5321 section 7.3: who exists is not told


def _expn(session: Session, argument: str) -> Event:
    raise CommandError(codes.NOT_IMPLEMENTED)


def _quit(session: Session, argument: str) -> Event:
    _no_argument(argument)
    return Quit()


def _no_argument(argument: str) -> None:
    if argument:
        raise CommandError(codes.ARGUMENT_ERROR)


COMMANDS: Final[Mapping[str, tuple[Step | None, Callable[[Session, str], Event]]]] = MappingProxyType(
    {
        "EHLO": (Step.HELLO, _ehlo),
        "HELO": (Step.HELLO, _helo),
        "STARTTLS": (Step.STARTTLS, _starttls),
        "AUTH": (Step.AUTH, _auth),
        "MAIL": (Step.MAIL, _mail),
        "RCPT": (Step.RCPT, _rcpt),
        "DATA": (Step.DATA, _data),
        "RSET": (Step.RSET, _rset),
        "NOOP": (None, _noop),
        "HELP": (None, _help),
        "VRFY": (None, _vrfy),
        "EXPN": (None, _expn),
        "QUIT": (Step.QUIT, _quit),
    }
)

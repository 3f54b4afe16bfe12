"""SmtpReceiver: the server's side of an SMTP session. Bytes in, events out; the caller decides, then tells it.

Source: RFC 5321, with SIZE (RFC 1870), PIPELINING (RFC 2920), STARTTLS (RFC 3207), 8BITMIME (RFC 6152),
ENHANCEDSTATUSCODES (RFC 2034), AUTH (RFC 4954), CHUNKING (RFC 3030), SMTPUTF8 (RFC 6531), DSN (RFC 3461) and LIMITS
(RFC 9422). What is refused and why: docs/smtp.md.

A runner calls greet(), and then for ever:

    receiver.receive_data(await read())
    while (event := receiver.next_event()) is not None:
        ...                                   # answer the events that ask for it
    await write(receiver.data_to_send())      # replies to one group of commands leave together (RFC 2920 section 3.2)
    if receiver.closed: close

and on PeerError writes data_to_send(), then closes.
"""

from typing import Final

from bulkhead.errors import BareNewline, LineTooLong, PeerError
from bulkhead.identifiers import DomainName
from bulkhead.wipe import join_tail, wipe, wipe_text
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_codes import Code, Limits, Reply, Status, reply
from bulkhead.wire.smtp_command import CommandError
from bulkhead.wire.smtp_conversation import ALONE, ASKING
from bulkhead.wire.smtp_events import (
    AuthLine,
    AuthStart,
    ChunkEnd,
    DataEnd,
    DataStart,
    Event,
    Greeted,
    MailFrom,
    RcptTo,
    StartTls,
)
from bulkhead.wire.smtp_intake import Intake
from bulkhead.wire.smtp_lines import CommandLines, split_command
from bulkhead.wire.smtp_session import Session, run_command
from bulkhead.wire.smtp_states import Phase, Role, Step
from bulkhead.wire.smtp_text import TextReader

_CONNECTED: Final = Phase.CONNECTED  # names, as in smtp_conversation.py
_DATA: Final = Phase.DATA
_CHUNK: Final = Phase.CHUNK
_AUTH: Final = Phase.AUTH
_TLS: Final = Phase.TLS
_CLOSED: Final = Phase.CLOSED


class SmtpReceiver(Intake):
    """One session with an SMTP client.

    hostname: ours, in the greeting.   tls_active: TLS from the first octet (implicit TLS, RFC 8314).
    tls_offered: STARTTLS is offered.   tls_required, auth_required: no MAIL before; both hold for SUBMISSION.
    mechanisms: SASL mechanisms offered inside TLS, and never outside it.   dsn: DSN is offered.
    Methods that answer raise ValueError when another event waits, or none; once the session is over they do nothing.
    """

    def __init__(
        self,
        hostname: DomainName,
        role: Role,
        *,
        tls_active: bool = False,
        tls_offered: bool = False,
        tls_required: bool = False,
        auth_required: bool = False,
        mechanisms: tuple[str, ...] = (),
        dsn: bool = False,
        limits: Limits = codes.DEFAULT_LIMITS,
    ) -> None:
        session = Session(
            hostname=hostname,
            limits=limits,
            tls_offered=tls_offered,
            tls_required=tls_required or role is Role.SUBMISSION,
            auth_required=auth_required or role is Role.SUBMISSION,
            mechanisms=mechanisms,
            tls_active=tls_active,
            dsn=dsn,
        )
        super().__init__(session)
        self.role = role
        self._lines = CommandLines(limits)

    # --- bytes -------------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take octets from the client. What is wrong with them, next_event tells."""
        if self.phase is _CLOSED:
            return
        if self.phase is _TLS:
            self._fail(None, PeerError("plain text behind STARTTLS"))  # CVE-2011-0411: it never reaches the session
            return
        if self.session.mechanisms and not self.session.authenticated:
            join_tail(self._inbox, data)  # what moves may hold a password; `data` is the caller's to overwrite
        else:
            self._inbox += data
        if len(self._inbox) > self.limits.inbox_bytes and (self._awaiting or not self._reads_text):
            self._fail(codes.TOO_MANY_ERRORS, PeerError("too many commands sent ahead"))

    def next_event(self) -> Event | None:
        """The next event, or None when bytes or an answer are needed. Raises PeerError: the session is over."""
        if self._failure is not None:
            raise self._failure
        phase = self.session.phase
        if self._awaiting is not None or phase is _CLOSED or phase is _CONNECTED:
            return None
        if phase is _DATA:
            return self._read_text()
        if phase is _CHUNK:
            return self._read_chunk()
        if self._skipped_chunk is not None:
            return self._skip_chunk()
        verb = ""
        try:
            line = self._lines.take(self._inbox, authenticating=phase is _AUTH)
            if line is None:
                return None
            if phase is _AUTH:
                return self._give(AuthLine(line))
            verb, argument = split_command(line)
            if verb == "BDAT":
                return self._begin_chunk(argument)
            try:
                return self._give(run_command(self.session, verb, argument))
            finally:
                if verb == "AUTH" and argument:
                    wipe(line)
                    wipe_text(argument)
        except CommandError as error:
            return self._refuse(verb, error.reply)
        except (BareNewline, LineTooLong) as error:
            self._fail(codes.COMMAND_NEWLINE if isinstance(error, BareNewline) else codes.LINE_TOO_LONG, error)
            raise

    # --- answers -----------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Welcome the client with 220; one that spoke first is sent away (RFC 5321 section 4.3.1)."""
        if self._alone():
            self._step(Step.GREETING)
            self._send(reply(Code.SERVICE_READY, Status.NONE, f"{self.session.hostname} ESMTP"))

    def accept_hello(self) -> None:
        """Answer Greeted with our name and, for EHLO, the extensions."""
        event = self._answered(Greeted)
        if not isinstance(event, Greeted):
            return
        self._step(Step.HELLO)
        self._chunk_refused = False
        self._forget_transaction()
        self.session.extended = event.extended
        extensions = self.session.extensions() if self.session.extended else ()
        self._send(Reply(Code.OK, Status.NONE, (self.session.hostname, *extensions)))

    def accept_tls(self) -> None:
        """Answer StartTls with 220: send it, then hand the connection to TLS, then call tls_established.

        Until then every octet given to receive_data ends the session, so that none sent in clear is obeyed.
        """
        if self._answered(StartTls) and self._alone():
            self._step(Step.STARTTLS)
            self._send(codes.START_TLS)

    def tls_established(self) -> None:
        """The handshake is done: all that was said before is forgotten (RFC 3207 section 4.2)."""
        if self.phase is _CLOSED:
            return
        self._step(Step.TLS_ESTABLISHED)
        self._inbox.clear()
        self._forget_transaction()
        self.session.tls_active, self.session.extended = True, False

    def challenge(self, challenge: bytes) -> None:
        """Answer AuthStart or AuthLine with 334 and this challenge, already in base64; AuthLine follows."""
        event = self._answered(AuthStart, AuthLine)
        if event and self._alone():
            if isinstance(event, AuthStart):
                self._step(Step.AUTH)
            self._outbox += b"334 " + challenge + b"\r\n"

    def authenticated(self) -> None:
        """Answer AuthStart or AuthLine with 235."""
        if self._answered(AuthStart, AuthLine) and self._alone():
            self._end_auth()
            self.session.authenticated = True
            self._send(codes.AUTHENTICATED)

    def accept_mail(self, answer: Reply = codes.SENDER_OK) -> None:
        """Answer MailFrom with 250."""
        event = self._answered(MailFrom)
        if isinstance(event, MailFrom):
            self._step(Step.MAIL)
            self.session.utf8, self._chunk_refused = event.utf8, False
            self.session.transactions += 1
            self._send(answer)

    def accept_recipient(self, answer: Reply = codes.RECIPIENT_OK) -> None:
        """Answer RcptTo with 250."""
        if self._answered(RcptTo):
            self._step(Step.RCPT)
            self.session.recipients += 1
            self._send(answer)

    def accept_data(self) -> None:
        """Answer DataStart with 354; DataChunk events follow."""
        if self._answered(DataStart) and self._alone():
            self._step(Step.DATA)
            self._reader = TextReader(message_bytes=self.limits.message_bytes, text_line=self.limits.text_line)
            self._send(codes.START_INPUT)

    def accept_chunk(self) -> None:
        """Answer ChunkEnd with 250; nothing is durable yet."""
        event = self._answered(ChunkEnd)
        if isinstance(event, ChunkEnd):
            self._send(reply(Code.OK, Status.OK, f"{event.size} octets so far"))

    def accept_message(self, answer: Reply = codes.MESSAGE_OK) -> None:
        """Answer DataEnd with 250: the message is durable, and ours to deliver or bounce (RFC 5321 section 4.2.5)."""
        if self._answered(DataEnd):
            self._message_answered(answer)
            self._idle = self._dropped = 0

    def reject(self, answer: Reply) -> None:
        """Answer any event that asks with 4yz or 5yz; 421 also ends the session. Raises ValueError on another code."""
        if answer.positive:
            raise ValueError("a rejection has a 4yz or 5yz reply")
        event = self._answered(*ASKING)
        if event is None or (isinstance(event, ALONE) and not self._alone()):
            return
        if answer.code == Code.UNAVAILABLE:
            self.close(answer)
        elif isinstance(event, DataEnd | ChunkEnd):
            self._message_answered(answer)
            self._chunk_refused = isinstance(event, ChunkEnd)
        elif isinstance(event, AuthStart | AuthLine):
            self._end_auth()
            self._auth_failures += 1
            self._send(answer)
            if self._auth_failures >= self.limits.auth_failures:
                self.close(codes.TOO_MANY_ERRORS)
        elif isinstance(event, RcptTo):
            self._refuse_recipient(answer)
        elif not self._idles_too_long():
            self._send(answer)

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

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bulkhead.errors import BareNewline, LineTooLong, PeerError
from bulkhead.identifiers import DomainName
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_chunks import COMMAND_COST, ChunkReader, parse_bdat
from bulkhead.wire.smtp_codes import Code, Limits, Reply, Status, reply
from bulkhead.wire.smtp_command import CommandError
from bulkhead.wire.smtp_events import (
    AuthLine,
    AuthStart,
    ChunkEnd,
    CommandRefused,
    DataChunk,
    DataEnd,
    DataRefused,
    DataStart,
    Event,
    Greeted,
    Idle,
    MailFrom,
    Quit,
    RcptTo,
    Reset,
    StartTls,
)
from bulkhead.wire.smtp_lines import CommandLines, split_command
from bulkhead.wire.smtp_session import Session, run_command
from bulkhead.wire.smtp_states import TRANSITIONS, Phase, Role, Step
from bulkhead.wire.smtp_text import Fault, TextReader

# Python 3.11 takes 150 ns for a member of an Enum and 10 for a name, and every event asks for several.
_CONNECTED: Final = Phase.CONNECTED
_DATA: Final = Phase.DATA
_SENDER: Final = Phase.SENDER
_CHUNK: Final = Phase.CHUNK
_AUTH: Final = Phase.AUTH
_TLS: Final = Phase.TLS
_CLOSED: Final = Phase.CLOSED

READ_AHEAD: Final = 65536  # octets of inbox from which a runner stops reading while an answer is due

FAULTS: Final[Mapping[Fault, Reply]] = MappingProxyType(
    {
        Fault.BARE_NEWLINE: codes.MESSAGE_NEWLINE,
        Fault.NUL: codes.MESSAGE_NUL,
        Fault.TOO_BIG: codes.MESSAGE_TOO_BIG,
        Fault.LONG_LINE: codes.MESSAGE_LINE_TOO_LONG,
    }
)
_CLOSING_FAULTS: Final = (Fault.BARE_NEWLINE, Fault.NUL)  # what follows may be smuggled: it is not read
_ASKING: Final = (Greeted, StartTls, AuthStart, AuthLine, MailFrom, RcptTo, DataStart, ChunkEnd, DataEnd)
_ALONE: Final = (StartTls, AuthStart, AuthLine, DataStart)  # nothing may follow before the reply (RFC 2920 section 3.1)


class SmtpReceiver:
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
        self.role, self.limits = role, limits
        self.session = Session(
            hostname=hostname,
            limits=limits,
            tls_offered=tls_offered,
            tls_required=tls_required or role is Role.SUBMISSION,
            auth_required=auth_required or role is Role.SUBMISSION,
            mechanisms=mechanisms,
            tls_active=tls_active,
            dsn=dsn,
        )
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._lines = CommandLines(limits)
        self._awaiting: Event | None = None
        self._failure: PeerError | None = None
        self._reader: TextReader | None = None
        self._chunks: ChunkReader | None = None
        self._skipped_chunk: tuple[int, Reply] | None = None  # octets of a refused chunk to come, and the refusal
        self._chunk_refused = False  # the transaction ended by a refused chunk: those sent after it are no new fault
        self._dropped = 0  # octets of refused chunks since the last accepted message
        self._bad = self._idle = self._refused_recipients = self._auth_failures = 0

    # --- bytes -------------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Where the session stands."""
        return self.session.phase

    @property
    def closed(self) -> bool:
        """Whether the session is over: send what is due and close."""
        return self.session.phase is _CLOSED

    @property
    def wants_data(self) -> bool:
        """Whether the runner should read on; False while an answer is due and much was sent ahead."""
        return self._awaiting is None or len(self._inbox) < READ_AHEAD

    def receive_data(self, data: bytes) -> None:
        """Take octets from the client. What is wrong with them, next_event tells."""
        if self.phase is _CLOSED:
            return
        if self.phase is _TLS:
            self._fail(None, PeerError("plain text behind STARTTLS"))  # CVE-2011-0411: it never reaches the session
            return
        self._inbox += data
        if len(self._inbox) > self.limits.inbox_bytes and (self._awaiting or not self._reads_text):
            self._fail(codes.TOO_MANY_ERRORS, PeerError("too many commands sent ahead"))

    def data_to_send(self) -> bytes:
        """The octets due to the client, given once."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

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
            return self._give(run_command(self.session, verb, argument))
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

    def close(self, answer: Reply) -> None:
        """Say `answer` (421, or 554 instead of a greeting) and end the session."""
        if self.phase is not _CLOSED:
            self._send(answer)
            self._end()

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
        event = self._answered(*_ASKING)
        if event is None or (isinstance(event, _ALONE) and not self._alone()):
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

    # --- inside ------------------------------------------------------------------------------------------------------

    def _give(self, event: Event) -> Event:
        """Do what an event asks for before the caller sees it: wait for an answer, or answer by ourselves."""
        if isinstance(event, _ASKING):
            self._awaiting = event
        if isinstance(event, _ALONE) and not self._alone():
            raise PeerError("input sent before it was asked for")
        if isinstance(event, Greeted | Reset | Idle) and self._idles_too_long():
            return CommandRefused("", codes.TOO_MANY_ERRORS)
        if isinstance(event, Reset):
            self._step(Step.RSET)
            self._chunk_refused = False
            self._forget_transaction()
            self._send(codes.OK)
        elif isinstance(event, Idle):
            self._send(event.reply)
        elif isinstance(event, Quit):
            self.close(codes.CLOSING)
        return event

    def _read_text(self) -> Event | None:
        reader = self._reader
        if reader is None:
            raise ValueError("phase DATA without a reader")
        if not reader.ended:
            text = reader.read(self._inbox)
            if text:
                return DataChunk(text)
            if reader.discarded > self.limits.discard_bytes and not reader.ended:
                self._fail(codes.MESSAGE_TOO_BIG, PeerError("message far too big"))
                raise PeerError("message far too big")
            if not reader.ended:
                return None
        self._step(Step.FINAL_DOT)
        if reader.fault is None:
            return self._give(DataEnd(reader.size))
        answer = FAULTS[reader.fault]
        self._message_answered(answer)
        if reader.fault in _CLOSING_FAULTS:
            self._end()
        return DataRefused(answer)

    @property
    def _reads_text(self) -> bool:
        return self.phase is _DATA or self.phase is _CHUNK or self._skipped_chunk is not None

    def _begin_chunk(self, argument: str) -> Event | None:
        """Read the chunk that follows, or drop it: in no case is it read as commands (RFC 3030 section 2)."""
        try:
            octets, last = parse_bdat(argument)
        except CommandError as error:
            failure = PeerError("BDAT without a size")
            self._fail(error.reply, failure)
            raise failure from None
        if (self.phase, Step.BDAT) in TRANSITIONS:
            self._step(Step.BDAT)
            limits = self.limits
            if self._chunks is None:
                self._chunks = ChunkReader(message_bytes=limits.message_bytes, text_line=limits.text_line)
            self._chunks.begin(octets, last)
            if self._chunks.fault is not None:
                self._count_dropped(octets)
            return self._read_chunk()
        self._count_dropped(octets)
        self._skipped_chunk = octets, codes.NO_RECIPIENTS if self.phase is _SENDER else codes.OUT_OF_ORDER
        return self._skip_chunk()

    def _read_chunk(self) -> Event | None:
        reader = self._chunks
        if reader is None:
            raise ValueError("phase CHUNK without a reader")
        text = reader.read(self._inbox)
        if text:
            return DataChunk(text)
        if reader.left:
            return None
        if reader.fault is None:
            self._step(Step.LAST_CHUNK if reader.last else Step.CHUNK_END)
            return self._give(DataEnd(reader.size) if reader.last else ChunkEnd(reader.size))
        self._step(Step.LAST_CHUNK)
        answer = FAULTS[reader.fault]
        self._message_answered(answer)
        self._chunk_refused = not reader.last
        return DataRefused(answer)

    def _skip_chunk(self) -> Event | None:
        """Drop what came of a refused chunk; once it is over, refuse it."""
        if self._skipped_chunk is None:
            raise ValueError("no chunk is being dropped")
        octets, answer = self._skipped_chunk
        taken = min(octets, len(self._inbox))
        del self._inbox[:taken]
        if taken < octets:
            self._skipped_chunk = octets - taken, answer
            return None
        self._skipped_chunk = None
        if self._chunk_refused or answer is codes.NO_RECIPIENTS:  # sent ahead: one fault, told with each chunk
            self._send(answer)
            return CommandRefused("BDAT", answer)
        return self._refuse("BDAT", answer)

    def _count_dropped(self, octets: int) -> None:
        """Raises PeerError, the session being over, where a client sends chunk after chunk for nothing."""
        self._dropped += octets + COMMAND_COST
        if self._dropped > self.limits.discard_bytes:
            failure = PeerError("refused chunks far too big")
            self._fail(codes.MESSAGE_TOO_BIG, failure)
            raise failure

    def _alone(self) -> bool:
        """Whether nothing followed a command whose reply decides what the following octets mean."""
        if self._inbox:
            self._fail(codes.SYNCHRONISATION, PeerError("input sent before it was asked for"))
        return self.phase is not _CLOSED

    def _answered(self, *kinds: type[Event]) -> Event | None:
        """The event that this answers; None when the session ended meanwhile, and no answer can be given."""
        if self.phase is _CLOSED:
            return None
        event = self._awaiting
        if event is None or not isinstance(event, kinds):
            raise ValueError(f"not the answer to what is waiting for one: {event!r}")
        self._awaiting = None
        return event

    def _step(self, step: Step) -> None:
        after = TRANSITIONS.get((self.phase, step))
        if after is None:
            raise ValueError(f"{step.value} is out of order in phase {self.phase.value}")
        self.session.phase = after

    def _send(self, answer: Reply) -> None:
        self._outbox += answer.render()

    def _refuse(self, verb: str, answer: Reply) -> Event:
        """Answer a command that never reaches the caller, and count it."""
        if answer is codes.TOO_MANY_MESSAGES:
            self.close(answer)
            return CommandRefused(verb, answer)
        if answer is codes.TOO_MANY_RECIPIENTS:  # RFC 5321 section 4.5.3.1.10: no fault of the client's
            self._refuse_recipient(answer)
            return CommandRefused(verb, answer)
        self._bad += 1
        if self._bad > self.limits.bad_commands:
            answer = codes.TOO_MANY_ERRORS
            self.close(answer)
        else:
            self._end_auth()
            self._send(answer)
        return CommandRefused(verb, answer)

    def _refuse_recipient(self, answer: Reply) -> None:
        self._refused_recipients += 1
        if self._refused_recipients > self.limits.refused_recipients:
            self.close(codes.TOO_MANY_ERRORS)
        else:
            self._send(answer)

    def _idles_too_long(self) -> bool:
        """Count a command that brings no message nearer; past the limit end the session with 421."""
        self._idle += 1
        if self._idle > self.limits.idle_commands:
            self.close(codes.TOO_MANY_ERRORS)
        return self.closed

    def _end_auth(self) -> None:
        if self.phase is _AUTH:
            self._step(Step.AUTH_ENDED)

    def _message_answered(self, answer: Reply) -> None:
        self._step(Step.MESSAGE_ANSWERED)
        self._forget_transaction()
        self._send(answer)

    def _forget_transaction(self) -> None:
        self.session.recipients, self.session.utf8 = 0, False
        self._reader = self._chunks = None

    def _fail(self, answer: Reply | None, failure: PeerError) -> None:
        """End the session with this reply, if any; next_event raises `failure` from now on."""
        if answer is not None:
            self._send(answer)
        self._failure = failure
        self._end()

    def _end(self) -> None:
        self.session.phase = _CLOSED
        self._awaiting = None
        self._inbox.clear()
        self._forget_transaction()

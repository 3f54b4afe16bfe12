"""What an SMTP session has come to on the server's side: octets both ways, the event that waits for its answer, faults.

The base of SmtpReceiver (smtp.py), below its text (smtp_intake.py). Source: RFC 5321, RFC 2920.
"""

from typing import Final

from bulkhead.errors import PeerError
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_chunks import ChunkReader
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_events import (
    AuthLine,
    AuthStart,
    ChunkEnd,
    CommandRefused,
    DataEnd,
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
from bulkhead.wire.smtp_session import Session
from bulkhead.wire.smtp_states import TRANSITIONS, Phase, Step
from bulkhead.wire.smtp_text import TextReader

# Python 3.11 takes 150 ns for a member of an Enum and 10 for a name, and every event asks for several.
_AUTH: Final = Phase.AUTH
_CLOSED: Final = Phase.CLOSED

ASKING: Final = (Greeted, StartTls, AuthStart, AuthLine, MailFrom, RcptTo, DataStart, ChunkEnd, DataEnd)
ALONE: Final = (StartTls, AuthStart, AuthLine, DataStart)  # nothing may follow before the reply (RFC 2920 section 3.1)


class Conversation:
    """The session's facts, its octets in and out, and the one event that may wait for an answer."""

    def __init__(self, session: Session) -> None:
        self.session, self.limits = session, session.limits
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._awaiting: Event | None = None
        self._failure: PeerError | None = None
        self._reader: TextReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk_refused = False  # the transaction ended by a refused chunk: those sent after it are no new fault
        self._bad = self._idle = self._refused_recipients = self._auth_failures = 0

    @property
    def phase(self) -> Phase:
        """Where the session stands."""
        return self.session.phase

    @property
    def closed(self) -> bool:
        """Whether the session is over: send what is due and close."""
        return self.session.phase is _CLOSED

    def data_to_send(self) -> bytes:
        """The octets due to the client, given once."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    def close(self, answer: Reply) -> None:
        """Say `answer` (421, or 554 instead of a greeting) and end the session."""
        if self.phase is not _CLOSED:
            self._send(answer)
            self._end()

    def _give(self, event: Event) -> Event:
        """Do what an event asks for before the caller sees it: wait for an answer, or answer by ourselves."""
        if isinstance(event, ASKING):
            self._awaiting = event
        if isinstance(event, ALONE) and not self._alone():
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

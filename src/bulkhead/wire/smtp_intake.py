"""The text of the message that an SMTP client sends, by DATA or in chunks: each fault has its answer.

Source: RFC 5321 section 4.1.1.4, RFC 3030 section 2.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bulkhead.errors import PeerError
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_chunks import COMMAND_COST, ChunkReader, parse_bdat
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_command import CommandError
from bulkhead.wire.smtp_conversation import Conversation
from bulkhead.wire.smtp_events import ChunkEnd, CommandRefused, DataChunk, DataEnd, DataRefused, Event
from bulkhead.wire.smtp_session import Session
from bulkhead.wire.smtp_states import TRANSITIONS, Phase, Step
from bulkhead.wire.smtp_text import Fault

_DATA: Final = Phase.DATA  # names, as in smtp_conversation.py
_SENDER: Final = Phase.SENDER
_CHUNK: Final = Phase.CHUNK

FAULTS: Final[Mapping[Fault, Reply]] = MappingProxyType(
    {
        Fault.BARE_NEWLINE: codes.MESSAGE_NEWLINE,
        Fault.NUL: codes.MESSAGE_NUL,
        Fault.TOO_BIG: codes.MESSAGE_TOO_BIG,
        Fault.LONG_LINE: codes.MESSAGE_LINE_TOO_LONG,
    }
)
_CLOSING_FAULTS: Final = (Fault.BARE_NEWLINE, Fault.NUL)  # what follows may be smuggled: it is not read


class Intake(Conversation):
    """Reads the text out of the inbox, and what was announced as text and refused."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._skipped_chunk: tuple[int, Reply] | None = None  # octets of a refused chunk to come, and the refusal
        self._dropped = 0  # octets of refused chunks since the last accepted message

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

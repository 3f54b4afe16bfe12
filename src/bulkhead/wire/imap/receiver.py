"""IMAP receiver: bytes in, commands out, with literals and limits (RFC 3501 sections 2.2 and 4.3; RFC 7888).

The caller acts on one event before it asks for the next, because `state` decides what the next command may be.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bulkhead.errors import CommandOutOfOrder, LineTooLong, PeerError
from bulkhead.wipe import cut_head, join_tail, wipe, wipe_buffer
from bulkhead.wire.imap.command_table import COMMANDS, CommandRule, State, find_rule
from bulkhead.wire.imap.commands import Append, Command
from bulkhead.wire.imap.grammar import CommandError, Condition, Scanner
from bulkhead.wire.imap.limits import APPEND_MESSAGES_MAX, LITERAL_MINUS_MAX, TAG_MAX, Limits
from bulkhead.wire.imap.mailbox_commands import parse_append, parse_message

_LITERAL: Final = re.compile(rb"~?\{([0-9]{1,20})(\+?)\}\r\n\Z")
# the last literal of an APPEND is its message; one right after `APPEND ` is the mailbox name
_APPEND: Final = re.compile(rb"[^ ]+ APPEND (?!~?\{[0-9]{1,20}\+?\}\r\n\Z)", re.IGNORECASE)
_UNTAGGED: Final = b"*"  # a command without a readable tag is answered untagged (RFC 3501 section 7.1.3)


@dataclass(frozen=True, slots=True)
class NeedContinuation:
    """Send `+` and a text: the client waits to send a literal."""


@dataclass(frozen=True, slots=True)
class Received:
    """A whole command."""

    tag: bytes
    command: Command


@dataclass(frozen=True, slots=True)
class Rejected:
    """Answer the tag with this and go on; an APPEND under way is over and what came of it is dropped."""

    tag: bytes
    condition: Condition
    text: str
    response_code: bytes = b""


@dataclass(frozen=True, slots=True)
class AppendBegun:
    """An APPEND stands before a message: call accept_append() or refuse_append() before the next event.

    first: it is the command's first; otherwise the message before is whole, and both are appended or none (RFC 3502).
    """

    tag: bytes
    append: Append
    first: bool = True


@dataclass(frozen=True, slots=True)
class LiteralChunk:
    """Octets of the message, in order."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppendEnded:
    """The last message is whole: answer the tag once all are durable."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class ContinuationLine:
    """The line that expect_line() asked for, without its end: base64 of SASL, or DONE. Never shown."""

    data: bytes = field(repr=False)


Event = NeedContinuation | Received | Rejected | AppendBegun | LiteralChunk | AppendEnded | ContinuationLine


class _Mode(Enum):
    """What the next octets are."""

    TEXT = 1  # of a command
    LITERAL = 2  # of a command, kept
    DRAIN = 3  # a refused literal, dropped
    DECISION = 4  # nothing until the caller decides on the APPEND
    MESSAGE = 5  # the literal of APPEND, streamed
    MESSAGE_END = 6  # the line end after it
    LINE = 7  # a continuation line


class ImapReceiver:
    """The receiving side of one IMAP connection.

    Memory: one command's text and literals, plus what receive_data got since the last event. `state` starts at
    NOT_AUTHENTICATED; the caller sets it on login, SELECT, CLOSE, logout. `utf8_names` is set once UTF8=ACCEPT or
    IMAP4rev2 is enabled, `utf8_accept` by the former alone.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        state: State = State.NOT_AUTHENTICATED,
        commands: Mapping[bytes, CommandRule] = COMMANDS,
    ) -> None:
        self.state = state
        self.utf8_names = self.utf8_accept = False
        self._limits = limits or Limits()
        self._commands = commands
        self._inbox = bytearray()
        self._searched = 0  # octets of the inbox known to hold no line end
        self._events: deque[Event] = deque()
        self._bad = 0
        self._begin_command()

    def _begin_command(self) -> None:
        self._mode = _Mode.TEXT
        self._command = bytearray()  # text and literals as they came
        self._text = self._literals = self._drained = 0
        self._wanted = 0  # octets of a literal still to come
        self._skipping = False  # the command is refused: read it, keep nothing
        self._rejection: Rejected | None = None  # to be told when a refused command has been read
        self._tag = _UNTAGGED  # of an APPEND under way
        self._append_end = b"\r\n"  # what ends the APPEND under way, after its last message
        self._target: str | None = None  # its mailbox, once its first message was announced
        self._messages = 0  # of it, announced
        self._synchronizing = False

    def receive_data(self, data: bytes) -> None:
        """Take octets from the connection; call next_event() until None before giving more.

        Before login nothing that came stays anywhere but in the events and in `data`: the caller overwrites those.
        """
        if self._before_login:
            join_tail(self._inbox, data)
        else:
            self._inbox += data

    def next_event(self) -> Event | None:
        """Return the next event, or None when more octets are needed.

        Raises PeerError when the connection must end with BYE and the error's text: a limit was passed that cannot be
        answered. After that the receiver is finished. Raises ValueError if an APPEND still waits for its decision.
        """
        if self._mode is _Mode.DECISION:
            raise ValueError("accept_append() or refuse_append() comes first")
        while not self._events:
            if not self._advance():
                return None
        return self._events.popleft()

    def accept_append(self) -> None:
        """Let the message of the APPEND come: LiteralChunk events follow, then AppendEnded or Rejected."""
        self._decide()
        self._mode = _Mode.MESSAGE
        self._text, self._command = 0, bytearray()  # what follows the message is a line of its own
        if self._synchronizing:
            self._events.append(NeedContinuation())

    def refuse_append(self) -> None:
        """The caller answers the tag itself; a message already on its way is read and dropped.

        Raises PeerError when it is longer than the connection may waste.
        """
        self._decide()
        if self._synchronizing:
            self._begin_command()
        else:
            self._skipping = True
            self._drain(self._wanted)

    def _decide(self) -> None:
        if self._mode is not _Mode.DECISION:
            raise ValueError("no APPEND waits for a decision")

    def expect_line(self) -> None:
        """The next line is a ContinuationLine and no command: for AUTHENTICATE and IDLE."""
        if self._mode is not _Mode.TEXT or self._command:
            raise ValueError("a command is under way")
        self._mode = _Mode.LINE

    def start_tls(self) -> None:
        """Know STARTTLS no more. Raises CommandOutOfOrder if octets in clear followed it."""
        if self._inbox:
            raise CommandOutOfOrder("nothing may follow STARTTLS before TLS begins")
        self._commands = COMMANDS

    def take_rest(self) -> bytes:
        """Octets behind the last command, which are none of this receiver's: compression began before them."""
        rest = bytes(self._inbox)
        self._inbox.clear()
        self._searched = 0
        return rest

    @property
    def _before_login(self) -> bool:
        return self.state is State.NOT_AUTHENTICATED

    def _advance(self) -> bool:
        """One step; False when it needs more octets."""
        mode = self._mode
        if mode is _Mode.TEXT:
            line = self._read_line()
            if line is not None:
                before_login = self._before_login
                self._take_text(line)
                if before_login:
                    wipe(line)
            return line is not None
        if mode in (_Mode.LITERAL, _Mode.DRAIN, _Mode.MESSAGE):
            return self._take_literal(mode)
        line = self._read_line()
        if line is None:
            return False
        if mode is _Mode.LINE:
            self._begin_command()
            self._events.append(ContinuationLine(line[: -2 if line.endswith(b"\r\n") else -1]))
            wipe(line)
        else:
            self._end_message(line)
        return True

    def _read_line(self) -> bytes | None:
        """The next line with its end, or None. Raises LineTooLong past what is left of the command's text."""
        limit = (self._limits.line_before_login if self._before_login else self._limits.line) - self._text
        end = self._inbox.find(b"\n", self._searched) + 1
        if (end or len(self._inbox) + 1) > limit:
            raise LineTooLong("command line too long")
        if not end:
            self._searched = len(self._inbox)
            return None
        if self._before_login:
            line = cut_head(self._inbox, end)
        else:
            line = bytes(self._inbox[:end])
            del self._inbox[:end]
        self._searched = 0
        return line

    def _keep(self, octets: bytes) -> None:
        """Octets of the command under way."""
        if self._before_login:
            join_tail(self._command, octets)
        else:
            self._command += octets

    def _take_text(self, line: bytes) -> None:
        """One line of a command: its end, or the announcement of a literal."""
        self._text += len(line)
        if not self._skipping:
            self._keep(line)
        if not line.endswith(b"\r\n") or line.find(b"\r") != len(line) - 2 or b"\0" in line:
            if not self._skipping:
                self._refuse(CommandError("a command line ends in CRLF and holds no CR, LF or NUL"))
            self._end_command()
            return
        found = _LITERAL.search(line) if line.endswith(b"}\r\n") else None
        if found is None:
            if self._target is not None and not self._skipping:
                self._refuse(CommandError("expected a message as a literal, or the end of the command"))
            self._end_command()
            return
        size, self._synchronizing = int(found[1]), not found[2]
        if self._skipping:
            self._drop_literal(size)
            return
        try:
            self._begin_literal(size)
        except CommandError as error:
            self._refuse(error)
            self._drop_literal(size)

    def _drop_literal(self, size: int) -> None:
        """A literal of a refused command: a synchronizing one is never sent."""
        if self._synchronizing:
            self._end_command()
        else:
            self._drain(size)

    def _drain(self, size: int) -> None:
        self._drained += size
        if self._drained > (self._limits.drain_before_login if self._before_login else self._limits.drain):
            raise PeerError("literal too large", code="literal-too-large")
        self._mode, self._wanted = _Mode.DRAIN, size

    def _begin_literal(self, size: int) -> None:
        """Say where the announced literal goes. Raises CommandError if it may not come."""
        limits = self._limits
        if limits.literal_minus and not self._synchronizing and size > LITERAL_MINUS_MAX:
            raise CommandError(
                f"a non-synchronizing literal has at most {LITERAL_MINUS_MAX} octets", response_code=b"TOOBIG"
            )
        append = self._parse_append()
        if append is not None:
            if size > limits.append:
                raise CommandError("message too large", condition=Condition.NO, response_code=b"TOOBIG")
            self._mode, self._wanted = _Mode.DECISION, size
            self._append_end = b")\r\n" if append.utf8 else b"\r\n"
            self._messages += 1
            self._events.append(AppendBegun(self._tag, append, self._messages == 1))
            return
        self._literals += size
        if self._literals > (limits.literals_before_login if self._before_login else limits.literals):
            raise CommandError("literal too large", response_code=b"TOOBIG")
        self._mode, self._wanted = _Mode.LITERAL, size
        if self._synchronizing:
            self._events.append(NeedContinuation())

    def _parse_append(self) -> Append | None:
        """The APPEND whose message literal was just announced; None for any other literal. Raises CommandError."""
        if self._target is not None:
            if self._messages >= APPEND_MESSAGES_MAX:
                raise CommandError("too many messages", condition=Condition.NO, response_code=b"LIMIT")
            return parse_message(self._scanner(bytes(self._command)), self._target)
        if self._before_login or _APPEND.match(self._command) is None:
            return None
        scanner = self._scanner(bytes(self._command))
        tag = self._scan_tag(scanner)
        if tag is None or not scanner.accept_word(b"APPEND"):
            raise CommandError("a command begins with a tag and one space")
        append = parse_append(scanner)
        self._tag, self._target = tag, append.mailbox
        return append

    def _take_literal(self, mode: _Mode) -> bool:
        if not self._wanted:
            self._mode = _Mode.MESSAGE_END if mode is _Mode.MESSAGE else _Mode.TEXT
            return True
        size = min(self._wanted, self._limits.chunk, len(self._inbox))
        if not size:
            return False
        if self._before_login:
            data = cut_head(self._inbox, size)
        else:
            data = bytes(self._inbox[:size])
            del self._inbox[:size]
        self._wanted -= len(data)
        if mode is _Mode.LITERAL:
            self._keep(data)
            if self._before_login:
                wipe(data)
        elif mode is _Mode.MESSAGE:
            self._events.append(LiteralChunk(data))
        return True

    def _end_message(self, line: bytes) -> None:
        """The text after a message of APPEND: the end of the command, or the next message's flags, date and literal."""
        tag = self._tag
        if line == self._append_end:
            self._begin_command()
            self._bad = 0
            self._events.append(AppendEnded(tag))
            return
        self._mode = _Mode.TEXT
        closing = self._append_end.removesuffix(b"\r\n")
        if not line.startswith(closing):
            self._refuse(CommandError("expected the end of the message's parentheses"))
        self._take_text(line.removeprefix(closing))

    def _refuse(self, error: CommandError) -> None:
        """The command's answer is known; what is left of it is skipped."""
        tag: bytes | None = self._tag
        if self._target is None:
            tag = self._scan_tag(Scanner(bytes(self._command[: TAG_MAX + 2])))
        self._rejection = Rejected(tag or _UNTAGGED, error.condition, error.public, error.response_code)
        self._skipping = True

    def _end_command(self) -> None:
        """All octets of a command are here: parse it, or tell why it was refused."""
        rejection, skipping, command = self._rejection, self._skipping, bytes(self._command)
        if self._before_login:
            wipe_buffer(self._command)
        self._begin_command()
        event: Event | None = rejection if skipping else self._parse(command)
        if self._before_login:
            wipe(command)  # what the event has of it are octets of their own
        if isinstance(event, Rejected):
            self._count_bad()
        elif event is not None and not self._before_login:
            self._bad = 0
        if event is not None:
            self._events.append(event)

    def _count_bad(self) -> None:
        self._bad += 1
        if self._bad > (self._limits.bad_before_login if self._before_login else self._limits.bad_in_row):
            raise PeerError("too many bad commands", code="too-many-bad-commands")

    def _parse(self, command: bytes) -> Received | Rejected:
        scanner = self._scanner(command)
        tag = self._scan_tag(scanner)
        if tag is None:
            return Rejected(_UNTAGGED, Condition.BAD, "a command begins with a tag and one space")
        try:
            parsed = find_rule(scanner, self.state, self._commands).parse(scanner)
            scanner.end()
        except CommandError as error:
            return Rejected(tag, error.condition, error.public, error.response_code)
        return Received(tag, parsed)

    def _scanner(self, command: bytes) -> Scanner:
        return Scanner(command, utf8_names=self.utf8_names, utf8_accept=self.utf8_accept)

    @staticmethod
    def _scan_tag(scanner: Scanner) -> bytes | None:
        """The tag and its space, or None if there is none of at most 128 octets."""
        try:
            tag = scanner.tag()
        except CommandError:
            return None
        return tag if len(tag) <= TAG_MAX and scanner.accept(b" ") else None

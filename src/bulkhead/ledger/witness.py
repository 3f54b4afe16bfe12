"""The witness: a partner that remembers the last checkpoint it cosigned, and signs only what extends it.

State, one file a log, named by SHA-256 of its origin, replaced durably before a cosignature leaves this process:

    bulkhead/witness/1
    newest <ms since 1970 of the last entry, 0 without one>
    edge <height> <base64 hash>      one line each complete subtree at the tree's right edge
    digest <SHA-256 of the lines above and of the note, hex>
    <empty line>
    <the checkpoint, signed by the log and cosigned by this witness>

The edge lets the next check read only what is new: it must lead to the checkpoint's root. One process at a time.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from bulkhead.errors import IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.event import EVENTS, Event, parse_event
from bulkhead.ledger.files import Files
from bulkhead.ledger.log import replace_file
from bulkhead.ledger.merkle import HASH_BYTES, Frontier, leaf_hash
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    Note,
    NoteSigner,
    VerifierKey,
    add_signatures,
    cosign,
    decode_base64,
    parse_note,
    verify_checkpoint,
    verify_cosignature,
)
from bulkhead.ledger.verify import check_not_smaller, forked, parse_signed, verify_signed

HEADER = "bulkhead/witness/1"
STATE_MAX = NOTE_MAX + 64 * 128
LATE_KIND = "EventsLate"
_LATE = b'"kind":%d,' % EVENTS[LATE_KIND].number  # as every entry of that kind has it, in its one byte form
_EDGE = re.compile(r"edge (0|[1-9][0-9]?) (\S{44})")
_NEWEST = re.compile(r"newest (0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was cosigned last. newest: ms since 1970 of the last entry."""

    checkpoint: Checkpoint
    note: Note
    edge: tuple[tuple[int, bytes], ...]
    newest: int


@dataclass(frozen=True, slots=True)
class Late:
    """An entry that says that acts took effect long before the log had them."""

    index: int
    compartment: str
    waited_ms: int
    at: int


class Reading:
    """The entries behind what was seen, taken one by one."""

    def __init__(self, seen: Seen | None) -> None:
        self.frontier, self.newest = Frontier(), 0
        self._last = b""
        self.late: list[Late] = []
        if seen is not None:
            for height, root in seen.edge:
                self.frontier.append_subtree(height, root)
            self.newest = seen.newest

    def take(self, entry: bytes) -> None:
        """The next entry; what it says is read only where it is an alarm."""
        if _LATE in entry:
            event = self._event(entry)
            waited = event.details.get("waited_ms")
            if event.kind.name == LATE_KIND:
                late = waited if isinstance(waited, int) else 0
                self.late.append(Late(self.frontier.size, str(event.details.get("of")), late, event.at))
        self.frontier.append(leaf_hash(entry))
        self._last = entry

    def end(self) -> None:
        """There are no more: the last one tells the time. Raises IntegrityError where it is no event."""
        if self._last:
            self.newest = self._event(self._last).at

    def _event(self, entry: bytes) -> Event:
        try:
            return parse_event(entry)
        except IntegrityError as error:
            raise IntegrityError(f"entry {self.frontier.size}: {error.public}", code=Alarm.DAMAGED.value) from None


class Witness:
    """Cosigns one log. files: where it keeps its state; locked until `close`. Raises IntegrityError on a bad state."""

    def __init__(self, files: Files, signer: NoteSigner, log: VerifierKey) -> None:
        self._files, self._signer, self._log = files, signer, log
        self._name = sha256(log.name.encode()).hexdigest()[:32]
        files.lock()
        try:
            self.seen = self._load()
        except IntegrityError:
            files.close()
            raise

    def check(self, data: bytes) -> tuple[Note, Checkpoint]:
        """The log's newest checkpoint: signed by it, not smaller than what was seen, and equal where as large."""
        note = parse_signed(data, "checkpoint", self._log)
        checkpoint = verify_signed(note, "checkpoint", self._log.name, self._log)
        if self.seen is not None:
            try:
                check_not_smaller(self.seen.checkpoint, checkpoint)
            except IntegrityError:
                self.keep_evidence(note)
                raise
        return note, checkpoint

    def cosign(self, note: Note, reading: Reading, *, time: int) -> Note:
        """The checkpoint with this witness's line, once it is durable that it was seen.

        reading: every entry of it, from the beginning or from what was seen on. Raises IntegrityError where they do
        not lead to its root. time: POSIX seconds.
        """
        checkpoint = verify_checkpoint(note, self._log.name, self._log)
        if (reading.frontier.size, reading.frontier.root()) != (checkpoint.size, checkpoint.root):
            raise IntegrityError("checkpoint: entries do not lead to its root", code=Alarm.DAMAGED.value)
        own = Note(note.text, tuple(line for line in note.signatures if line.name == self._log.name))
        signed = add_signatures(own, [cosign(own, self._signer, time=time)])
        seen = Seen(checkpoint, signed, tuple(reading.frontier.edge), reading.newest)
        self._store(seen)
        self.seen = seen
        return signed

    def forked(self, note: Note) -> IntegrityError:
        """The error for a checkpoint that does not contain what was seen; both are kept first."""
        self.keep_evidence(note)
        if self.seen is None:
            raise ValueError("nothing was seen")
        return forked(self.seen.checkpoint)

    def keep_evidence(self, note: Note) -> None:
        """Keep a checkpoint that contradicts what was seen, durably, and never over another."""
        name = f"evidence-{sha256(note.encode()).hexdigest()[:16]}"
        replace_file(self._files, name, note.encode())

    def close(self) -> None:
        """Let another process witness."""
        self._files.close()

    def _store(self, seen: Seen) -> None:
        lines = [HEADER, f"newest {seen.newest}", *(_edge_line(*one) for one in seen.edge)]
        head, note = "".join(line + "\n" for line in lines).encode(), seen.note.encode()
        digest = sha256(head + note).hexdigest()
        replace_file(self._files, self._name, head + f"digest {digest}\n\n".encode() + note)

    def _load(self) -> Seen | None:
        try:
            data = self._files.read(self._name, limit=STATE_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IntegrityError(f"the witness's state {self._name}: {error.strerror}") from None
        try:
            return self._parse(data)
        except IntegrityError as error:
            raise IntegrityError(
                f"the witness's state {self._name}: {error.public}; restore it from a copy, and cosign nothing before",
                code=Alarm.DAMAGED.value,
            ) from None

    def _parse(self, data: bytes) -> Seen:
        above, _, rest = data.partition(b"\n\n")
        head, _, digest = above.rpartition(b"\ndigest ")
        if sha256(head + b"\n" + rest).hexdigest().encode() != digest:
            raise IntegrityError("it does not match its digest")
        lines = head.decode("ascii", "replace").split("\n")
        newest = _NEWEST.fullmatch(lines[1]) if len(lines) > 1 else None
        if lines[0] != HEADER or newest is None:
            raise IntegrityError("it is not of this form")
        edge = _parse_edge(lines[2:])
        note = parse_note(rest)
        checkpoint = verify_checkpoint(note, self._log.name, self._log)
        verify_cosignature(note, self._signer.verifier)
        frontier = Frontier()
        for height, root in edge:
            frontier.append_subtree(height, root)
        if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
            raise IntegrityError("its edge does not lead to its checkpoint's root")
        return Seen(checkpoint, note, edge, int(newest[1]))


def _edge_line(height: int, root: bytes) -> str:
    return f"edge {height} {b64encode(root).decode('ascii')}"


def _parse_edge(lines: Iterable[str]) -> tuple[tuple[int, bytes], ...]:
    edge: list[tuple[int, bytes]] = []
    for line in lines:
        match = _EDGE.fullmatch(line)
        root = decode_base64(match[2]) if match else b""
        height = int(match[1]) if match else 0
        if len(root) != HASH_BYTES or height > 63 or (edge and height >= edge[-1][0]):
            raise IntegrityError("its edge is malformed")
        edge.append((height, root))
    return tuple(edge)

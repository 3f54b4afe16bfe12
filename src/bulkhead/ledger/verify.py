"""Check a whole exported log offline: what a partner runs before it cosigns. Reads, and trusts no byte it read.

Every entry is hashed, every tile compared, the root compared with the signed checkpoint, and a checkpoint seen before
must be a prefix. Memory is O(log n) besides one bundle a process; time is one pass. Each alarm has its name: alarm.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.errors import IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.files import Files
from bulkhead.ledger.merkle import Frontier, complete_root
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    Note,
    VerifierKey,
    carries_signature,
    parse_note,
    verify_checkpoint,
    verify_cosignature,
)
from bulkhead.ledger.span import Export, Visit, check_spans, compare_tile, read_tile, wrong_partial
from bulkhead.ledger.tiles import TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, Tile, parse_hashes, partial_tiles_edge
from bulkhead.ledger.tree import read_file

_SPAN_HEIGHT = 2 * TILE_HEIGHT


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """What holds: the checkpoint, its note (to cosign), the time in POSIX seconds of each witness's cosignature.

    newest: the last entry; empty for an empty log.   edge: of the tree, what a witness goes on from.
    """

    checkpoint: Checkpoint
    note: Note
    cosigned: dict[str, int]
    newest: bytes = b""
    edge: tuple[tuple[int, bytes], ...] = ()


def verify_export(
    files: Files,
    origin: str,
    key: VerifierKey,
    *,
    witnesses: Sequence[VerifierKey] = (),
    previous: Checkpoint | None = None,
    visit: Visit | None = None,
    processes: int = 1,
) -> VerifiedLog:
    """Return only if the export is the log that `key` signed, whole, and extends `previous`.

    witnesses: whose cosignatures must be on the checkpoint.   visit: called with index and bytes of each entry, before
    the whole is known to hold; not with several processes. Raises IntegrityError naming the file or the checkpoint
    that is wrong; its code is the name of an Alarm.
    """
    note = parse_signed(read_file(files, "checkpoint", limit=NOTE_MAX), "checkpoint", key)
    checkpoint = verify_signed(note, "checkpoint", origin, key)
    try:
        cosigned = {witness.name: verify_cosignature(note, witness) for witness in witnesses}
    except IntegrityError as error:
        raise IntegrityError(f"checkpoint: {error.public}", code=Alarm.DAMAGED.value) from None
    if previous:
        check_not_smaller(previous, checkpoint)
    levels = _Levels(Export(files, checkpoint.size, previous.size if previous else 0), checkpoint, previous)
    last = levels.run(visit, processes)
    return VerifiedLog(checkpoint, note, cosigned, last, tuple(levels.edge()))


def parse_signed(data: bytes, name: str, key: VerifierKey) -> Note:
    """The note in a file, which carries a signature by the key, not yet verified. Raises IntegrityError naming it."""
    try:
        note = parse_note(data)
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.public}", code=Alarm.DAMAGED.value) from None
    if not carries_signature(note, key):
        raise IntegrityError(
            f"{name}: the note carries no signature by {key.name} (key id {key.key_id:08x})",
            code=Alarm.UNKNOWN_SIGNER.value,
        )
    return note


def verify_signed(note: Note, name: str, origin: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note of `parse_signed`. Raises IntegrityError naming the file, with the alarm's code."""
    try:
        checkpoint = verify_checkpoint(note, note.text.partition("\n")[0], key)
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.public}", code=Alarm.DAMAGED.value) from None
    if checkpoint.origin != origin:
        raise IntegrityError(
            f"{name}: the checkpoint is of the log {checkpoint.origin}, not of {origin}",
            code=Alarm.UNKNOWN_SIGNER.value,
        )
    return checkpoint


def check_not_smaller(previous: Checkpoint, now: Checkpoint) -> None:
    """Return only if `now` is of the same log, not smaller, and equal where it has the same size."""
    if previous.origin != now.origin or previous.size > now.size:
        raise IntegrityError(
            f"checkpoint: size {now.size} of {now.origin} does not extend size {previous.size} of {previous.origin} "
            "that was seen before: history was cut; keep both checkpoints and raise the alarm",
            code=Alarm.ROLLBACK.value,
        )
    if previous.size == now.size and previous.root != now.root:
        raise forked(previous)


def forked(previous: Checkpoint) -> IntegrityError:
    """The error where a tree does not contain one that was seen before."""
    return IntegrityError(
        f"checkpoint: the first {previous.size} entries are not those seen before: history was rewritten; "
        "keep both checkpoints and raise the alarm",
        code=Alarm.FORK.value,
    )


class _Levels:
    """Carries the spans' roots up through the tiles of levels 2 and more."""

    def __init__(self, export: Export, checkpoint: Checkpoint, previous: Checkpoint | None) -> None:
        self._export, self._checkpoint, self._previous = export, checkpoint, previous
        self._frontier = Frontier()
        self._levels: list[list[bytes]] = [[], []]
        self._numbers: list[int] = [0, 0]

    def run(self, visit: Visit | None, processes: int) -> bytes:
        """Check all; the last entry."""
        last = b""
        for span in check_spans(self._export, processes=processes, visit=visit):
            last = span.last
            if span.prefix is not None:
                self._check_previous(span.prefix)
            if span.root is not None:
                self._frontier.append_subtree(_SPAN_HEIGHT, span.root)
                self._numbers[:2] = [self._numbers[0] + TILE_WIDTH, self._numbers[1] + 1]
                self._carry(2, span.root)
            else:
                self._levels[0], self._levels[1] = list(span.leaves), list(span.tiles)
                self._numbers[0] += len(span.tiles)
        self._compare_partial()
        return last

    def edge(self) -> Sequence[tuple[int, bytes]]:
        """Of the whole tree."""
        return partial_tiles_edge(self._levels).edge

    def _check_previous(self, edge: tuple[tuple[int, bytes], ...]) -> None:
        frontier = _grown(self._frontier.edge, edge)
        if self._previous is not None and frontier.root() != self._previous.root:
            raise forked(self._previous)

    def _carry(self, level: int, value: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._numbers.append(0)
        hashes = self._levels[level]
        hashes.append(value)
        if len(hashes) == TILE_WIDTH:
            compare_tile(self._export.files, Tile(level, self._numbers[level]), hashes)
            self._levels[level] = []
            self._numbers[level] += 1
            self._carry(level + 1, complete_root(hashes))

    def _compare_partial(self) -> None:
        """The partial tiles, and all of them together with the signed root."""
        for level, hashes in enumerate(self._levels):
            if not hashes:
                continue
            tile = Tile(level, self._numbers[level], len(hashes))
            stored = read_tile(self._export.files, tile, TILE_BYTES, parse_hashes)
            if stored != hashes:
                instead = [*self._levels[:level], stored, *self._levels[level + 1 :]]
                raise wrong_partial(
                    tile, stored, hashes, below=partial_tiles_edge(instead).root() == self._checkpoint.root
                )
        if partial_tiles_edge(self._levels).root() != self._checkpoint.root:
            raise IntegrityError(
                "checkpoint: entries and tiles do not lead to the root that was signed", code=Alarm.DAMAGED.value
            )


def _grown(*edges: Sequence[tuple[int, bytes]]) -> Frontier:
    frontier = Frontier()
    for edge in edges:
        for height, root in edge:
            frontier.append_subtree(height, root)
    return frontier

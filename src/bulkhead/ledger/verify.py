"""Check a whole exported log offline: what a partner runs before it cosigns. Reads, and trusts no byte it read.

Every entry is hashed, every tile compared, the root compared with the signed checkpoint, and a checkpoint seen before
must be a prefix. Memory is O(log n) besides one bundle; time is one pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bulkhead.errors import IntegrityError
from bulkhead.ledger.files import Files
from bulkhead.ledger.merkle import Frontier, complete_root, leaf_hash
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    Note,
    VerifierKey,
    parse_note,
    verify_checkpoint,
    verify_cosignature,
)
from bulkhead.ledger.tiles import BUNDLE_MAX, TILE_BYTES, TILE_WIDTH, Tile, parse_bundle, parse_hashes
from bulkhead.ledger.tree import read_file


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """What holds: the checkpoint, its note (to cosign), and the time in POSIX seconds of each witness's cosignature."""

    checkpoint: Checkpoint
    note: Note
    cosigned: dict[str, int]


def verify_export(
    files: Files,
    origin: str,
    key: VerifierKey,
    *,
    witnesses: Sequence[VerifierKey] = (),
    previous: Checkpoint | None = None,
    visit: Callable[[int, bytes], None] | None = None,
) -> VerifiedLog:
    """Return only if the export is the log that `key` signed, whole, and extends `previous`.

    witnesses: whose cosignatures must be on the checkpoint.   visit: called with index and bytes of each entry, before
    the whole is known to hold. Raises IntegrityError naming the file or the checkpoint that is wrong.
    """
    try:
        note = parse_note(read_file(files, "checkpoint", limit=NOTE_MAX))
        checkpoint = verify_checkpoint(note, origin, key)
        cosigned = {witness.name: verify_cosignature(note, witness) for witness in witnesses}
    except IntegrityError as error:
        raise IntegrityError(f"checkpoint: {error.public}") from None
    if previous and (previous.origin != origin or previous.size > checkpoint.size):
        raise IntegrityError(
            f"checkpoint: size {checkpoint.size} of {origin} does not extend size {previous.size} of {previous.origin} "
            "that was seen before: history was cut; keep both checkpoints and raise the alarm"
        )
    _Walk(files, checkpoint.size, previous, visit).run(checkpoint)
    return VerifiedLog(checkpoint, note, cosigned)


class _Walk:
    """One pass over the bundles, carrying hashes up through the levels."""

    def __init__(
        self, files: Files, size: int, previous: Checkpoint | None, visit: Callable[[int, bytes], None] | None
    ) -> None:
        self._files, self._size, self._previous, self._visit = files, size, previous, visit
        self._frontier = Frontier()
        self._levels: list[list[bytes]] = []
        self._numbers: list[int] = []

    def run(self, checkpoint: Checkpoint) -> None:
        self._check_previous()
        for start in range(0, self._size, TILE_WIDTH):
            width = min(TILE_WIDTH, self._size - start)
            bundle = Tile(None, start // TILE_WIDTH, width)
            for entry in self._parsed(bundle, BUNDLE_MAX, parse_bundle):
                if self._visit:
                    self._visit(self._frontier.size, entry)
                leaf = leaf_hash(entry)
                self._frontier.append(leaf)
                self._carry(0, leaf)
                self._check_previous()
        for level, hashes in enumerate(self._levels):
            if hashes:
                self._compare(Tile(level, self._numbers[level], len(hashes)), hashes)
        if self._frontier.root() != checkpoint.root:
            raise IntegrityError("checkpoint: entries and tiles do not lead to the root that was signed")

    def _check_previous(self) -> None:
        seen = self._previous
        if seen and seen.size == self._frontier.size and seen.root != self._frontier.root():
            raise IntegrityError(
                f"checkpoint: the first {seen.size} entries are not those seen before: history was rewritten; "
                "keep both checkpoints and raise the alarm"
            )

    def _carry(self, level: int, value: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._numbers.append(0)
        hashes = self._levels[level]
        hashes.append(value)
        if len(hashes) == TILE_WIDTH:
            self._compare(Tile(level, self._numbers[level]), hashes)
            self._levels[level] = []
            self._numbers[level] += 1
            self._carry(level + 1, complete_root(hashes))

    def _compare(self, tile: Tile, hashes: Sequence[bytes]) -> None:
        if self._parsed(tile, TILE_BYTES, parse_hashes) != hashes:
            raise IntegrityError(f"{tile.path}: hashes do not match the entries")

    def _parsed(self, tile: Tile, limit: int, parse: Callable[[bytes, int], list[bytes]]) -> list[bytes]:
        """A tile's values; where a partial tile is gone, the full one that took its place (tlog-tiles)."""
        path = tile.path
        try:
            data = self._files.read(path, limit=limit)
        except (FileNotFoundError, NotADirectoryError):
            data = read_file(self._files, tile.full.path, limit=limit)
        try:
            return parse(data, tile.width)
        except IntegrityError as error:
            raise IntegrityError(f"{path}: {error.public}") from None

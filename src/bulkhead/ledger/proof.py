"""Proofs as files that others check with the log's public key alone. PURE.

Inclusion, C2SP tlog-proof, the entry itself as its extra data:
    c2sp.org/tlog-proof@v1\\nextra <base64 entry>\\nindex <n>\\n<base64 hash>\\n...\\n\\n<checkpoint>
Consistency, the body of C2SP tlog-witness' add-checkpoint, so that any witness takes it:
    old <size>\\n<base64 hash>\\n...\\n\\n<checkpoint>

Sources: https://c2sp.org/tlog-proof, https://c2sp.org/tlog-witness. One byte form for each value; every fault raises
IntegrityError.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.errors import IntegrityError
from bulkhead.ledger.files import Files
from bulkhead.ledger.merkle import (
    PROOF_MAX,
    TREE_SIZE_MAX,
    complete_root,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from bulkhead.ledger.note import NOTE_MAX, Checkpoint, Note, VerifierKey, decode_base64, parse_note
from bulkhead.ledger.span import read_tile
from bulkhead.ledger.tiles import (
    BUNDLE_MAX,
    ENTRY_MAX,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    level_width,
    parse_bundle,
    parse_hashes,
)
from bulkhead.ledger.verify import parse_signed, verify_signed

HEADER = "c2sp.org/tlog-proof@v1"
PROOF_FILE_MAX = NOTE_MAX + 2 * ENTRY_MAX + PROOF_MAX * 64  # octets
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That `entry` is the one at `index` of the tree of the note's checkpoint. Nothing holds before `check`."""

    entry: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The file."""
        head = [HEADER, f"extra {_base64(self.entry)}", f"index {self.index}", *map(_base64, self.hashes)]
        return _lines(head) + b"\n" + self.note.encode()

    def check(self, key: VerifierKey) -> Checkpoint:
        """Return only if the log with this key and name has the entry there. Raises IntegrityError."""
        checkpoint = _checkpoint_of(self.note, key)
        verify_inclusion(leaf_hash(self.entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the tree of `old` entries is the beginning of that of the note's checkpoint."""

    old: int
    hashes: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The file."""
        return _lines([f"old {self.old}", *map(_base64, self.hashes)]) + b"\n" + self.note.encode()

    def check(self, key: VerifierKey, seen: Checkpoint) -> Checkpoint:
        """Return only if the log's checkpoint extends `seen`, which has been verified. Raises IntegrityError."""
        checkpoint = _checkpoint_of(self.note, key)
        if (seen.origin, seen.size) != (checkpoint.origin, self.old):
            raise IntegrityError(
                f"proof: it goes on from size {self.old} of {checkpoint.origin}, "
                f"and not from size {seen.size} of {seen.origin}"
            )
        verify_consistency(self.old, checkpoint.size, self.hashes, seen.root, checkpoint.root)
        return checkpoint


def parse_proof(data: bytes) -> Inclusion | Consistency:
    """The proof in a file of either form. Raises IntegrityError."""
    if len(data) > PROOF_FILE_MAX:
        raise IntegrityError(f"proof: a proof has at most {PROOF_FILE_MAX} octets")
    head, blank, tail = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise IntegrityError("proof: the lines before the checkpoint are ASCII") from None
    if not blank:
        raise IntegrityError("proof: an empty line stands before the checkpoint")
    note = parse_note(tail)
    if lines[0] != HEADER:
        return Consistency(_number(lines[0], "old"), _hashes(lines[1:]), note)
    if len(lines) < 3 or not lines[1].startswith("extra "):
        raise IntegrityError("proof: extra, with the entry, and index follow the first line")
    entry = decode_base64(lines[1].removeprefix("extra "))
    return Inclusion(entry, _number(lines[2], "index"), _hashes(lines[3:]), note)


def _checkpoint_of(note: Note, key: VerifierKey) -> Checkpoint:
    return verify_signed(parse_signed(note.encode(), "checkpoint", key), "checkpoint", key.name, key)


def _number(line: str, word: str) -> int:
    name, _, number = line.partition(" ")
    if name != word or not _NUMBER.fullmatch(number) or int(number) > TREE_SIZE_MAX:
        raise IntegrityError(f"proof: `{word}` and a number without leading zeroes belong here")
    return int(number)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > PROOF_MAX:
        raise IntegrityError("proof: it has at most 64 hashes")
    return tuple(decode_base64(line) for line in lines)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode("ascii")


class ExportTree:
    """The tree of an export, to make proofs of. What it gives is checked against the checkpoint by whoever uses it."""

    def __init__(self, files: Files, size: int) -> None:
        self._files, self._size = files, size

    def subtree(self, height: int, index: int) -> bytes:
        """The root over the entries [index * 2**height, (index + 1) * 2**height): merkle.Subtree."""
        level, rest = divmod(height, TILE_HEIGHT)
        number, first = divmod(index << rest, TILE_WIDTH)
        width = min(TILE_WIDTH, level_width(level, self._size) - number * TILE_WIDTH)
        hashes = read_tile(self._files, Tile(level, number, width), TILE_BYTES, parse_hashes)
        return complete_root(hashes[first : first + (1 << rest)])

    def entry(self, index: int) -> bytes:
        """One entry. Raises IntegrityError where its bundle is missing or malformed."""
        number = index // TILE_WIDTH
        width = min(TILE_WIDTH, self._size - number * TILE_WIDTH)
        return read_tile(self._files, Tile(None, number, width), BUNDLE_MAX, parse_bundle)[index % TILE_WIDTH]

    def prove_entry(self, index: int, note: Note, key: VerifierKey) -> Inclusion:
        """The proof of one entry, checked. Raises IntegrityError, ValueError past the end."""
        hashes = inclusion_proof(index, self._size, self.subtree)
        proof = Inclusion(self.entry(index), index, tuple(hashes), note)
        proof.check(key)
        return proof

    def prove_extension(self, seen: Checkpoint, note: Note, key: VerifierKey) -> Consistency:
        """The proof that the export goes on from `seen`, checked. Raises IntegrityError, ValueError past the end."""
        hashes = consistency_proof(seen.size, self._size, self.subtree)
        proof = Consistency(seen.size, tuple(hashes), note)
        proof.check(key, seen)
        return proof

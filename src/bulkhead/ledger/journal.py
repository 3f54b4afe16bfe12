"""The journal file: the newest entries and what the tree's right edge needs. PURE.

    header = "BLKJRNL1" | u64 base | u8 levels | levels x (u8 count | count x 32-byte hash) | digest
    record = u64 first | u32 length | bundle (u16 length | entry, ...) of `length` bytes | digest
    digest = SHA-256(previous record's digest, or nothing in the header | all bytes of this header or record)

Numbers are big-endian. `base` is the index of the first entry kept here, a multiple of 256; level i of the header is
the partial tile of level i + 1 in a tree of `base` entries. One record is one appended batch. The digests form a
chain, so a record is valid only behind the records before it: a tail of an earlier life is never taken for new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from bulkhead.errors import IntegrityError
from bulkhead.ledger.merkle import HASH_BYTES, TREE_SIZE_MAX, Frontier
from bulkhead.ledger.tiles import ENTRY_MAX, TILE_HEIGHT, TILE_WIDTH, encode_bundle, level_width

MAGIC = b"BLKJRNL1"
DIGEST_BYTES = 32
RECORD_HEAD = 12
BATCH_MAX = 1024  # entries
BATCH_BYTES_MAX = 8 * 1024 * 1024  # encoded
JOURNAL_ENTRIES = 4 * TILE_WIDTH  # from here on a journal is turned into tiles before the next append
JOURNAL_BYTES = 4 * 1024 * 1024  # likewise, where at least one tile is full
# Worst journal: just under one full tile of the largest entries, then the largest batch.
JOURNAL_BYTES_MAX = JOURNAL_BYTES + TILE_WIDTH * (2**16 + 64) + BATCH_BYTES_MAX + 64 * 1024


@dataclass(frozen=True, slots=True)
class Edge:
    """The partial tiles of levels 1, 2, ... in a tree of `base` entries, a multiple of 256."""

    base: int
    levels: tuple[tuple[bytes, ...], ...]

    def frontier(self) -> Frontier:
        """The frontier of the tree of `base` entries."""
        frontier = Frontier()
        for level in range(len(self.levels), 0, -1):
            for value in self.levels[level - 1]:
                frontier.append_subtree(TILE_HEIGHT * level, value)
        return frontier


EMPTY_EDGE = Edge(0, ())


def edge_shape(base: int) -> tuple[int, ...]:
    """How many hashes each level of the edge of `base` has."""
    widths: list[int] = []
    level = 1
    while width := level_width(level, base):
        widths.append(width % TILE_WIDTH)
        level += 1
    return tuple(widths)


def encode_header(edge: Edge) -> bytes:
    """A journal's header."""
    body = bytearray(MAGIC + edge.base.to_bytes(8, "big") + bytes([len(edge.levels)]))
    for hashes in edge.levels:
        body += bytes([len(hashes)]) + b"".join(hashes)
    return bytes(body) + sha256(body).digest()


def encode_record(previous: bytes, first: int, entries: Sequence[bytes]) -> bytes:
    """One batch behind the record whose digest is `previous`. Raises ValueError outside the limits: our bug."""
    bundle = encode_bundle(entries)
    if not 0 < len(entries) <= BATCH_MAX or len(bundle) > BATCH_BYTES_MAX:
        raise ValueError("a batch has 1 to 1024 entries and at most 8 MiB")
    body = first.to_bytes(8, "big") + len(bundle).to_bytes(4, "big") + bundle
    return body + sha256(previous + body).digest()


def encode_journal(edge: Edge, entries: Sequence[bytes]) -> bytes:
    """A whole journal: header, and the entries in as many records as the limit of a batch asks for."""
    parts = [encode_header(edge)]
    step = BATCH_BYTES_MAX // (2 + ENTRY_MAX)
    for at in range(0, len(entries), step):
        parts.append(encode_record(parts[-1][-DIGEST_BYTES:], edge.base + at, entries[at : at + step]))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one entry lies in the journal file."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as read. length: bytes up to the end of the last valid record; what follows was never acknowledged."""

    edge: Edge
    entries: tuple[bytes, ...]
    places: tuple[Place, ...]
    digest: bytes
    length: int


def parse_journal(data: bytes) -> Journal:
    """The journal in `data`, up to the first record that is torn. Raises IntegrityError on a bad header."""
    edge, at = _parse_header(data)
    digest = data[at - DIGEST_BYTES : at]
    entries: list[bytes] = []
    places: list[Place] = []
    while record := _parse_record(data, at, digest, edge.base + len(entries)):
        offset = at + RECORD_HEAD
        for entry in record:
            places.append(Place(offset + 2, len(entry)))
            offset += 2 + len(entry)
        entries += record
        digest, at = data[offset : offset + DIGEST_BYTES], offset + DIGEST_BYTES
    return Journal(edge, tuple(entries), tuple(places), digest, at)


def _parse_header(data: bytes) -> tuple[Edge, int]:
    base = int.from_bytes(data[8:16], "big")
    if not data.startswith(MAGIC) or len(data) < 17 or base > TREE_SIZE_MAX or base % TILE_WIDTH:
        raise IntegrityError("journal header is not of this log's format")
    at = 17
    levels: list[tuple[bytes, ...]] = []
    for width in edge_shape(base):
        end = at + 1 + width * HASH_BYTES
        if data[at : at + 1] != bytes([width]) or end > len(data):
            raise IntegrityError("journal header does not have the shape of its base")
        levels.append(tuple(data[i : i + HASH_BYTES] for i in range(at + 1, end, HASH_BYTES)))
        at = end
    if data[16] != len(levels) or sha256(data[:at]).digest() != data[at : at + DIGEST_BYTES]:
        raise IntegrityError("journal header does not match its digest")
    return Edge(base, tuple(levels)), at + DIGEST_BYTES


def _parse_record(data: bytes, at: int, previous: bytes, first: int) -> list[bytes]:
    """The record's entries; empty where no whole, valid record stands."""
    body = at + RECORD_HEAD
    length = int.from_bytes(data[at + 8 : body], "big")
    end = body + length
    if not 0 < length <= BATCH_BYTES_MAX or end + DIGEST_BYTES > len(data):
        return []
    if int.from_bytes(data[at : at + 8], "big") != first:
        return []
    if sha256(previous + data[at:end]).digest() != data[end : end + DIGEST_BYTES]:
        return []
    return _split_entries(data[body:end])


def _split_entries(bundle: bytes) -> list[bytes]:
    """The entries of a record's bundle, whose digest has matched. Raises IntegrityError where they do not add up."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        start = at + 2
        at = start + int.from_bytes(bundle[at:start], "big")
        entries.append(bundle[start:at])
    if at != len(bundle):
        raise IntegrityError("journal record's entries do not add up to its length")
    return entries

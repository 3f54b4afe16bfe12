"""Names and layout of C2SP tlog-tiles: hash tiles of height 8 and entry bundles. PURE.

    tile/<L>/<N>[.p/<W>]        W (256 without suffix) hashes; hash i of tile N at level L is the root over the
                                entries [(256 N + i) * 256**L, (256 N + i + 1) * 256**L)
    tile/entries/<N>[.p/<W>]    W entries, each behind its big-endian u16 length
    <N>                         three digits an element, all but the last behind an x: 1234067 = x001/x234/067

Source: https://c2sp.org/tlog-tiles. An entry has at most 65,535 bytes because its length is a u16.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bulkhead.errors import IntegrityError
from bulkhead.ledger.merkle import HASH_BYTES, Frontier, complete_root

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
LEVEL_MAX = 63
ENTRY_MAX = 2**16 - 1
TILE_BYTES = TILE_WIDTH * HASH_BYTES
BUNDLE_MAX = TILE_WIDTH * (2 + ENTRY_MAX)  # bytes

_PATH = re.compile(r"tile/([0-9]{1,2}|entries)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?")


def format_index(number: int) -> str:
    """<N> of a tile's path. Raises ValueError on a negative number."""
    if number < 0:
        raise ValueError("a tile's index is not negative")
    text = f"{number % 1000:03d}"
    while number := number // 1000:
        text = f"x{number % 1000:03d}/{text}"
    return text


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile's place. level: 0 to 63, or None for an entry bundle.   width: 1 to 256."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not (self.level is None or 0 <= self.level <= LEVEL_MAX) or self.index < 0:
            raise ValueError("no such tile")
        if not 1 <= self.width <= TILE_WIDTH:
            raise ValueError("a tile has 1 to 256 hashes")

    @property
    def path(self) -> str:
        """The tile's path below the log's directory."""
        level = "entries" if self.level is None else str(self.level)
        suffix = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{level}/{format_index(self.index)}{suffix}"

    @property
    def full(self) -> "Tile":
        """The full tile at this place."""
        return Tile(self.level, self.index)


def parse_tile_path(text: str) -> Tile:
    """The tile of Tile.path's text, and of no other spelling. Raises IntegrityError."""
    match = _PATH.fullmatch(text)
    if match:
        level = None if match[1] == "entries" else int(match[1])
        index = int(match[2].replace("x", "").replace("/", ""))
        width = int(match[3] or TILE_WIDTH)
        if (level is None or level <= LEVEL_MAX) and 1 <= width <= TILE_WIDTH:
            tile = Tile(level, index, width)
            if tile.path == text:
                return tile
    raise IntegrityError("not the path of a tile or an entry bundle")


def level_width(level: int, size: int) -> int:
    """How many hashes level `level` holds, over all its tiles, in a tree of `size` entries."""
    return size >> (TILE_HEIGHT * level)


def tiles_of(size: int) -> Iterator[Tile]:
    """Every bundle and tile of a tree of `size` entries, full and partial: bundles first, then level by level."""
    for level in (None, *range(LEVEL_MAX + 1)):
        width = level_width(level or 0, size)
        if not width:
            return
        for index in range(width // TILE_WIDTH):
            yield Tile(level, index)
        if width % TILE_WIDTH:
            yield Tile(level, width // TILE_WIDTH, width % TILE_WIDTH)


def partial_tiles(size: int) -> Iterator[Tile]:
    """The bundle and tiles of a tree of `size` entries that are not full."""
    for level in (None, *range(LEVEL_MAX + 1)):
        width = level_width(level or 0, size)
        if not width:
            return
        if width % TILE_WIDTH:
            yield Tile(level, width // TILE_WIDTH, width % TILE_WIDTH)


def partial_tiles_edge(levels: Sequence[Sequence[bytes]]) -> Frontier:
    """The frontier of the tree whose levels, from 0 on, end in these partial tiles."""
    frontier = Frontier()
    for level in range(len(levels) - 1, -1, -1):
        for value in levels[level]:
            frontier.append_subtree(TILE_HEIGHT * level, value)
    return frontier


def encode_hashes(hashes: Iterable[bytes]) -> bytes:
    """A tile's bytes."""
    return b"".join(hashes)


def parse_hashes(data: bytes, width: int) -> list[bytes]:
    """The first `width` hashes of a tile; a full tile may stand in for a partial one. Raises IntegrityError."""
    if len(data) not in (width * HASH_BYTES, TILE_WIDTH * HASH_BYTES):
        raise IntegrityError(f"tile has {len(data)} bytes where {width} hashes belong")
    return [data[i : i + HASH_BYTES] for i in range(0, width * HASH_BYTES, HASH_BYTES)]


def tile_root(data: bytes) -> bytes:
    """The root of a full tile: its hash one level up. Raises IntegrityError on any other length."""
    return complete_root(parse_hashes(data, TILE_WIDTH))


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle's bytes. Raises ValueError on an entry over ENTRY_MAX."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_MAX:
            raise ValueError("an entry has at most 65,535 bytes")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """The first `width` entries of a bundle; what follows is at most a full bundle's rest. Raises IntegrityError."""
    entries: list[bytes] = []
    at, last = 0, len(data) - 1
    while at < last and len(entries) < TILE_WIDTH:
        start = at + 2
        at = start + (data[at] << 8 | data[at + 1])
        entries.append(data[start:at])
    if at != len(data) or len(entries) not in (width, TILE_WIDTH):
        raise IntegrityError(f"entry bundle does not hold {width} whole entries")
    return entries[:width]

"""The log as the standard lays it out: every tile, full and partial, every bundle, then the checkpoint.

A partial tile is made for the checkpoint that ends the export (C2SP tlog-tiles, partial tiles). The receiving end
takes nothing on trust: a path is parsed, and verify.py checks the whole before anyone relies on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bulkhead.errors import IntegrityError
from bulkhead.ledger.files import Files
from bulkhead.ledger.log import CHECKPOINT, Log
from bulkhead.ledger.merkle import complete_root, leaf_hash
from bulkhead.ledger.note import NOTE_MAX
from bulkhead.ledger.span import read_tile
from bulkhead.ledger.tiles import (
    BUNDLE_MAX,
    TILE_BYTES,
    TILE_WIDTH,
    Tile,
    encode_bundle,
    encode_hashes,
    level_width,
    parse_hashes,
    parse_tile_path,
    partial_tiles_edge,
    tiles_of,
)


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file of an export. path: below the export's directory."""

    path: str
    data: bytes


def exported_files(log: Log, *, since: int = 0) -> Iterator[ExportedFile]:
    """The files of the tree as it is at the first `next`, the checkpoint last; the log may grow meanwhile.

    since: the size of an export that the receiver holds; full tiles it has are left out.
    Raises IntegrityError naming a damaged file.
    """
    note, size = log.note, log.size
    for tile in tiles_of(size):
        span = TILE_WIDTH ** ((tile.level or 0) + 1)
        if tile.width == TILE_WIDTH and (tile.index + 1) * span <= since:
            continue
        yield ExportedFile(tile.path, _tile_data(log, tile))
    yield ExportedFile(CHECKPOINT, note.encode())


def write_entries(entries: Sequence[bytes], note: bytes, files: Files) -> None:
    """As write_export, of all entries below a signed checkpoint, read elsewhere. Memory: them and their hashes."""
    levels = [[leaf_hash(entry) for entry in entries]]
    while len(levels[-1]) >= TILE_WIDTH:
        below = levels[-1]
        ends = range(TILE_WIDTH, len(below) + 1, TILE_WIDTH)
        levels.append([complete_root(below[end - TILE_WIDTH : end]) for end in ends])

    def exported() -> Iterator[ExportedFile]:
        for tile in tiles_of(len(entries)):
            here = slice(tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + tile.width)
            data = encode_bundle(entries[here]) if tile.level is None else encode_hashes(levels[tile.level][here])
            yield ExportedFile(tile.path, data)
        yield ExportedFile(CHECKPOINT, note)

    write_export(exported(), files)


def _tile_data(log: Log, tile: Tile) -> bytes:
    if tile.level is None:
        start = tile.index * TILE_WIDTH
        return encode_bundle(log.entries(start, start + tile.width))
    return encode_hashes(log.hashes(tile))


class Growing:
    """The files that an export of `since` entries becomes a larger one by, from the entries behind it.

    files: the export; its partial tiles are read, and believed when `root` is that of a signed checkpoint.
    `begin` is the first entry to take: the first of the bundle that was partial. Raises IntegrityError.
    """

    def __init__(self, files: Files, since: int) -> None:
        self.begin = since - since % TILE_WIDTH
        self._entries: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]
        level = 1
        while width := level_width(level, since):
            partial = Tile(level, width // TILE_WIDTH, width % TILE_WIDTH) if width % TILE_WIDTH else None
            self._levels.append(read_tile(files, partial, TILE_BYTES, parse_hashes) if partial else [])
            level += 1
        self.size = self.begin

    def take(self, entry: bytes) -> Iterator[ExportedFile]:
        """The next entry; the files that it fills."""
        self._entries.append(entry)
        self._levels[0].append(leaf_hash(entry))
        self.size += 1
        level, number = 0, (self.size - 1) // TILE_WIDTH
        if len(self._entries) == TILE_WIDTH:
            yield ExportedFile(Tile(None, number).path, encode_bundle(self._entries))
            self._entries = []
        while len(self._levels[level]) == TILE_WIDTH:
            yield ExportedFile(Tile(level, number).path, encode_hashes(self._levels[level]))
            root, self._levels[level] = complete_root(self._levels[level]), []
            level, number = level + 1, number // TILE_WIDTH
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(root)

    def partial(self) -> Iterator[ExportedFile]:
        """The partial tiles and bundle of the tree as it is now."""
        if self._entries:
            bundle = Tile(None, self.size // TILE_WIDTH, len(self._entries))
            yield ExportedFile(bundle.path, encode_bundle(self._entries))
        for level, hashes in enumerate(self._levels):
            if hashes:
                tile = Tile(level, level_width(level, self.size) // TILE_WIDTH, len(hashes))
                yield ExportedFile(tile.path, encode_hashes(hashes))

    def root(self) -> bytes:
        """The tree head."""
        return partial_tiles_edge(self._levels).root()


def write_export(exported: Iterable[ExportedFile], files: Files) -> None:
    """Write an export into a directory, durable on return; the checkpoint takes its name last.

    Raises IntegrityError on a path that is neither a tile's nor the checkpoint's, or on a file over its limit.
    """
    directories: set[str] = {"."}
    for item in exported:
        if item.path == CHECKPOINT:
            limit = NOTE_MAX
        else:
            limit = BUNDLE_MAX if parse_tile_path(item.path).level is None else TILE_BYTES
        if len(item.data) > limit:
            raise IntegrityError(f"{item.path} is larger than its format allows")
        parts = item.path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth])
            files.make_directory(directory)
            directories.add(directory)
        if item.path != CHECKPOINT:
            files.write(item.path, item.data)
            files.sync(item.path)
            continue
        for directory in sorted(directories):
            files.sync_directory(directory)
        files.write(CHECKPOINT + ".new", item.data)
        files.sync(CHECKPOINT + ".new")
        files.rename(CHECKPOINT + ".new", CHECKPOINT)
        files.sync_directory(".")

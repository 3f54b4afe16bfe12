"""The stored tree, for reading: every hash and entry is checked up to the signed root before it is given out.

Below `edge.base` hashes lie in full tiles; from there on in memory, as leaf hashes of the journal's entries. A tile is
believed when its root is the hash that the tile above holds for it; the uppermost are the edge's partial tiles, which
the log has checked against its checkpoint. So a changed byte is found when it is read, and its file is named.
"""

import errno
from collections.abc import Sequence

from bulkhead.errors import IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.files import Files
from bulkhead.ledger.journal import Edge
from bulkhead.ledger.merkle import complete_root, leaf_hash, node_hash
from bulkhead.ledger.tiles import (
    BUNDLE_MAX,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    level_width,
    parse_bundle,
    parse_hashes,
)


def read_file(files: Files, path: str, *, limit: int) -> bytes:
    """The file's bytes. Raises IntegrityError naming it where it is missing or over its limit."""
    try:
        return files.read(path, limit=limit)
    except FileNotFoundError:
        raise IntegrityError(
            f"{path} is missing; keep the directory as it is and restore the ledger", code=Alarm.WITHHELD.value
        ) from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise IntegrityError(f"{path} is larger than its format allows", code=Alarm.DAMAGED.value) from None
        raise


class StoredTree:
    """Hashes and entries of one log. leaves: the leaf hashes from edge.base on, which the log appends to."""

    __slots__ = ("_checked", "edge", "files", "leaves")

    def __init__(self, files: Files, edge: Edge, leaves: list[bytes]) -> None:
        self.files, self.edge, self.leaves = files, edge, leaves
        self._checked: dict[int, tuple[int, Sequence[bytes]]] = {}  # level: the tile read last

    @property
    def size(self) -> int:
        """Entries in the tree."""
        return self.edge.base + len(self.leaves)

    def subtree(self, height: int, index: int) -> bytes:
        """The root over the entries [index * 2**height, (index + 1) * 2**height): merkle.Subtree.

        Raises IntegrityError naming a damaged file, ValueError past the tree's end.
        """
        if (index + 1) << height > self.edge.base:
            if (index + 1) << height > self.size:
                raise ValueError("the subtree is not complete")
            if height == 0:
                return self.leaves[index - self.edge.base]
            return node_hash(self.subtree(height - 1, 2 * index), self.subtree(height - 1, 2 * index + 1))
        level, rest = divmod(height, TILE_HEIGHT)
        number, first = divmod(index << rest, TILE_WIDTH)
        return complete_root(self._stored(level, number)[first : first + (1 << rest)])

    def hashes(self, tile: Tile) -> Sequence[bytes]:
        """The hashes of one tile of the present tree, full or partial. Raises as `subtree`."""
        level = tile.level or 0
        start = tile.index * TILE_WIDTH
        if start + tile.width <= level_width(level, self.edge.base):
            return self._stored(level, tile.index)[: tile.width]
        return [self.subtree(TILE_HEIGHT * level, start + i) for i in range(tile.width)]

    def bundle(self, index: int) -> list[bytes]:
        """The entries of one full bundle below edge.base. Raises IntegrityError naming the file."""
        path = Tile(None, index).path
        data = read_file(self.files, path, limit=BUNDLE_MAX)
        try:
            entries = parse_bundle(data, TILE_WIDTH)
        except IntegrityError as error:
            raise IntegrityError(f"{path}: {error.public}") from None
        if [leaf_hash(entry) for entry in entries] != list(self._stored(0, index)):
            raise IntegrityError(f"{path}: entries do not match the tree; keep the file and restore the ledger")
        return entries

    def _stored(self, level: int, number: int) -> Sequence[bytes]:
        """A tile's hashes below edge.base: the edge's own, or a full tile checked against the one above."""
        if (number + 1) * TILE_WIDTH > level_width(level, self.edge.base):
            return self.edge.levels[level - 1]
        kept = self._checked.get(level)
        if kept and kept[0] == number:
            return kept[1]
        path = Tile(level, number).path
        data = read_file(self.files, path, limit=TILE_BYTES)
        try:
            hashes = parse_hashes(data, TILE_WIDTH)
        except IntegrityError as error:
            raise IntegrityError(f"{path}: {error.public}") from None
        if complete_root(hashes) != self._stored(level + 1, number // TILE_WIDTH)[number % TILE_WIDTH]:
            raise IntegrityError(f"{path}: hashes do not match the tree; keep the file and restore the ledger")
        self._checked[level] = (number, hashes)
        return hashes

"""Check one span of an exported log: 65,536 entries, their bundles and the tiles of levels 0 and 1 above them.

Spans do not depend on each other, so several processes may take them in turn (`check_spans`). A changed byte is told
apart by the hash above: the file whose content does not lead to it is the one that is named.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

from bulkhead.errors import IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.files import Files
from bulkhead.ledger.merkle import Frontier, complete_root, leaf_hash
from bulkhead.ledger.tiles import BUNDLE_MAX, TILE_BYTES, TILE_WIDTH, Tile, encode_hashes, parse_bundle, parse_hashes
from bulkhead.ledger.tree import read_file

SPAN = TILE_WIDTH * TILE_WIDTH  # entries
PROCESSES_MAX = 64
Visit = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """A span that holds. root: of a full one. tiles, leaves: hashes of levels 1 and 0 that fill no tile.

    prefix: the frontier at the size that was asked about, where that lies in this span.   last: its last entry.
    """

    root: bytes | None
    tiles: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    prefix: tuple[tuple[int, bytes], ...] | None
    last: bytes


@dataclass(frozen=True, slots=True)
class Export:
    """What is checked. size: of the checkpoint.   seen: the size of an earlier one; 0 for none."""

    files: Files
    size: int
    seen: int = 0


def check_spans(export: Export, *, processes: int = 1, visit: Visit | None = None) -> Iterator[Checked]:
    """Every span in order. visit: index and bytes of each entry; only with one process.

    Raises IntegrityError naming the file that is wrong.
    """
    numbers = range(-(-export.size // SPAN))
    if processes == 1 or len(numbers) < 2:
        for number in numbers:
            yield check_span(export, number, visit)
        return
    if visit is not None or not 1 < processes <= PROCESSES_MAX:
        raise ValueError("entries are visited by one process; at most 64 check")
    with ProcessPoolExecutor(processes, get_context("fork"), _begin, (export,)) as pool:
        waiting = iter(numbers)
        running = [pool.submit(_check, number) for number in islice(waiting, 2 * processes)]
        while running:
            done = running.pop(0).result()
            running += [pool.submit(_check, number) for number in islice(waiting, 1)]
            yield done


_export: Export | None = None  # of a worker process, which checks one export and ends


def _begin(export: Export) -> None:
    global _export
    _export = export


def _check(number: int) -> Checked:
    if _export is None:
        raise ValueError("a worker begins with its export")
    return check_span(_export, number)


def check_span(export: Export, number: int, visit: Visit | None = None) -> Checked:
    """One span. Raises IntegrityError naming the file that is wrong."""
    first, end = number * SPAN, min(export.size, (number + 1) * SPAN)
    roots: list[bytes] = []
    leaves: list[bytes] = []
    prefix: Frontier | None = None
    entries: list[bytes] = []
    for start in range(first, end, TILE_WIDTH):
        tile = Tile(0, start // TILE_WIDTH, min(TILE_WIDTH, end - start))
        entries = read_tile(export.files, Tile(None, tile.index, tile.width), BUNDLE_MAX, parse_bundle)
        if visit is not None:
            for index, entry in enumerate(entries, start):
                visit(index, entry)
        leaves = [leaf_hash(entry) for entry in entries]
        if first < export.seen <= end and start < export.seen <= start + tile.width:
            prefix = _frontier(roots, leaves[: export.seen - start])
        if tile.width == TILE_WIDTH:
            compare_tile(export.files, tile, leaves)
            roots.append(complete_root(leaves))
            leaves = []
    root = None
    if len(roots) == TILE_WIDTH:
        compare_tile(export.files, Tile(1, number), roots)
        root, roots = complete_root(roots), []
    edge = None if prefix is None else tuple(prefix.edge)
    return Checked(root, tuple(roots), tuple(leaves), edge, entries[-1] if entries else b"")


def _frontier(roots: Iterable[bytes], leaves: Iterable[bytes]) -> Frontier:
    frontier = Frontier()
    for root in roots:
        frontier.append_subtree(8, root)
    for leaf in leaves:
        frontier.append(leaf)
    return frontier


def compare_tile(files: Files, tile: Tile, hashes: Sequence[bytes]) -> None:
    """Return only if the full tile holds what its entries lead to. Raises IntegrityError naming the file at fault."""
    stored = read_tile(files, tile, TILE_BYTES, parse_hashes)
    if encode_hashes(stored) == encode_hashes(hashes):
        return
    above = _hash_above(files, tile)
    if complete_root(stored) == above:
        raise _wrong_below(tile, stored, hashes)
    raise _wrong(f"{tile.path}: hashes do not match the entries")


def wrong_partial(tile: Tile, stored: Sequence[bytes], hashes: Sequence[bytes], *, below: bool) -> IntegrityError:
    """The error for a partial tile that differs. below: the tile leads to the signed root, so its entries do not."""
    return _wrong_below(tile, stored, hashes) if below else _wrong(f"{tile.path}: hashes do not match the entries")


def _wrong_below(tile: Tile, stored: Sequence[bytes], hashes: Sequence[bytes]) -> IntegrityError:
    """The tile is the signed one: what lies under the first hash that differs is not."""
    place = next(i for i in range(len(hashes)) if stored[i] != hashes[i])
    if tile.level == 0:
        bundle = Tile(None, tile.index, tile.width)
        return _wrong(f"{bundle.path}: entry {tile.index * TILE_WIDTH + place} is not the one that was signed")
    below = Tile((tile.level or 0) - 1, tile.index * TILE_WIDTH + place)
    return _wrong(f"{below.path}: hashes do not match the tile above, {tile.path}")


def _wrong(text: str) -> IntegrityError:
    return IntegrityError(text, code=Alarm.DAMAGED.value)


def _hash_above(files: Files, tile: Tile) -> bytes | None:
    """What the stored tile one level up holds for this full tile; None where it cannot be read."""
    level, number, place = (tile.level or 0) + 1, tile.index // TILE_WIDTH, tile.index % TILE_WIDTH
    for width in range(TILE_WIDTH, place, -1):
        try:
            data = files.read(Tile(level, number, width).path, limit=TILE_BYTES)
        except OSError:
            continue
        return data[32 * place : 32 * place + 32]
    return None


def read_tile(files: Files, tile: Tile, limit: int, parse: Callable[[bytes, int], list[bytes]]) -> list[bytes]:
    """A tile's values; where a partial tile is gone, the full one that took its place (tlog-tiles)."""
    path = tile.path
    try:
        data = files.read(path, limit=limit)
    except (FileNotFoundError, NotADirectoryError):
        path = tile.full.path
        try:
            data = read_file(files, path, limit=limit)
        except NotADirectoryError:
            raise IntegrityError(f"{tile.path} is missing", code=Alarm.WITHHELD.value) from None
    except OSError:
        data = read_file(files, path, limit=limit)
    try:
        return parse(data, tile.width)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.public}", code=Alarm.DAMAGED.value) from None


def processors() -> int:
    """How many processes are worth their while."""
    return min(PROCESSES_MAX, len(os.sched_getaffinity(0)))

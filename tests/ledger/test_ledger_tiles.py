"""bulkhead.ledger.tiles: names, layout and bundles of C2SP tlog-tiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.ledger.tiles import (
    ENTRY_MAX,
    Tile,
    encode_bundle,
    format_index,
    parse_bundle,
    parse_hashes,
    parse_tile_path,
    tile_root,
    tiles_of,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067"), (10**6, "x001/x000/000")],
)
def test_an_index_is_written_in_groups_of_three_digits(number: int, text: str) -> None:
    assert format_index(number) == text


def test_a_tree_of_70000_has_the_tiles_that_the_standard_counts() -> None:
    tiles = list(tiles_of(70_000))
    counted = {
        level: (
            sum(t.level == level and t.width == 256 for t in tiles),
            [t.width for t in tiles if t.level == level and t.width < 256],
        )
        for level in (None, 0, 1, 2)
    }
    assert counted == {None: (273, [112]), 0: (273, [112]), 1: (1, [17]), 2: (0, [1])}
    assert len(tiles) == 2 * 274 + 2 + 1


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above_it() -> None:
    assert [tile.path for tile in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


def test_an_empty_tree_has_no_tile() -> None:
    assert list(tiles_of(0)) == []


@given(st.integers(0, 63) | st.none(), st.integers(0, 2**62), st.integers(1, 256))
def test_a_path_names_its_tile_alone(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "text",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/0/1",
        "tile/0/001/000",
        "tile/0/x000/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/../../etc",
        "/tile/0/000",
        "tile/entries/000\n",
        "checkpoint",
    ],
)
def test_any_other_spelling_of_a_path_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_tile_path(text)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert parse_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=600), st.integers(1, 256))
def test_a_random_bundle_raises_only_integrity_errors(data: bytes, width: int) -> None:
    try:
        entries = parse_bundle(data, width)
    except IntegrityError:
        return
    assert len(entries) == width


def test_a_full_bundle_stands_in_for_a_partial_one() -> None:
    entries = [b"%d" % i for i in range(256)]
    assert parse_bundle(encode_bundle(entries), 7) == entries[:7]
    with pytest.raises(IntegrityError):
        parse_bundle(encode_bundle(entries[:8]), 7)


def test_an_entry_of_65535_bytes_fits_and_one_more_does_not() -> None:
    entry = bytes(ENTRY_MAX)
    assert parse_bundle(encode_bundle([entry]), 1) == [entry]
    with pytest.raises(ValueError, match="65,535"):
        encode_bundle([entry + b"x"])


def test_a_tile_one_byte_short_is_refused() -> None:
    assert len(parse_hashes(bytes(8192), 256)) == 256
    for length in (8191, 8193, 0):
        with pytest.raises(IntegrityError):
            tile_root(bytes(length))

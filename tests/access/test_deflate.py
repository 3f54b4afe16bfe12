"""Inflating what strangers send: the same octets however they are split, in bounded pieces, and only PeerError."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.access.deflate import PIECE_MAX, Deflater, Inflater
from bulkhead.errors import PeerError


def inflate(pieces: list[bytes]) -> bytes:
    inflater, found = Inflater(), b""
    for data in pieces:
        inflater.feed(data)
        while piece := inflater.take():
            assert len(piece) <= PIECE_MAX
            found += piece
    return found


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(0, 400))
def test_octets_come_back_however_they_are_split(parts: list[bytes], split: int) -> None:
    deflater = Deflater()
    packed = b"".join(deflater.deflate(part) for part in parts)
    assert inflate([packed[:split], packed[split:]]) == b"".join(parts)
    assert inflate([packed[at : at + 1] for at in range(len(packed))]) == b"".join(parts)


@pytest.mark.parametrize("size", [PIECE_MAX - 1, PIECE_MAX, PIECE_MAX + 1, 3 * PIECE_MAX + 7])
def test_a_bomb_comes_in_pieces_and_whole(size: int) -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert inflate([stream.compress(bytes(size)) + stream.flush(zlib.Z_SYNC_FLUSH)]) == bytes(size)


@given(st.binary(max_size=300))
def test_random_octets_raise_only_peer_error(data: bytes) -> None:
    try:
        inflate([data])
    except PeerError:
        pass


def test_a_stream_that_ends_is_refused() -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    with pytest.raises(PeerError):
        inflate([stream.compress(b"a NOOP\r\n") + stream.flush()])


def test_each_piece_can_be_read_at_once() -> None:
    deflater, reader = Deflater(), zlib.decompressobj(-15)
    for text in (b"* OK\r\n", b"* 1 EXISTS\r\n", b"x" * 100_000):
        assert reader.decompress(deflater.deflate(text)) == text

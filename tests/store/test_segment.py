"""Record headers, places, streams."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.store.disk import Disk
from bulkhead.store.segment import (
    DIRECTORY,
    HEADER_BYTES,
    RecordHeader,
    RecordKind,
    Segments,
    decode_header,
    page_ident,
    path_of,
    records_in,
)

A, E = b"a" * 16, b"e" * 16


@pytest.fixture
def segments():
    Path(DIRECTORY).mkdir()
    return Segments(Disk(), 1, 1 << 16)


def test_a_header_is_the_same_68_bytes_for_ever():
    header = RecordHeader(RecordKind.MESSAGE, A, E, (1, 2, 3), 0x01020304, 5)
    assert header.encode().hex() == (
        "42485347" "01" "01" "0000" + "61" * 16 + "65" * 16 + "01000000" "02000000" "03000000" "04030201"
        "0500000000000000" + header.encode()[-4:].hex()
    )  # fmt: skip
    assert len(header.encode()) == HEADER_BYTES == 68
    assert decode_header(header.encode()) == header
    assert page_ident(1, 2).hex() == "0100000002000000" + "00" * 8


@given(st.binary(max_size=100))
def test_random_bytes_are_no_header(data):
    with pytest.raises(IntegrityError):
        decode_header(data)


@given(st.integers(0, 67), st.integers(1, 255))
def test_every_changed_byte_of_a_header_is_noticed(at, flip):
    data = bytearray(RecordHeader(RecordKind.PAGE, A, page_ident(3, 4), (9, 0, 0), 7, 1).encode())
    data[at] ^= flip
    with pytest.raises(IntegrityError):
        decode_header(bytes(data))


def test_puts_and_streams_lie_side_by_side(segments):
    one = segments.put(RecordKind.MESSAGE, A, E, (3, 0, 0), b"one")
    stream = segments.stream(A, E, (0, 0, 5))
    two = segments.put(RecordKind.MESSAGE, A, E, (3, 0, 0), b"two")
    stream.write(b"lar")
    segments.sync()
    stream.write(b"ge")
    stream.finish()
    segments.sync()
    stream.release()
    for place, payload in ((one, b"one"), (stream.place, b"large"), (two, b"two")):
        assert segments.read(place.segment, place.offset + HEADER_BYTES, len(payload)) == payload
    kinds = [header.kind for _, header in records_in(Disk(), 1)]
    assert kinds == [RecordKind.MESSAGE] * 3


def test_an_unfinished_stream_can_be_walked_over(segments):
    segments.stream(A, E, (0, 0, 5000)).release()
    segments.put(RecordKind.MESSAGE, A, E, (3, 0, 0), b"two")
    segments.sync()
    assert [header.kind for _, header in records_in(Disk(), 1)] == [RecordKind.OPEN, RecordKind.MESSAGE]


def test_more_than_was_reserved_is_our_bug(segments):
    stream = segments.stream(A, E, (0, 0, 5))
    with pytest.raises(ValueError, match="reserved"):
        stream.write(b"longer")


def test_a_segment_with_a_stream_in_it_is_not_given_up(segments):
    stream = segments.stream(A, E, (0, 0, 5))
    assert not segments.close_if_empty(1)
    stream.release()
    assert segments.close_if_empty(1)
    assert segments.put(RecordKind.MESSAGE, A, E, (1, 0, 0), b"x").segment == 2


def test_a_read_under_way_survives_the_removal_of_its_segment(segments):
    place = segments.put(RecordKind.MESSAGE, A, E, (200_000, 0, 0), bytes(200_000))
    segments.sync()
    pieces = segments.pieces(1, place.offset + HEADER_BYTES, 200_000)
    read = len(next(pieces))
    segments.remove(1)
    assert not Path(path_of(1)).exists()
    assert read + sum(map(len, pieces)) == 200_000
    with pytest.raises(IntegrityError):
        segments.read(1, 0, 1)


def test_descriptors_are_given_back(segments):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        segments.put(RecordKind.MESSAGE, A, E, (70_000, 0, 0), bytes(70_000))
        segments.sync()
    for number in range(1, 21):
        segments.read(number, 0, 10)
    segments.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before

"""What travels between carrier and receiver: frames, read at any split, and what is none."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import PeerError
from bulkhead.identifiers import TenantId
from bulkhead.records.standby import PIECE_MAX, PIECE_MIN
from bulkhead.standby.frames import (
    ANSWERS,
    REQUESTS,
    Code,
    Event,
    Frame,
    FrameParser,
    Kind,
    Octets,
    PieceBegun,
    Where,
    done_frame,
    frame,
    open_frame,
    piece_frame,
    read_done,
    read_refused,
    refused_frame,
)

STREAM = "20261122T000000Z-00000001"
PIECE = bytes(range(100))
DIGEST = hashlib.sha256(PIECE).digest()
TALK = b"".join((
    open_frame(3, TenantId("kddi")), frame(Kind.WHERE, STREAM.encode()), *piece_frame(STREAM, 7, PIECE, 30, DIGEST),
    frame(Kind.GRANT, bytes(32)), *piece_frame(STREAM, 8, PIECE, 100, DIGEST), frame(Kind.TERM),
))  # fmt: skip


def read(parser: FrameParser) -> list[Event]:
    """All that is there, octets that follow one another as one."""
    events: list[Event] = []
    while (event := parser.next_event()) is not None:
        events.append(event)
    return events


def joined(events: list[Event]) -> list[Event]:
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, Octets) and isinstance(last, Octets) and not last.last:
            found[-1] = Octets(last.data + event.data, event.last)
        else:
            found.append(event)
    return found


@pytest.mark.parametrize("at", range(len(TALK) + 1))
def test_events_do_not_depend_on_how_bytes_are_split(at: int) -> None:
    parser = FrameParser(REQUESTS)
    parser.receive_data(TALK[:at])
    events = read(parser)
    parser.receive_data(TALK[at:])
    events += read(parser)
    assert joined(events) == [
        Frame(Kind.OPEN, b"\x01\x03kddi"), Frame(Kind.WHERE, STREAM.encode()), PieceBegun(STREAM, 7, 100, 30, DIGEST),
        Octets(PIECE[30:], True), Frame(Kind.GRANT, bytes(32)), PieceBegun(STREAM, 8, 100, 100, DIGEST),
        Octets(b"", True), Frame(Kind.TERM, b""),
    ]  # fmt: skip
    assert parser.idle


@given(st.data())
def test_events_do_not_depend_on_many_splits(data: st.DataObject) -> None:
    parser, rest, events = FrameParser(REQUESTS), TALK, list[Event]()
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        parser.receive_data(rest[:count])
        rest = rest[count:]
        events += read(parser)
    whole = FrameParser(REQUESTS)
    whole.receive_data(TALK)
    assert joined(events) == joined(read(whole))


@given(st.binary(max_size=300), st.sampled_from([REQUESTS, ANSWERS]))
def test_random_bytes_raise_only_peer_errors(noise: bytes, takes: dict[Kind, int]) -> None:
    parser = FrameParser(takes)
    with contextlib.suppress(PeerError):
        parser.receive_data(noise)
        read(parser)


@given(st.integers(0, len(TALK) - 1), st.integers(1, 255))
def test_a_changed_octet_raises_only_peer_errors(at: int, flip: int) -> None:
    parser = FrameParser(REQUESTS)
    with contextlib.suppress(PeerError):
        parser.receive_data(TALK[:at] + bytes((TALK[at] ^ flip,)) + TALK[at + 1 :])
        read(parser)


@given(st.binary(max_size=80))
def test_answers_are_read_or_refused_with_peer_errors(octets: bytes) -> None:
    for work in (read_done, read_refused, Where.decode):
        with contextlib.suppress(PeerError):
            work(octets)


@pytest.mark.parametrize("kind", sorted(REQUESTS))
def test_a_body_one_octet_longer_than_its_limit_is_refused_before_it_comes(kind: Kind) -> None:
    parser = FrameParser(REQUESTS)
    parser.receive_data(bytes((kind,)) + (REQUESTS[kind] + 1).to_bytes(4, "big"))
    with pytest.raises(PeerError):
        parser.next_event()


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_a_receiver_takes_no_answers(kind: Kind) -> None:
    parser = FrameParser(REQUESTS)
    parser.receive_data(bytes((kind, 0, 0, 0, 0)))
    with pytest.raises(PeerError):
        parser.next_event()


@pytest.mark.parametrize(
    ("name", "number", "total", "offset"),
    [
        (b"../../../../../etc/passwd", 1, 100, 0),
        (b"20261122T000000Z-0000000/", 1, 100, 0),
        (b"2026112\xd9\xa2T000000Z-0000001", 1, 100, 0),  # a digit, but of another script
        (STREAM.encode(), 0, 100, 0),
        (STREAM.encode(), 1, PIECE_MIN - 1, 0),
        (STREAM.encode(), 1, PIECE_MAX + 1, PIECE_MAX),
        (STREAM.encode(), 1, 100, 101),
    ],
)  # fmt: skip
def test_a_piece_that_cannot_be_is_refused_before_its_octets(name: bytes, number: int, total: int, offset: int) -> None:
    body = name + number.to_bytes(8, "big") + total.to_bytes(4, "big") + offset.to_bytes(4, "big") + bytes(32)
    length = len(body) + max(0, total - offset)
    parser = FrameParser(REQUESTS)
    parser.receive_data(bytes((Kind.PIECE,)) + length.to_bytes(4, "big") + body)
    with pytest.raises(PeerError):
        parser.next_event()


def test_answers_come_back_as_they_were_said() -> None:
    parser = FrameParser(ANSWERS)
    parser.receive_data(done_frame(b"term", b"payload") + refused_frame(Code.FULL, "no room\n"))
    done, refused = read(parser)
    assert isinstance(done, Frame)
    assert isinstance(refused, Frame)
    assert read_done(done.body) == (b"term", b"payload")
    assert read_refused(refused.body) == (Code.FULL, "no room?")
    where = Where(True, 7, 30, DIGEST)
    assert Where.decode(where.encode()) == where

"""Frames and strict decoding: cut the same way however the bytes come, and nothing tolerated."""

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.boundary.edges import REQUESTS, Download, Echo, Echoed, Upload

from bulkhead.boundary.codec import (
    FAILURES,
    PAYLOAD_MAX,
    Failure,
    Frame,
    FrameKind,
    FrameReader,
    Hello,
    decode_credit,
    decode_failure,
    decode_hello,
    decode_reply,
    decode_with,
    encode,
    encode_failure,
    encode_reply,
    encode_request,
    frame,
    union_decoder,
)
from bulkhead.boundary.messages.registry import RECEIVERS, requests_of
from bulkhead.boundary.peers import PEERS
from bulkhead.errors import BoundaryViolation, ConfigError, PeerError, Refused, TemporaryFailure

FRAMES = [
    Frame(FrameKind.HELLO, 0, b"hello"),
    Frame(FrameKind.CANCEL, 7, b""),
    Frame(FrameKind.CHUNK, 0xFFFFFFFF, b"\0" * 5),
    Frame(FrameKind.CREDIT, 3, b"\x04\0\0\0"),
]
STREAM = b"".join(frame(FrameKind(kind), call, payload) for kind, call, payload in FRAMES)


def read_all(pieces: list[bytes]) -> list[Frame]:
    reader, found = FrameReader(), []
    for piece in pieces:
        reader.receive_data(piece)
        while (one := reader.next_frame()) is not None:
            found.append(one)
    return found


@pytest.mark.parametrize("place", range(len(STREAM) + 1))
def test_frames_do_not_depend_on_where_the_stream_is_cut(place: int) -> None:
    assert read_all([STREAM[:place], STREAM[place:]]) == FRAMES


def test_frames_come_the_same_byte_by_byte() -> None:
    assert read_all([STREAM[i : i + 1] for i in range(len(STREAM))]) == FRAMES


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(FrameKind)))
def test_unknown_kind_of_frame_is_a_violation(kind: int) -> None:
    with pytest.raises(BoundaryViolation):
        read_all([struct.pack("<IBI", 0, kind, 1)])


@pytest.mark.parametrize("kind", FrameKind)
def test_every_kind_is_taken_at_its_limit_and_refused_one_past_it(kind: FrameKind) -> None:
    limit = PAYLOAD_MAX[kind]
    assert len(read_all([frame(kind, 1, bytes(limit))])) == 1
    with pytest.raises(BoundaryViolation):
        read_all([struct.pack("<IBI", limit + 1, kind, 1)])  # before one byte of the payload is kept
    with pytest.raises(ValueError, match="over its limit"):
        frame(kind, 1, bytes(limit + 1))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_raise_nothing_but_a_violation(data: bytes) -> None:
    try:
        read_all([data])
    except BoundaryViolation:
        pass


_DECODERS = [union_decoder(requests_of(peering)) for peering in PEERS]
_SAMPLES = [encode(Echo("ab")), encode(Upload("ü")), encode(Hello(1, "b", 2)), encode(Failure(1, "c", "p"))]


@given(st.one_of(st.binary(max_size=80), st.sampled_from(_SAMPLES).flatmap(lambda s: st.binary().map(lambda t: s + t))))
@settings(max_examples=500, deadline=None)
def test_random_payloads_raise_nothing_but_a_violation_at_any_receiver(payload: bytes) -> None:
    for decode in (
        *(lambda p, d=decoder: decode_with(d, p) for decoder in _DECODERS),
        decode_hello,
        decode_failure,
        decode_credit,
        lambda p: decode_reply(Echo, p),
    ):
        try:
            decode(payload)
        except BoundaryViolation:
            pass


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_of_a_message_is_another_message_or_a_violation(data: st.DataObject) -> None:
    payload = bytearray(encode(Echo("hello there")))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode_with(REQUESTS, bytes(payload)), Echo | Upload | Download)
    except BoundaryViolation:
        pass


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        encode(Echo("a")) + b"\xc0",  # a leftover byte
        encode(Echo("a"))[:-1],
        msgspec.msgpack.encode([1, "a", "b"]),  # a field more than there is
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode([99, "a"]),  # a tag that nobody has
        msgspec.msgpack.encode([1, "a" * 1001]),
        msgspec.msgpack.encode([1, b"a"]),
        msgspec.msgpack.encode({"type": 1, "text": "a"}),
        b"\x92\x01\xa1\xff",  # text that is not UTF-8
        b"\x91" * 100_000,  # deeper than anything
        b"\x92\x01\xdb\xff\xff\xff\xff",  # a text that claims 4 GiB
        b"\xdd\xff\xff\xff\xff",  # an array that claims 4 G elements
    ],
)
def test_what_is_not_exactly_a_message_is_a_violation(payload: bytes) -> None:
    with pytest.raises(BoundaryViolation):
        decode_with(REQUESTS, payload)


def test_an_array_longer_than_its_limit_is_refused_before_memory_is_taken_for_it() -> None:
    """Each array of each message: its length is claimed as 4 G, its elements never come."""
    arrays = 0
    for name, module in RECEIVERS.items():
        for peering in PEERS:
            if peering.server != name:
                continue
            for request in requests_of(peering):
                tag = request.__struct_config__.tag
                for place in range(len(request.__struct_fields__)):
                    arrays += 1
                    head = bytes([0x91 + len(request.__struct_fields__)]) + encode(tag)
                    with pytest.raises(BoundaryViolation):
                        decode_with(union_decoder((request,)), head + b"\xc0" * place + b"\xdd\xff\xff\xff\xff")
        assert module is not None
    assert arrays > 100


def test_another_protocol_is_a_violation() -> None:
    with pytest.raises(BoundaryViolation, match="another protocol"):
        decode_hello(encode(Hello(2, "b", 1)))


@pytest.mark.parametrize(("number", "kind"), FAILURES.items())
def test_failures_cross_with_code_and_public_text_but_without_detail(number: int, kind: type) -> None:
    payload = encode_failure(kind("for all eyes", detail="for the log", code="a-code"))
    assert b"for the log" not in payload and payload[1] == number
    error = decode_failure(payload)
    assert (type(error), error.public, error.code, error.detail) == (kind, "for all eyes", "a-code", "")


def test_an_error_of_another_kind_crosses_as_a_temporary_failure() -> None:
    assert type(decode_failure(encode_failure(ConfigError("c")))) is TemporaryFailure


def test_a_failure_longer_than_its_limits_is_cut_not_refused_by_its_receiver() -> None:
    error = decode_failure(encode_failure(Refused("p" * 9000, code="c" * 900)))
    assert (len(error.public), len(error.code)) == (512, 64)
    assert isinstance(decode_failure(encode_failure(PeerError("ü" * 600))), PeerError)


def test_a_request_over_its_own_limits_is_our_bug_and_is_not_sent() -> None:
    with pytest.raises(ValueError, match="breaks its own limits"):
        encode_request(Echo("a" * 1001))
    assert decode_with(REQUESTS, encode_request(Echo("a" * 1000))) == Echo("a" * 1000)


def test_a_reply_of_another_type_is_our_bug_and_is_not_sent() -> None:
    with pytest.raises(ValueError, match="no answer"):
        encode_reply(Echo, Hello(1, "", 1))
    with pytest.raises(ValueError, match="no answer"):
        encode_reply(Echo, Echoed("a"), with_body=True)

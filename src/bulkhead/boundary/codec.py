"""Frames on an edge, and strict decoding of what they carry.

    frame = u32 LE payload length | u8 kind | u32 LE call number | payload

Every kind has a length limit; an unknown kind, a longer payload, an undecodable or leftover byte raises
BoundaryViolation, and the edge ends there: a stream whose framing is in doubt is never read on.
"""

import struct
from enum import IntEnum
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from bulkhead.boundary.messages.fields import CHUNK_MAX, MESSAGE_MAX, U32, Fact, Reply, Request, reply_type
from bulkhead.errors import BoundaryViolation, Error, IntegrityError, PeerError, Refused, TemporaryFailure
from bulkhead.wipe import wipe, wipe_fields

PROTOCOL = 1
HEADER = struct.Struct("<IBI")
HEADER_SIZE = HEADER.size


class FrameKind(IntEnum):
    """What a frame is; numbers are never reused."""

    HELLO = 1
    REQUEST = 2
    REQUEST_BODY = 3  # a request whose body follows
    REPLY = 4
    REPLY_BODY = 5  # a reply whose body follows
    FAILURE = 6
    FACT = 7
    CHUNK = 8
    LAST = 9  # the last chunk of a body, perhaps empty
    CREDIT = 10
    CANCEL = 11


PAYLOAD_MAX = {
    FrameKind.HELLO: 256,
    FrameKind.REQUEST: MESSAGE_MAX,
    FrameKind.REQUEST_BODY: MESSAGE_MAX,
    FrameKind.REPLY: MESSAGE_MAX,
    FrameKind.REPLY_BODY: MESSAGE_MAX,
    FrameKind.FAILURE: 4096,
    FrameKind.FACT: 4096,
    FrameKind.CHUNK: CHUNK_MAX,
    FrameKind.LAST: CHUNK_MAX,
    FrameKind.CREDIT: 4,
    FrameKind.CANCEL: 0,
}
_LIMIT = [PAYLOAD_MAX.get(kind, -1) for kind in range(256)]  # type: ignore[call-overload]  # an IntEnum as int
_CREDIT = struct.Struct("<I")


class Frame(NamedTuple):
    """One frame as received."""

    kind: int
    call: int
    payload: bytes


class Hello(Reply, frozen=True):
    """The first frame of either side."""

    protocol: U32
    build: Annotated[str, Meta(max_length=64)]
    generation: U32


class Failure(Reply, frozen=True):
    """A request's other outcome. `kind` is a row of FAILURES; `public` may be shown on."""

    kind: Annotated[int, Meta(ge=1, le=4)]
    code: Annotated[str, Meta(max_length=64)]
    public: Annotated[str, Meta(max_length=512)]


FAILURES: dict[int, type[Error]] = {1: Refused, 2: TemporaryFailure, 3: IntegrityError, 4: PeerError}

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
_hello = msgspec.msgpack.Decoder(Hello)
_failure = msgspec.msgpack.Decoder(Failure)
_own_requests: dict[type[Request[Any]], msgspec.msgpack.Decoder[Request[Any]]] = {}


class FrameReader:
    """Cuts a byte stream into frames: bytes in, frames out."""

    __slots__ = ("_begin", "_inbox", "_start")

    def __init__(self) -> None:
        self._inbox: bytes | bytearray = b""  # one read as it came, or the rest of one and what came after it
        self._start = self._begin = 0

    def receive_data(self, data: bytes) -> None:
        """Take in bytes as they came."""
        inbox, start = self._inbox, self._start
        if start == len(inbox):  # nearly always: nothing is left, so nothing is copied
            self._inbox = data
        elif isinstance(inbox, bytearray):
            del inbox[:start]
            inbox += data
        else:
            self._inbox = bytearray(memoryview(inbox)[start:])
            self._inbox += data
        self._start = 0

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None when more bytes are needed. Raises BoundaryViolation."""
        inbox, start = self._inbox, self._start
        if len(inbox) - start < HEADER_SIZE:
            return None
        length, kind, call = HEADER.unpack_from(inbox, start)
        if length > _LIMIT[kind]:
            raise BoundaryViolation("frame of an unknown kind or over its limit", detail=f"kind {kind}, {length} bytes")
        begin = start + HEADER_SIZE
        end = begin + length
        if len(inbox) < end:
            return None
        self._start, self._begin = end, begin
        if isinstance(inbox, bytes):
            return Frame(kind, call, inbox[begin:end])
        with memoryview(inbox) as view:  # a slice of a bytearray would be one more copy
            return Frame(kind, call, bytes(view[begin:end]))

    def wipe_last(self) -> None:
        """Overwrite the last frame's payload where it was read."""
        if isinstance(self._inbox, bytes):
            wipe(self._inbox, self._begin, self._start)
        else:
            self._inbox[self._begin : self._start] = bytes(self._start - self._begin)


def frame(kind: FrameKind, call: int, payload: bytes = b"") -> bytes:
    """One frame. Raises ValueError when the payload is over the kind's limit: our bug."""
    return frame_header(kind, call, len(payload)) + payload


def frame_header(kind: FrameKind, call: int, length: int) -> bytes:
    """What stands before `length` bytes of payload. Raises ValueError when those are over the kind's limit: our bug."""
    if length > _LIMIT[kind]:
        raise ValueError(f"{kind.name} of {length} bytes is over its limit")
    return HEADER.pack(length, kind, call)


@cache
def union_decoder(types: tuple[type[msgspec.Struct], ...]) -> msgspec.msgpack.Decoder[Any] | None:
    """A decoder of exactly these tagged messages, or None for none of them. Kept, so that forks share it."""
    if not types:
        return None
    return msgspec.msgpack.Decoder(reduce(or_, types))


def decode_with(decoder: msgspec.msgpack.Decoder[Any] | None, payload: bytes) -> Any:
    """The message in `payload`, or BoundaryViolation; the decoder's words go to the log only."""
    if decoder is None:
        raise BoundaryViolation("a message where none is allowed")
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BoundaryViolation("a message that cannot be decoded", detail=str(error)[:200]) from None


@cache
def reply_decoder(request: type[Request[Any]]) -> msgspec.msgpack.Decoder[Reply]:
    """A decoder of what `request` asks for."""
    return msgspec.msgpack.Decoder(reply_type(request))


def decode_reply(request: type[Request[Any]], payload: bytes) -> Reply:
    """The reply of the type that `request` asks for. Raises BoundaryViolation."""
    reply: Reply = decode_with(reply_decoder(request), payload)
    return reply


def encode_request(request: Request[Any]) -> bytes:
    """The payload of a request that its receiver will understand. Raises ValueError where it would not: our bug.

    The receiver must end us for a field over its limit, so whatever a stranger's bytes led us to say is checked here.
    """
    payload = encode(request)
    decoder = _own_requests.get(type(request))
    if decoder is None:
        decoder = _own_requests[type(request)] = msgspec.msgpack.Decoder(type(request))
    try:
        wipe_fields(decoder.decode(payload), request.secrets)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{type(request).__name__} breaks its own limits: {error}") from None
    if len(payload) > MESSAGE_MAX:
        raise ValueError(f"{type(request).__name__} of {len(payload)} bytes is over its limit")
    return payload


def encode_reply(request: type[Request[Any]], reply: Reply, *, with_body: bool = False) -> bytes:
    """The payload of the reply that `request` asks for. Raises ValueError for another one: our bug."""
    if type(reply) is not reply_type(request) or (with_body and not request.reply_body_max):
        raise ValueError(f"{type(reply).__name__} is no answer to {request.__name__}")
    return encode(reply)


def decode_hello(payload: bytes) -> Hello:
    """The peer's Hello. Raises BoundaryViolation on another protocol."""
    hello: Hello = decode_with(_hello, payload)
    if hello.protocol != PROTOCOL:
        raise BoundaryViolation("the peer speaks another protocol", detail=str(hello.protocol))
    return hello


def encode_failure(error: Error) -> bytes:
    """A Failure payload for an error of the tree; anything not in FAILURES is a temporary failure."""
    kind = next((number for number, cls in FAILURES.items() if isinstance(error, cls)), 2)
    return encode(Failure(kind, error.code[:64], error.public[:512]))


def decode_failure(payload: bytes) -> Error:
    """The error that a Failure tells of. Raises BoundaryViolation."""
    failure: Failure = decode_with(_failure, payload)
    return FAILURES[failure.kind](failure.public, code=failure.code)


def encode_credit(chunks: int) -> bytes:
    """The payload of a CREDIT frame: that many more chunks may be sent."""
    return _CREDIT.pack(chunks)


def decode_credit(payload: bytes) -> int:
    """How many more chunks may be sent. Raises BoundaryViolation."""
    if len(payload) != _CREDIT.size:
        raise BoundaryViolation("a credit that cannot be decoded")
    return int(_CREDIT.unpack(payload)[0])


__all__ = [
    "FAILURES", "HEADER_SIZE", "PAYLOAD_MAX", "PROTOCOL", "Fact", "Failure", "Frame", "FrameKind", "FrameReader",
    "Hello", "decode_credit", "decode_failure", "decode_hello", "decode_reply", "decode_with", "encode",
    "encode_credit", "encode_failure", "encode_reply", "encode_request", "frame", "frame_header", "reply_decoder",
    "union_decoder",
]  # fmt: skip

"""What travels between the carrier and the standby's receiver, inside TLS: bytes in, events out, no I/O.

    frame     kind u8 | length u32 | body
    OPEN      version u8 | channel u8 | tenant           first, and once; 0 is the lease's channel, then a holder each
    WHERE     stream, 25                                 how far is it there?
    BEGIN     stream, 25 | lead
    PIECE     stream, 25 | number u64 | total u32 | offset u32 | SHA-256, 32 | the octets from offset on
    SETTINGS  the tenant's file          ASK  what a lease is asked with
    GRANT     SHA-256 of that, 32        HAVE, TERM  nothing
    DONE      length u16 | the standby's term, signed | what was asked for
    REFUSED   code u8 | text

One request is under way at a time and each has one answer. A piece is not gathered here: its octets are handed on as
they come, so that the receiver has each octet that arrived before a cut.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from bulkhead.config.schema import FILE_BYTES_MAX
from bulkhead.errors import PeerError
from bulkhead.identifiers import TenantId
from bulkhead.records.standby import LEAD_MAX, PIECE_MAX, PIECE_MIN
from bulkhead.standby.place import SMALL_MAX, STREAM

VERSION = 1
TEXT_MAX = 200  # octets of a refusal's text
TERM_MAX = 1024
STREAM_OCTETS = 25
_FRAME = struct.Struct(">BI")
_PIECE = struct.Struct(">25sQII32s")
_WHERE = struct.Struct(">BQI32s")
_TERM = struct.Struct(">H")


class Kind(IntEnum):
    """Of a frame; from 64 on the receiver's."""

    OPEN = 1
    WHERE = 2
    BEGIN = 3
    PIECE = 4
    SETTINGS = 5
    ASK = 6
    GRANT = 7
    HAVE = 8
    TERM = 9
    DONE = 64
    REFUSED = 65


class Code(IntEnum):
    """Why a request was refused."""

    FULL = 1  # no room: later
    ORDER = 2  # not what comes next: ask WHERE
    TENANT = 3  # this is another tenant's receiver


REQUESTS: Mapping[Kind, int] = {
    Kind.OPEN: 2 + 64, Kind.WHERE: STREAM_OCTETS, Kind.BEGIN: STREAM_OCTETS + LEAD_MAX,
    Kind.PIECE: _PIECE.size + PIECE_MAX,
    Kind.SETTINGS: FILE_BYTES_MAX, Kind.ASK: 4096, Kind.GRANT: 32, Kind.HAVE: 0, Kind.TERM: 0,
}  # fmt: skip
ANSWERS: Mapping[Kind, int] = {Kind.DONE: _TERM.size + TERM_MAX + SMALL_MAX, Kind.REFUSED: 1 + TEXT_MAX}
"""What each side takes, and octets of its body at most."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame."""

    kind: Kind
    body: bytes


@dataclass(frozen=True, slots=True)
class PieceBegun:
    """A piece is coming. total: its octets. offset: from which on they come. digest: SHA-256 of all of it."""

    stream: str
    number: int
    total: int
    offset: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Octets:
    """The next octets of the piece that is coming; the last ones where no more come."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Where:
    """How far a stream is there.

    last: its newest piece, 0 for the lead alone. part: octets of the next one that came before a cut. digest: SHA-256
    of that part; where there is none, of the newest piece or the lead.
    """

    there: bool
    last: int = 0
    part: int = 0
    digest: bytes = bytes(32)

    def encode(self) -> bytes:
        """As an answer carries it."""
        return _WHERE.pack(self.there, self.last, self.part, self.digest)

    @classmethod
    def decode(cls, octets: bytes) -> "Where":
        """Raises PeerError."""
        if len(octets) != _WHERE.size or octets[0] > 1:
            raise PeerError("the standby does not say where the stream is")
        there, last, part, digest = _WHERE.unpack(octets)
        return cls(bool(there), last, part, digest)


Event = Frame | PieceBegun | Octets


class FrameParser:
    """One side of a connection. takes: the frames that the other side may send, and their limits."""

    def __init__(self, takes: Mapping[Kind, int]) -> None:
        self._takes = takes
        self._inbox = bytearray()
        self._rest: int | None = None  # octets of a piece that are to come

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._inbox += data

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._rest is None and not self._inbox

    def next_event(self) -> Event | None:
        """The next event, or None where more bytes are needed. Raises PeerError; then the parser is finished."""
        if self._rest is not None:
            return self._octets(self._rest)
        if len(self._inbox) < _FRAME.size:
            return None
        number, length = _FRAME.unpack_from(self._inbox)
        if number not in self._takes:
            raise PeerError("that is no frame of this side")
        kind = Kind(number)
        if length > self._takes[kind]:
            raise PeerError(f"{kind.name} is too long")
        if kind is Kind.PIECE:
            return self._piece(length)
        end = _FRAME.size + length
        if len(self._inbox) < end:
            return None
        body = bytes(self._inbox[_FRAME.size : end])
        del self._inbox[:end]
        return Frame(kind, body)

    def _piece(self, length: int) -> PieceBegun | None:
        if length < _PIECE.size:
            raise PeerError("PIECE is cut short")
        if len(self._inbox) < _FRAME.size + _PIECE.size:
            return None
        name, number, total, offset, digest = _PIECE.unpack_from(self._inbox, _FRAME.size)
        if (
            not PIECE_MIN <= total <= PIECE_MAX
            or offset > total
            or length != _PIECE.size + total - offset
            or not number
        ):
            raise PeerError("PIECE says what cannot be")
        stream = parse_stream(name)
        del self._inbox[: _FRAME.size + _PIECE.size]
        self._rest = total - offset
        return PieceBegun(stream, number, total, offset, digest)

    def _octets(self, rest: int) -> Octets | None:
        if rest and not self._inbox:
            return None
        data = bytes(self._inbox[:rest])
        del self._inbox[:rest]
        self._rest = rest - len(data) or None
        return Octets(data, self._rest is None)


def parse_stream(octets: bytes) -> str:
    """A stream's name. Raises PeerError: nothing else becomes part of a path."""
    try:
        name = octets.decode("ascii")
    except UnicodeDecodeError:
        name = ""
    if not STREAM.fullmatch(name):
        raise PeerError("that is no stream's name")
    return name


def frame(kind: Kind, *parts: bytes) -> bytes:
    """A frame's octets. Raises ValueError for one that the other side would not take: our bug."""
    length = sum(map(len, parts))
    if length > {**REQUESTS, **ANSWERS}[kind]:
        raise ValueError(f"{kind.name} takes no {length} octets")
    return b"".join((_FRAME.pack(kind, length), *parts))


def open_frame(channel: int, tenant: TenantId) -> bytes:
    """The first frame of a connection."""
    return frame(Kind.OPEN, bytes((VERSION, channel)), tenant.encode("ascii"))


def piece_frame(stream: str, number: int, piece: bytes, offset: int, digest: bytes) -> tuple[bytes, memoryview]:
    """(what a PIECE begins with, the octets that follow)."""
    begin = _PIECE.pack(stream.encode("ascii"), number, len(piece), offset, digest)
    return _FRAME.pack(Kind.PIECE, len(begin) + len(piece) - offset) + begin, memoryview(piece)[offset:]


def done_frame(term: bytes, payload: bytes = b"") -> bytes:
    """The answer to a request that was done."""
    return frame(Kind.DONE, _TERM.pack(len(term)), term, payload)


def refused_frame(code: Code, text: str) -> bytes:
    """The answer to one that was not."""
    return frame(Kind.REFUSED, bytes((code,)), text.encode("ascii", "replace")[:TEXT_MAX])


def read_done(body: bytes) -> tuple[bytes, bytes]:
    """(the standby's term, signed; what was asked for). Raises PeerError."""
    if len(body) < _TERM.size:
        raise PeerError("DONE is cut short")
    (length,) = _TERM.unpack_from(body)
    at = _TERM.size + length
    if at > len(body) or length > TERM_MAX:
        raise PeerError("DONE is cut short")
    return body[_TERM.size : at], body[at:]


def read_refused(body: bytes) -> tuple[Code, str]:
    """(why, in words that may be shown). Raises PeerError."""
    try:
        code = Code(body[0])
    except (IndexError, ValueError):
        raise PeerError("REFUSED gives no reason") from None
    return code, "".join(c if c.isprintable() else "?" for c in body[1:].decode("ascii", "replace"))

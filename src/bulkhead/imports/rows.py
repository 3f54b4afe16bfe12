"""What the reader of a foreign file says, in frames: u32 big-endian length, then one message of a closed list.

The command that reads them trusts the reader no more than it would the file: every field has its limit here, and a
frame that does not fit ends the import.
"""

import struct
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from bulkhead.errors import PeerError

FRAME_MAX = 8192  # octets
QUOTA_MAX = 1 << 50
_LENGTH = struct.Struct(">I")

_U63 = Annotated[int, Meta(ge=0, le=0x7FFFFFFFFFFFFFFF)]
_Reason = Annotated[str, Meta(max_length=512)]

ACTIVE, SUSPENDED, DORMANT = "active", "suspended", "dormant"


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class ReaderLock(_Frame, frozen=True, tag=1):
    """First of all: which layers of the lock stand, and which do not."""

    applied: Annotated[tuple[Annotated[str, Meta(max_length=32)], ...], Meta(max_length=16)]
    missing: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(max_length=16)]


class AccountLine(_Frame, frozen=True, tag=2):
    """An account. octets: clear text where scheme is `plain`, else the digest that scheme and salt make.

    quota_bytes: 0 for the tenant's default. note: what of the line is not imported. offset: where in the file the
    reader is, in octets.
    """

    line: _U63
    offset: _U63
    address: Annotated[str, Meta(max_length=254)]
    octets: Annotated[bytes, Meta(min_length=1, max_length=1024)]
    scheme: Annotated[str, Meta(max_length=32)]
    salt: Annotated[bytes, Meta(max_length=255)]
    quota_bytes: Annotated[int, Meta(ge=0, le=QUOTA_MAX)]
    status: Annotated[str, Meta(max_length=16)]
    note: _Reason = ""

    def __repr__(self) -> str:
        return f"AccountLine(line={self.line}, ...)"


class BadLine(_Frame, frozen=True, tag=3):
    """A line that is no account, and why; nothing of its content."""

    line: _U63
    offset: _U63
    reason: _Reason


class FileEnd(_Frame, frozen=True, tag=4):
    """The last: how many lines there were, and as what they were read."""

    lines: _U63
    dialect: Annotated[str, Meta(max_length=32)]


Message = ReaderLock | AccountLine | BadLine | FileEnd
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def write_frame(message: Message) -> bytes:
    """One frame. Raises ValueError for one that is too long: our bug."""
    body = _ENCODER.encode(message)
    if len(body) > FRAME_MAX:
        raise ValueError("a frame of the import is too long")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Octets in, messages out. Raises PeerError on anything else, and is then finished."""

    def __init__(self) -> None:
        self._inbox = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether no frame is cut short."""
        return not self._inbox

    def receive(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now."""
        self._inbox += data
        while len(self._inbox) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._inbox)
            if length > FRAME_MAX:
                raise PeerError("the reader of the file sent a frame that is too long")
            end = _LENGTH.size + length
            if len(self._inbox) < end:
                return
            body = bytes(self._inbox[_LENGTH.size : end])
            del self._inbox[:end]
            try:
                yield _DECODER.decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise PeerError("the reader of the file sent what is no message") from None

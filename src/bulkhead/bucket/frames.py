"""What crosses the pipes between a command and the bucket's process: a line of JSON and octets, each with a length."""

import json
import struct
from typing import IO, Any

HEAD_MAX = 64 << 20  # a listing
BLOB_MAX = 16 << 20
_LENGTHS = struct.Struct(">II")


def send(stream: IO[bytes], head: dict[str, Any], blob: bytes = b"") -> None:
    """One frame, flushed. Raises OSError where the other side is gone."""
    text = json.dumps(head).encode("ascii")
    stream.write(_LENGTHS.pack(len(text), len(blob)) + text + blob)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The next frame. Raises EOFError where the other side has gone, ValueError for what is no frame."""
    text_length, blob_length = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if text_length > HEAD_MAX or blob_length > BLOB_MAX:
        raise ValueError("a frame is larger than its limit")
    head = json.loads(_exactly(stream, text_length))
    if not isinstance(head, dict):
        raise ValueError("a frame without a head")
    return head, _exactly(stream, blob_length)


def _exactly(stream: IO[bytes], octets: int) -> bytes:
    found = stream.read(octets) if octets else b""
    if len(found) != octets:
        raise EOFError("the other side is gone")
    return found

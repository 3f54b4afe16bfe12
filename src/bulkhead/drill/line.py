"""Documents on a byte stream, one JSON object a line: how the drill talks with a twin. PURE."""

import json
from typing import Any

from bulkhead.errors import LineTooLong, PeerError

LINE_MAX = 64 * 1024  # octets, its end included
Document = dict[str, Any]


def encode_line(document: Document) -> bytes:
    """One line. Raises LineTooLong over 64 KiB."""
    line = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > LINE_MAX:
        raise LineTooLong("a document over 64 KiB")
    return line


class LineReader:
    """Bytes in, documents out. After a raise it is finished."""

    def __init__(self) -> None:
        self._inbox = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._inbox += data

    def next_document(self) -> Document | None:
        """The next document, or None when more bytes are needed. Raises LineTooLong, PeerError."""
        end = self._inbox.find(b"\n")
        if (end if end >= 0 else len(self._inbox)) >= LINE_MAX:
            raise LineTooLong("a document over 64 KiB")
        if end < 0:
            return None
        line = bytes(self._inbox[:end])
        del self._inbox[: end + 1]
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            raise PeerError("a line that is no JSON") from None
        if not isinstance(document, dict):
            raise PeerError("a line that is no JSON object")
        return document

"""A message without NUL: the parts that hold it are put in base64, so that no command meets octets it may not send.

A client may append NUL in a literal8 (RFC 9051 section 6.3.12), and FETCH BODY[] has no form for it. BINARY gives the
octets back as they came (RFC 3516 section 4). What stands in no part, as in a header, has no encoding.
"""

import binascii
from collections.abc import Iterator
from typing import Final

from bulkhead.errors import Refused
from bulkhead.wire.mime import Part, scan

GROWTH: Final = (3, 8)  # base64 with line ends is at most so much longer than what it encodes, and ROOM
ROOM: Final = 4096
_LINE: Final = 76  # RFC 2045 section 6.8
_FIELD: Final = b"content-transfer-encoding"
_PLAIN: Final = (b"7bit", b"8bit", b"binary")


def without_nul(message: bytes) -> bytes:
    """The message with each part that holds NUL in base64, else as it was.

    Raises Refused (`unknown-cte`) where NUL stands in what cannot be encoded. Takes a few passes: off the loop for
    large messages.
    """
    pieces: list[bytes] = []
    at = 0
    for part in _leaves(scan(message)):
        if message.find(b"\0", part.body, part.end) >= 0:
            pieces += (message[at : part.start], _header(message, part), _base64(message, part))
            at = part.end
    pieces.append(message[at:])
    encoded = b"".join(pieces)
    if b"\0" in encoded:
        raise Refused("NUL stands where no encoding can hold it", code="unknown-cte")
    return encoded


def _leaves(part: Part) -> Iterator[Part]:
    """The parts that hold no others, as they stand in the message."""
    if part.message is not None:
        yield from _leaves(part.message)
    elif part.children:
        for child in part.children:
            yield from _leaves(child)
    else:
        yield part


def _header(message: bytes, part: Part) -> bytes:
    """The part's header, which says base64."""
    if part.start == part.body or part.content.encoding.lower() not in _PLAIN:
        raise Refused("NUL stands in what cannot be encoded", code="unknown-cte")
    line = b"Content-Transfer-Encoding: base64\r\n"
    for name, start, _, end in part.fields:
        if name == _FIELD:
            return message[part.start : start] + line + message[end : part.body]
    return line + message[part.start : part.body]


def _base64(message: bytes, part: Part) -> bytes:
    text = binascii.b2a_base64(memoryview(message)[part.body : part.end], newline=False)
    lines = b"\r\n".join([text[start : start + _LINE] for start in range(0, len(text), _LINE)])
    return lines + b"\r\n" if part.end == len(message) else lines

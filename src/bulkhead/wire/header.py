"""Header blocks: where one ends, which fields stand in it, and the blocks IMAP cuts from it (RFC 5322 section 2.2).

Positions are byte offsets into the bytes given. Lines end in CRLF or a bare LF; a bare CR is an ordinary byte.
Nothing here raises on input: a line without colon is kept in place and is no field, and what lies beyond the limits
is kept whole and holds no field.
"""

import re
from collections.abc import Collection

HEADER_EXAMINED_MAX = 256 * 1024  # octets of one header block in which fields are looked for
FIELDS_MAX = 2000  # fields of one header block

# Lower-case name, start of the line, start of the value (after the colon), end (after the line's end, folds included).
Field = tuple[bytes, int, int, int]

_FIELD_BREAK = re.compile(rb"\n(?![ \t])")
_LINE_ENDS_AND_NUL = b"\r\n\0"


def header_end(data: bytes, start: int, end: int) -> int:
    """Offset after the empty line that ends the header block at `start`; `end` when there is no empty line."""
    if data.startswith(b"\r\n", start, end):
        return start + 2
    if data.startswith(b"\n", start, end):
        return start + 1
    crlf = data.find(b"\n\r\n", start, end)
    bare = data.find(b"\n\n", start, end if crlf < 0 else crlf + 1)
    if bare >= 0:
        return bare + 2
    return end if crlf < 0 else crlf + 3


def scan_fields(data: bytes, start: int, end: int, examined_max: int = HEADER_EXAMINED_MAX) -> list[Field]:
    """The fields of the header block data[start:end], in order.

    At most 2,000 fields within the first `examined_max` octets. A field that crosses that limit is not given.
    """
    limit = min(end, start + examined_max)
    chunks = _FIELD_BREAK.split(data[start:limit], FIELDS_MAX)
    if len(chunks) > FIELDS_MAX or limit < end:
        chunks.pop()
    fields: list[Field] = []
    at = start
    for chunk in chunks:
        following = at + len(chunk) + 1
        colon = chunk.find(b":")
        if colon > 0:
            fields.append((chunk[:colon].rstrip().lower(), at, at + colon + 1, following))
        at = following
    if fields and fields[-1][3] > limit:  # the last line has no end
        name, first, value, _ = fields[-1]
        fields[-1] = (name, first, value, limit)
    return fields


def unfold(value: bytes) -> bytes:
    """A raw value on one line: line ends and NULs removed, the folding white space kept, the ends trimmed.

    Source: RFC 5322 section 2.2.3.
    """
    return value.translate(None, _LINE_ENDS_AND_NUL).strip(b" \t")


def field_block(header: bytes, names: Collection[bytes], exclude: bool = False) -> bytes:
    """The fields called `names` (in any case) as they stand, folds included, and an empty line.

    With `exclude`, everything but those: lines that are no field, and what lies beyond the limits, stay in place.
    Source: RFC 3501 section 6.4.5 (HEADER.FIELDS and HEADER.FIELDS.NOT).
    """
    wanted = {name.lower() for name in names}
    ranges = [(start, end) for name, start, _, end in scan_fields(header, 0, len(header)) if name in wanted]
    if exclude:
        edges = [0, *(edge for pair in ranges for edge in pair), _fields_end(header)]
        ranges = list(zip(edges[::2], edges[1::2], strict=True))
    block = b"".join([header[start:end] for start, end in ranges])
    if block and not block.endswith(b"\n"):
        block += b"\r\n"
    return block + b"\r\n"


class FieldCutter:
    """`field_block` of the same names out of many small blocks, a fifth of its price.

    For blocks within scan_fields' limits whose last line has its end, as a summary's fields are.
    """

    def __init__(self, names: Collection[bytes]) -> None:
        words = b"|".join(re.escape(name) for name in sorted({name.lower() for name in names}))
        line = rb"(?:%b)[ \t\r\x0b\x0c]*:[^\n]*(?:\n[ \t][^\n]*)*" % words
        self._find = re.compile(rb"\n(%b)(?=\n)" % line, re.IGNORECASE).findall

    def cut(self, block: bytes) -> bytes:
        """The fields as they stand, and an empty line."""
        found: list[bytes] = self._find(b"\n" + block)
        found.append(b"\r\n")
        return b"\n".join(found)


def _fields_end(header: bytes) -> int:
    """Where the empty line at the end of a header block begins, or the block's end."""
    if header.endswith(b"\n\r\n") or header == b"\r\n":
        return len(header) - 2
    if header.endswith(b"\n\n") or header == b"\n":
        return len(header) - 1
    return len(header)

"""The MIME structure of a message, as byte offsets into it (RFC 2045, RFC 2046, RFC 2183, RFC 2231).

One pass at delivery; nothing here raises on input. What is malformed becomes a leaf: a Content-Type that cannot be
read is text/plain (RFC 2045 section 5.2), a multipart in which no boundary line stands has one text/plain part, its
whole body. Limits keep the work proportional to the message: what lies beyond them is an application/octet-stream
leaf or stays in the part before it.
"""

import re
from typing import Final

import msgspec

from bulkhead.wire.header import HEADER_EXAMINED_MAX, Field, header_end, scan_fields, unfold

DEPTH_MAX: Final = 50  # multipart and message/rfc822 levels around a part
PARTS_MAX: Final = 1000  # of one message
HEADERS_MAX: Final = 1024 * 1024  # octets of all part headers together in which fields are looked for
PART_HEADER_MAX: Final = 32 * 1024  # octets of one part's own header in which fields are looked for
FALSE_BOUNDARIES_MAX: Final = 100_000  # lines that begin like a boundary and are none, in one message
PARAMETERS_MAX: Final = 64  # of one Content-Type or Content-Disposition
STRING_MAX: Final = 1024  # octets kept of each parameter, identifier and description of a part
BOUNDARY_MAX: Final = 200  # octets; RFC 2046 section 5.1.1 allows 70

Parameters = tuple[tuple[bytes, bytes], ...]

_MEDIA_TYPE = re.compile(rb'[ \t]*([^\s/;:,"()<>@=]{1,127})[ \t]*/[ \t]*([^\s/;:,"()<>@=]{1,127})')
_TOKEN = re.compile(rb'[ \t]*([^\s;,"()<>@=]{1,127})')
_PARAMETER = re.compile(rb';[ \t]*+([^\s=;"]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]++|\\.)*+)|([^;]*+))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_BOUNDARY_TAIL = re.compile(rb"(--)?+[ \t]*+(?:\r?\n|\Z)")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_LANGUAGE = re.compile(rb"[A-Za-z0-9-]{1,64}")


class Content(msgspec.Struct, frozen=True, gc=False):
    """What a part's header says of its content, as written; parameters unquoted, their RFC 2231 pieces kept."""

    media: bytes = b"text"
    subtype: bytes = b"plain"
    parameters: Parameters = ()
    encoding: bytes = b"7bit"
    identifier: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    disposition: bytes | None = None
    disposition_parameters: Parameters = ()
    languages: tuple[bytes, ...] = ()
    location: bytes | None = None

    def parameter(self, name: bytes) -> bytes | None:
        """The value of the parameter `name` (lower case), its RFC 2231 pieces put together, or None."""
        pieces: dict[bytes, bytes] = {}
        for key, value in self.parameters:
            low = key.lower()
            if low == name:
                return value
            if low.startswith(name + b"*"):
                pieces.setdefault(low[len(name) :], value)
        return _joined(pieces) if pieces else None


class Part(msgspec.Struct, frozen=True):
    """A part: its header is [start, body), its content [body, end).

    A multipart has `children`; a message/rfc822 has `message`, which begins at `body`; a leaf has neither.
    """

    start: int
    body: int
    end: int
    content: Content
    fields: list[Field]
    children: tuple["Part", ...] = ()
    message: "Part | None" = None


def _joined(pieces: dict[bytes, bytes]) -> bytes | None:
    """The value that `*`, or `*0` or `*0*` and what follows it, make (RFC 2231 sections 3 and 4), or None.

    The charset of the value is dropped: it is asked for boundaries and charsets only, which are ASCII.
    """
    if b"*" in pieces:
        return _unescaped(pieces[b"*"].rpartition(b"'")[2])
    value: list[bytes] = []
    while True:
        key = b"*%d" % len(value)
        if key in pieces:
            value.append(pieces[key])
        elif key + b"*" in pieces:
            piece = pieces[key + b"*"]
            value.append(_unescaped(piece if value else piece.rpartition(b"'")[2]))
        else:
            return b"".join(value) if value else None


def _unescaped(value: bytes) -> bytes:
    return _PERCENT.sub(lambda match: bytes((int(match[1], 16),)), value)


_TEXT = Content()
_MESSAGE = Content(media=b"message", subtype=b"rfc822")
_OPAQUE = Content(media=b"application", subtype=b"octet-stream")
_ROW: Final = {
    b"content-type": 0,
    b"content-transfer-encoding": 1,
    b"content-id": 2,
    b"content-description": 3,
    b"content-md5": 4,
    b"content-disposition": 5,
    b"content-language": 6,
    b"content-location": 7,
}


def parse_parameters(value: bytes) -> Parameters:
    """The parameters after the first ';' of an unfolded value, quoted or not (RFC 2045 section 5.1)."""
    found: list[tuple[bytes, bytes]] = []
    for match in _PARAMETER.finditer(value):
        name, quoted, token = match.groups()
        if quoted is not None:
            text = _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        else:
            comment = token.find(b" (")
            text = (token if comment < 0 else token[:comment]).rstrip()
        found.append((name[:STRING_MAX], text[:STRING_MAX]))
        if len(found) == PARAMETERS_MAX:
            break
    return tuple(found)


def parse_content(data: bytes, fields: list[Field], default: Content = _TEXT) -> Content:
    """What the Content- fields among `fields` say; the first of a name counts. `default`: without Content-Type."""
    rows: list[bytes | None] = [None] * 8
    for name, _, value, end in fields:
        if name in _ROW and rows[_ROW[name]] is None:
            rows[_ROW[name]] = unfold(data[value:end])
    kind, encoding, identifier, description, md5, disposition, language, location = rows
    media, subtype, parameters = default.media, default.subtype, default.parameters
    if kind is not None:
        match = _MEDIA_TYPE.match(kind)
        media, subtype = match.groups() if match else (b"text", b"plain")
        parameters = parse_parameters(kind) if match and b";" in kind else ()
    how = _TOKEN.match(encoding) if encoding else None
    shown = _TOKEN.match(disposition) if disposition else None
    return Content(
        media,
        subtype,
        parameters,
        how[1] if how else b"7bit",
        identifier and identifier[:STRING_MAX],
        description and description[:STRING_MAX],
        md5 and md5[:STRING_MAX],
        shown[1] if shown else None,
        parse_parameters(disposition) if shown and disposition and b";" in disposition else (),
        tuple(_LANGUAGE.findall(language)[:16]) if language else (),
        location and location[:STRING_MAX],
    )


def scan(data: bytes) -> Part:
    """The part tree of a whole message."""
    return _Scanner(data).message(0, len(data), 0)


class _Scanner:
    """Walks one message and spends the limits that hold for the whole of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts_left = PARTS_MAX
        self._headers_left = HEADERS_MAX
        self._false_left = FALSE_BOUNDARIES_MAX

    def message(self, start: int, end: int, depth: int) -> Part:
        """A message, whole or attached: its header may be as long as a header may be."""
        return self._part(start, end, depth, _TEXT, HEADER_EXAMINED_MAX)

    def _part(self, start: int, end: int, depth: int, default: Content, examined_max: int) -> Part:
        body = header_end(self._data, start, end)
        examined = min(examined_max, self._headers_left, body - start)
        self._headers_left -= examined
        fields = scan_fields(self._data, start, body, examined)
        content = parse_content(self._data, fields, default)
        media = content.media.lower()
        if media == b"multipart":
            if depth >= DEPTH_MAX or self._parts_left <= 0:
                return Part(start, body, end, _opaque(content), fields)
            return Part(start, body, end, content, fields, self._children(body, end, depth + 1, content))
        if media == b"message" and content.subtype.lower() == b"rfc822":
            if depth >= DEPTH_MAX or self._parts_left <= 0:
                return Part(start, body, end, _opaque(content), fields)
            self._parts_left -= 1
            return Part(start, body, end, content, fields, (), self.message(body, end, depth + 1))
        return Part(start, body, end, content, fields)

    def _children(self, start: int, end: int, depth: int, content: Content) -> tuple[Part, ...]:
        """The parts of a multipart's body; at least one."""
        default = _MESSAGE if content.subtype.lower() == b"digest" else _TEXT
        ranges = self._split(start, end, content.parameter(b"boundary"))
        if not ranges:
            self._parts_left -= 1
            return (Part(start, start, end, _TEXT, []),)
        self._parts_left -= len(ranges)
        return tuple([self._part(first, last, depth, default, PART_HEADER_MAX) for first, last in ranges])

    def _split(self, start: int, end: int, boundary: bytes | None) -> list[tuple[int, int]]:
        """Where the parts lie between boundary lines (RFC 2046 section 5.1.1).

        A line counts when nothing but "--" and white space follows the boundary on it. The line end before a boundary
        line belongs to that line. Without a closing line the last part ends where the multipart does.
        """
        ranges: list[tuple[int, int]] = []
        if not boundary or len(boundary) > BOUNDARY_MAX:
            return ranges
        data, mark = self._data, b"\n--" + boundary.rstrip(b" \t")
        part = -1  # start of the open part
        at = start if data.startswith(mark[1:], start, end) else data.find(mark, start, end) + 1
        while at > 0:
            tail = _BOUNDARY_TAIL.match(data, at + len(mark) - 1, end)
            if tail is None:
                self._false_left -= 1
                if self._false_left < 0:
                    break
            else:
                if part >= 0:
                    if not tail[1] and len(ranges) + 1 >= self._parts_left:
                        break
                    ranges.append((part, max(part, at - (2 if data.startswith(b"\r\n", at - 2, at) else 1))))
                part = -1
                if tail[1]:
                    break
                part = tail.end()
            at = data.find(mark, (tail.end() if tail else at + len(mark)) - 1, end) + 1
        if part >= 0:
            ranges.append((part, end))
        return ranges


def _opaque(content: Content) -> Content:
    """The same part as a leaf that is not looked into."""
    return msgspec.structs.replace(content, media=_OPAQUE.media, subtype=_OPAQUE.subtype, parameters=())

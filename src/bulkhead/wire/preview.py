"""The preview of a message: the beginning of its text as one line (RFC 8970 section 3)."""

import re
from html import unescape
from typing import Final

from bulkhead.wire.charset import REPLACEMENT, cut, decode
from bulkhead.wire.search_text import part_octets

PREVIEW_CHARACTERS: Final = 200  # RFC 8970 section 3.2 asks for 200 and forbids more than 256
READ_MAX: Final = 16 * 1024  # octets of a part, as it is stored, that a preview is made from

_HIDDEN = re.compile(r"(?is)<(style|script|head|title)\b[^>]*+>.*?(?:</\1\s*+>|\Z)|<!--.*?(?:-->|\Z)")
_TAG = re.compile(r"<[A-Za-z/!?][^>]*+(?:>|\Z)")
_BREAK = re.compile(r"(?i)<(?:br|/?p|/?div|/?t[rdh]|/?li|/?h[1-6])\b")
_LONG_NUMBER = re.compile(r"&#[0-9]{100,}+;?")  # a reference to no character, which Python may refuse to read
_SPACES = re.compile(r"[\s\x00-\x1f\x7f\u200b\ufeff\u034f\u00ad]+")


def preview(body: bytes, encoding: str, charset: str, media: str, *, whole: bool) -> str:
    """At most 200 characters of the text that a part begins with; empty where it has none.

    body: the part's first octets, transfer encoding and all; whole: nothing follows them. Never raises.
    """
    if not whole:
        body = body[: _whole_encoded(body, encoding)]
    octets = part_octets(body, encoding)
    if not whole:
        octets = octets[: cut(octets, len(octets), charset)]
    text = decode(octets, charset)
    if not whole:  # ISO-2022-JP without a line end may be cut within a character
        text = text.rstrip(REPLACEMENT)
    if media == "text/html":
        text = _TAG.sub("", _BREAK.sub(r" \g<0>", _HIDDEN.sub(" ", text)))
        text = unescape(_LONG_NUMBER.sub(REPLACEMENT, text))
    return _SPACES.sub(" ", text).strip()[:PREVIEW_CHARACTERS].rstrip()


def _whole_encoded(body: bytes, encoding: str) -> int:
    """Up to where transfer-encoded octets decode alone."""
    line = body.rfind(b"\n") + 1
    if encoding.strip().lower() in ("base64", "quoted-printable") and line:
        return line
    return len(body)

"""Text that SEARCH compares: header values and part bodies as str, and the comparison itself (RFC 3501 section 6.4.4).

Comparison is by substring after compatibility decomposition and case folding, near to i;unicode-casemap (RFC 5051):
full-width and half-width forms, and precomposed and combining kana, are equal.
"""

import unicodedata
from binascii import a2b_qp
from typing import Final

from bulkhead.wire.encoded_word import decode_base64, decode_words
from bulkhead.wire.header import unfold

# Characters normalised at a time: reordering combining marks takes the square of their number.
_NORMALISED_AT_ONCE: Final = 256
_COLLATED_MAX: Final = 32 * 1024  # characters whose collation is kept


def header_text(value: bytes) -> str:
    """The text of a raw field value: unfolded, encoded words decoded; 8-bit octets read as they seem."""
    return decode_words(unfold(value))


def part_octets(body: bytes, encoding: str) -> bytes:
    """The content of a body without its Content-Transfer-Encoding; an unknown encoding is none (RFC 2045 section 6)."""
    encoding = encoding.strip().lower()
    if encoding == "base64":
        return decode_base64(body)
    if encoding == "quoted-printable":
        return a2b_qp(body)
    return body


def fold(text: str) -> str:
    """The form in which two texts are compared."""
    if text.isascii():
        return text.lower()
    step = _NORMALISED_AT_ONCE
    return "".join([unicodedata.normalize("NFKD", text[at : at + step]).casefold() for at in range(0, len(text), step)])


class _Collation(dict[int, str]):
    """Each character as i;unicode-casemap orders it; filled as characters come, up to a limit."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        title = character.title()
        text = unicodedata.normalize("NFKD", title if len(title) == 1 else character)
        if len(self) < _COLLATED_MAX:
            self[code] = text
        return text


_COLLATION: Final = _Collation()


def collate(text: str) -> str:
    """The form in which texts are ordered: title case and compatibility decomposition of each character (RFC 5051)."""
    return text.upper() if text.isascii() else text.translate(_COLLATION)


def contains(text: str, folded: str) -> bool:
    """Whether `text` holds the needle, which was folded before (so that one search folds it once)."""
    return folded in fold(text)

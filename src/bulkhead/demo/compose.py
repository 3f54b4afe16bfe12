"""Pieces that messages are put together from: encoded words, ISO-2022-JP, base64 bodies, multiparts.

Lines end in CRLF throughout.
"""

from base64 import b64encode
from collections.abc import Iterable
from quopri import encodestring

WORD_OCTETS = 42  # of text in one encoded word of UTF-8, which keeps it under 75 (RFC 2047 section 2)


def encode_iso2022jp(text: str) -> bytes:
    """Text in ISO-2022-JP as Japanese mailers write it: NEC row 13 and half-width kana included (CP50220 reads it).

    Raises UnicodeEncodeError on what Shift_JIS lacks, ValueError on the IBM extensions.
    """
    pieces: list[bytes] = []
    current = b"(B"
    for character in text:
        code = character.encode("cp932")
        wanted = b"$B" if len(code) == 2 else b"(I" if code[0] >= 0x80 else b"(B"
        if wanted != current:
            pieces.append(b"\x1b" + wanted)
            current = wanted
        pieces.append(_jis(code) if len(code) == 2 else bytes((code[0] & 0x7F,)))
    if current != b"(B":
        pieces.append(b"\x1b(B")
    return b"".join(pieces)


def _jis(code: bytes) -> bytes:
    """The JIS X 0208 octets of a two-octet Shift_JIS code."""
    lead, trail = code
    if lead >= 0xF0:
        raise ValueError("IBM extensions have no place in JIS X 0208")
    row = (lead - (0x81 if lead < 0xA0 else 0xC1)) * 2 + 0x21
    if trail >= 0x9F:
        return bytes((row + 1, trail - 0x7E))
    return bytes((row, trail - (0x1F if trail < 0x7F else 0x20)))


def encoded_words(text: str, charset: str = "utf-8") -> bytes:
    """Text as encoded words, folded; ASCII as it is (RFC 2047). charset: "utf-8" or "iso-2022-jp"."""
    if text.isascii():
        return text.encode()
    if charset == "iso-2022-jp":
        pieces = [encode_iso2022jp(text[at : at + 12]) for at in range(0, len(text), 12)]
    else:
        pieces = _split_utf8(text)
    return b"\r\n ".join([b"=?%s?B?%s?=" % (charset.encode(), b64encode(piece)) for piece in pieces])


def broken_words(text: str) -> bytes:
    """Encoded words of UTF-8 that break in the middle of characters, as some mailers send them."""
    octets = text.encode()
    pieces = [octets[at : at + 16] for at in range(0, len(octets), 16)]
    return b"\r\n ".join([b"=?UTF-8?B?%s?=" % b64encode(piece) for piece in pieces])


def _split_utf8(text: str) -> list[bytes]:
    pieces, piece = [], b""
    for character in text:
        code = character.encode()
        if len(piece) + len(code) > WORD_OCTETS:
            pieces.append(piece)
            piece = b""
        piece += code
    return [*pieces, piece]


def crlf(lines: Iterable[str], charset: str = "utf-8") -> bytes:
    """Lines of text as octets, each ended."""
    if charset == "iso-2022-jp":
        return b"".join([encode_iso2022jp(line) + b"\r\n" for line in lines])
    return b"".join([line.encode(charset) + b"\r\n" for line in lines])


def base64_body(octets: bytes) -> bytes:
    """Base64 in lines of 76 (RFC 2045 section 6.8)."""
    text = b64encode(octets)
    return b"".join([text[at : at + 76] + b"\r\n" for at in range(0, len(text), 76)])


def quoted_printable(text: str) -> bytes:
    """Quoted-printable UTF-8 of text whose lines end in CRLF."""
    return encodestring(text.replace("\r\n", "\n").encode()).replace(b"\n", b"\r\n")


def part(header: str, body: bytes) -> bytes:
    """A part: its header lines, an empty line, its body."""
    return header.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def multipart(boundary: str, parts: Iterable[bytes], *, closed: bool = True) -> bytes:
    """The body of a multipart (RFC 2046 section 5.1.1)."""
    mark = boundary.encode()
    body = b"".join([b"--%s\r\n%s\r\n" % (mark, one) for one in parts])
    return body + b"--%s--\r\n" % mark if closed else body

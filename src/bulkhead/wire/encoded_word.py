"""Encoded words of header fields, as text (RFC 2047); never raises.

Neighbouring words of one charset are joined as octets before they are decoded, because many mailers split a character
between two words (RFC 2047 section 5 forbids it).
"""

import re
from binascii import Error, a2b_base64, a2b_qp

from bulkhead.wire.charset import ENCODED_WORD_MAX, decode

_WORD = re.compile(rb"=\?([^?\s]{1,64}+)\?([bBqQ])\?([^?\r\n]*+)\?=")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))


def decode_base64(data: bytes) -> bytes:
    """The octets of base64 text, whatever else stands in it and however it ends (RFC 2045 section 6.8)."""
    clean = data.translate(None, _NOT_BASE64)
    octets: list[bytes] = []
    for run in re.findall(rb"[^=]+", clean):  # padding inside: pieces were encoded one by one
        usable = len(run) - 1 if len(run) % 4 == 1 else len(run)
        try:
            octets.append(a2b_base64(run[:usable] + b"=" * (-usable % 4)))
        except Error:  # cannot happen: alphabet and padding are exact
            continue
    return b"".join(octets)


def decode_words(value: bytes, label: str = "") -> str:
    """The text of an unfolded value: encoded words decoded, the rest read as `label` or, without one, as it seems.

    At most the first 64 KiB. White space between two encoded words is dropped (RFC 2047 section 6.2).
    """
    value = value[:ENCODED_WORD_MAX]
    if b"=?" not in value:
        return decode(value, label)
    text: list[str] = []
    at = 0
    charset, octets, pending = "", b"", b""  # the open run of words: decoded octets, and base64 that broke off
    for word in _WORD.finditer(value):
        between = value[at : word.start()]
        label_now = word[1].partition(b"*")[0].decode("ascii", "replace").lower() or "us-ascii"
        if between.strip(b" \t\r\n") or label_now != charset:
            text.append(decode(octets + decode_base64(pending), charset) if charset else "")
            if between.strip(b" \t\r\n") or not charset:
                text.append(decode(between, label))
            charset, octets, pending = label_now, b"", b""
        if word[2] in b"Bb":
            pending += word[3]
            if len(pending) % 4 == 0 or pending.endswith(b"="):
                octets, pending = octets + decode_base64(pending), b""
        else:
            octets, pending = octets + decode_base64(pending) + a2b_qp(word[3].rstrip(b" "), header=True), b""
        at = word.end()
    if charset:
        text.append(decode(octets + decode_base64(pending), charset))
    text.append(decode(value[at:], label))
    return "".join(text)

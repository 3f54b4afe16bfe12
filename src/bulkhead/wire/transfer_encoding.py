"""Content-Transfer-Encoding undone as octets come, in bounded memory (RFC 2045 section 6).

Damaged text is read as far as it goes: what stands for nothing is passed over. A decoder never raises.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

LINE_KEPT = 8 * 1024  # octets kept of a quoted-printable line that does not end

_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_PADDING = re.compile(rb"=+")
_SPACE_ENDS = (b" \r\n", b"\t\r\n", b" \n", b"\t\n")


class Decoder(Protocol):
    """Octets of the message in, octets of the content out."""

    def feed(self, data: bytes) -> bytes:
        """What can be said with the next octets."""

    def finish(self) -> bytes:
        """What was kept back, now that there are no more."""


class Identity:
    """7bit, 8bit and binary."""

    def feed(self, data: bytes) -> bytes:
        """The octets."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class Base64:
    """base64 (RFC 2045 section 6.8); text after padding is taken for another run."""

    def __init__(self) -> None:
        self._kept = b""  # fewer than four characters

    def feed(self, data: bytes) -> bytes:
        """Whole groups of four characters."""
        text = self._kept + data.translate(None, _NOT_BASE64)
        if b"=" not in text:
            return self._whole(text)
        *runs, self._kept = _PADDING.split(text)
        decoded = [self._run(run) for run in runs]
        return b"".join(decoded) + self._whole(self._kept)

    def finish(self) -> bytes:
        """The last group, padded or not."""
        run, self._kept = self._kept, b""
        return self._run(run)

    def _whole(self, text: bytes) -> bytes:
        cut = len(text) & ~3
        self._kept = text[cut:]
        return binascii.a2b_base64(text[:cut])

    @staticmethod
    def _run(text: bytes) -> bytes:
        if len(text) % 4 == 1:  # six bits are no octet
            text = text[:-1]
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


class QuotedPrintable:
    """quoted-printable (RFC 2045 section 6.7): spaces before a line's end go, as they were added on the way."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """Whole lines, or most of a line that is very long."""
        text = self._kept + data
        cut = text.rfind(b"\n") + 1
        if len(text) - cut > LINE_KEPT:
            cut = text.find(b"=", len(text) - 3)
            cut = len(text) if cut < 0 else cut
        self._kept = text[cut:]
        return self._decode(text[:cut])

    def finish(self) -> bytes:
        """The last line, which may lack its end."""
        text, self._kept = self._kept, b""
        return self._decode(text)

    @staticmethod
    def _decode(text: bytes) -> bytes:
        if any(end in text for end in _SPACE_ENDS):
            lines = text.split(b"\n")
            text = b"\n".join([*map(_without_spaces, lines[:-1]), lines[-1]])
        return binascii.a2b_qp(text)


def _without_spaces(line: bytes) -> bytes:
    """A line without the spaces before its end, of which at most one CR is left here."""
    return line[:-1].rstrip(b" \t") + b"\r" if line.endswith(b"\r") else line.rstrip(b" \t")


DECODERS: Final[Mapping[str, Callable[[], Decoder]]] = {
    "": Identity,
    "7bit": Identity,
    "8bit": Identity,
    "binary": Identity,
    "base64": Base64,
    "quoted-printable": QuotedPrintable,
}
"""By the label in lower case."""

"""A file in lines, whatever is in it: octets in, numbered lines out, in constant memory. PURE."""

from collections.abc import Iterator
from typing import NamedTuple

LINE_MAX = 16_384  # octets, without its end
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """number: from 1. offset: in octets, of its end. octets: None where it is longer than 16,384."""

    number: int
    offset: int
    octets: bytes | None


class LineSplitter:
    """Lines end in LF or CRLF; a byte order mark before the first is dropped."""

    def __init__(self) -> None:
        self._inbox = bytearray()
        self._number = self._offset = 0
        self._too_long = False

    def receive(self, data: bytes) -> Iterator[Line]:
        """The lines that are whole now."""
        self._inbox += data
        start = 0
        while (end := self._inbox.find(b"\n", start)) >= 0:
            yield self._line(bytes(self._inbox[start:end]), end + 1 - start)
            start = end + 1
        del self._inbox[:start]
        if len(self._inbox) > LINE_MAX + 4:  # of CR and a byte order mark too
            self._offset += len(self._inbox)
            self._inbox.clear()
            self._too_long = True

    def end(self) -> Iterator[Line]:
        """The last line, where the file does not end in LF."""
        if self._inbox or self._too_long:
            yield self._line(bytes(self._inbox), len(self._inbox))
            self._inbox.clear()

    def _line(self, octets: bytes, length: int) -> Line:
        self._number += 1
        self._offset += length
        octets = octets.removesuffix(b"\r")
        if self._number == 1:
            octets = octets.removeprefix(_BOM)
        too_long, self._too_long = self._too_long or len(octets) > LINE_MAX, False
        return Line(self._number, self._offset, None if too_long else octets)

"""A day's file of access records, block behind block: length u32 | first u64, last u64, count u32 | record."""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from bulkhead.records.access import HEAD

RECORD_MAX = 512 * 1024  # octets of a block's record
LEAD = struct.Struct(f">I{HEAD.size}s")  # what stands before a record
READ_BYTES = 64 * 1024


class Frame(NamedTuple):
    """A block as it lies in its file: its number, where it begins, its head, where its record is."""

    number: int
    offset: int
    head: bytes
    at: int
    length: int
    held: bytes  # the record where it was read already; else nothing

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + self.length

    def record(self, descriptor: int) -> bytes:
        """The record."""
        return self.held or os.pread(descriptor, self.length, self.at)


def frames(descriptor: int, *, number: int = 0, offset: int = 0) -> Iterator[Frame]:
    """Whole frames of a day's file, from the one at `offset`, whose number is given; a torn one ends it.

    Small ones, as a quiet day has them each second, are read by the hundred, and of large ones the head alone.
    """
    size, step = os.fstat(descriptor).st_size, LEAD.size
    piece, begin, reach = b"", offset, READ_BYTES
    while offset + step <= size:
        at = offset - begin
        if at + step > len(piece):
            piece, begin, at = os.pread(descriptor, reach, offset), offset, 0
            if len(piece) < step:
                return
        length, head = LEAD.unpack_from(piece, at)
        if not 0 < length <= RECORD_MAX or offset + step + length > size:
            return
        held = piece[at + step : at + step + length]
        yield Frame(number, offset, head, offset + step, length, held if len(held) == length else b"")
        number, offset = number + 1, offset + step + length
        reach = READ_BYTES if length < READ_BYTES // 8 else step

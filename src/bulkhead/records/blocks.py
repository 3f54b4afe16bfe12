"""The blocks of a file that changed since a backup: what a stream carries in place of the file (docs/formats.md).

    block size u32 | size of the file u64 | SHA-256 of the file | blocks: number u32, content ...

Numbers rise. Every block is whole but the file's last, which ends with the file. Put over the file as the earlier
backup has it, cut or extended to the size, they give the file whose hash stands before them.
"""

import hashlib
import os
import struct
from dataclasses import dataclass

from bulkhead.errors import IntegrityError

SUFFIX = ".blocks"  # of its name in the stream, behind the name of the file
BLOCK_BYTES = 1 << 16
BLOCK_MAX = 1 << 24
PIECE = 1 << 20
_LEAD = struct.Struct(">IQ32s")
_NUMBER = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class BlocksLead:
    """What stands before the blocks."""

    block: int  # octets
    size: int  # octets of the file
    sha256: bytes

    def encode(self) -> bytes:
        """The 44 octets."""
        return _LEAD.pack(self.block, self.size, self.sha256)

    @classmethod
    def decode(cls, octets: bytes) -> "BlocksLead":
        """What 44 octets say. Raises IntegrityError."""
        lead = cls(*_LEAD.unpack(octets))
        if not 0 < lead.block <= BLOCK_MAX:
            raise IntegrityError("changed blocks are of a size that this version does not know")
        return lead

    def length(self, number: int) -> int:
        """Octets of a block. Raises IntegrityError where the file has none of that number."""
        length = min(self.block, self.size - number * self.block)
        if length <= 0:
            raise IntegrityError("a changed block lies behind the end of its file")
        return length


def encode_number(number: int) -> bytes:
    """What stands before a block's content."""
    return _NUMBER.pack(number)


def blocks_size(lead: BlocksLead, numbers: list[int]) -> int:
    """Octets of a lead with these blocks."""
    return _LEAD.size + sum(_NUMBER.size + lead.length(number) for number in numbers)


class BlocksWriter:
    """Changed blocks as they come, put over a file: `update` for each piece, then `finish`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._kept = descriptor, bytearray()
        self._lead: BlocksLead | None = None
        self._last = -1

    def update(self, piece: bytes) -> None:
        """Write the blocks that are now complete. Raises IntegrityError, OSError."""
        self._kept += piece
        if self._lead is None:
            if len(self._kept) < _LEAD.size:
                return
            self._lead = BlocksLead.decode(bytes(self._kept[: _LEAD.size]))
            del self._kept[: _LEAD.size]
        at = 0
        while len(self._kept) - at >= _NUMBER.size:
            (number,) = _NUMBER.unpack_from(self._kept, at)
            length = self._lead.length(number)
            if number <= self._last:
                raise IntegrityError("changed blocks are not in their order")
            start = at + _NUMBER.size
            if len(self._kept) - start < length:
                break
            with memoryview(self._kept) as view:
                written = os.pwrite(self._descriptor, view[start : start + length], number * self._lead.block)
            if written != length:
                raise OSError("a block was not written whole")
            self._last, at = number, start + length
        del self._kept[:at]

    def finish(self) -> BlocksLead:
        """All blocks are there: the file has its size from now on. Raises IntegrityError where one is cut short."""
        if self._lead is None or self._kept:
            raise IntegrityError("changed blocks are cut short")
        os.ftruncate(self._descriptor, self._lead.size)
        return self._lead


def require_whole(descriptor: int, lead: BlocksLead) -> None:
    """Raises IntegrityError unless the file is the one that the last of its changed blocks were made from."""
    found, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, PIECE, offset):
        found.update(piece)
        offset += len(piece)
    if (offset, found.digest()) != (lead.size, lead.sha256):
        raise IntegrityError("a database put together from changed blocks is not the one that was backed up")

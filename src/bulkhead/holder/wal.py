"""The frames that commits added to a database's write-ahead log, read right after each by the one who writes it.

Layout: www.sqlite.org/fileformat2.html, section 4. A frame is 24 octets (page number, pages of the database after a
commit or 0, two salts, two checksums) and the page. Whoever calls `frames` after every commit, on the writer's thread
and before its next transaction, misses none: a checkpoint copies frames and lets them lie, and the log begins anew,
under other salts, only with the next transaction. Frames of a transaction that was rolled back may lie behind the last
commit; they are no commit, and are passed over.
"""

import os
import struct
from pathlib import Path

from bulkhead.errors import IntegrityError

_HEADER = struct.Struct(">4I8s8x")  # magic, format, page size, checkpoints, salts; checksums
_FRAME = struct.Struct(">II8s8x")  # page, pages after the commit, salts; checksums
HEADER_BYTES, FRAME_BYTES = 32, 24
BLOCK_FRAMES = 64


class WalReader:
    """The log of the database at `path`, from the end that it has when this is made."""

    def __init__(self, path: Path) -> None:
        self._log = os.open(path.with_name(path.name + "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        self._salts, self._at, self.page_size, self.total = b"", HEADER_BYTES, 0, 0
        self.frames()

    def frames(self) -> dict[int, bytes]:
        """The pages that were committed since the last call, by number, each as it is now.

        `total` and `page_size` are then the database's. Raises IntegrityError where the log is not as it must be.
        """
        header = os.pread(self._log, HEADER_BYTES, 0)
        if len(header) < HEADER_BYTES:  # emptied; nothing was committed since
            return {}
        magic, _, page_size, _, salts = _HEADER.unpack(header)
        if magic >> 1 != 0x377F0682 >> 1:
            raise IntegrityError("the write-ahead log is of no form that is known")
        if salts != self._salts:
            self._salts, self._at, self.page_size = salts, HEADER_BYTES, page_size
        pages: dict[int, bytes] = {}
        waiting: dict[int, bytes] = {}
        at, step = self._at, FRAME_BYTES + self.page_size
        while block := os.pread(self._log, BLOCK_FRAMES * step, at):
            for start in range(0, len(block) - step + 1, step):
                number, total, found = _FRAME.unpack_from(block, start)
                if found != salts or not number:
                    return pages
                waiting[number] = block[start + FRAME_BYTES : start + step]
                at += step
                if total:
                    pages |= waiting
                    waiting, self._at, self.total = {}, at, total
            if len(block) < BLOCK_FRAMES * step:
                break
        return pages

    def close(self) -> None:
        """Let go of the log."""
        os.close(self._log)

"""What queue gives into a backup: its database at one moment, and the sealed text of each message that it names.

A message that is delivered while the stream is read is left out: its file went after its row, and a restore removes the
row of a message without its file.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.holder.backup import DatabaseSource, Part
from bulkhead.holder.snapshot import COPY
from bulkhead.queue.files import DIRECTORY
from bulkhead.queue.state import Queue

PIECE = 1 << 18


class QueueSource(DatabaseSource):
    """The snapshot, and the names of its messages."""

    def __init__(self, queue: Queue, request: BeginBackupBase, copy: Path = COPY) -> None:
        super().__init__(queue.database, request, copy)
        self._names: list[str] = []

    def prepare(self) -> None:
        """Source.prepare."""
        self._names = [bytes(queue_id).hex() for (queue_id,) in self.snapshot.rows("SELECT queue_id FROM message")]
        super().prepare()

    def parts(self) -> Iterator[Part]:
        """Source.parts."""
        yield from super().parts()
        for name in self._names:
            path = f"{DIRECTORY}/{name[:2]}/{name}"
            try:
                descriptor = os.open(Path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                size = os.fstat(descriptor).st_size
                yield Part(path, size, partial(_pieces, descriptor, size))
            finally:
                os.close(descriptor)


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    for offset in range(0, size, PIECE):
        yield os.pread(descriptor, PIECE, offset)


async def take(queue: Queue, request: BeginBackupBase) -> QueueSource:
    """The snapshot of this moment."""
    return QueueSource(queue, request)

"""The sealed text of queued messages: messages/<aa>/<id>, id in hexadecimal, aa its first two digits.

A file is whole and synced, and so is its directory, before its row is committed; it is unlinked after its row's removal
is durable. See the states in the package's page.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bulkhead.boundary.messages.to_queue import Enqueue
from bulkhead.durable import sync_folder
from bulkhead.holder.shipping import Shipping
from bulkhead.records.standby import Remove

DIRECTORY = "messages"
PIECE = 64 * 1024


class MessageFiles:
    """The files below `root`, the compartment's own directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / DIRECTORY
        self.shipping: Shipping | None = None

    def prepare(self) -> None:
        """Make the directories, durable before any message lies in them."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for number in range(256):
            (self._directory / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._directory)
        self.sync_root()

    def sync_root(self) -> None:
        """Make the names in the compartment's own directory durable."""
        sync_folder(self._root)

    def create(self, queue_id: bytes) -> BinaryIO:
        """An empty file to write the message into; what an earlier attempt left is dropped. Raises OSError."""
        descriptor = os.open(self._path(queue_id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "wb", buffering=0)

    def sync(self, queue_id: bytes, file: BinaryIO) -> None:
        """Make the file and its name durable. Blocks; raises OSError."""
        os.fdatasync(file.fileno())
        sync_folder(self._path(queue_id).parent)

    def ship(self, request: Enqueue) -> None:
        """Ship the file, which is whole; ahead of the commit that names it."""
        if self.shipping is not None:
            self.shipping.wrote(self._name(request.queue_id), 0, request.header_size + request.body_size)

    def read(self, queue_id: bytes) -> Iterator[bytes]:
        """The sealed text in pieces of at most 64 KiB. Raises OSError."""
        with self._path(queue_id).open("rb", buffering=0) as file:
            while piece := file.read(PIECE):
                yield piece

    def size(self, queue_id: bytes) -> int | None:
        """Bytes of the file, or None where there is none."""
        try:
            return self._path(queue_id).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, queue_id: bytes) -> None:
        """Unlink the file, if it is there. Not synced: a name that comes back after a crash is swept."""
        self._path(queue_id).unlink(missing_ok=True)
        if self.shipping is not None:
            self.shipping.change(Remove(self._name(queue_id)))

    def names(self) -> Iterator[tuple[bytes | None, Path]]:
        """Every file with its queue id; None where the name is none of ours."""
        for number in range(256):
            for path in sorted((self._directory / f"{number:02x}").iterdir()):
                yield _queue_id(path.name, number), path

    def _path(self, queue_id: bytes) -> Path:
        return self._root / self._name(queue_id)

    @staticmethod
    def _name(queue_id: bytes) -> str:
        name = queue_id.hex()
        return f"{DIRECTORY}/{name[:2]}/{name}"


def _queue_id(name: str, number: int) -> bytes | None:
    try:
        queue_id = bytes.fromhex(name)
    except ValueError:
        return None
    return queue_id if len(queue_id) == 16 and queue_id[0] == number and queue_id.hex() == name else None

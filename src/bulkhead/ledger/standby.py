"""What ledger ships to a standby: every operation on the log's files, in order.

Any prefix of them is a state that a crash could have left (log.py), so a standby may stop anywhere.
"""

from concurrent.futures import ThreadPoolExecutor

from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.standby import BeginStandbyBase
from bulkhead.holder.backup import Backups, Source
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.shipping import PIECE_BYTES, Shipping
from bulkhead.holder.standby import Standby, attach
from bulkhead.ledger.appending import Ledger
from bulkhead.ledger.backup import LedgerSource, newest_of
from bulkhead.ledger.create import LOG
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.records.standby import Rename, Truncate, Write


class ShippedFiles(DirectoryFiles):
    """The log's files, whose changes are shipped."""

    def __init__(self, directory: str, shipping: Shipping) -> None:
        super().__init__(directory)
        self.shipping = shipping

    def write(self, path: str, data: bytes) -> None:
        """Files.write."""
        super().write(path, data)
        self.shipping.change(Truncate(_name(path), 0))
        self._ship(path, 0, data)

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        """Files.write_at."""
        super().write_at(path, offset, data)
        self._ship(path, offset, data)

    def truncate(self, path: str, length: int) -> None:
        """Files.truncate."""
        super().truncate(path, length)
        self.shipping.change(Truncate(_name(path), length))

    def rename(self, old: str, new: str) -> None:
        """Files.rename."""
        super().rename(old, new)
        self.shipping.change(Rename(_name(old), _name(new)))
        if new == "checkpoint":
            self.shipping.committed()

    def _ship(self, path: str, offset: int, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            self.shipping.change(Write(_name(path), offset + start, data[start : start + PIECE_BYTES]))


def _name(path: str) -> str:
    return f"{LOG}/{path}"


def ship(
    host: Host, ledger: Ledger, backups: Backups, keys: KeyFile, files: ShippedFiles, worker: ThreadPoolExecutor
) -> None:
    """Have this ledger ship what it changes."""
    shipping = files.shipping

    def begin() -> dict[str, bytes]:
        shipping.start()
        return newest_of(files)

    async def take(_: BeginStandbyBase) -> Source:
        return LedgerSource(files, worker, ledger.log.size, await ledger.run(begin))

    attach(Standby(host, backups, shipping, take, keys), backups, None)

"""What ledger gives into a backup: checkpoint and journal as they are at one moment, and every full tile below them.

Full tiles never change, so only the two files are read on the log's thread. `entries` in the stream's head says how
many entries there were when the backup began: what was noted later is replayed by a restore.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bulkhead.boundary.messages.backup import BackupBegun
from bulkhead.holder.backup import Part
from bulkhead.ledger.create import LOG
from bulkhead.ledger.files import Files
from bulkhead.ledger.journal import JOURNAL_BYTES_MAX, parse_journal
from bulkhead.ledger.log import CHECKPOINT, JOURNAL
from bulkhead.ledger.note import NOTE_MAX
from bulkhead.ledger.tiles import BUNDLE_MAX, TILE_WIDTH, tiles_of


class LedgerSource:
    """The log. size: its entries when the backup began. newest: journal and checkpoint, where they were read then."""

    def __init__(
        self, files: Files, worker: ThreadPoolExecutor, size: int, newest: dict[str, bytes] | None = None
    ) -> None:
        self._files, self._worker, self._newest = files, worker, newest
        self.notes = {"entries": size}
        self.begun = BackupBegun(0)

    def prepare(self) -> None:
        """Source.prepare: nothing, as what is read later is only more."""

    def prepared(self) -> None:
        """Source.prepared."""

    def compare(self) -> str:
        """Source.compare: the log is carried whole."""
        return ""

    def parts(self) -> Iterator[Part]:
        """Source.parts."""
        newest = self._newest or self._worker.submit(newest_of, self._files).result()
        base = parse_journal(newest[JOURNAL]).edge.base
        for tile in tiles_of(base):
            if tile.width == TILE_WIDTH:
                yield _part(tile.path, self._files.read(tile.path, limit=BUNDLE_MAX))
        for name, content in newest.items():
            yield _part(name, content)

    def close(self) -> None:
        """Source.close."""


def newest_of(files: Files) -> dict[str, bytes]:
    """Journal and checkpoint. On the log's thread."""
    limits = {JOURNAL: JOURNAL_BYTES_MAX, CHECKPOINT: NOTE_MAX}
    return {name: files.read(name, limit=limit) for name, limit in limits.items()}


def _part(name: str, content: bytes) -> Part:
    return Part(f"{LOG}/{name}", len(content), lambda: iter((content,)))

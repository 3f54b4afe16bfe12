"""The restored ledger: what a newer copy of the log has beyond it, and what was done since the backup."""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.acts import Acts, acts_of
from bulkhead.ledger.create import LOG, SUBJECT, origin_of, signer_of
from bulkhead.ledger.event import EVENTS, Event, Scalar, encode_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import JOURNAL, Log, open_log
from bulkhead.ledger.note import NoteSigner
from bulkhead.ledger.verify import verify_export
from bulkhead.records.keyfile import KeySet
from bulkhead.supervisor.layout import Layout

BATCH_ENTRIES = 256
ACTOR = "cli"


class Continued:
    """The restored log, open. acts: since the backup was begun. continued: entries that a newer log brought."""

    def __init__(self, log: Log, since: int, continued: int, subject_key: bytes) -> None:
        self._log, self.continued, self.subject_key = log, continued, subject_key
        self.acts: Acts = acts_of(log.entries(since, log.size))

    def note(self, kind: str, details: Mapping[str, Scalar]) -> None:
        """Append an event, durable on return."""
        self._log.append([encode_event(Event(EVENTS[kind], int(time.time() * 1000), ACTOR, details=details))])

    def close(self) -> None:
        """Give the log back."""
        self._log.close()


def continue_log(layout: Layout, keys: KeySet, origin: str, since: int, newer: Sequence[Path]) -> Continued:
    """Open the restored log and append what each newer one, a log or an export of it, has beyond it.

    Raises IntegrityError where that is another history, ConfigError where it is older or no log.
    """
    name = origin_of(layout.tenant, origin)
    signer = signer_of(keys, name)
    log = open_log(DirectoryFiles(str(layout.home("ledger") / LOG)), signer, name)
    before = log.size
    if since > before:
        raise IntegrityError("the stream of ledger has fewer entries than when its backup was begun: take another one")
    for newest in newer:
        size, root = _append_newer(log, newest, signer, name)
        if (log.size, log.root) != (size, root):
            raise IntegrityError(f"{newest} is another history than the backup's: keep both and raise the alarm")
    return Continued(log, since, log.size - before, keys.current(SUBJECT)[1])


def _append_newer(log: Log, newest: Path, signer: NoteSigner, origin: str) -> tuple[int, bytes]:
    """(size, root) of the newer log, whose later entries were appended."""
    if not (newest / "checkpoint").exists():
        raise ConfigError(f"{newest} is no log: name a directory with the file `checkpoint`")
    if not (newest / JOURNAL).exists():
        later: list[bytes] = []
        known = log.size

        def visit(index: int, entry: bytes) -> None:
            if index >= known:
                later.append(entry)

        files = DirectoryFiles(str(newest))
        checkpoint = verify_export(files, origin, signer.verifier, visit=visit).checkpoint
        _require_newer(newest, checkpoint.size, known)
        _append(log, later)
        return checkpoint.size, checkpoint.root
    with tempfile.TemporaryDirectory() as scratch:  # opening a log may cut its torn tail: the evidence stays as it is
        copy = Path(scratch) / "log"
        shutil.copytree(newest, copy)
        newer = open_log(DirectoryFiles(str(copy)), signer, origin)
        try:
            _require_newer(newest, newer.size, log.size)
            _append(log, list(newer.entries(log.size, newer.size)))
            return newer.size, newer.root
        finally:
            newer.close()


def _append(log: Log, entries: list[bytes]) -> None:
    for start in range(0, len(entries), BATCH_ENTRIES):
        log.append(entries[start : start + BATCH_ENTRIES])


def _require_newer(newest: Path, size: int, known: int) -> None:
    if size < known:
        raise ConfigError(f"{newest} has {size} entries and the backup's log {known}: leave --ledger out")

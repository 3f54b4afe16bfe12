"""The restored ledger: what a newer copy of the log has beyond it, and what was done since the backup."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bulkhead.cli.output import say
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.acts import Acts, acts_of
from bulkhead.ledger.create import LOG, SUBJECT, origin_of, signer_of
from bulkhead.ledger.event import EVENTS, Event, Scalar, encode_event, parse_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import JOURNAL, Log, open_log
from bulkhead.ledger.merkle import verify_consistency
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

    def events(self) -> Iterator[Event]:
        """Every entry, from the first."""
        return (parse_event(entry) for entry in self._log.entries(0, self._log.size))

    def note(self, kind: str, details: Mapping[str, Scalar]) -> None:
        """Append an event, durable on return."""
        self._log.append([encode_event(Event(EVENTS[kind], int(time.time() * 1000), ACTOR, details=details))])

    def close(self) -> None:
        """Give the log back."""
        self._log.close()


def continue_log(layout: Layout, keys: KeySet, origin: str, since: int, newer: Sequence[Path]) -> Continued:
    """Open the restored log and append what each newer one, a log or an export of it, has beyond it.

    An older one only has to be the beginning of it. Raises IntegrityError where that is another history, ConfigError
    where it is no log.
    """
    name = origin_of(layout.tenant, origin)
    signer = signer_of(keys, name)
    log = open_log(DirectoryFiles(str(layout.home("ledger") / LOG)), signer, name)
    before = log.size
    if since > before:
        raise IntegrityError("the stream of ledger has fewer entries than when its backup was begun: take another one")
    for newest in newer:
        _append_newer(log, newest, signer, name)
    return Continued(log, since, log.size - before, keys.current(SUBJECT)[1])


def walk_log(place: Path, signer: NoteSigner, origin: str, visit: Callable[[int, bytes], None]) -> tuple[int, bytes]:
    """(size, root) of the log at `place`, or an export of one, each entry of which was visited and is in its tree.

    Raises IntegrityError where it is not that of this key, ConfigError where there is none.
    """
    if not (place / "checkpoint").exists():
        raise ConfigError(f"{place} is no log: name a directory with the file `checkpoint`")
    if not (place / JOURNAL).exists():
        checkpoint = verify_export(DirectoryFiles(str(place)), origin, signer.verifier, visit=visit).checkpoint
        return checkpoint.size, checkpoint.root
    with tempfile.TemporaryDirectory() as scratch:  # opening a log may cut its torn tail: the evidence stays as it is
        copy = Path(scratch) / "log"
        shutil.copytree(place, copy)
        log = open_log(DirectoryFiles(str(copy)), signer, origin)
        try:
            for index, entry in enumerate(log.entries(0, log.size)):
                visit(index, entry)
            return log.size, log.root
        finally:
            log.close()


def _append_newer(log: Log, newest: Path, signer: NoteSigner, origin: str) -> None:
    """Append what the other log has beyond this one. Raises IntegrityError where they have another history."""
    later: list[bytes] = []
    known = log.size

    def visit(index: int, entry: bytes) -> None:
        if index >= known:
            later.append(entry)

    size, root = walk_log(newest, signer, origin, visit)
    try:
        if size < known:
            say(f"{newest} has {size} entries, the backup's log {known}: what was done after the backup is unknown")
            if size:
                verify_consistency(size, known, log.consistency_proof(size, known), root, log.root)
            return
        for start in range(0, len(later), BATCH_ENTRIES):
            log.append(later[start : start + BATCH_ENTRIES])
        if (log.size, log.root) != (size, root):
            raise IntegrityError("it is another history")
    except IntegrityError:
        raise IntegrityError(f"{newest} is another history than the backup's: keep both and raise the alarm") from None

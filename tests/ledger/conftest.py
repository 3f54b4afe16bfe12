"""A log of a cell as a partner gets it: exports, with the events of a real ledger."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.ledger.event import EVENTS, Event, encode_event
from bulkhead.ledger.export import exported_files, write_export
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import Log, create_log, open_log
from bulkhead.ledger.note import NoteSigner, SignatureType

ORIGIN = "bulkhead.example/stnet"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = NoteSigner("partner.example/w1", Ed25519PrivateKey.from_private_bytes(b"w" * 32), SignatureType.COSIGNATURE)


def event(number: int, kind: str = "LoginsCounted", *, at: int = 0, **details: str | int) -> bytes:
    """An entry; at: ms, now where 0."""
    return encode_event(Event(EVENTS[kind], at or time.time_ns() // 1_000_000, "cell", (), {"n": number, **details}))


class Logs:
    """Logs below one directory, and exports of them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self, name: str, entries: Sequence[bytes]) -> Log:
        """A log with these entries; all logs have the same key."""
        (self.root / name).mkdir()
        files = DirectoryFiles(str(self.root / name))
        create_log(files, SIGNER, ORIGIN)
        log = open_log(files, SIGNER, ORIGIN)
        for start in range(0, len(entries), 1000):
            log.append(entries[start : start + 1000])
        return log

    def export(self, log: Log, name: str) -> Path:
        """The log's export in a directory, which may hold an earlier one."""
        path = self.root / name
        path.mkdir(exist_ok=True)
        files = DirectoryFiles(str(path))
        write_export(exported_files(log), files)
        files.close()
        return path


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    """Logs of this test."""
    return Logs(tmp_path)

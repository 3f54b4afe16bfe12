"""Durable appends per second of the ledger, in groups, on the disk below the working directory.

    python bench/ledger_append.py [DIRECTORY]

Prints one line a group size: entries a second, syncs an append, and the time to open the log it left.
"""

import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.ledger.event import EVENTS, Event, encode_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import NoteSigner

ORIGIN = "bulkhead.example/bench"


class CountingFiles(DirectoryFiles):
    """DirectoryFiles that count their syncs."""

    syncs = 0

    def sync(self, path: str) -> None:
        """Files.sync."""
        self.syncs += 1
        super().sync(path)

    def sync_directory(self, path: str) -> None:
        """Files.sync_directory."""
        self.syncs += 1
        super().sync_directory(path)


def measure(directory: Path, group: int, appends: int) -> dict[str, float]:
    """Figures for `appends` batches of `group` events."""
    signer = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
    files = CountingFiles(str(directory))
    create_log(files, signer, ORIGIN)
    log = open_log(files, signer, ORIGIN)
    entry = encode_event(Event(EVENTS["LoginsCounted"], 1_700_000_000_000, "cell", (), {"granted": 41, "refused": 3}))
    wall, cpu, before = perf_counter(), process_time(), files.syncs
    for _ in range(appends):
        log.append([entry] * group)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    syncs = (files.syncs - before) / appends
    log.close()
    begin = perf_counter()
    open_log(DirectoryFiles(str(directory)), signer, ORIGIN).close()
    opened = perf_counter() - begin
    return {
        "group": group, "entries_a_second": round(group * appends / wall),
        "ms_an_append": round(wall / appends * 1e3, 2),
        "cpu_ms_an_append": round(cpu / appends * 1e3, 2), "syncs_an_append": round(syncs, 1),
        "open_ms": round(opened * 1e3, 1),
    }  # fmt: skip


def main() -> None:
    """Measure groups of 1, 10, 100 and 1,000."""
    place = sys.argv[1] if len(sys.argv) > 1 else "."
    for group, appends in ((1, 1000), (10, 1000), (100, 1000), (1000, 200)):
        with tempfile.TemporaryDirectory(dir=place) as directory:
            found = measure(Path(directory), group, appends)
            sys.stdout.write("  ".join(f"{name} {value:,}" for name, value in found.items()) + "\n")


if __name__ == "__main__":
    main()

"""Backup and restore of a whole cell with a million accounts and a million messages; every message compared by hash.

    .venv/bin/python bench/restore_million.py [--accounts 1000000] [--messages 1000000] [--octets 1500] [--output FILE]

Real holders serve what is backed up, each its own sealed stream; the restore is that of `bulkhead restore`, with both
recovery keys and the log. The seven holders are in one process, one after another, and no road is between; so is the
drill's bare cell, which this is. Backup and restore have a process each, whose largest memory is given.

SYNTHESISED: the rows of `directory`, `auth` and `keyring` (bench/credentials_rows.py says what in them is random), and
those of `store` with its segments: an account has an INBOX and its share of messages, whose payloads are random octets
and were never sealed. A restore opens every record of auth and keyring, and reads every payload against its CRC, as for
real ones. Databases were filled in order, so that their pages are full.
"""

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from credentials_rows import Accounts, fill_auth, fill_directory, fill_keyring, new_accounts

from bulkhead.drill.bare_backup import BareBackup, BareRoad, back_up
from bulkhead.drill.bare_cell import BareCell
from bulkhead.holder.database_file import connect
from bulkhead.ledger.create import LOG
from bulkhead.records.keyfile import KeySet
from bulkhead.store.restore import content_of
from bulkhead.store.schema import MIGRATIONS
from bulkhead.store.segment import RecordHeader, RecordKind, path_of
from bulkhead.supervisor.layout import Layout

SEGMENT_BYTES = 1 << 26
SUMMARY, HEADER = 200, 500
BATCH = 5000


def fill_store(home: Path, accounts: Accounts, messages: int, octets: int) -> None:
    """INBOXes, messages in turn of account, and their segments."""
    (home / "segments").mkdir()
    connection = connect(home / "store.sqlite", secure_delete=True)
    for number, migration in enumerate(MIGRATIONS, 1):
        connection.executescript(f"{migration}; PRAGMA user_version = {number}")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    _accounts(connection, accounts, messages, octets)
    segment, at, file, live = 0, SEGMENT_BYTES, None, 0
    rows: list[tuple[Any, ...]] = []
    ids, count = list(accounts.each()), len(accounts)
    pool = os.urandom(1 << 22)
    for number in range(messages):
        if at >= SEGMENT_BYTES:
            if file is not None:
                file.close()
                connection.execute("INSERT INTO segment (number, live, bytes) VALUES (?, ?, ?)", (segment, live, at))
            segment, at, live = segment + 1, 0, 0
            file = (home / path_of(segment)).open("wb")
        assert file is not None
        ident, start = os.urandom(16), number * 64 % (len(pool) - octets)
        payload = ident + pool[start : start + octets - 16]  # no two are alike
        sizes = (SUMMARY, HEADER, octets - SUMMARY - HEADER)
        crc = zlib.crc32(payload)
        file.write(RecordHeader(RecordKind.MESSAGE, ids[number % count], ident, sizes, crc, 0).encode() + payload)
        rows.append((number + 1, number % count + 1, ident, octets, *sizes, segment, at))
        at, live = at + 68 + octets, live + 1
        if len(rows) >= BATCH:
            _emails(connection, rows, count)
    _emails(connection, rows, count)
    if file is not None:
        file.close()
        connection.execute("INSERT INTO segment (number, live, bytes) VALUES (?, ?, ?)", (segment, live, at))
    connection.execute("COMMIT")
    connection.close()


def _accounts(connection: sqlite3.Connection, accounts: Accounts, messages: int, octets: int) -> None:
    def share(number: int) -> int:
        return messages // len(accounts) + (number < messages % len(accounts))

    connection.executemany(
        "INSERT INTO account (seq, account, quota, used, messages, modseq, uid_validity, next_page, keywords, inbox)"
        " VALUES (?, ?, 0, ?, ?, 2, 1, 1, 0, ?)",
        ((n + 1, account, share(n) * octets, share(n), n + 1) for n, account in enumerate(accounts.each())),
    )
    connection.executemany(
        "INSERT INTO mailbox (seq, account, mailbox, role, sealed_name, tag, uid_validity, uid_next, messages, unseen,"
        " deleted, recent, recent_from, size, modseq, logged, log_floor)"
        " VALUES (?, ?, ?, 1, x'', NULL, 1, ?, ?, ?, 0, ?, 1, ?, 2, 0, 0)",
        (
            (n + 1, n + 1, os.urandom(16), share(n) + 1, share(n), share(n), share(n), share(n) * octets)
            for n in range(len(accounts))
        ),
    )


def _emails(connection: sqlite3.Connection, rows: list[tuple[Any, ...]], accounts: int) -> None:
    connection.executemany(
        "INSERT INTO email (seq, account, email, refs, size, date, page, place, sealed_key, summary_size, header_size,"
        " body_size, segment, offset) VALUES (?, ?, ?, 1, ?, 1700000000, 0, 0, zeroblob(87), ?, ?, ?, ?, ?)",
        rows,
    )
    connection.executemany(
        "INSERT INTO message VALUES (?, ?, ?, 0, 2)",
        ((row[1], (row[0] - 1) // accounts + 1, row[0]) for row in rows),
    )
    rows.clear()


def apart(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it gives, from a process of its own; with its seconds and its largest memory."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        begin = time.monotonic()
        found = {**work(), "seconds": round(time.monotonic() - begin, 1)}
        found["largest_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        os.write(write_end, json.dumps(found).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    print(answer.decode(), flush=True)
    return dict(json.loads(answer))


class Bench:
    """One run below `place`."""

    def __init__(self, place: Path, accounts: int, messages: int, octets: int) -> None:
        self.place, self.messages, self.octets = place, messages, octets
        self.cell = BareCell(place / "cell", "bench", {"store": {"segment_bytes": SEGMENT_BYTES}})
        self.accounts = new_accounts(self.cell.tenant, accounts, seed=b"million")

    def fill(self) -> dict[str, Any]:
        """All four databases."""
        root = self.cell.root
        sets = {name: self._keys(name) for name in ("auth", "keyring")}
        fill_directory(root / "directory" / "directory.sqlite", self.accounts)
        fill_auth(root / "auth" / "auth.sqlite", sets["auth"], sets["keyring"].current("tight")[1], self.accounts)
        fill_keyring(root / "keyring" / "keyring.sqlite", sets["keyring"], self.accounts)
        fill_store(root / "store", self.accounts, self.messages, self.octets)
        return {"octets": {name: sum(p.stat().st_size for p in (root / name).rglob("*") if p.is_file())
                           for name in ("directory", "auth", "keyring", "store")}}  # fmt: skip

    def _keys(self, name: str) -> KeySet:
        record = (self.cell.root / name / "keys.sealed").read_bytes()
        return KeySet.open(record, self.cell.tenant, name, self.cell._root_key)

    def back_up(self) -> dict[str, Any]:
        """Every stream, from the serving holders."""

        async def work() -> dict[str, Any]:
            await self.cell.open()
            begin = time.monotonic()
            made = await back_up(self.cell, self.place / "backups")
            seconds = time.monotonic() - begin
            streams = sum(path.stat().st_size for path in (self.place / "backups").rglob("*.stream"))
            await self.cell.close()
            del made
            return {"carried_seconds": round(seconds, 1), "stream_octets": streams,
                    "messages_per_second": round(self.messages / seconds),
                    "mib_per_second": round(streams / 2**20 / seconds)}  # fmt: skip

        return asyncio.run(work())

    def restore(self) -> dict[str, Any]:
        """The same into another cell's place."""
        backup = BareBackup(self.cell, self.place / "backups", BareRoad(self.cell))
        layout = Layout(self.place / "restored", self.cell.tenant)
        layout.cell.mkdir(parents=True)
        work, begin = backup.restoring(layout), time.monotonic()
        report = asyncio.run(work.run([self.cell.root / "ledger" / LOG], history_intact=False))
        seconds = time.monotonic() - begin
        return {**report.as_row(), "restored_seconds": round(seconds, 1),
                "messages_per_second": round(report.messages / seconds),
                "accounts_per_second": round(report.accounts / seconds)}  # fmt: skip

    def compare(self) -> dict[str, Any]:
        """Every message by hash, here and there."""
        before = content_of(self.cell.root / "store")
        after = content_of(Layout(self.place / "restored", self.cell.tenant).home("store"))
        assert before == after and before[0] == self.messages, (before, after)
        return {"messages_identical": after[0], "content": after[1]}


def steps(bench: Bench) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each with its figures."""
    for name in ("fill", "back_up", "restore", "compare"):
        yield name, apart(getattr(bench, name))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--octets", type=int, default=1500)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    output = Path(options.output).absolute() if options.output else None
    figures: dict[str, Any] = {
        "accounts": options.accounts, "messages": options.messages, "octets": options.octets,
        "processors": os.cpu_count(), "load_before": os.getloadavg()[0],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        figures |= steps(Bench(Path(place), options.accounts, options.messages, options.octets))
        os.chdir("/")
    figures["load_after"] = os.getloadavg()[0]
    text = json.dumps(figures, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n")


if __name__ == "__main__":
    main()

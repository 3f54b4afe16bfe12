"""A backup of a holder's database, whole and by changed blocks: octets, time, and how late the loop came meanwhile.

    python bench/backup_changed.py [--megabytes 1000] [--percent 1] [--output FILE]

One database of rows of 2,000 octets. Changed pages lie together (rows of one account, added one after another) or apart
(any row): a block of 64 KiB is carried where one page of its sixteen changed. The stream is sealed and written to a
file, as a backup's is, without an edge between.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.backup import BeginBackupBase, ReadBackupBase
from bulkhead.holder.backup import Backups, of_database
from bulkhead.holder.database import Database
from bulkhead.identifiers import TenantId

ROW = 2000
SCHEMA = ("CREATE TABLE item (number INTEGER PRIMARY KEY, content BLOB NOT NULL)",)


async def lateness(found: list[float]) -> None:
    """The longest that a timer of 1 ms came late."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.001)
        found[0] = max(found[0], time.monotonic() - began - 0.001)


async def carry(backups: Backups, backup: str, parent: str) -> dict[str, Any]:
    """One backup."""
    late = [0.0]
    watching = asyncio.ensure_future(lateness(late))
    began = time.monotonic()
    await backups.begin(BeginBackupBase(backup, (), parent))
    answer = await backups.read(ReadBackupBase(backup))
    octets = 0
    with Path(f"{backup}.stream").open("wb") as file:
        async for piece in answer.body:  # type: ignore[union-attr]
            octets += len(piece)
            await asyncio.to_thread(file.write, piece)
        os.fsync(file.fileno())
    watching.cancel()
    return {"octets": octets, "seconds": round(time.monotonic() - began, 2), "late_ms": round(late[0] * 1000, 1)}


async def run(megabytes: int, percent: float) -> dict[str, Any]:
    """All of it, in the working directory."""
    host_key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    pinned = {"recovery_partner": host_key, "recovery_operator": host_key}
    database = Database(Path("holder.sqlite"), SCHEMA, secure_delete=True)
    rows = megabytes * 1_000_000 // (ROW + 60)
    for start in range(0, rows, 5000):
        fresh = [(os.urandom(ROW),) for _ in range(start, min(rows, start + 5000))]
        await database.write(lambda c, fresh=fresh: c.executemany("INSERT INTO item (content) VALUES (?)", fresh))
    await database.truncate_wal()
    channel = Channel("store", 0, 1)
    host = Host(channel, TenantId("bench"), {"pinned": pinned}, Exchange(channel, lambda *_: None))
    backups = of_database(host, database)
    result: dict[str, Any] = {"database_octets": Path("holder.sqlite").stat().st_size, "percent": percent}
    result["whole"] = await carry(backups, "b0", "")
    result["nothing_changed"] = await carry(backups, "b1", "b0")
    count = int(rows * percent / 100)
    draw = random.Random(1)  # noqa: S311 - the same rows in each run
    update = "UPDATE item SET content = randomblob(length(content)) WHERE number = ?"
    for name, numbers, parent in (
        ("changed_together", list(range(rows // 2, rows // 2 + count)), "b1"),
        ("changed_apart", draw.sample(range(1, rows), count), "changed-together"),
    ):
        await database.write(lambda c, n=numbers: c.executemany(update, [(number,) for number in n]))
        result[name] = await carry(backups, name.replace("_", "-"), parent)
    await backups.stop()
    await database.close()
    return result


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--percent", type=float, default=1.0)
    parser.add_argument("--output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            result = asyncio.run(run(options.megabytes, options.percent))
        finally:
            os.chdir(before)
    result["load"] = os.getloadavg()[0]
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        Path(options.output).write_text(text + "\n")


if __name__ == "__main__":
    main()

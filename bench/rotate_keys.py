"""Rotation of K_auth and K_ring: records a second, its CPU, and what logins see meanwhile.

One tenant's auth and keyring, each in a process of its own, on rows of bench/credentials_rows.py (which says what is
synthesised), with real accounts among them that log in all the time. Argon2id is at its least for these (8 KiB), so
that the times are those of all that is beside it: gate, auth, keyring and store. Both keys rotate at the same time.

    .venv/bin/python -m bench.rotate_keys --accounts 1000000 [--output FILE]
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.credentials_rows import fill_auth, fill_keyring, new_accounts
from bench.machine import describe

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.drill.bare_cell import BareCell, Person, stamp
from bulkhead.drill.lone_holder import LoneHolder, lone_holders
from bulkhead.records.credential import StretchParameters
from bulkhead.records.keyfile import KeySet

PEOPLE = 50
LOGINS_A_SECOND = 50
CHEAP = StretchParameters(8, 1, 1)
MODULES: dict[str, Any] = {"auth": to_auth, "keyring": to_keyring}
NAMES = tuple(MODULES)


def cpu_seconds(holder: LoneHolder) -> float:
    """User and system time of a holder's process."""
    fields = Path(f"/proc/{holder._process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(cell: BareCell, count: int) -> float:
    """Rows for so many accounts; the seconds it took."""
    begin, accounts, keys = time.monotonic(), new_accounts(cell.tenant, count), {}
    for name in NAMES:
        sealed = (cell.root / name / "keys.sealed").read_bytes()
        keys[name] = KeySet.open(sealed, cell.tenant, name, cell._root_key)
    fill_auth(cell.root / "auth" / "auth.sqlite", keys["auth"], keys["keyring"].current("tight")[1], accounts)
    fill_keyring(cell.root / "keyring" / "keyring.sqlite", keys["keyring"], accounts)
    return time.monotonic() - begin


async def log_in_steadily(cell: BareCell, people: list[Person], until: asyncio.Event) -> list[float]:
    """Milliseconds of each login, begun at a steady rate, so that a stall is met by all that come in it."""
    times: list[float] = []

    async def one(person: Person) -> None:
        begin = time.perf_counter()
        await cell.log_in("access", person)
        times.append((time.perf_counter() - begin) * 1000)

    tasks, turn = [], 0
    while not until.is_set():
        tasks.append(asyncio.create_task(one(people[turn % len(people)])))
        turn += 1
        await asyncio.sleep(1 / LOGINS_A_SECOND)
    await asyncio.gather(*tasks)
    return times


async def rotate(cell: BareCell, name: str) -> tuple[int, float]:
    """(records, seconds) until every record was opened under the new key."""
    begin, done = time.monotonic(), 0
    await cell.ask("cli", name, MODULES[name].RotateKey(stamp(), True, 0))
    while (report := await cell.ask("cli", name, MODULES[name].ReadRotation())).step:
        done = max(done, report.done)
        await asyncio.sleep(0.1)
    return done, time.monotonic() - begin


def summary(times: list[float]) -> dict[str, float]:
    """Of logins, in ms."""
    cuts = statistics.quantiles(times, n=1000)
    return {"logins": len(times), "p50": cuts[499], "p99": cuts[989], "p999": cuts[998], "max": max(times)}


async def run(root: Path, count: int) -> dict[str, Any]:
    """The whole measurement."""
    quiet: dict[str, Any] = {"auth": {"cache_minutes": 0}}
    cell = BareCell(root, "bench", quiet)
    found: dict[str, Any] = {"accounts": count, "fill_seconds": fill(cell, count)}
    found["octets"] = {name: (root / name / f"{name}.sqlite").stat().st_size for name in NAMES}
    before = Path.cwd()
    await cell.open()
    try:
        people = [await cell.add_person() for _ in range(PEOPLE)]
        async with lone_holders(cell, NAMES, CHEAP) as holders:
            over = asyncio.Event()
            asyncio.get_running_loop().call_later(10, over.set)
            found["logins_before_ms"] = summary(await log_in_steadily(cell, people, over))
            cpu, over = [cpu_seconds(holder) for holder in holders], asyncio.Event()
            logins = asyncio.create_task(log_in_steadily(cell, people, over))
            begin = time.monotonic()
            outcomes = await asyncio.gather(*(rotate(cell, name) for name in NAMES))
            found["seconds"] = time.monotonic() - begin
            over.set()
            found["logins_meanwhile_ms"] = summary(await logins)
            for name, holder, (_, seconds), spent in zip(NAMES, holders, outcomes, cpu, strict=True):
                used = cpu_seconds(holder) - spent
                records = count * (1 if name == "auth" else 2)
                found[name] = {
                    "records": records, "seconds": seconds, "cpu_seconds": used,
                    "records_a_second": records / seconds, "cpu_us_a_record": used / records * 1e6,
                }  # fmt: skip
    finally:
        await cell.close()
        os.chdir(before)
    return found


def main() -> None:
    """Print the figures as one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where the databases are made, and removed (default: /tmp)")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        machine = describe(Path(directory))
        figures = asyncio.run(run(Path(directory), options.accounts))
    text = json.dumps({"machine": machine, **figures}, indent=1, default=lambda value: round(value, 3))
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()

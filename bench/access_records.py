"""Access records: ten million of one tenant written and searched, as the compartments do it.

    .venv/bin/python -m bench.access_records [--records 10000000] [--days 10] [--block 4096] [--output FILE]

The records are synthesised (a million accounts, ten days, 16,384 sources) and sealed by the writer's own code, block by
block; the searches are those of a request, without the edge. Files are in the page cache. A block holds what came in a
second: 10,000,000 records in a day are 116 in a block (`--days 1 --block 116`), which cost more each than full ones.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import describe

from bulkhead.boundary.messages.accesses import CountAccessesBase, Cursor, SearchAccessesBase
from bulkhead.holder.access_search import count, search
from bulkhead.holder.accesses import DAY_MS, Accesses
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.access import BLOCK_RECORDS_MAX, Access, Act, Outcome, source_octets
from bulkhead.records.keyfile import KeySet

ACCOUNTS = 1_000_000


async def measure(folder: Path, records: int, days: int, a_block: int) -> dict[str, Any]:
    """Write, then search."""
    tenant, root = TenantId("north"), bytes(32)
    path = folder / "keys.sealed"
    path.write_bytes(KeySet().seal(tenant, "auth", 1, root))
    keys = KeyFile(path, tenant, "auth", KeySet(), 1, root)
    database = Database(folder / "x.sqlite", ("CREATE TABLE t (x)",))
    accesses = Accesses(tenant, "auth", database, keys, folder / "accesses")
    draw = random.Random(1)  # noqa: S311  # synthesised, the same each time
    today = time.time_ns() // 1_000_000 // DAY_MS
    sources = [source_octets(f"10.{n >> 8 & 255}.{n & 255}.1") for n in range(16_384)]
    step, began, spent = days * DAY_MS / records, (today - days) * DAY_MS, 0.0
    accounts = [AccountId(draw.randbytes(16)) for _ in range(ACCOUNTS)]
    wanted = accounts[4711]
    for start in range(0, records, a_block):
        rows = [
            Access(
                began + int(step * number), Act.LOGIN, Outcome.REFUSED if number % 9 == 0 else Outcome.DONE, 3, 1,
                draw.choice(accounts), draw.choice(sources),
            )
            for number in range(start, min(start + a_block, records))
        ]  # fmt: skip
        by_day: dict[int, list[Access]] = {}
        for row in rows:
            by_day.setdefault(row.at // DAY_MS, []).append(row)
        before = time.perf_counter()
        for day, some in by_day.items():
            await database.write(lambda _, day=day, some=some: accesses._append(day, some))  # type: ignore[misc]
        spent += time.perf_counter() - before
    size = sum(file.stat().st_size for file in (folder / "accesses").iterdir())
    found: dict[str, Any] = {
        "records": records, "days": days, "records_a_block": a_block,
        "octets_a_record": size / records, "gib": size / (1 << 30), "written_seconds": spent,
        "written_a_second": records / spent,
    }  # fmt: skip
    whole = {"since": 0, "until": 1 << 62}
    middle = began + days // 2 * DAY_MS
    window = {"since": middle, "until": middle + DAY_MS}
    hours = {"since": middle + DAY_MS // 3, "until": middle + DAY_MS // 2}
    network, gate = {"source": sources[77][:15]}, {"gate": 3, "acts": 1 << Act.LOGIN}
    for name, fields in (
        ("one account, all days", {**whole, "account": wanted}),
        ("one network /24, all days", {**whole, **network}),
        ("one account, one day", {**window, "account": wanted}),
        ("logins of one network, one day", {**window, **network, "acts": 1 << Act.LOGIN}),
    ):
        cursor, rows_found, requests = Cursor(), 0, 0
        begin, cpu = time.perf_counter(), time.process_time()
        while True:
            page = search(accesses, SearchAccessesBase(**fields, cursor=cursor))  # type: ignore[arg-type]
            rows_found, requests, cursor = rows_found + len(page.rows), requests + 1, page.cursor
            if not page.more:
                break
        found[name] = {**_spent(begin, cpu), "found": rows_found, "requests": requests}
    for name, fields in (
        ("count, all days", whole),
        ("count, one day", window),
        ("count, four hours", hours),
        ("count, logins by one gate, all days", {**whole, **gate}),
        ("count, 10.0.0.0/8, all days", {**whole, "source": sources[77][:13]}),
        ("count, one network /24, all days", {**whole, **network}),
    ):
        begin, cpu = time.perf_counter(), time.process_time()
        counts = count(accesses, CountAccessesBase(**fields))  # type: ignore[arg-type]
        found[name] = {**_spent(begin, cpu), "records": counts.records, "accounts": counts.accounts}
    await accesses.close()
    await database.close()
    return found


def _spent(begin: float, cpu: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--block", type=int, default=BLOCK_RECORDS_MAX, help="records in a block")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machine = describe(Path(folder))
        found = {"machine": machine, **asyncio.run(measure(Path(folder), options.records, options.days, options.block))}
    text = json.dumps(found, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""First logins after a migration: accounts with imported digests, all at once and spread out; how long each takes.

auth and keyring are real, in one process, at the real cost. A known subscriber logs in meanwhile, four times a second.
Each first login asks for two Argon2id: its own, and that of the half that takes the digest's place behind it.

Run: .venv/bin/python bench/first_logins.py [ACCOUNTS]
"""

import asyncio
import hashlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.keyring import two_halves
from tests.keyring.two_halves import TwoHalves, run, stamp

from bulkhead.boundary.messages.to_auth import Scope, SetPassword
from bulkhead.errors import TemporaryFailure
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.credential import StretchParameters

PER_SECOND = 20
RETRY_SECONDS = 1.0
KNOWN_SECONDS = 0.25


async def import_account(cell: TwoHalves, password: bytes) -> AccountId:
    """One whose password came as {SSHA}."""
    account, salt = AccountId(new_id()), bytes(8)
    token = (await cell.create(account)).token
    digest = hashlib.sha1(password + salt, usedforsecurity=False).digest()
    await cell.ask("cli", "auth", SetPassword(stamp(), account, digest, token, Scope.ALL, "sha1", salt))
    return account


async def first_login(cell: TwoHalves, number: int, account: AccountId) -> tuple[float, int]:
    """Seconds from the first attempt to success, and how often it was told to come again."""
    began, again = time.perf_counter(), 0
    while True:
        try:
            await cell.log_in(account, b"password %d" % number, source=f"10.{number >> 8}.{number & 255}.1")
            return time.perf_counter() - began, again
        except TemporaryFailure:
            again += 1
            await asyncio.sleep(RETRY_SECONDS)


def left(cell: TwoHalves) -> int:
    """Imported digests that auth still has."""
    return int(cell.database("auth").first("SELECT count(*) FROM half WHERE digest_ms > 0")[0])


async def flood(cell: TwoHalves, accounts: int, gap: float) -> dict[str, Any]:
    """So many first logins, one every `gap` seconds."""
    people = [await import_account(cell, b"password %d" % number) for number in range(accounts)]
    known = await cell.add_account(b"correct horse battery")
    await cell.log_in(known, b"correct horse battery", source="192.0.2.1")
    took: list[float] = []

    async def poll() -> None:
        while True:
            began = time.perf_counter()
            await cell.log_in(known, b"correct horse battery", source="192.0.2.1")
            took.append(time.perf_counter() - began)
            await asyncio.sleep(KNOWN_SECONDS)

    polling, began, tasks = asyncio.create_task(poll()), time.perf_counter(), []
    for number, account in enumerate(people):
        tasks.append(asyncio.create_task(first_login(cell, number, account)))
        await asyncio.sleep(gap)
    done = await asyncio.gather(*tasks)
    seconds, digests = time.perf_counter() - began, left(cell)
    polling.cancel()
    while cell.services["auth"]._auth.passwords._restretching:
        await asyncio.sleep(0.05)
    firsts = sorted(one for one, _ in done)
    return {
        "accounts": accounts, "gap_seconds": gap, "seconds": round(seconds, 2),
        "first_login_median": round(statistics.median(firsts), 3), "first_login_p99": round(firsts[-2], 3),
        "first_login_max": round(firsts[-1], 3), "told_to_come_again": sum(again for _, again in done),
        "known_median": round(statistics.median(took), 3), "known_max": round(max(took), 3),
        "digests_left_at_the_end": digests, "digests_left_afterwards": left(cell),
        "seconds_with_restretching": round(time.perf_counter() - began, 2),
    }  # fmt: skip


def main() -> None:
    """Print one JSON object a run."""
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    two_halves.CHEAP = StretchParameters()
    for gap in (0.0, 1 / PER_SECOND):
        with tempfile.TemporaryDirectory() as directory:
            no_cache = {"cache_minutes": 0, "failure_seconds": 1.0}
            found = run(Path(directory) / "cell", lambda cell, gap=gap: flood(cell, accounts, gap), auth=no_cache)  # type: ignore[misc]
        print(json.dumps(found))


if __name__ == "__main__":
    main()

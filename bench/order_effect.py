"""From a signed order's arrival until it holds durably: stops of logins, sessions and outbound mail.

    python bench/order_effect.py [--rounds 100]

In one process, over real edges, on whatever disk TMPDIR is on. A stop is one row, so the number of accounts is no part
of it; the sessions that end are, and there is one of each of `--sessions` people here.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bulkhead.boundary.messages import to_auth, to_keyring, to_queue
from bulkhead.boundary.orders import EXECUTORS
from bulkhead.drill.bare_cell import BareCell, opened, stamp
from bulkhead.drill.semantic_orders import MODULES

STOPS = (("auth", "stop-logins"), ("keyring", "stop-logins"), ("keyring", "end-sessions"), ("queue", "stop-outbound"))


async def install(cell: BareCell) -> None:
    """The first roster."""
    roster = cell.people.roster()
    data = cell.people.use(roster)
    for name in EXECUTORS:
        await cell.ask("cli", name, MODULES[name].InstallRoster(stamp(), data, cell.people.sign(data)))


async def times(cell: BareCell, name: str, action: str, rounds: int, by: Sequence[str]) -> list[float]:
    """Milliseconds from sending the signed order to the durable answer."""
    found = []
    for _ in range(rounds):
        data = cell.people.order(action).encode()
        module = {"auth": to_auth, "keyring": to_keyring, "queue": to_queue}[name]
        request = module.SubmitOrder(stamp(), data, cell.people.by(data, *by))
        begin = time.perf_counter()
        await cell.ask("cli", name, request)
        found.append((time.perf_counter() - begin) * 1000)
        await asyncio.sleep(0.002)
    return found


async def measure(directory: Path, rounds: int, sessions: int) -> None:
    """Print a row a stop."""
    async with opened(directory) as cell:
        await install(cell)
        for _ in range(sessions):
            await cell.log_in("access", await cell.add_person())
        for ledger in ("with ledger", "ledger away"):
            if ledger == "ledger away":
                await cell.stop("ledger")
            for name, action in STOPS:
                found = await times(cell, name, action, rounds, ("ada",))
                print(f"{ledger}: {action} at {name}: median {statistics.median(found):.2f} ms, max {max(found):.2f}")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory) / "cell", options.rounds, options.sessions))


if __name__ == "__main__":
    main()

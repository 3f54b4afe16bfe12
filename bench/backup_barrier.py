"""How long changes of passwords wait while auth and keyring are backed up under one barrier.

    python bench/backup_barrier.py [--accounts 200] [--backups 20] [--output FILE]

One cell in one process, its holders on one loop, without a gate or a network; two subscribers change their passwords at
any time. As one process has one working directory, the copies of the databases are made one after another here.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.to_auth import ChangePassword
from bulkhead.drill.bare_cell import BareCell, Person, stamp
from bulkhead.holder.backup import DatabaseSource

CHANGERS = 2


class Changers:
    """Subscribers who change their passwords without end. took: seconds of each change; late: of a 1 ms timer."""

    def __init__(self, cell: BareCell, people: list[Person]) -> None:
        self.took, self.late, self._cell = list[tuple[float, float]](), 0.0, cell
        self._passwords = {person.account: person.password for person in people}
        share = len(people) // CHANGERS
        self._tasks = [asyncio.create_task(self._change(people[n * share : (n + 1) * share])) for n in range(CHANGERS)]
        self._tasks.append(asyncio.create_task(self._tick()))

    async def _change(self, people: list[Person]) -> None:
        while True:
            for person in people:
                fresh, begin = secrets.token_hex(8).encode(), time.perf_counter()
                old, self._passwords[person.account] = self._passwords[person.account], fresh
                await self._cell.ask("cli", "auth", ChangePassword(stamp(), person.account, old, fresh))
                self.took.append((begin, time.perf_counter() - begin))

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self.late = max(self.late, time.perf_counter() - due)

    async def end(self) -> dict[str, float]:
        """Milliseconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        took = sorted(seconds * 1000 for _, seconds in self.took)
        ranks = statistics.quantiles(took, n=100)
        return {
            "changes": len(took), "p50_ms": round(ranks[49], 1), "p99_ms": round(ranks[98], 1),
            "longest_ms": round(took[-1], 1), "loop_late_ms": round(self.late * 1000, 1),
        }  # fmt: skip


class Turns:
    """Lets each copy begin when its holder's directory is the working one, which a process has one of."""

    def __init__(self) -> None:
        self._turn = {name: threading.Event() for name in ("auth", "keyring")}
        prepare, turns = DatabaseSource.prepare, self._turn

        def in_turn(source: DatabaseSource) -> None:
            turns["auth" if "auth" in source._name else "keyring"].wait()
            prepare(source)

        DatabaseSource.prepare = in_turn  # type: ignore[method-assign]

    async def stream(self, cell: BareCell, name: str, backups: Any, request: Any) -> float:
        """Read a stream to its end; when the barrier was let go."""
        os.chdir(cell.root / name)
        waiting, released = backups._waiting, 0.0
        let_go = waiting.release

        def release() -> bool:
            nonlocal released
            released = released or time.perf_counter()
            return bool(let_go())

        waiting.release = release
        self._turn[name].set()
        async for _ in (await backups.read(request)).body:
            pass
        self._turn[name].clear()
        return released


async def back_up(cell: BareCell, turns: Turns, number: int) -> tuple[float, float]:
    """(seconds to close the barrier and drain it, seconds that it was closed afterwards)."""
    name, begin = f"bench-{number}", time.perf_counter()
    os.chdir(cell.root / "auth")
    await cell.auth.backups.begin(to_auth.BeginBackup(name))
    held = time.perf_counter()
    os.chdir(cell.root / "keyring")
    await cell.keyring.backups.begin(to_keyring.BeginBackup(name))
    released = await turns.stream(cell, "auth", cell.auth.backups, to_auth.ReadBackup(name))
    await turns.stream(cell, "keyring", cell.keyring.backups, to_keyring.ReadBackup(name))
    return held - begin, released - held


async def measure(accounts: int, backups: int, place: Path) -> dict[str, Any]:
    """All figures."""
    cell, turns = BareCell(place), Turns()
    await cell.open()
    people = [await cell.add_person() for _ in range(accounts)]
    without = Changers(cell, people)
    await asyncio.sleep(8.0)
    figures: dict[str, Any] = {"accounts": accounts, "backups": backups, "without": await without.end()}
    people = [Person(p.address, without._passwords[p.account], p.account, p.binding) for p in people]
    during, drained, closed = Changers(cell, people), list[float](), list[float]()
    for number in range(backups):
        drain, close = await back_up(cell, turns, number)
        drained.append(drain * 1000)
        closed.append(close * 1000)
        await asyncio.sleep(0.3)
    figures["during"] = await during.end()
    for name, values in (("drained_ms", drained), ("closed_ms", closed)):
        figures[name] = {"median": round(statistics.median(values), 1), "longest": round(max(values), 1)}
    await cell.close()
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--backups", type=int, default=20)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    output = Path(options.output).absolute() if options.output else None
    with tempfile.TemporaryDirectory() as place:
        figures = asyncio.run(measure(options.accounts, options.backups, Path(place)))
        os.chdir("/")
    text = json.dumps(figures, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n")


if __name__ == "__main__":
    main()

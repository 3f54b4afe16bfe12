"""A store restored with empty mailboxes: how soon it serves, and how fast its old mail follows.

    python bench/continuity.py [--messages 100000] [--octets 4000] [--accounts 1000] [--output FILE]

What a stream's opening takes is in backup_store.py; here the backup is a copy of the store's directory. Time to serve:
the mail is taken out of the database, every mailbox gets its new UIDVALIDITY, the store starts. Then all messages go to
it as `restore-follow` sends them, newest first, sender and store in one process; appends go on meanwhile.
"""

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.backup_store import BATCH, CLI, MX, STORE, Peer, Watch, append, stamp

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_store
from bulkhead.cli.restore_follow import NUMBER_MAX, WINDOW
from bulkhead.cli.restore_mail import Bringing
from bulkhead.identifiers import TenantId, new_id
from bulkhead.store import restore
from bulkhead.store.backup_copy import BackupCopy
from bulkhead.store.process import start


class Near:
    """What Road is, to a store in this process."""

    def __init__(self, cli: Peer) -> None:
        self._cli = cli

    async def ask(self, _: str, request: Any, **__: Any) -> Any:
        """The reply."""
        return await self._cli.call(request)

    async def send(self, _: str, request: Any, body: bytes, **__: Any) -> Any:
        """The same, with a body."""
        return await self._cli.call(request, body)


async def opened() -> tuple[Exchange, Any, Peer, Peer]:
    """The store of the working directory, and who asks it."""
    exchange = Exchange(STORE, lambda *_: None)
    host = Host(STORE, TenantId("bench"), {"store": {"segment_bytes": 1 << 26}, "pinned": {}}, exchange)
    return exchange, await start(host), Peer(MX, exchange), Peer(CLI, exchange)


async def measure(messages: int, octets: int, accounts: int, place: Path) -> dict[str, Any]:
    """All figures."""
    home, copied = place / "store", place / "copied"
    home.mkdir()
    os.chdir(home)
    exchange, service, mx, cli = await opened()
    idents = [new_id() for _ in range(accounts)]
    for ident in idents:
        await cli.call(to_store.OpenAccount(stamp(), ident, 0))
    for at in range(0, messages, BATCH):
        await asyncio.gather(*(append(mx, idents[(at + one) % accounts], octets) for one in range(BATCH)))
    await service.stop()
    exchange.close()
    os.chdir(place)
    home.rename(copied)
    home.mkdir()
    figures: dict[str, Any] = {"messages": messages, "octets": octets, "accounts": accounts}
    figures["database_octets"] = (copied / "store.sqlite").stat().st_size

    begin = time.perf_counter()
    shutil.copy(copied / "store.sqlite", home)
    restore.make_empty(home)
    await restore.finish(home, [], history_intact=False)
    os.chdir(home)
    exchange, service, mx, cli = await opened()
    figures["serves_after_seconds"] = round(time.perf_counter() - begin, 2)

    begin = time.perf_counter()
    copy = BackupCopy(copied)
    figures["indexed_seconds"] = round(time.perf_counter() - begin, 2)
    numbers = {int(path.stem) for path in (copied / "segments").iterdir()}
    bringing, before = Bringing(Near(cli), copy), NUMBER_MAX  # type: ignore[arg-type]  # as Road, for this
    busy, begin, used = Watch(mx, idents[0], octets), time.perf_counter(), time.process_time()
    while emails := copy.messages_in(numbers, before, WINDOW):
        await bringing.bring(emails, copy.rows_of(emails))
        before = emails[-1].seq
    seconds = time.perf_counter() - begin
    figures |= {"during": busy.end(), "seconds": round(seconds, 2), "restored": bringing.brought.restored}
    figures["messages_per_second"] = round(messages / seconds)
    figures["cpu_seconds"] = round(time.process_time() - used, 2)  # of sender, store and appends; others' load is out
    copy.close()
    report = await cli.call(to_store.CheckStore(True))
    figures["problems"] = list(report.problems)
    await service.stop()
    exchange.close()
    figures["load"] = os.getloadavg()[0]
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--octets", type=int, default=4000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        try:
            figures = asyncio.run(measure(options.messages, options.octets, options.accounts, Path(folder)))
        finally:
            os.chdir(before)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.output:
        Path(options.output).write_text(text + "\n")


if __name__ == "__main__":
    main()

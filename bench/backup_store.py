"""Backup and restore of one store: rate, and what those who append meanwhile notice of it.

    python bench/backup_store.py [--messages 100000] [--octets 4000] [--output FILE]

One process, as `store` is one; the stream is read from the holder itself and opened again into a second directory,
without an edge between. The loop's pause is the longest that a timer of 1 ms came late. Appends are of one message
each, one after another, each durable before its answer.
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.identifiers import TenantId, new_id
from bulkhead.records.backup import LEAD_MAX, PrivateKeys, StreamOpener, read_lead
from bulkhead.store import restore
from bulkhead.store.process import start

STORE, MX, CLI = Channel("store", 0, 1), Channel("mx", 0, 1), Channel("cli", 0, 1)
BATCH = 200


class Peer:
    """One that asks the store, in the same process."""

    def __init__(self, channel: Channel, store: Exchange) -> None:
        self._exchange = Exchange(channel, lambda *_: None)
        ours, theirs = socket.socketpair()
        self._exchange.attach(ours, STORE, 1)
        store.attach(theirs, channel, 1)

    async def call(self, request: Any, body: bytes | None = None) -> Any:
        """The reply."""
        return await self._exchange.to("store").call(request, body, timeout=60.0)


def stamp() -> Stamp:
    """Of a fresh request."""
    return Stamp.fresh("bench", 600.0)


async def append(mx: Peer, account: bytes, octets: int) -> None:
    """One message, durable on return."""
    body = os.urandom(octets)
    copy = to_store.Copy(account, new_id(), bytes(87), octets, 500, 500, octets - 1000, int(time.time()))
    await mx.call(to_store.DeliverMail(stamp(), (copy,)), body)


class Watch:
    """How late a timer of 1 ms came at most, and how long appends took, while it runs."""

    def __init__(self, mx: Peer, account: bytes, octets: int) -> None:
        self.late, self.took = 0.0, list[float]()
        self._append = lambda: append(mx, account, octets)
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._work())]

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self.late = max(self.late, time.perf_counter() - due)

    async def _work(self) -> None:
        while True:
            begin = time.perf_counter()
            await self._append()
            self.took.append(time.perf_counter() - begin)

    def end(self) -> dict[str, float]:
        """Milliseconds."""
        for task in self._tasks:
            task.cancel()
        ranks = statistics.quantiles(self.took, n=100)
        return {
            "appends": len(self.took),
            "p50_ms": round(ranks[49] * 1000, 2),
            "p99_ms": round(ranks[98] * 1000, 2),
            "longest_ms": round(max(self.took) * 1000, 2),
            "loop_late_ms": round(self.late * 1000, 2),
        }


async def measure(messages: int, octets: int, place: Path) -> dict[str, Any]:
    """All figures."""
    keys = [X25519PrivateKey.generate() for _ in range(2)]
    texts = [base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in keys]
    pinned = {"recovery_partner": texts[0], "recovery_operator": texts[1]}
    home = place / "store"
    home.mkdir()
    os.chdir(home)
    exchange = Exchange(STORE, lambda *_: None)
    host = Host(STORE, TenantId("bench"), {"store": {"segment_bytes": 1 << 26}, "pinned": pinned}, exchange)
    service: Any = await start(host)
    mx, cli, account = Peer(MX, exchange), Peer(CLI, exchange), new_id()
    await cli.call(to_store.OpenAccount(stamp(), account, 0))
    for _ in range(0, messages, BATCH):
        await asyncio.gather(*(append(mx, account, octets) for _ in range(BATCH)))
    quiet = Watch(mx, account, octets)
    await asyncio.sleep(3.0)
    figures: dict[str, Any] = {"messages": messages, "octets": octets, "without": quiet.end()}

    file, busy, begin = place / "stream", Watch(mx, account, octets), time.perf_counter()
    begun = await service.state.backups.begin(to_store.BeginBackup("bench-1"))
    figures["begin_ms"] = round((time.perf_counter() - begin) * 1000, 2)
    answer = await service.state.backups.read(to_store.ReadBackup("bench-1"))
    figures["copied_seconds"] = round(time.perf_counter() - begin, 2)
    with file.open("wb") as out:
        async for piece in answer.body:
            await asyncio.to_thread(out.write, piece)
    seconds = time.perf_counter() - begin
    figures["during"] = busy.end()
    size = file.stat().st_size
    figures |= {"stream_octets": size, "seconds": round(seconds, 2), "mib_per_second": round(size / 2**20 / seconds)}
    figures["messages_per_second"] = round(messages / seconds)

    again = await service.state.backups.begin(to_store.BeginBackup("bench-2", begun.final, "bench-1", True))
    figures["second_carries"] = [len(again.carried), len(again.segments)]
    await service.stop()
    exchange.close()

    begin = time.perf_counter()
    restored = place / "restored"
    (restored / "segments").mkdir(parents=True)
    with file.open("rb") as source:
        lead = read_lead(source.read(LEAD_MAX))
        source.seek(lead.length)
        pieces = iter(lambda: source.read(1 << 20), b"")
        for name, _, piece in StreamOpener(lead, PrivateKeys(*keys)).files(pieces):
            with (restored / name).open("ab") as out:
                out.write(piece)
    written = time.perf_counter() - begin
    await restore.finish(restored, (), history_intact=False)
    found, problems = restore.problems_of(restored)
    seconds = time.perf_counter() - begin
    figures["restore"] = {
        "messages": found, "problems": len(problems), "opened_seconds": round(written, 2),
        "seconds": round(seconds, 2), "messages_per_second": round(found / seconds),
    }  # fmt: skip
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--octets", type=int, default=4000)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    output = Path(options.output).absolute() if options.output else None
    with tempfile.TemporaryDirectory() as place:
        figures = asyncio.run(measure(options.messages, options.octets, Path(place)))
        os.chdir("/")
    text = json.dumps(figures, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n")


if __name__ == "__main__":
    main()

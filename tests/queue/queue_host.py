"""A queue over the files of a folder, with its edges, in this process; it can be dropped as kill -9 would."""

import asyncio
import hashlib
import socket
from pathlib import Path
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_queue import CheckQueue, Enqueue, QueueReport
from bulkhead.identifiers import new_id
from bulkhead.queue.forwards import Forwards
from bulkhead.queue.process import QueueService, open_queue

SECTION = {
    "retry_first_seconds": 1800,
    "retry_max_seconds": 14_400,
    "expire_seconds": 432_000,
    "warn_seconds": 14_400,
    "messages_max": 100,
    "messages_per_account_hour": 0,
    "recipients_per_account_hour": 0,
    "recipients_per_account_day": 0,
    "forwards_per_account_day": 0,
    "forwards_per_tenant_day": 0,
}


def join(one: Exchange, other: Exchange, generation: int = 1) -> None:
    """An edge between two exchanges of this process."""
    left, right = socket.socketpair()
    one.attach(left, other.me, generation)
    other.attach(right, one.me, generation)


def fail(*what: object) -> None:
    """An edge of a test must not see a violation."""
    raise AssertionError(what)


def body_of(queue_id: bytes, size: int = 500) -> bytes:
    """Some sealed text."""
    seed = hashlib.sha256(queue_id).digest()
    return (seed * (size // 32 + 1))[:size]


class QueueHost:
    """The folder's queue. `clock` is its time in ms, moved by the test. forward_key: pinned, base64."""

    def __init__(self, folder: Path, *, forward_key: str = "", **section: int) -> None:
        self.folder, self.section = folder, {**SECTION, **section}
        self.forward_key = forward_key
        self.clock = 1_800_000_000_000
        self.generation = 0
        self.service: QueueService
        self.exchange: Exchange
        self.peers = {name: Exchange(Channel(name, 0, 1), fail) for name in ("mx", "submit", "courier", "cli")}

    def open(self) -> "QueueHost":
        """Start, or start again, and attach every peer."""
        self.generation += 1
        self.exchange = Exchange(Channel("queue", 0, self.generation), fail)
        forwards = Forwards.configured("kddi", {"queue": self.section, "pinned": {"forward_key": self.forward_key}})
        self.service = open_queue(self.exchange, self.section, self.folder, now=lambda: self.clock, forwards=forwards)
        for peer in self.peers.values():
            join(self.exchange, peer, self.generation)
        return self

    def kill(self) -> None:
        """Drop the process's state and edges without a word; what it had not committed is gone."""
        queue = self.service.queue
        queue._closed = True
        queue.leases.clear()
        if queue._timer is not None:
            queue._timer.cancel()
        self.exchange.close()
        queue.database._jobs.put(None)  # its writer ends without folding the WAL in
        queue.database._thread.join()
        queue.database._reader.close()
        queue.database._writer.close()
        queue.syncing.shutdown(wait=True)

    async def close(self) -> None:
        """Stop in good order."""
        await self.service.stop()
        self.exchange.close()
        for peer in self.peers.values():
            peer.close()
        await asyncio.sleep(0)

    async def ask(self, request: Any, peer: str = "courier", body: Any = None) -> Any:
        """A peer's call."""
        return await self.peers[peer].to("queue").call(request, body)

    async def enqueue(self, *recipients: str, queue_id: bytes = b"", size: int = 500, request_id: bytes = b"") -> bytes:
        """Enqueue a message; its id."""
        queue_id = queue_id or new_id()
        request = message(queue_id, *recipients, size=size, request_id=request_id)
        assert await self.ask(request, "submit", body_of(queue_id, size)) == Done()
        return queue_id

    async def check(self) -> QueueReport:
        """What fsck says."""
        report: QueueReport = await self.ask(CheckQueue(), "cli")
        return report

    def files(self) -> list[str]:
        """The message files by name."""
        return sorted(path.name for path in (self.folder / "messages").glob("*/*"))


def message(queue_id: bytes, *recipients: str, size: int = 500, request_id: bytes = b"") -> Enqueue:
    """An Enqueue of that many sealed octets."""
    stamp = Stamp.fresh("submit", request_id=request_id or None)
    return Enqueue(
        stamp, queue_id, "sender@kddi.example", recipients or ("a@far.example",), b"box", size, 100, size - 100
    )

"""Runs a real store, unlocked, over an inherited socket, so that its system calls can be traced.

Arguments: descriptor of the edges' parent socket, data directory, bytes of a segment, sync to leave out ("" for none),
"compact" to have it compact all the time.
The other side sends one end of each edge (mx, access, keyring, cli) as a descriptor, in that order.
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.holder import database_file
from bulkhead.store.compaction import Policy
from bulkhead.store.disk import Disk
from bulkhead.store.process import open_store

CLIENTS = ("mx", "access", "keyring", "cli")


class Forgetful(Disk):
    """Leaves one kind of sync out."""

    def __init__(self, left_out: str) -> None:
        self._left_out = left_out

    def fdatasync(self, fd: int) -> None:
        if self._left_out != "segment":
            super().fdatasync(fd)

    def fsync_directory(self, path: str) -> None:
        if self._left_out != "directory":
            super().fsync_directory(path)


class Hasty:
    """A store's state, or its database, to a compactor that names its copies without a sync of them."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return Hasty(found) if name == "database" else found

    async def write(self, work: Any, *, before: object = None) -> Any:
        return await self._real.write(work)


def forget_wal() -> None:
    """SQLite leaves its own syncs out."""
    connect = database_file.connect

    def careless(path: Path, *, secure_delete: bool) -> object:
        connection = connect(path, secure_delete=secure_delete)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    database_file.connect = careless


async def main(parent: socket.socket, segment_bytes: int, left_out: str, policy: Policy) -> None:
    _, ends, _, _ = socket.recv_fds(parent, 16, len(CLIENTS))
    exchange = Exchange(Channel("store", 0, 1), lambda *_: os._exit(3))
    store = await open_store(exchange, Forgetful(left_out), segment_bytes, policy)
    if left_out == "copies":
        store.state.compactor._state = Hasty(store.state)
    for client, end in zip(CLIENTS, ends, strict=True):
        exchange.attach(socket.socket(fileno=end), Channel(client, 0, 1), 1)
    parent.send(b"ready")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await store.stop()


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    if sys.argv[4] == "wal":
        forget_wal()
    eager = Policy(dead_percent=10, period=0.02, bytes_per_second=1 << 34, dead_bytes_min=1, quiet_commits=1e9)
    asyncio.run(
        main(
            socket.socket(fileno=int(sys.argv[1])),
            int(sys.argv[3]),
            sys.argv[4],
            eager if sys.argv[5:] == ["compact"] else Policy(),
        )
    )

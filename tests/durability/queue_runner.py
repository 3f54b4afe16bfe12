"""Runs a real queue, unlocked, over an inherited socket, so that its system calls can be traced.

Arguments: descriptor of the edges' parent socket, data directory, what to leave out: `file`, `directory` or `wal` for
that kind of sync, `order` for the removal of a message's file before its row's is durable, "" for nothing.
The other side sends one end of each edge (submit, courier) as a descriptor, in that order.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from tests.durability.store_runner import forget_wal
from tests.queue.queue_host import SECTION

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.queue import files, rows
from bulkhead.queue.process import open_queue

CLIENTS = ("submit", "courier")


def leave_out(what: str) -> None:
    """Break one promise."""
    if what == "wal":
        forget_wal()
    elif what == "file":
        files.MessageFiles.sync = lambda self, queue_id, _: files.sync_folder(self._path(queue_id).parent)
    elif what == "directory":
        files.MessageFiles.sync = lambda _, __, file: os.fdatasync(file.fileno())
    elif what == "order":
        record = rows.record

        def hasty(connection, report, *rest):
            attempted = record(connection, report, *rest)
            if rest[-1].gone:
                path = files.MessageFiles(Path())._path(report.queue_id)
                path.unlink(missing_ok=True)
                files.sync_folder(path.parent)
            return attempted

        rows.record = hasty


async def main(parent: socket.socket) -> None:
    _, ends, _, _ = socket.recv_fds(parent, 16, len(CLIENTS))
    exchange = Exchange(Channel("queue", 0, 1), lambda *_: os._exit(3))
    open_queue(exchange, SECTION | {"messages_max": 10_000}, Path())
    for client, end in zip(CLIENTS, ends, strict=True):
        exchange.attach(socket.socket(fileno=end), Channel(client, 0, 1), 1)
    parent.send(b"ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    leave_out(sys.argv[3])
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1]))))

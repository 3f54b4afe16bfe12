"""Runs a real directory, unlocked, in a process that adds and suspends accounts itself, to be traced.

Arguments: descriptor of the parent's socket, data directory, `wal` to leave out SQLite's syncs or "". After each change
the parent is sent a line `MARK ADDRESS STATUS`; after the last, `MARK end`.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from tests.directory.conftest import running
from tests.durability.store_runner import forget_wal

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import AccountStatus, SetAccountStatus

CALLERS, EACH = 6, 20


async def main(parent: socket.socket) -> None:
    async with running(Path.cwd()) as directory:
        parent.send(b"ready")

        async def change(caller: int) -> None:
            for number in range(EACH):
                address = f"user{caller}.{number}@kddi.example"
                await directory.add(address)
                parent.send(f"MARK {address} {AccountStatus.ACTIVE:d}\n".encode())
                await directory.ask(SetAccountStatus(Stamp.fresh("test"), address, AccountStatus.SUSPENDED, "test"))
                parent.send(f"MARK {address} {AccountStatus.SUSPENDED:d}\n".encode())

        await asyncio.gather(*(change(caller) for caller in range(CALLERS)))
        parent.send(b"MARK end\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    if sys.argv[3] == "wal":
        forget_wal()
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1]))))

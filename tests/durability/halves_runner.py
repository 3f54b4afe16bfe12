"""Runs a real auth and keyring, unlocked, in one process that sets passwords itself, so that its calls can be traced.

Arguments: descriptor of the parent's socket, data directory, `wal` to leave out SQLite's syncs or "". Before and after
each change the parent is sent a line `MARK begun|done ACCOUNT NUMBER`; after the last, `MARK end`.
"""

import asyncio
import socket
import sys
from pathlib import Path

from tests.auth.test_auth_passwords import recover
from tests.durability.store_runner import forget_wal
from tests.keyring.two_halves import new_cell, opened

from bulkhead.identifiers import AccountId, new_id

ACCOUNTS, CHANGES = 8, 5


def password(number: int) -> bytes:
    """The account's password after so many changes."""
    return b"password number %d" % number


async def main(parent: socket.socket, root: Path) -> None:
    async with opened(new_cell(root)) as cell:
        parent.send(b"ready")

        async def change_often() -> None:
            account = AccountId(new_id())
            for number in range(CHANGES):
                token = (await cell.create(account)).token if not number else await recover(cell, account)
                parent.send(f"MARK begun {account.hex()} {number}\n".encode())
                await cell.set_password(account, password(number), token)
                parent.send(f"MARK done {account.hex()} {number}\n".encode())

        await asyncio.gather(*(change_often() for _ in range(ACCOUNTS)))
        parent.send(b"MARK end\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[3] == "wal":
        forget_wal()
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])))

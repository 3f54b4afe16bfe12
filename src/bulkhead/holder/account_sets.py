"""Sets of accounts that stops name: sorted ids in a row, in memory whole, on disk in pieces; known by their digest.

Whoever stages a set stops nobody. In memory 16 octets an account; a look-up is a bisection.
"""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable
from functools import partial

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.surfaces import ID_BYTES, SET_ACCOUNTS_MAX, AccountsStaged, StageAccountsBase
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.database import Database

PIECE = 4096 * ID_BYTES  # octets of a row
SETS_MAX = 64
HELD_MAX = 2 * SET_ACCOUNTS_MAX * ID_BYTES  # octets of all sets
UNUSED_SECONDS = 3600.0  # how long a set that no stop names is kept
SCHEMA = """
CREATE TABLE account_set (digest BLOB PRIMARY KEY, octets INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE account_set_piece (
    digest BLOB NOT NULL, number INTEGER NOT NULL, ids BLOB NOT NULL, UNIQUE (digest, number)
)
"""


class AccountSets:
    """By digest. in_use: digests that a stop names, which are never dropped for room."""

    def __init__(self, database: Database, in_use: Callable[[], set[bytes]]) -> None:
        self._database, self._in_use = database, in_use
        self._sets: dict[bytes, bytes] = {}
        self._staged: dict[bytes, float] = {}  # since when, monotonic
        for digest, _ in database.read("SELECT digest, octets FROM account_set"):
            pieces = database.read("SELECT ids FROM account_set_piece WHERE digest = ? ORDER BY number", (digest,))
            self._sets[digest] = b"".join(ids for (ids,) in pieces)
            self._staged[digest] = time.monotonic()

    def require(self, digest: bytes) -> None:
        """Raises Refused (`no-such-set`). The empty one is everybody."""
        if digest and digest not in self._sets:
            raise Refused("no such set of accounts was staged here", code="no-such-set")

    def count(self, digest: bytes) -> int:
        """Accounts of a set; 0 for everybody."""
        return len(self._sets.get(digest, b"")) // ID_BYTES

    def has(self, digest: bytes, account: bytes) -> bool:
        """Whether an account is of that set; everybody is of the empty one. A set that is lost has everybody."""
        if not digest:
            return True
        ids = self._sets.get(digest)
        if ids is None:
            return True
        low, high = 0, len(ids) // ID_BYTES
        while low < high:
            middle = (low + high) // 2
            if ids[middle * ID_BYTES : (middle + 1) * ID_BYTES] < account:
                low = middle + 1
            else:
                high = middle
        return ids[low * ID_BYTES : (low + 1) * ID_BYTES] == account

    async def stage(self, request: StageAccountsBase, body: BodyReader | None) -> AccountsStaged:
        """Take a set in. In memory it holds also where the disk refuses it.

        Raises Refused (`bad-set`, `too-many-sets`), TemporaryFailure where its sender gave up.
        """
        if request.digest in self._sets:
            self._staged[request.digest] = time.monotonic()
            if self._database.first("SELECT 1 FROM account_set WHERE digest = ?", (request.digest,)) is not None:
                return AccountsStaged(self.count(request.digest), durable=True)
        ids = await _read_set(request.digest, body)
        await self._make_room(len(ids))
        self._sets[request.digest], self._staged[request.digest] = ids, time.monotonic()
        try:
            await self._database.write(partial(_put, digest=request.digest, ids=ids))
        except TemporaryFailure:
            return AccountsStaged(self.count(request.digest), durable=False)
        return AccountsStaged(self.count(request.digest), durable=True)

    async def _make_room(self, octets: int) -> None:
        used, now = self._in_use(), time.monotonic()
        old = [digest for digest in self._sets if digest not in used and self._staged[digest] < now - UNUSED_SECONDS]
        held = sum(len(ids) for digest, ids in self._sets.items() if digest not in old)
        if len(self._sets) - len(old) >= SETS_MAX or held + octets > HELD_MAX:
            raise Refused("too many sets of accounts are kept: lift stops, or name fewer", code="too-many-sets")
        for digest in old:
            del self._sets[digest], self._staged[digest]
        if old:
            await self._database.write(partial(_drop, digests=old))


async def _read_set(digest: bytes, body: BodyReader | None) -> bytes:
    ids = bytearray()
    last = b""
    while body is not None and (chunk := await body.read()):
        begin = len(ids) // ID_BYTES * ID_BYTES
        ids += chunk
        if len(ids) > SET_ACCOUNTS_MAX * ID_BYTES:
            break
        for at in range(begin, len(ids) - ID_BYTES + 1, ID_BYTES):  # a chunk: 4,096 ids at most
            if (one := bytes(ids[at : at + ID_BYTES])) <= last:
                raise Refused("the ids of a set ascend, none twice", code="bad-set")
            last = one
    whole = bytes(ids)
    found = await asyncio.get_running_loop().run_in_executor(None, lambda: hashlib.sha256(whole).digest())
    if not whole or len(whole) % ID_BYTES or len(whole) > SET_ACCOUNTS_MAX * ID_BYTES or found != digest:
        raise Refused("that is not the set of this digest", code="bad-set")
    return whole


def _put(connection: sqlite3.Connection, *, digest: bytes, ids: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO account_set VALUES (?, ?)", (digest, len(ids)))
    connection.executemany(
        "INSERT OR REPLACE INTO account_set_piece (digest, number, ids) VALUES (?, ?, ?)",
        ((digest, at // PIECE, ids[at : at + PIECE]) for at in range(0, len(ids), PIECE)),
    )


def carry(connection: sqlite3.Connection, before: Database, digest: bytes) -> None:
    """A set of another database, into this one."""
    for table, marks in (("account_set", "?, ?"), ("account_set_piece", "?, ?, ?")):
        rows = before.read(f"SELECT * FROM {table} WHERE digest = ?", (digest,))  # noqa: S608  # a name of our schema
        connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608  # the same


def _drop(connection: sqlite3.Connection, *, digests: list[bytes]) -> None:
    for digest in digests:
        connection.execute("DELETE FROM account_set WHERE digest = ?", (digest,))
        connection.execute("DELETE FROM account_set_piece WHERE digest = ?", (digest,))

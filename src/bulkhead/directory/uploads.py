"""Provisioning files that come in parts and wait here: chunks by their digests, until they are carried out or expire.

A chunk that is not of a begun file is refused before a line of it is read. What keyring and store have to do before a
chunk is read out of it here, so that who carries it through a console chooses no account and no number.
"""

import sqlite3
from collections.abc import Iterator
from functools import partial

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.to_directory import AccountLimit, ProvisionState, Service, UploadState
from bulkhead.directory.book import DirectoryBook, find_account, find_living, now_ms
from bulkhead.directory.provision import Provisioning
from bulkhead.errors import PeerError, Refused
from bulkhead.identifiers import AccountId, parse_address
from bulkhead.records.provision import Line, account_of_line, chunk_hash, lines_of, parse_line

HELD_BYTES_MAX = 128 << 20  # of all files: what is carried out makes room for more
HELD_MS = 24 * 3_600_000  # how long a chunk waits


class Uploads:
    """The chunks that one directory holds."""

    def __init__(self, book: DirectoryBook, provisioning: Provisioning) -> None:
        self._book, self._provisioning = book, provisioning

    async def upload(self, request: m.UploadChunk) -> UploadState:
        """Keep a chunk. Raises Refused (`no-such-file`, `other-chunk`, `upload-full`)."""
        state = self._provisioning.show(request.root)
        if state.chunk == state.chunks:
            return self.show(request.root)
        if request.number >= state.chunks:
            raise Refused(f"the file has {state.chunks} chunks, counted from 0", code="other-chunk")
        (hashes,) = self._book.database.first("SELECT hashes FROM provision WHERE root = ?", (request.root,))
        if chunk_hash(request.data) != hashes[32 * request.number : 32 * request.number + 32]:
            raise Refused("the lines are not those that were signed", code="other-chunk")
        if any(line.password is not None for _, line in _parsed(request.data, 1)):
            raise Refused("the file brings first passwords: bulkhead provision apply", code="has-passwords")
        if request.number >= state.chunk:
            await self._book.database.write(partial(_keep, request=request))  # the same chunk again is the same
        return self.show(request.root)

    def show(self, root: bytes) -> UploadState:
        """How far a file has come, and what of it waits. Raises Refused (`no-such-file`)."""
        state, since = self._provisioning.show(root), now_ms() - HELD_MS
        rows = self._book.database.read(
            "SELECT number, since FROM provision_part WHERE root = ? AND since > ? ORDER BY number", (root, since)
        )
        missing = state.chunk
        for number, _ in rows:
            missing += number == missing
        expires = min((one for _, one in rows), default=0)
        return UploadState(state, len(rows), missing, expires + HELD_MS if rows else 0)

    def plan(self, root: bytes) -> m.ChunkPlan:
        """What comes before the next chunk. Raises Refused (`no-such-file`, `not-uploaded`)."""
        state = self._provisioning.show(root)
        if state.chunk == state.chunks:
            return m.ChunkPlan(state.chunk, (), ())
        lines = self._lines(state)
        made: dict[str, AccountId] = {}
        makes: dict[AccountId, int] = {}
        limits: dict[AccountId, int] = {}
        for number, line in lines:
            if line.do == "add-account":
                account, key = account_of_line(root, number), parse_address(line.text("address")).key
                if key not in made and self._owner(key) in (None, account):
                    made[key], makes[account] = account, line.number("quota") or self._book.default_quota
            elif line.do in ("quota", "class"):
                limits |= dict(self._limit(line, made))
        return m.ChunkPlan(
            state.chunk,
            tuple(AccountLimit(*one) for one in makes.items()),
            tuple(AccountLimit(*one) for one in limits.items()),
        )

    async def carry_out(self, request: m.CarryOutChunk) -> UploadState:
        """The next chunk, of what waits. Raises Refused (`no-such-file`, `not-uploaded`, `not-next`)."""
        state = self._provisioning.show(request.root)
        if request.number >= state.chunk:
            data = self._data(state)
            chunk = m.ProvisionChunk(request.stamp, request.root, request.number, data, request.bindings)
            await self._provisioning.chunk(chunk, unaided=True)
            done = partial(_drop, root=request.root, number=request.number)
            await self._book.database.write(done)
        return self.show(request.root)

    def _data(self, state: ProvisionState) -> bytes:
        query = "SELECT data FROM provision_part WHERE root = ? AND number = ? AND since > ?"
        row = self._book.database.first(query, (state.root, state.chunk, now_ms() - HELD_MS))
        if row is None:
            raise Refused(f"chunk {state.chunk} is not here: upload it", code="not-uploaded")
        return bytes(row[0])

    def _lines(self, state: ProvisionState) -> Iterator[tuple[int, Line]]:
        (first,) = self._book.database.first("SELECT first FROM provision WHERE root = ?", (state.root,))
        return _parsed(self._data(state), first)

    def _owner(self, key: str) -> AccountId | None:
        try:
            return AccountId(find_account(self._book.database, key)[0].account)
        except (Refused, PeerError):
            return None

    def _limit(self, line: Line, made: dict[str, AccountId]) -> Iterator[tuple[AccountId, int]]:
        """The quota that store is to hold an account to with this line; nothing where the line will be refused."""
        key = parse_address(line.text("address")).key
        try:
            account, closed = (made[key], 0) if key in made else self._living(key)
        except Refused:
            return
        if line.do == "quota":
            yield account, line.number("octets")
            return
        row = self._book.database.first("SELECT quota, closed FROM class WHERE name = ?", (line.text("class"),))
        if row is not None and not (row[1] ^ closed) & Service.LOGIN:
            yield account, int(row[0])

    def _living(self, key: str) -> tuple[AccountId, int]:
        row, _ = find_living(self._book.database, key)
        return AccountId(row.account), row.closed


def _parsed(data: bytes, first: int) -> Iterator[tuple[int, Line]]:
    for number, octets in enumerate(lines_of(data), first):
        try:
            yield number, parse_line(octets)
        except Refused:
            continue  # it is refused and listed when it is carried out


def _keep(connection: sqlite3.Connection, *, request: m.UploadChunk) -> None:
    now = now_ms()
    connection.execute("DELETE FROM provision_part WHERE since <= ?", (now - HELD_MS,))
    (held,) = connection.execute("SELECT coalesce(sum(length(data)), 0) FROM provision_part").fetchone()
    if held + len(request.data) > HELD_BYTES_MAX:
        raise Refused(f"{HELD_BYTES_MAX >> 20} MiB wait here: have some carried out first", code="upload-full")
    values = (request.root, request.number, request.data, now)
    connection.execute("INSERT OR REPLACE INTO provision_part VALUES (?, ?, ?, ?)", values)
    connection.execute("UPDATE provision SET changed = ? WHERE root = ?", (now, request.root))


def _drop(connection: sqlite3.Connection, *, root: bytes, number: int) -> None:
    connection.execute("DELETE FROM provision_part WHERE root = ? AND number <= ?", (root, number))

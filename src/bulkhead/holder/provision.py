"""Provisioning files in the holders of credentials: first passwords, and who may log in, as officers signed the file.

Each verifies the order under its own roster (the guard), the list of digests, and each chunk before it reads a line.
Chunks come in order, as an account's id follows from the number of its line; how far a file has come is durable with
each slice of lines. Lines name accounts by their ids: no directory says here who is meant.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.provision import BeginFileBase, FileChunkBase, FileState, FirstPassword
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.holder.account_states import AccountState, AccountTable
from bulkhead.holder.database import Database
from bulkhead.holder.orders import Orders, clock_ms
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId
from bulkhead.records.provision import (
    LINES_MAX,
    Line,
    account_of_line,
    chunk_hash,
    lines_of,
    parse_header,
    parse_line,
    password_name,
    root_of,
)

SCHEMA = """
CREATE TABLE provision (
    root BLOB PRIMARY KEY, lines INTEGER NOT NULL, hashes BLOB NOT NULL,    -- of chunks, 32 octets each
    chunk INTEGER NOT NULL, first INTEGER NOT NULL,         -- the next chunk, and its first line
    done INTEGER NOT NULL, begun INTEGER NOT NULL           -- lines that are through; ms
)
"""
FILES_MAX = 100  # that are under way at once, each with the digests of its chunks
KNOWN_MAX = 20_000  # that are known at once: some hundred a day, of which little is kept once they are through
KEPT_MS = 60 * 86_400_000  # how long one is known: longer than any order for it lives
SLICE = 25  # lines of one transaction: a login waits no longer
AT_ONCE = 8  # first passwords
NARROWS, WIDENS = "suspend-account", "activate-account"  # actions whose signatures such lines need, too
_STATE = "SELECT root, lines, max(length(hashes) / 32, chunk), chunk FROM provision WHERE root = ?"
Row = tuple[int, Line]


@dataclass(frozen=True, slots=True)
class Part:
    """What one holder does of a file. row: key of an account.

    promise: within the transaction, for an account whose first password the file brings. first: sets that password,
    once. closed: after an account was closed.
    """

    table: AccountTable
    row: Callable[[AccountId], bytes]
    promise: Callable[[sqlite3.Connection, AccountId], None] = lambda _, __: None
    first: Callable[[AccountId, FirstPassword, str], Awaitable[None]] | None = None
    closed: Callable[[AccountId], object] = lambda _: None


class Files:
    """The files of one holder."""

    def __init__(self, database: Database, exchange: Exchange, orders: Orders, tenant: str, part: Part) -> None:
        self._database, self._exchange, self._orders, self._tenant = database, exchange, orders, tenant
        self._part, self._alone = part, asyncio.Lock()

    async def begin(self, request: BeginFileBase) -> FileState:
        """A file that is to come, or goes on. Raises Refused, TemporaryFailure."""
        if len(request.hashes) % 32 or root_of(request.lines, request.hashes) != request.root:
            raise Refused("the digests are not those of that file", code="other-root")
        if not 1 <= request.lines <= LINES_MAX:
            raise Refused(f"a file has at most {LINES_MAX} lines", code="too-large")
        row = self._database.first(_STATE, (request.root,))
        if row is not None:
            return FileState(*row)
        details: dict[str, str | int | bool | None] = {"root": request.root.hex(), "lines": request.lines}
        await witness(self._exchange, request.stamp, "ProvisionBegun", details)
        return await self._database.mutate(request, partial(_begin, request=request))

    async def chunk(self, request: FileChunkBase) -> FileState:
        """The next lines. Raises Refused (`no-such-file`, `not-next`, `other-chunk`), TemporaryFailure."""
        async with self._alone:
            row = self._database.first(
                "SELECT chunk, first, done, hashes FROM provision WHERE root = ?", (request.root,)
            )
            if row is None:
                raise Refused("that file was not begun", code="no-such-file")
            chunk, first, done, hashes = row
            if request.number < chunk:
                return self._state(request.root)
            if request.number > chunk or 32 * chunk >= len(hashes):
                raise Refused(f"the next chunk is {chunk}", code="not-next")
            if chunk_hash(request.data) != hashes[32 * chunk : 32 * chunk + 32]:
                raise Refused("the lines are not those that were signed", code="other-chunk")
            lines = lines_of(request.data)
            if not chunk and parse_header(lines[0])[0] != self._tenant:
                raise Refused("the file is another tenant's", code="other-tenant")
            allowed = {action: self._orders.signed_for(action, request.root) for action in (NARROWS, WIDENS)}
            rows = [row for row in _rows(lines, first, frozenset(request.held)) if _holds(row[1], allowed)]
            await self._set_first(request, rows)
            while done < first + len(lines) - 1:
                until = min(done + SLICE, first + len(lines) - 1)
                some = [row for row in rows if done < row[0] <= until]
                closed = await self._database.write(partial(self._carry_out, root=request.root, rows=some, until=until))
                for account in closed:
                    self._part.closed(account)
                done = until
                await asyncio.sleep(0)
            return await self._database.mutate(request, partial(_end_chunk, request=request, first=first + len(lines)))

    def _state(self, root: bytes) -> FileState:
        return FileState(*self._database.first(_STATE, (root,)))

    async def _set_first(self, request: FileChunkBase, rows: Sequence[Row]) -> None:
        """The first passwords of a chunk, before anything else of it: what suspends an account comes later in it."""
        first, given = self._part.first, {_name(one): one for one in getattr(request, "passwords", ())}
        if first is None:
            return
        slots, actor = asyncio.Semaphore(AT_ONCE), f"provision:{request.root.hex()[:16]}"

        async def one(account: AccountId, password: FirstPassword) -> None:
            async with slots:
                with contextlib.suppress(Refused):  # keyring was not told of it: directory gets no binding
                    await first(account, password, actor)

        found = [(account_of_line(request.root, number), given[line.password]) for number, line in rows
                 if line.password in given]  # fmt: skip
        ended = await asyncio.gather(*(one(*each) for each in found), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    def _carry_out(
        self, connection: sqlite3.Connection, *, root: bytes, rows: Sequence[Row], until: int
    ) -> list[AccountId]:
        """A slice, and how far the file has come with it; the accounts that were closed."""
        closed = []
        for number, line in rows:
            if line.password is not None:
                self._part.promise(connection, account_of_line(root, number))
                continue
            account, opens = line.account(root), line.opens
            if account is None or opens is None:
                continue
            with contextlib.suppress(Refused):  # of a destroyed account, or of none: directory refuses the line, too
                self._part.table.set(connection, self._part.row(account), _asked(line, opens=opens))
                closed += [] if opens else [account]
        connection.execute("UPDATE provision SET done = ? WHERE root = ?", (until, root))
        return closed


def handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `files`. module: its `to_<name>`."""

    async def begin_provision(state: Any, _: Channel, request: BeginFileBase, __: BodyReader | None) -> FileState:
        """A provisioning file is to come."""
        begun: FileState = await state.files.begin(request)
        return begun

    async def provision_chunk(state: Any, _: Channel, request: FileChunkBase, __: BodyReader | None) -> FileState:
        """Its next lines."""
        done: FileState = await state.files.chunk(request)
        state.outbox.wake()
        return done

    return {module.BeginProvision: begin_provision, module.ProvisionChunk: provision_chunk}


def _rows(lines: Sequence[bytes], first: int, held: frozenset[int]) -> Iterator[Row]:
    """Lines that are anything to a holder of credentials."""
    for number, octets in enumerate(lines, first):
        with contextlib.suppress(Refused):  # directory lists it
            line = parse_line(octets)
            if (line.opens is not None or line.password is not None) and number not in held:
                yield number, line


def _holds(line: Line, allowed: Mapping[str, bool]) -> bool:
    return line.opens is None or allowed[WIDENS if line.opens else NARROWS]


def _name(password: FirstPassword) -> bytes:
    return password_name(password.nonce, password.scheme, password.salt, password.digest)


def _asked(line: Line, *, opens: bool) -> int:
    if line.do == "services":
        return AccountState.SWITCHED_ON if opens else AccountState.SWITCHED_OFF
    return AccountState.OPEN if opens else AccountState.SUSPENDED


def _begin(connection: sqlite3.Connection, *, request: BeginFileBase) -> FileState:
    now = clock_ms()
    connection.execute("DELETE FROM provision WHERE begun < ?", (now - KEPT_MS,))
    counts = "SELECT count(*), coalesce(sum(length(hashes) > 32 * chunk), 0) FROM provision"
    known, under_way = connection.execute(counts).fetchone()
    if under_way >= FILES_MAX or known >= KNOWN_MAX:
        raise Refused(
            f"{FILES_MAX} files are under way, or {KNOWN_MAX} are known; each is forgotten after 60 days", code="full"
        )
    values = (request.root, request.lines, request.hashes, now)
    connection.execute("INSERT INTO provision VALUES (?, ?, ?, 0, 1, 0, ?)", values)
    return FileState(*connection.execute(_STATE, (request.root,)).fetchone())


def _end_chunk(connection: sqlite3.Connection, *, request: FileChunkBase, first: int) -> FileState:
    ended = "UPDATE provision SET chunk = chunk + 1, first = ? WHERE root = ? AND chunk = ?"
    connection.execute(ended, (first, request.root, request.number))
    through = "UPDATE provision SET hashes = x'' WHERE root = ? AND length(hashes) <= 32 * chunk"
    connection.execute(through, (request.root,))
    return FileState(*connection.execute(_STATE, (request.root,)).fetchone())

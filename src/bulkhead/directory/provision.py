"""Provisioning files: chunk by chunk, each believed by its digest, and every line done once or refused for itself.

Durable with each slice of lines is how far the file has come, so that it goes on there after any end of this process.
An account that a line makes has an id that follows from file and line, and a binding that `keyring` signed for that
id: who carries the file chooses neither.
"""

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import BindingRow, ProvisionState, RefusedLine, RefusedLines, Service
from bulkhead.directory import routes, services
from bulkhead.directory.book import DirectoryBook, find_account, now_ms
from bulkhead.directory.elsewhere import Elsewhere
from bulkhead.directory.reopening import reopening
from bulkhead.directory.routes import Targets
from bulkhead.directory.transitions import Status
from bulkhead.errors import Error, Refused
from bulkhead.holder import outbox
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.provision import KNOWN_MAX, NARROWS, WIDENS
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId
from bulkhead.records.provision import (
    CHUNKS_MAX,
    HEADER,
    LINES_MAX,
    Line,
    account_of_line,
    chunk_hash,
    lines_of,
    parse_header,
    parse_line,
    root_of,
)

SLICE = 25  # lines of one transaction: a look-up waits no longer
FILES_MAX = 1000  # that are under way at once, each with the digests of its chunks
KEPT_MS = 60 * 86_400_000  # how long a finished one is known: longer than any order for it lives
UNUSED_MS = 7 * 86_400_000  # how long one is known of which no line was carried out: it may be begun again
REFUSED_MAX = 100_000  # lines of one file that are listed
_SERVICES = {"login": Service.LOGIN, "receive": Service.RECEIVE, "send": Service.SEND}
_STATUSES = {"suspend": Status.SUSPENDED, "dormant": Status.DORMANT, "activate": Status.ACTIVE}
_SWITCHES = ("class", "services", *_STATUSES)
_STATE = (
    "SELECT root, lines, max(length(hashes) / 32, chunk), chunk, done, refused, begun, changed FROM provision "
    "WHERE root = ?"
)

Details = dict[str, str | int | bool | None]
Row = tuple[int, Line | Refused]  # a line's number; why it is none


@dataclass(slots=True)
class _File:
    """What a chunk is carried out with."""

    root: bytes
    stamp: Stamp
    bindings: Mapping[AccountId, bytes]
    strict: bool  # whether lines that end or open logins need the signatures of such an order
    signed: Mapping[str, bool]  # by the action of that order: whether they are there
    staff: bool  # a session brought it, and no officer signed: it may do no more than the session


class Provisioning:
    """The files of one directory."""

    def __init__(
        self, book: DirectoryBook, elsewhere: Elsewhere, box: Outbox, exchange: Exchange, orders: Orders
    ) -> None:
        self._book, self._elsewhere, self._outbox, self._exchange = book, elsewhere, box, exchange
        self._orders = orders
        self._alone = asyncio.Lock()

    async def begin(self, request: m.BeginProvision) -> ProvisionState:
        """A file that is to come, or goes on. Raises Refused, TemporaryFailure."""
        if root_of(request.lines, request.hashes) != request.root or len(request.hashes) % 32:
            raise Refused("the digests are not those of that file", code="other-root")
        if not 1 <= request.lines <= LINES_MAX or len(request.hashes) > 32 * CHUNKS_MAX:
            raise Refused(f"a file has at most {LINES_MAX} lines and {CHUNKS_MAX} chunks", code="too-large")
        known = self.find(request.root)
        if known is not None:
            return known
        details: Details = {"root": request.root.hex(), "lines": request.lines}
        await witness(self._exchange, request.stamp, "ProvisionBegun", details)
        return await self._book.database.mutate(request, partial(_begin, request=request))

    async def chunk(self, request: m.ProvisionChunk, *, unaided: bool = False) -> ProvisionState:
        """The next lines. unaided: keyring and auth do not have them, so none of them ends or opens logins.

        Raises Refused (`no-such-file`, `not-next`, `other-chunk`), TemporaryFailure.
        """
        async with self._alone:
            state = self.show(request.root)
            if request.number < state.chunk:
                return state
            if request.number > state.chunk or state.chunk == state.chunks:
                raise Refused(f"the next chunk is {state.chunk}", code="not-next")
            (first, hashes) = self._book.database.first(
                "SELECT first, hashes FROM provision WHERE root = ?", (request.root,)
            )
            if chunk_hash(request.data) != hashes[32 * request.number : 32 * request.number + 32]:
                raise Refused("the lines are not those that were signed", code="other-chunk")
            lines = lines_of(request.data)
            if not request.number and parse_header(lines[0])[0] != self._book.tenant:
                raise Refused("the file is another tenant's", code="other-tenant")
            await self._lines(request, lines, first, state.done, unaided=unaided)
            return await self._book.database.mutate(request, partial(_end_chunk, request=request))

    def find(self, root: bytes) -> ProvisionState | None:
        """How far a file has come."""
        row = self._book.database.first(_STATE, (root,))
        return None if row is None else ProvisionState(*row)

    def show(self, root: bytes) -> ProvisionState:
        """As find. Raises Refused (`no-such-file`)."""
        state = self.find(root)
        if state is None:
            raise Refused("that file was not begun", code="no-such-file")
        return state

    def refused(self, root: bytes, after: int) -> RefusedLines:
        """One page of them."""
        page = "SELECT line, code FROM refused_line WHERE root = ? AND line > ? ORDER BY line LIMIT ?"
        rows = self._book.database.read(page, (root, after, m.PAGE_MAX))
        return RefusedLines(tuple(RefusedLine(*row) for row in rows))

    async def _lines(
        self, request: m.ProvisionChunk, lines: Sequence[bytes], first: int, done: int, *, unaided: bool
    ) -> None:
        actor = f"provision:{request.root.hex()[:16]}"
        stamp = Stamp(actor, request.stamp.request_id, request.stamp.deadline)
        bindings = {row.account: row.record for row in request.bindings}
        signed = {action: not unaided and self._orders.signed_for(action, request.root) for action in (NARROWS, WIDENS)}
        strict, staff = unaided or self._orders.local_refused(), unaided and not self._orders.is_signed(request.root)
        file = _File(request.root, stamp, bindings, strict, signed, staff)
        while (at := done - (first - 1)) < len(lines):
            rows = _slice(lines[at : at + SLICE], done + 1)
            targets = await self._announce(file, rows)
            work = partial(self._carry_out, file=file, rows=rows, targets=targets)
            done = await self._book.database.write(work)
            self._outbox.wake()
            await asyncio.sleep(0)

    async def _announce(self, file: _File, rows: Sequence[Row]) -> dict[int, Targets | Error]:
        """The targets of a slice of forwards, once the ledger has them; or why one is refused.

        What a slice opens again is in the ledger, too: it is compared with what is committed, as a slice is one act.
        """
        found: dict[int, Targets | Error] = {}
        opened: list[Awaitable[None]] = []
        for number, line in rows:
            if isinstance(line, Line) and line.do in _SWITCHES:
                with contextlib.suppress(Error):  # then the line is refused when its turn comes
                    if (one := reopening(self._book.database, _switch(file.stamp, line))) is not None:
                        opened.append(one.announce(self._exchange, _line_stamp(file, number)))
            if isinstance(line, Line) and line.do == "forward":
                request = _forward(file.stamp, line)
                try:
                    account, targets = routes.check_forward(
                        self._book.database, self._elsewhere, request, staff=file.staff
                    )
                except Error as error:
                    found[number] = error
                    continue
                details = routes.forward_details(self._book, request, targets)
                stamp = _line_stamp(file, number)
                await witness(self._exchange, stamp, "ForwardChanged", details, account.account)
                found[number] = targets
        await asyncio.gather(*opened)
        return found

    def _carry_out(
        self,
        connection: sqlite3.Connection,
        *,
        file: _File,
        rows: Sequence[Row],
        targets: Mapping[int, Targets | Error],
    ) -> int:
        """A slice, and how far the file has come with it. Each line is done, or refused and undone."""
        refused = 0
        for number, line in rows:
            connection.execute("SAVEPOINT line")
            try:
                if isinstance(line, Error):
                    raise line
                self._one(connection, file, number, line, targets.get(number))
            except (Error, sqlite3.IntegrityError) as error:
                connection.execute("ROLLBACK TO line")
                refused += 1
                code = error.code if isinstance(error, Error) else "conflict"
                self._refuse(connection, file.root, number, code)
            connection.execute("RELEASE line")
        values = (rows[-1][0], refused, now_ms(), file.root)
        connection.execute("UPDATE provision SET done = ?, refused = refused + ?, changed = ? WHERE root = ?", values)
        return rows[-1][0]

    def _one(self, connection: sqlite3.Connection, file: _File, number: int, line: Line, targets: Any) -> None:
        if isinstance(targets, Error):
            raise targets
        book, stamp, address = self._book, file.stamp, line.text("address")
        match line.do:
            case "add-account":
                binding = self._binding(file, account_of_line(file.root, number))
                book.add_account(connection, m.AddAccount(stamp, address, binding, line.number("quota")))
                if line.password is not None:
                    book.set_status(connection, m.SetAccountStatus(stamp, address, Status.ACTIVE, "first password"))
            case "alias":
                routes.add_alias(book, connection, m.AddAlias(stamp, address, line.text("alias")))
            case "unalias":
                routes.remove_alias(book, connection, m.RemoveAlias(stamp, line.text("alias")))
            case "group-add":
                routes.add_group(book, connection, m.AddGroup(stamp, line.text("group")))
            case "group-join" | "group-leave":
                is_in = line.do == "group-join"
                routes.set_member(book, connection, m.SetMember(stamp, line.text("group"), address, is_in))
            case "group-remove":
                routes.remove_group(book, connection, m.RemoveGroup(stamp, line.text("group")))
            case "forward":
                routes.set_forward(book, connection, _forward(stamp, line), targets=targets)
            case "quota":
                services.set_quota(book, connection, m.SetQuota(stamp, address, line.number("octets")))
            case do if do in _SWITCHES:
                self._switch(connection, file, line, address)

    def _switch(self, connection: sqlite3.Connection, file: _File, line: Line, address: str) -> None:
        """What may end logins, or open them again: keyring and auth have their part of it, by the account's id."""
        before, named = find_account(connection, address)[0], line.account(file.root)
        if named is not None and named != before.account:
            raise Refused("that address is of another account than the line names", code="other-account")
        match _switch(file.stamp, line):
            case m.SetAccountStatus() as request:
                after = self._book.set_status(connection, request)
            case m.SetClass() as request:
                after = services.set_class(self._book, connection, request)
            case m.SetServices() as request:
                after = services.set_services(self._book, connection, request)
        turned = (before.closed ^ after.closed) & Service.LOGIN or before.status != after.status
        if not file.strict or not turned or (before.status, after.status) == (Status.PROVISIONED, Status.ACTIVE):
            return
        if named is None or not file.signed[WIDENS if line.opens else NARROWS]:
            raise Refused(
                "the line names no account id, or the file has too few signatures for it", code="order-required"
            )

    def _binding(self, file: _File, account: AccountId) -> BindingRow:
        """The binding of a new account, verified. Raises Refused (`no-binding`, `bad-binding`)."""
        record = file.bindings.get(account)
        if record is None:
            raise Refused("the account has no mailbox key", code="no-binding")
        binding = BindingRow(account, record)
        self._book.check_binding(binding)
        return binding

    @staticmethod
    def _refuse(connection: sqlite3.Connection, root: bytes, number: int, code: str) -> None:
        (count,) = connection.execute("SELECT refused FROM provision WHERE root = ?", (root,)).fetchone()
        if count < REFUSED_MAX:
            connection.execute("INSERT OR IGNORE INTO refused_line VALUES (?, ?, ?)", (root, number, code[:64]))


def _slice(lines: Sequence[bytes], first: int) -> list[Row]:
    """Parsed lines, up to where forwards begin or end: those are checked against what is committed."""
    rows: list[Row] = []
    forwards = False
    for number, octets in enumerate(lines, first):
        line: Line | Refused
        try:
            line = parse_line(octets)
            if (line.do == HEADER) is not (number == 1):
                line = Refused("the first line says whose file it is, and no other", code="bad-line")
        except Refused as error:
            line = error
        is_forward = isinstance(line, Line) and line.do == "forward"
        if rows and is_forward != forwards:
            break
        forwards = is_forward
        rows.append((number, line))
    return rows


def _forward(stamp: Stamp, line: Line) -> m.SetForward:
    return m.SetForward(stamp, line.text("address"), line.texts("targets"), line.values.get("keep", True) is True)


def _switch(stamp: Stamp, line: Line) -> m.SetAccountStatus | m.SetClass | m.SetServices:
    """A line of _SWITCHES as the single request."""
    address, reason = line.text("address"), line.text("reason")
    if line.do in _STATUSES:
        return m.SetAccountStatus(stamp, address, _STATUSES[line.do], reason)
    if line.do == "class":
        return m.SetClass(stamp, address, line.text("class"))
    return m.SetServices(stamp, address, sum({_SERVICES[name] for name in line.texts("off")}), reason)


def _line_stamp(file: _File, number: int) -> Stamp:
    """The same at every try, so that the ledger has a line once."""
    ident = hashlib.sha256(file.root + number.to_bytes(4)).digest()[:16]
    return Stamp.fresh(file.stamp.actor, request_id=ident)


def _begin(connection: sqlite3.Connection, *, request: m.BeginProvision) -> ProvisionState:
    now = now_ms()
    connection.execute("DELETE FROM provision WHERE done = lines AND changed < ?", (now - KEPT_MS,))
    connection.execute("DELETE FROM provision WHERE done = 0 AND changed < ?", (now - UNUSED_MS,))
    counts = "SELECT count(*), coalesce(sum(length(hashes) > 32 * chunk), 0) FROM provision"
    known, under_way = connection.execute(counts).fetchone()
    if under_way >= FILES_MAX or known >= KNOWN_MAX:
        raise Refused(
            f"{FILES_MAX} files are under way, or {KNOWN_MAX} are known; finished ones are forgotten after 60 days",
            code="full",
        )
    values = (request.root, request.lines, request.hashes, now, now)
    connection.execute(
        "INSERT INTO provision (root, lines, hashes, first, chunk, done, refused, begun, changed) "
        "VALUES (?, ?, ?, 1, 0, 0, 0, ?, ?)",
        values,
    )
    return ProvisionState(*connection.execute(_STATE, (request.root,)).fetchone())


def _end_chunk(connection: sqlite3.Connection, *, request: m.ProvisionChunk) -> ProvisionState:
    """The chunk is done; the last one's end goes to the ledger."""
    ended = "UPDATE provision SET chunk = chunk + 1, first = done + 1 WHERE root = ? AND chunk = ?"
    connection.execute(ended, (request.root, request.number))
    state = ProvisionState(*connection.execute(_STATE, (request.root,)).fetchone())
    if state.chunk == state.chunks:
        connection.execute("UPDATE provision SET hashes = x'' WHERE root = ?", (request.root,))  # of no use any more
        details: Details = {"root": state.root.hex(), "lines": state.done, "refused": state.refused}
        outbox.note(connection, "ProvisionEnded", request.stamp.actor, details)
    return state

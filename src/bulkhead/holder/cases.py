"""Support cases in a holder that shows or does something in them: verified here, by the roster that is pinned here.

Whoever carries a case (a console, the command line) can hold it back, and nothing else. It ends by its hour, when it
is closed, and when its officer, the officer's role or key leaves the roster. Without a roster the command line of the
host opens cases; such a case ends with the first roster. What came from a backup admits nobody until a new roster.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages.fields import Done, Mutation, Reply, Request, Stamp
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.boundary.messages.support import (
    CASES_LISTED_MAX,
    CaseRow,
    CaseRows,
    CloseCaseBase,
    ListCasesBase,
    OpenCaseBase,
)
from bulkhead.boundary.processes import OPERATOR_CONSOLE
from bulkhead.boundary.support import (
    CASE_LIFE_MAX_MS,
    CASE_ROLES,
    CASES_PER_HOUR,
    HOUR_MS,
    LOOKS_PER_HOUR,
)
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.holder import order_rows
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.roster import RosterInForce
from bulkhead.holder.witness import ledger_text, witness
from bulkhead.identifiers import AccountId
from bulkhead.records.canonical import statement_hash
from bulkhead.records.case import CASE_LABEL, LOCAL, Case, check_case, check_signed, decode_case
from bulkhead.records.officer import Approval

SCHEMA = """
CREATE TABLE support_case (
    number BLOB PRIMARY KEY, hash BLOB NOT NULL, account BLOB NOT NULL, about BLOB NOT NULL,
    officer TEXT NOT NULL, role TEXT NOT NULL, key BLOB NOT NULL,   -- of the officer's signature; empty: unsigned
    roster INTEGER NOT NULL,                                        -- the version it was made under; 0: none
    opened INTEGER NOT NULL, expires INTEGER NOT NULL,              -- ms
    closed INTEGER NOT NULL                                         -- ms; 0: open
) WITHOUT ROWID;
CREATE TABLE support_look (officer TEXT NOT NULL, at INTEGER NOT NULL);
CREATE INDEX support_look_officer ON support_look (officer, at)
"""
KEPT_MS = 24 * HOUR_MS  # beyond its end, so that a list shows it
LOCAL_ROLE = "local"
_ROW = "number, officer, role, opened, expires, closed"
R = TypeVar("R", bound=Reply)
Details = dict[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A case that holds now."""

    number: bytes
    account: AccountId
    about: bytes
    officer: str
    role: str

    @property
    def actor(self) -> str:
        """As the ledger names who acts."""
        return self.officer if self.role == LOCAL_ROLE else f"officer:{self.officer}"


class Cases:
    """The cases of one compartment. clock: ms since 1970."""

    def __init__(
        self, roster: RosterInForce, database: Database, outbox: Outbox, exchange: Exchange, clock: Callable[[], int]
    ) -> None:
        self._roster, self._database, self._outbox, self._exchange = roster, database, outbox, exchange
        self._clock, self._me = clock, exchange.me.compartment
        self._opening = asyncio.Lock()

    async def open(self, channel: Channel, request: OpenCaseBase) -> CaseRow:
        """Once the ledger has it. Raises IntegrityError, Refused, TemporaryFailure."""
        async with self._opening:
            digest, now = statement_hash(CASE_LABEL, request.statement), self._clock()
            number = decode_case(request.statement).number
            there = self._database.first(f"SELECT hash, {_ROW} FROM support_case WHERE number = ?", (number,))  # noqa: S608  # our own columns
            if there is not None:
                if there[0] != digest:
                    raise Refused("another case has this number", code="serial-used")
                return CaseRow(*there[1:])
            case = check_case(request.statement, tenant=self._roster.tenant, now=now, life=CASE_LIFE_MAX_MS)
            role, approval = self._require_officer(channel, case, request, now)
            self._require_room(case.officer, now)
            details: Details = {
                "case": number.hex(), "officer": case.officer, "role": role, "reason": ledger_text(case.reason),
                "expires": case.expires, "at": self._me,
            }  # fmt: skip
            stamp = Stamp.fresh(_actor(case.officer, role), request_id=self._id(number, b"open", digest))
            await witness(self._exchange, stamp, "SupportCaseOpened", details, case.account)
            key = b"" if approval is None else approval.key
            row = (number, digest, case.account, case.about, case.officer, role, key, case.roster, now, case.expires, 0)
            reply = CaseRow(number, case.officer, role, now, case.expires, 0)
            await self._database.mutate(request, partial(_insert, row=row, approval=approval, now=now, reply=reply))
            return reply

    async def close(self, request: CloseCaseBase) -> Done:
        """At once; the ledger hears of it. One that is closed is done."""
        work = partial(_close, request=request, now=self._clock(), me=self._me)
        done = await self._database.mutate(request, work)
        self._outbox.wake()
        return done

    def rows(self) -> CaseRows:
        """The newest first."""
        query = f"SELECT {_ROW} FROM support_case ORDER BY opened DESC LIMIT ?"  # noqa: S608  # our own columns
        rows, state = self._database.read(query, (CASES_LISTED_MAX,)), self._roster.state()
        return CaseRows(tuple(CaseRow(*row) for row in rows), state.version, state.hash)

    async def look(self, request: Mutation[R], number: bytes, reply: Callable[[OpenedCase], R]) -> R:
        """What is shown in a case, once the ledger has it, within the officer's hour. Raises Refused, TemporaryFailure.

        reply: may raise Refused; then nothing was shown.
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        case, now = self.require(number), self._clock()
        shown = reply(case)
        query = "SELECT count(*) FROM support_look WHERE officer = ? AND at > ?"
        if self._database.first(query, (case.officer, now - HOUR_MS))[0] >= LOOKS_PER_HOUR:
            raise Refused(f"an officer is shown {LOOKS_PER_HOUR} cards an hour", code="look-cap")
        details: Details = {"case": number.hex(), "officer": case.officer, "at": self._me}
        stamp = Stamp.fresh(case.actor, request_id=request.stamp.request_id)
        await witness(self._exchange, stamp, "SupportCardShown", details, case.account)
        return await self._database.mutate(request, partial(_looked, officer=case.officer, now=now, reply=shown))

    def require(self, number: bytes) -> OpenedCase:
        """The case of that number, if it holds now. Raises Refused (`no-case`)."""
        row = self._database.first(
            "SELECT account, about, officer, role, key, roster, expires, closed FROM support_case WHERE number = ?",
            (number,),
        )
        if row is not None:
            account, said, officer, role, key, roster, expires, closed = row
            if not closed and self._clock() < expires and self._serves(officer, role, key, roster):
                return OpenedCase(number, AccountId(account), said, officer, role)
        raise Refused("no case of that number is open: open one", code="no-case")

    def officer_of(self, request: Any) -> str:
        """Whose case a request opens or names; empty for one that is not known here. Raises IntegrityError."""
        if isinstance(request, OpenCaseBase):
            return decode_case(request.statement).officer
        row = self._database.first("SELECT officer FROM support_case WHERE number = ?", (request.case,))
        return "" if row is None else str(row[0])

    def account_of(self, request: Any) -> AccountId | None:
        """The account of the case that a request names, open or not; None where it names none that is known."""
        number = getattr(request, "case", b"")
        row = self._database.first("SELECT account FROM support_case WHERE number = ?", (number,)) if number else None
        return None if row is None else AccountId(row[0])

    def _serves(self, name: str, role: str, key: bytes, roster: int) -> bool:
        """Whether the officer may still have it; what a backup brought was closed since, for all that is known."""
        known = self._roster.known
        if known is None or role == LOCAL_ROLE:
            return known is None and role == LOCAL_ROLE
        officer = known.roster.officer(name)
        return (
            roster >= self._roster.floor
            and officer is not None
            and officer.serves(self._clock())
            and officer.role.value == role
            and officer.key(key) is not None
        )

    def _require_officer(
        self, channel: Channel, case: Case, request: OpenCaseBase, now: int
    ) -> tuple[str, SignedApproval | None]:
        roster = self._roster
        if roster.known is None:
            if channel.compartment != OPERATOR_CONSOLE or request.approvals or case.officer != LOCAL:
                raise Refused("no roster is installed here: officer roster install", code="no-roster")
            return LOCAL_ROLE, None
        if not request.approvals:
            raise Refused("a case is opened by an officer's signature here", code="unsigned")
        if roster.restored:
            raise Refused("the roster came from a backup: install the one that follows it", code="roster-restored")
        approval = _approval(request.approvals[0])
        known = roster.known
        officer = check_signed(request.statement, case, approval, (known.roster, known.hash), now, CASE_ROLES)
        return officer.role.value, request.approvals[0]

    def _require_room(self, officer: str, now: int) -> None:
        query = "SELECT count(*) FROM support_case WHERE officer = ? AND opened > ?"
        (opened,) = self._database.first(query, (officer, now - HOUR_MS))
        if opened >= CASES_PER_HOUR:
            raise Refused(f"an officer opens {CASES_PER_HOUR} cases an hour", code="case-cap")

    def _id(self, number: bytes, what: bytes, digest: bytes) -> bytes:
        return hashlib.sha256(b"/".join((b"support", self._me.encode(), what, number, digest))).digest()[:16]


def _approval(one: SignedApproval) -> Approval:
    return Approval(one.officer, one.key, one.signature, one.client_data, one.authenticator_data)


def _actor(officer: str, role: str) -> str:
    return officer if role == LOCAL_ROLE else f"officer:{officer}"


def _insert(
    connection: sqlite3.Connection, *, row: tuple[Any, ...], approval: SignedApproval | None, now: int, reply: CaseRow
) -> CaseRow:
    if approval is not None and approval.authenticator_data:
        signed = _approval(approval)
        if not order_rows.count_passkey(connection, signed.key, signed.counter):
            raise Refused("the passkey counts backwards: it may have a copy", code="passkey-counter")
    connection.execute("DELETE FROM support_case WHERE expires < ?", (now - KEPT_MS,))
    connection.execute("INSERT INTO support_case VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return reply


def _looked(connection: sqlite3.Connection, *, officer: str, now: int, reply: R) -> R:
    connection.execute("DELETE FROM support_look WHERE at <= ?", (now - HOUR_MS,))
    connection.execute("INSERT INTO support_look VALUES (?, ?)", (officer, now))
    return reply


def _close(connection: sqlite3.Connection, *, request: CloseCaseBase, now: int, me: str) -> Done:
    row = connection.execute("SELECT account, closed FROM support_case WHERE number = ?", (request.case,)).fetchone()
    if row is None:
        raise Refused("there is no such case", code="no-such-case")
    if not row[1]:
        connection.execute("UPDATE support_case SET closed = ? WHERE number = ?", (now, request.case))
        note(connection, "SupportCaseClosed", request.stamp.actor, {"case": request.case.hex(), "at": me}, row[0])
    return Done()


def handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `orders`. module: its `to_<name>`."""

    async def open_case(state: Any, channel: Channel, request: OpenCaseBase, _: BodyReader | None) -> CaseRow:
        """Verify, and keep."""
        row: CaseRow = await state.orders.cases.open(channel, request)
        return row

    async def close_case(state: Any, _: Channel, request: CloseCaseBase, __: BodyReader | None) -> Done:
        """It is over."""
        done: Done = await state.orders.cases.close(request)
        return done

    def list_cases(state: Any, _: Channel, __: ListCasesBase, ___: BodyReader | None) -> CaseRows:
        """Of the last day."""
        found: CaseRows = state.orders.cases.rows()
        return found

    return {module.OpenCase: open_case, module.CloseCase: close_case, module.ListCases: list_cases}

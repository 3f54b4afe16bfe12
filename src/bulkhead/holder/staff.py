"""Staff sessions in the compartment that answers: opened by an officer's statement, by the roster that is pinned here.

The console carries statement, token and requests; it can hold them back, and use what passes through it while that
lives. It cannot open a session, raise a role, pass a cap, or keep a session that the roster has ended.

Sessions live in memory: a restart ends them. Caps are an officer's, over all sessions; a restart forgets them,
and nothing that a console says restarts a holder.
"""

import hashlib
import hmac
import inspect
import secrets
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.codec import decode_with, encode, union_decoder
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages.fields import Done, Mutation, Reply, Request, Stamp
from bulkhead.boundary.messages.registry import carried_by
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
    ShowStaffSessionBase,
    StaffAnswer,
    StaffNonce,
    StaffSession,
)
from bulkhead.boundary.staff import (
    COLLECTOR,
    HOUR_CALLS,
    HOUR_CHANGES,
    HOUR_FILED,
    HOUR_ROWS,
    STAFF_CALLS,
    Kind,
    StaffCall,
)
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.holder.database import REHEARSAL
from bulkhead.holder.roster import RosterInForce
from bulkhead.holder.staff_records import StaffRecords, outcome_of
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId, RequestId
from bulkhead.records.access import Outcome
from bulkhead.records.officer import Approval, Role
from bulkhead.records.staff import SKEW_MS, check_staff_statement

STAFF_ACTOR = "officer:"  # what the actor of a request begins with that a session makes, and no other
SESSIONS_MAX = 256
SESSIONS_OF_ONE = 8  # of one officer; the oldest ends
CURSORS_MAX = 64  # of one session; the oldest is forgotten
SPENT_MAX = 4096  # nonces and keys that are remembered
HOUR_MINUTES, MINUTE_MS = 60, 60_000
_NONCE = struct.Struct(">Q8s16s")


@dataclass(slots=True)
class Session:
    """One, by the hash of its token."""

    officer: str
    role: str
    key: bytes
    expires: int
    cursors: OrderedDict[bytes, str] = field(default_factory=OrderedDict)


class Hourly:
    """How much an officer used in the last 60 minutes, by the minute."""

    def __init__(self) -> None:
        self._used: dict[str, dict[int, int]] = {}

    def left(self, officer: str, limit: int, now: int) -> int:
        """What may still be used."""
        minute = now // MINUTE_MS
        used = self._used.get(officer, {})
        for old in [each for each in used if each <= minute - HOUR_MINUTES]:
            del used[old]
        return max(0, limit - sum(used.values()))

    def spend(self, officer: str, count: int, now: int) -> None:
        """It was used."""
        used = self._used.setdefault(officer, {})
        used[now // MINUTE_MS] = used.get(now // MINUTE_MS, 0) + count


class Staff:
    """Of one compartment. clock: ms since 1970. audience: the console's name; empty: nobody opens a session.

    count: whether a passkey's counter went up here, durably. records: of what is asked. officer_of: whose case a
    request names; empty for one that is not known.
    """

    def __init__(
        self,
        roster: RosterInForce,
        exchange: Exchange,
        audience: str,
        clock: Callable[[], int],
        count: Callable[[Approval], Awaitable[bool]],
        records: StaffRecords,
        officer_of: Callable[[Any], str],
    ) -> None:
        self._roster, self._exchange, self._audience, self._clock = roster, exchange, audience, clock
        self._count, self._records, self._officer_of = count, records, officer_of
        self._me = exchange.me.compartment
        self._nonce_key = secrets.token_bytes(32)
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._spent: OrderedDict[bytes, None] = OrderedDict()
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()
        self._rows, self._changes, self._calls, self._filed = Hourly(), Hourly(), Hourly(), Hourly()
        self._state: Any = None
        self._handlers: Mapping[type[Request[Any]], Handler] = {}

    def serve(self, state: Any, handlers: Mapping[type[Request[Any]], Handler]) -> None:
        """What is carried here is answered by these."""
        self._state, self._handlers = state, handlers

    # --- sessions ----------------------------------------------------------------------------------------------------

    def give_nonce(self) -> StaffNonce:
        """It costs nothing to give, so nobody can use up what others need."""
        head = _NONCE.pack(self._clock(), secrets.token_bytes(8), bytes(16))[:16]
        return StaffNonce(head + self._seal(head))

    async def open(self, request: OpenStaffSessionBase) -> StaffSession:
        """Raises Refused as OpenStaffSessionBase says, TemporaryFailure without the ledger."""
        known, now, given = self._roster.known, self._clock(), request.approval
        if known is None:
            raise Refused("no roster is installed here: officer roster install", code="no-roster")
        approval = Approval(given.officer, given.key, given.signature, given.client_data, given.authenticator_data)
        statement, officer = check_staff_statement(
            request.statement, approval, known.roster, tenant=self._roster.tenant, audience=self._audience, now=now
        )
        nonce = statement.nonces.get(self._me, b"")
        if officer.role is Role.PARTNER_COLLECTOR:
            if statement.token in self._sessions:
                return self.show(statement.token)
            nonce = request.statement  # the same id for the ledger: one entry a statement, however often it opens
        else:
            self._spend_nonce(nonce, now)
        if approval.authenticator_data and not await self._count(approval):
            raise Refused("the passkey counts backwards: it may have a copy", code="passkey-counter")
        stamp = Stamp.fresh(f"{STAFF_ACTOR}{officer.name}", request_id=hashlib.sha256(b"staff" + nonce).digest()[:16])
        details: dict[str, str | int | bool | None] = {
            "officer": officer.name, "role": officer.role.value, "expires": statement.expires,
            "session": statement.token.hex(),
        }  # fmt: skip
        await witness(self._exchange, stamp, "StaffSessionOpened", details)
        self._sessions[statement.token] = Session(officer.name, officer.role.value, approval.key, statement.expires)
        self._make_room(officer.name)
        self._records.note(officer.name, type(request))
        return self.show(statement.token)

    def show(self, ident: bytes) -> StaffSession:
        """Raises Refused (`no-session`)."""
        session = self._require(ident)
        return StaffSession(session.officer, session.role, session.expires, self._left(session))

    def end(self, ident: bytes) -> Done:
        """It is over."""
        self._sessions.pop(ident, None)
        return Done()

    def _require(self, ident: bytes) -> Session:
        """The live session of an officer who serves now, with that key and role. Raises Refused (`no-session`)."""
        session, known, now = self._sessions.get(ident), self._roster.known, self._clock()
        if session is not None and known is not None:
            officer = known.roster.officer(session.officer)
            if (
                officer is not None
                and now < session.expires
                and officer.serves(now)
                and officer.role.value == session.role
                and officer.key(session.key) is not None
            ):
                return session
            del self._sessions[ident]
        raise Refused("no session has this token: open one", code="no-session")

    def _make_room(self, officer: str) -> None:
        own = [ident for ident, session in self._sessions.items() if session.officer == officer]
        for ident in own[:-SESSIONS_OF_ONE]:
            del self._sessions[ident]
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)

    def _seal(self, head: bytes) -> bytes:
        return hmac.digest(self._nonce_key, head, "sha256")[:16]

    def _spend_nonce(self, nonce: bytes, now: int) -> None:
        """After the signature, so that only officers spend. Raises Refused (`bad-nonce`)."""
        fits = len(nonce) == _NONCE.size and hmac.compare_digest(nonce[16:], self._seal(nonce[:16]))
        if not fits or not -SKEW_MS <= now - _NONCE.unpack(nonce)[0] <= SKEW_MS or nonce in self._spent:
            raise Refused(
                "the nonce is not one of the last two minutes, or was used: ask for another", code="bad-nonce"
            )
        self._spent[nonce] = None
        if len(self._spent) > SPENT_MAX:
            self._spent.popitem(last=False)

    # --- requests under one ------------------------------------------------------------------------------------------

    async def ask(self, channel: Channel, request: AskAsStaffBase) -> StaffAnswer:
        """Raises Refused as AskAsStaffBase says, BoundaryViolation for what nobody may have carried here."""
        session = self._require(hashlib.sha256(request.token).digest())
        inner = decode_with(union_decoder(carried_by(self._me)), request.request)
        row = STAFF_CALLS[self._me, type(inner).__name__]
        self._count_call(session, row)
        account = self._records.about(inner)
        try:
            if session.role not in row.roles:
                raise Refused(f"a {session.role} may not ask for this", code="role")
            inner = self._prepared(session, row, inner, request)
            reply = await self._handle(channel, inner, rehearse=request.rehearse)
        except Refused as refusal:
            self._records.note(session.officer, type(inner), (account,), outcome_of(refusal), channel)
            raise
        outcome = Outcome.REHEARSED if request.rehearse else Outcome.DONE
        if session.role != COLLECTOR:  # every few seconds, and nobody's
            self._records.note(session.officer, type(inner), _shown(row, account, reply), outcome, channel)
        return self._answered(session, row, inner, reply)

    async def _handle(self, channel: Channel, inner: Request[Any], *, rehearse: bool) -> Any:
        token = REHEARSAL.set(rehearse)
        try:
            reply = self._handlers[type(inner)](self._state, channel, inner, None)
            return await reply if inspect.isawaitable(reply) else reply
        finally:
            REHEARSAL.reset(token)

    def _count_call(self, session: Session, row: StaffCall) -> None:
        """Raises Refused (`call-cap`): what is recorded of an officer is bounded, too."""
        now, filing = self._clock(), row.kind is Kind.FILE
        used, cap = (self._filed, HOUR_FILED) if filing else (self._calls, HOUR_CALLS)
        if not used.left(session.officer, cap, now):
            raise Refused(f"{cap} requests an hour of this kind are the most", code="call-cap")
        used.spend(session.officer, 1, now)

    def _prepared(self, session: Session, row: StaffCall, inner: Any, request: AskAsStaffBase) -> Request[Any]:
        """The request as it is made here: in the officer's name, behind the cursor, within the caps."""
        now = self._clock()
        if request.rehearse and row.kind is not Kind.CHANGE:
            raise Refused("only a change can be rehearsed", code="no-rehearsal")
        if any(getattr(inner, name) != value for name, value in row.fields):
            raise Refused("a session may not ask for this so", code="role")
        if request.after:
            after = session.cursors.get(request.after)
            if after is None or not isinstance(getattr(inner, "after", None), str):
                raise Refused("no page of this session has that cursor", code="bad-cursor")
            inner = msgspec.structs.replace(inner, after=after)
        if isinstance(inner, Mutation):
            inner = self._stamped(session, inner, keyed=row.kind is not Kind.FILE)
        if row.kind in (Kind.CASE, Kind.LOOK):
            self._require_own(session, inner)
        if row.kind in (Kind.CHANGE, Kind.CASE):
            if not self._changes.left(session.officer, HOUR_CHANGES, now):
                raise Refused(f"{HOUR_CHANGES} changes an hour are the most", code="change-cap")
            self._changes.spend(session.officer, 1, now)
        elif row.kind in (Kind.ROWS, Kind.LOOK):
            left = self._left(session)
            if not left:
                raise Refused(
                    f"a {session.role} is shown {HOUR_ROWS[session.role]} accounts an hour", code="search-cap"
                )
            if hasattr(inner, "limit"):
                inner = msgspec.structs.replace(inner, limit=max(1, min(inner.limit, left)))
            else:
                self._rows.spend(session.officer, 1, now)
        made: Request[Any] = inner
        return made

    def _require_own(self, session: Session, inner: Request[Any]) -> None:
        """A case is of who signed it; security may close any. Raises Refused (`no-case`), IntegrityError."""
        officer = self._officer_of(inner)
        closes = type(inner).__name__ == "CloseCase" and session.role == Role.PARTNER_SECURITY.value
        if officer not in ("", session.officer) and not closes:
            raise Refused("no case of that number is this officer's: open one", code="no-case")

    def _stamped(self, session: Session, inner: Mutation[Any], *, keyed: bool) -> Mutation[Any]:
        """Under a request id of this officer alone. Raises Refused (`key-reused`) where it named another request."""
        name = session.officer.encode()
        ident = hashlib.sha256(b"staff|" + name + b"|" + inner.stamp.request_id).digest()[:16]
        if keyed:
            self._require_same(ident, inner)
        stamp = Stamp(f"{STAFF_ACTOR}{session.officer}", RequestId(ident), inner.stamp.deadline)
        return msgspec.structs.replace(inner, stamp=stamp)

    def _require_same(self, ident: bytes, inner: Mutation[Any]) -> None:
        plain = msgspec.structs.replace(inner, stamp=Stamp("", RequestId(bytes(16)), 0))
        digest = hashlib.sha256(type(inner).__name__.encode() + b"|" + encode(plain)).digest()
        if self._keys.setdefault(ident, digest) != digest:
            raise Refused("the idempotency key named another request before", code="key-reused")
        if len(self._keys) > SPENT_MAX:
            self._keys.popitem(last=False)

    def _answered(self, session: Session, row: StaffCall, inner: Any, reply: Any) -> StaffAnswer:
        rows = getattr(reply, "rows", None)
        cursor = b""
        if rows and isinstance(getattr(inner, "after", None), str):
            cursor = secrets.token_bytes(16)
            session.cursors[cursor] = getattr(rows[-1], "address", "") or getattr(rows[-1], "domain", "")
            if len(session.cursors) > CURSORS_MAX:
                session.cursors.popitem(last=False)
        if row.kind is Kind.ROWS and rows is not None:
            self._rows.spend(session.officer, len(rows), self._clock())
        if session.role in row.masked:
            reply = _masked(reply)
        return StaffAnswer(encode(reply), cursor, self._left(session))

    def _left(self, session: Session) -> int:
        return self._rows.left(session.officer, HOUR_ROWS[session.role], self._clock())


def _shown(row: StaffCall, account: AccountId, reply: Any) -> tuple[AccountId, ...]:
    """Whom a record is about: each account of a page that is shown, or the one that was asked for."""
    if row.kind is Kind.ROWS and hasattr(reply, "rows"):
        return tuple(AccountId(one.account) for one in reply.rows if hasattr(one, "account")) or (account,)
    return (account,)


def masked_address(address: str) -> str:
    """The first character of the local part, and the domain."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _masked(reply: Any) -> Reply:
    """With addresses masked, in a row or in the rows of a page."""
    if hasattr(reply, "rows"):
        return msgspec.structs.replace(reply, rows=tuple(_masked(row) for row in reply.rows))  # type: ignore[no-any-return]  # a Reply, as given
    return msgspec.structs.replace(reply, address=masked_address(reply.address), binding=b"")  # type: ignore[no-any-return]  # the same


def handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `orders`. module: its `to_<name>`."""

    def give_nonce(state: Any, _: Channel, __: GiveStaffNonceBase, ___: BodyReader | None) -> StaffNonce:
        """A nonce."""
        given: StaffNonce = state.orders.staff.give_nonce()
        return given

    async def open_session(
        state: Any, _: Channel, request: OpenStaffSessionBase, __: BodyReader | None
    ) -> StaffSession:
        """Verify by the roster in force."""
        opened: StaffSession = await state.orders.staff.open(request)
        return opened

    async def ask(state: Any, channel: Channel, request: AskAsStaffBase, _: BodyReader | None) -> StaffAnswer:
        """Answer what is carried."""
        answer: StaffAnswer = await state.orders.staff.ask(channel, request)
        return answer

    def show(state: Any, _: Channel, request: ShowStaffSessionBase, __: BodyReader | None) -> StaffSession:
        """Whose it is."""
        found: StaffSession = state.orders.staff.show(hashlib.sha256(request.token).digest())
        return found

    def end(state: Any, _: Channel, request: EndStaffSessionBase, __: BodyReader | None) -> Done:
        """It is over."""
        done: Done = state.orders.staff.end(hashlib.sha256(request.token).digest())
        return done

    found: dict[type[Request[Any]], Handler] = {
        module.GiveStaffNonce: give_nonce, module.OpenStaffSession: open_session, module.AskAsStaff: ask,
        module.EndStaffSession: end,
    }  # fmt: skip
    if hasattr(module, "ShowStaffSession"):
        found[module.ShowStaffSession] = show
    return found

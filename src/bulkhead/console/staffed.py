"""A staff session as a call uses it: requests carried to holders in AskAsStaff, answers decoded."""

import hashlib
from typing import Any, TypeVar

from bulkhead.boundary.codec import decode_reply, encode_request
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Reply, Request, Stamp
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.messages.staff import OpenStaffSessionBase, StaffSession
from bulkhead.errors import Refused
from bulkhead.records.staff import Bearer

R = TypeVar("R", bound=Reply)
CALL_SECONDS = 10.0


async def open_at(exchange: Exchange, holder: str, bearer: Bearer) -> StaffSession:
    """The session that a collector's bearer opens at a holder. Raises Refused as the holder does."""
    given = bearer.approval
    if given is None:
        raise Refused("no session has this token: open one", code="no-session")
    approval = SignedApproval(given.officer, given.key, given.signature)
    request: OpenStaffSessionBase = RECEIVERS[holder].OpenStaffSession(
        Stamp.fresh("staff", CALL_SECONDS), bearer.statement, approval
    )
    return await exchange.to(holder).call(request, timeout=CALL_SECONDS)


class Staffed:
    """token: of the session. key: what request ids are made from. rehearse: have changes taken back.

    opening: a collector's, whose session a holder that restarted has forgotten.
    """

    def __init__(
        self,
        exchange: Exchange,
        tenant: str,
        token: bytes,
        session: StaffSession,
        key: str = "",
        *,
        rehearse: bool = False,
        opening: Bearer | None = None,
    ) -> None:
        self.exchange, self.tenant, self.session, self._token = exchange, tenant, session, token
        self._key, self.rehearse = key, rehearse
        self._opening = opening
        self.rows = session.rows
        self._count = 0

    def of_operation(self, index: int) -> "Staffed":
        """For one operation of a bulk call."""
        return Staffed(
            self.exchange, self.tenant, self._token, self.session, f"{self._key}|{index}", rehearse=self.rehearse
        )

    def stamp(self) -> Stamp:
        """Of the next change: the same for the same idempotency key. Its holder writes the officer's name into it."""
        self._count += 1
        ident = hashlib.sha256(f"{self._key}|{self._count}".encode()).digest()[:16] if self._key else None
        return Stamp.fresh("staff", CALL_SECONDS, ident)

    async def ask(self, holder: str, request: Request[R], after: str = "") -> R:
        """The reply. Raises as the holder answers."""
        return (await self.page(holder, request, after))[0]

    async def page(self, holder: str, request: Request[R], after: str = "") -> tuple[R, str]:
        """The reply, and the cursor of the following page or an empty text. after: one of an earlier page."""
        carried = RECEIVERS[holder].AskAsStaff(
            self._token, encode_request(request), bytes.fromhex(after), self.rehearse
        )
        try:
            answer = await self.exchange.to(holder).call(carried, timeout=CALL_SECONDS)
        except Refused as refusal:
            if self._opening is None or refusal.code != "no-session":
                raise
            await open_at(self.exchange, holder, self._opening)
            answer = await self.exchange.to(holder).call(carried, timeout=CALL_SECONDS)
        self.rows = answer.rows
        reply: Any = decode_reply(type(request), answer.reply)
        return reply, answer.next.hex()

    async def vouched(self, holder: str, request: Request[R]) -> R:
        """The reply of a holder that knows no sessions."""
        return await self.exchange.to(holder).call(request, timeout=CALL_SECONDS)

"""What the support desk may do, in the holder that does it: in an open case, by role, with the subscriber's code.

What narrows takes effect, then the code is spent with its event in one transaction: cut between, the code may be used
once more for what narrows. What widens is in the ledger first, then the code is spent, then it is done: of two acts
with one code, the second does not come so far.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages.fields import Done, Request, Stamp
from bulkhead.boundary.messages.to_auth import (
    ActInCase,
    GiveConsent,
    LoginCard,
    RevokeAppPasswords,
    ShowLoginCard,
)
from bulkhead.boundary.messages.to_keyring import EndAccountSessions
from bulkhead.boundary.support import SUPPORT_ACTS, SupportAct
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.holder import consent
from bulkhead.holder.cases import Cases, Details, OpenedCase
from bulkhead.holder.consent import Codes, Tried
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId

DAY = 86_400
_NOTES = "SELECT bid, record FROM app_password WHERE owner = ?"
_DAY = "SELECT max(day) FROM known WHERE owner = ?"


class Desk:
    """Of auth, whose state is given. codes: of its own key."""

    def __init__(self, auth: Any, codes: Codes, exchange: Exchange) -> None:
        self._auth, self._codes, self._exchange = auth, codes, exchange
        self._effects: Mapping[str, Callable[[AccountId], Awaitable[object]]] = {
            "unlock": self._unlock, "revoke-app-passwords": self._revoke, "end-sessions": self._end_sessions,
        }  # fmt: skip

    @property
    def _cases(self) -> Cases:
        cases: Cases = self._auth.orders.cases
        return cases

    @property
    def _database(self) -> Database:
        database: Database = self._auth.database
        return database

    async def give_consent(self, request: GiveConsent) -> Done:
        """A code, by the main password, once the ledger has it. Raises Refused (`bad-credentials`, `bad-consent`)."""
        owner, code = self._codes.tags(request.account, request.code)
        await self._auth.logins.prove(request.account, request.password)
        await witness(self._exchange, request.stamp, "ConsentGiven", {}, request.account)

        def work(connection: sqlite3.Connection) -> Done:
            consent.put(connection, owner, code, self._auth.orders.now())
            return Done()

        return await self._database.mutate(request, work)

    async def show(self, request: ShowLoginCard) -> LoginCard:
        """The card's part of this holder. Raises Refused, TemporaryFailure."""
        return await self._cases.look(request, request.case, lambda case: self._card(case.account))

    async def act(self, request: ActInCase) -> Done:
        """Raises Refused (`no-case`, `unknown-act`, `other-role`, `bad-consent`), TemporaryFailure."""
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        case, act = self._cases.require(request.case), SUPPORT_ACTS.get(request.act)
        if act is None:
            raise Refused("there is no such act", code="unknown-act")
        if case.role not in (*act.roles, "local"):
            raise Refused(f"a {case.role} may not {act.name}", code="other-role")
        tags = await self._consented(case, request.code) if act.consent else None
        if act.widens:
            await self._witness(request, case, act)
            await self._note(request, case, act, tags)
            await self._do(act, case)
        else:
            await self._do(act, case)
            await self._note(request, case, act, tags)
        return Done()

    async def _consented(self, case: OpenedCase, typed: bytes) -> tuple[bytes, bytes]:
        owner, code = self._codes.tags(case.account, typed)
        tried = await self._database.write(
            partial(consent.try_code, owner=owner, code=code, now=self._auth.orders.now())
        )
        if tried is Tried.VOID:
            details = _details(case)
            await self._database.write(
                lambda connection: note(connection, "ConsentVoid", case.actor, details, case.account)
            )
            self._auth.outbox.wake()
        if tried is not Tried.RIGHT:
            raise consent.refused()
        return owner, code

    async def _do(self, act: SupportAct, case: OpenedCase) -> None:
        if act.name in self._effects:
            await self._effects[act.name](case.account)

    async def _witness(self, request: ActInCase, case: OpenedCase, act: SupportAct) -> None:
        stamp = Stamp.fresh(case.actor, request_id=request.stamp.request_id)
        await witness(self._exchange, stamp, "SupportActed", _details(case, act), case.account)

    async def _note(
        self, request: ActInCase, case: OpenedCase, act: SupportAct, tags: tuple[bytes, bytes] | None
    ) -> None:
        def work(connection: sqlite3.Connection) -> Done:
            if tags is not None:
                consent.spend(connection, *tags)
            if not act.widens:
                note(connection, "SupportActed", case.actor, _details(case, act), case.account)
            return Done()

        await self._database.mutate(request, work)
        self._auth.outbox.wake()

    async def _unlock(self, account: AccountId) -> None:
        self._auth.logins.limits.forget(account)

    async def _revoke(self, account: AccountId) -> object:
        return await self._auth.logins.app_passwords.revoke(RevokeAppPasswords(Stamp.fresh("support"), account, 0))

    async def _end_sessions(self, account: AccountId) -> object:
        return await self._exchange.to("keyring").call(EndAccountSessions(account))

    def _card(self, account: AccountId) -> LoginCard:
        rows, owner = self._auth.rows, self._auth.rows.owner(account)
        notes = [rows.keys.open_note(record, bid) for bid, record in self._database.read(_NOTES, (owner,))]
        newest, (day,) = max(notes, key=lambda noted: noted.used, default=None), self._database.first(_DAY, (owner,))
        seconds = max((day or 0) * DAY, newest.used // DAY * DAY if newest else 0)
        return LoginCard(len(notes), seconds * 1000, newest.network if newest else "")


def _details(case: OpenedCase, act: SupportAct | None = None) -> Details:
    details: Details = {"case": case.number.hex(), "officer": case.officer}
    return details if act is None else {**details, "act": act.name, "consent": act.consent}


def handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `desk`. module: its `to_<name>`."""

    async def give_consent(state: Any, _: Channel, request: GiveConsent, __: BodyReader | None) -> Done:
        """A code for the desk."""
        done: Done = await state.desk.give_consent(request)
        return done

    async def show_login_card(state: Any, _: Channel, request: ShowLoginCard, __: BodyReader | None) -> LoginCard:
        """The card's part."""
        card: LoginCard = await state.desk.show(request)
        return card

    async def act_in_case(state: Any, _: Channel, request: ActInCase, __: BodyReader | None) -> Done:
        """One act."""
        done: Done = await state.desk.act(request)
        return done

    return {
        module.GiveConsent: give_consent,
        module.ShowLoginCard: show_login_card,
        module.ActInCase: act_in_case,
    }

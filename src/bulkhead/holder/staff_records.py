"""What staff asks of a holder, by session, signed order or command line of the host: an access record of each act.

A record says who, by a pseudonym of the officer's name (records/access.py), which message by its tag, about which
account, through which compartment, and whether it was done, refused, over a cap or rehearsed; nothing of its content.
It is taken once the act has ended: what failed for the time being is none, and comes again.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Mutation, Request
from bulkhead.boundary.messages.registry import requests_of, tag_of
from bulkhead.boundary.peers import between
from bulkhead.boundary.processes import GATES, OPERATOR_CONSOLE
from bulkhead.boundary.terms import ASKER, Channel, Served
from bulkhead.errors import Refused
from bulkhead.identifiers import ID_BYTES, AccountId
from bulkhead.records.access import NOBODY, Act, Outcome, actor_octets

CAPS = frozenset({"search-cap", "change-cap", "call-cap", "case-cap", "look-cap"})
LOOKS = frozenset({
    "ShowAccount", "SearchAccounts", "ListAccounts", "ShowRoutes", "ShowGroup", "ListBindings", "ListAppPasswords",
    "ExportMailboxes", "ExportNames", "ExportRows", "ExportParts", "ExportKeys", "FindMessages", "ListDeleted",
    "ListQueue",
})  # fmt: skip
"""Of the command line: requests that change nothing, and show or carry out what is subscribers'."""
UNRECORDED = frozenset({"RenewLease", "StageAccounts"})  # a standby's, each second; ids that a stop names afterwards


def account_of_request(request: Any) -> AccountId:
    """Whom a request names by id; NOBODY where it names none."""
    named = getattr(request, "account", None) or getattr(getattr(request, "binding", None), "account", None)
    return AccountId(named) if isinstance(named, bytes) and len(named) == ID_BYTES else NOBODY


class StaffRecords:
    """Of one compartment, kept with its other access records where it has any. about: whom a request is about."""

    def __init__(self, tenant: str, me: str, about: Callable[[Any], AccountId] = account_of_request) -> None:
        self._tenant, self._me, self.about = tenant, me, about
        self._state: Any = None

    def serve(self, state: Any) -> None:
        """Whose attribute `accesses` takes the records."""
        self._state = state

    def note(
        self,
        officer: str,
        kind: type[Request[Any]],
        accounts: Iterable[AccountId] = (NOBODY,),
        outcome: Outcome = Outcome.DONE,
        channel: Channel | None = None,
    ) -> None:
        """One record an account. channel: through whom; None: who asks now."""
        accesses = getattr(self._state, "accesses", None)
        if accesses is None:
            return
        through = channel or ASKER.get()
        gate = 0 if through is None else GATES.get(through.compartment, 0)
        source, tag = actor_octets(self._tenant, officer), tag_of(kind)
        for account in accounts:
            accesses.note(Act.STAFF, account, outcome, gate=gate, number=tag, source=source)

    def recorded(self) -> frozenset[type[Request[Any]]]:
        """What the command line may ask here that is recorded: changes, and LOOKS."""
        peering = between(OPERATOR_CONSOLE, self._me)
        return frozenset(
            kind
            for kind in (requests_of(peering) if peering is not None else ())
            if kind.__name__ not in UNRECORDED and (issubclass(kind, Mutation) or kind.__name__ in LOOKS)
        )

    def around(self, handler: Handler) -> Handler:
        """The handler; what the command line asks of it is recorded."""

        def recording(
            state: Any, channel: Channel, request: Any, body: BodyReader | None
        ) -> Served | Awaitable[Served]:
            if channel.compartment != OPERATOR_CONSOLE:
                return handler(state, channel, request, body)
            return self._record(handler, state, channel, request, body)

        return recording

    async def _record(
        self, handler: Handler, state: Any, channel: Channel, request: Any, body: BodyReader | None
    ) -> Served:
        account, outcome = self.about(request), Outcome.DONE
        try:
            reply = handler(state, channel, request, body)
            served = await reply if inspect.isawaitable(reply) else reply
        except Refused as refusal:
            outcome = outcome_of(refusal)
            self.note(OPERATOR_CONSOLE, type(request), (account,), outcome, channel)
            raise
        self.note(OPERATOR_CONSOLE, type(request), (account,), outcome, channel)
        return served


def outcome_of(refusal: Refused) -> Outcome:
    """As a record says it."""
    return Outcome.OVER_LIMIT if refusal.code in CAPS else Outcome.REFUSED

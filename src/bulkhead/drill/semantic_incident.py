"""incident: what it lets others know of its canaries, and what it can do to logins."""

import asyncio

from bulkhead.auth.watch import CANARIES_PER_HOUR
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_incident import (
    Canary,
    CheckIncident,
    ConfirmLogin,
    ListCanaries,
    LoginConfirmed,
    PlantCanaries,
)
from bulkhead.drill.bare_cell import BareCell, answer, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.identifiers import AccountId, new_id

PEOPLE = 8
NETWORK = b"\xc0\x00\x02"
OVER = 4  # more than incident may have refused


async def tell_canaries(cell: BareCell) -> Finding:
    """auth, with every account id, finds out which are canaries and leaves no trace of having asked."""
    people = [await cell.add_person() for _ in range(PEOPLE)]
    canaries = {person.account for person in people[: PEOPLE // 2]}
    seeds = tuple(Canary(account, AccountId(new_id())) for account in canaries)
    control = await answer(cell.exchanges["cli"], "incident", PlantCanaries(stamp(), "live", seeds)) == Done()
    forbidden = (ListCanaries(), CheckIncident(), PlantCanaries(stamp(), "live", seeds))
    silent = sum([await violates(cell.worker("auth"), "incident", request) for request in forbidden])
    for person in people:
        before = await _uses(cell)
        said = await answer(cell.worker("auth"), "incident", ConfirmLogin(person.account, NETWORK))
        told = isinstance(said, LoginConfirmed) and said.canary
        silent += told and await _uses(cell) == before
        control = control and told == (person.account in canaries)
    return Finding(silent, len(forbidden) + PEOPLE, control, "each one that it asked about is a use in the ledger")


async def _uses(cell: BareCell) -> int:
    return sum(copy.right for copy in (await cell.ask("cli", "incident", ListCanaries())).copies)


async def refuse_logins(cell: BareCell) -> Finding:
    """incident calls every account a canary that logs in from a new network."""
    people = [await cell.add_person() for _ in range(CANARIES_PER_HOUR + OVER)]
    await cell.replace("incident", None, {ConfirmLogin: lambda *_: LoginConfirmed(True)})
    held = people[:CANARIES_PER_HOUR]
    for start in range(0, len(held), 16):
        await asyncio.gather(*(cell.admits("access", person) for person in held[start : start + 16]))
    later = people[CANARIES_PER_HOUR:]
    refused = sum([not await cell.admits("access", person) for person in later])
    more = [await cell.add_person() for _ in range(OVER)]
    with weakened(cell.auth.logins.watch._canaries, "capacity", 10_000):
        control = not any([await cell.admits("access", person) for person in more])
    return Finding(refused, OVER, control, f"{CANARIES_PER_HOUR} logins from new networks an hour can be refused")


ACTS = (
    SemanticAct(
        "auth-tells-canaries", "auth", (Column.ORDERS,),
        "ask incident for its list, to plant, and of every account whether it is a canary",
        "one is known and the ledger does not hear of it", "incident tells the canaries, and notes each", tell_canaries,
    ),
    SemanticAct(
        "incident-refuses-logins", "incident", (Column.AVAILABILITY,),
        "call every account a canary", "more right logins are refused than the limit allows",
        "without the limit they are", refuse_logins,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)

"""incident: what it lets others know of its canaries, and what it can do to logins."""

import asyncio

from bulkhead.auth.watch import CANARIES_PER_HOUR
from bulkhead.boundary.messages import to_keyring, to_queue
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_incident import (
    AdvisoryRow,
    Canary,
    CheckIncident,
    ConfirmLogin,
    ListCanaries,
    LoginConfirmed,
    PlantCanaries,
    ReadComponents,
    RecordComponents,
)
from bulkhead.boundary.orders import AUTOMATIC_DAILY
from bulkhead.boundary.peers import between
from bulkhead.drill.bare_cell import BareCell, answer, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.officers import HOUR_MS, now_ms
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_orders import begin
from bulkhead.identifiers import AccountId, new_id

PEOPLE = 8
NETWORK = b"\xc0\x00\x02"
FLAWS = 3
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


async def order_more(cell: BareCell) -> Finding:
    """incident, whose key is in the roster, orders what it likes: lifts, openings, stops without end, more each day."""
    people, bot = await begin(cell), cell.people
    person = await cell.add_person()
    worker = cell.worker("incident")
    ids: dict[str, str | int] = {"account": person.account.hex(), "address": person.address}
    wanted: list[tuple[str, dict[str, str | int]]] = [
        ("stop-outbound", {}), ("stop-outbound", {"until": now_ms() + 2 * HOUR_MS}), ("lift-outbound", {}),
        ("stop-logins", {}), ("stop-surfaces", {"surfaces": 1}),
        ("lift-logins", {}), ("end-sessions", {}), ("revoke-credentials", {"which": 3}),
        ("renew-mailboxes", {}), ("recover-mailbox", {"account": person.account.hex()}), ("rotate-keys", {}),
        ("export-mailboxes", {}), ("suspend-account", ids), ("activate-account", ids), ("cancel-account", ids),
    ]  # fmt: skip

    async def submit(name: str, action: str, parameters: dict[str, str | int]) -> bool:
        data = people.order(action, parameters).encode()
        module = {"keyring": to_keyring, "queue": to_queue}[name]
        said = await answer(worker, name, module.SubmitOrder(stamp(), data, bot.by(data, "bot")))
        return not isinstance(said, str)

    reached = tried = 0
    for name in ("keyring", "queue"):
        for action, parameters in wanted:
            tried += 1
            reached += await submit(name, action, parameters)
    taken = [
        await submit(name, "stop-outbound", {"until": now_ms() + HOUR_MS - 60_000 + number})
        for name in ("keyring", "queue") for number in range(AUTOMATIC_DAILY + OVER)
    ]  # fmt: skip
    reached += max(0, sum(taken) - 2 * AUTOMATIC_DAILY)
    for name in ("auth", "store", "directory"):
        tried += 1
        edge = between("incident", name)
        reached += edge is not None and edge.client == "incident"
    control = sum(taken) == 2 * AUTOMATIC_DAILY and await cell.admits("access", person)
    return Finding(
        reached, tried + len(taken), control, f"it stops outbound mail, {AUTOMATIC_DAILY} hours a day at most"
    )


async def hide_flaws(cell: BareCell) -> Finding:
    """A gate that a component's flaw let somebody into has incident believe that the flaw is gone."""

    def compared(checked: int, *rows: AdvisoryRow) -> RecordComponents:
        return RecordComponents(stamp(), checked, len(rows), bytes(32), len(rows), checked, 0, 0, rows)

    async def known() -> int:
        return sum(not row.closed for row in (await cell.ask("cli", "incident", ReadComponents())).rows)

    flaws = tuple(AdvisoryRow(f"F-{n}", "h11", "1", 4, 1, 1, bytes(32), "console") for n in range(FLAWS))
    await cell.ask("cli", "incident", compared(1, *flaws))
    forbidden = (compared(2), compared(2, *flaws[1:]), ReadComponents())
    asking = [(name, request) for name in ("console", "auth") for request in forbidden]
    served = sum([await violates(cell.worker(name), "incident", request) for name, request in asking])
    hidden = FLAWS - await known()
    await cell.ask("cli", "incident", compared(3))
    return Finding(served + hidden, len(asking) + FLAWS, await known() == 0, "the command line alone says what is gone")


ACTS = (
    SemanticAct(
        "console-hides-flaws", "console", (Column.ORDERS,),
        "have incident record that no component has a known flaw; ask which have one; auth tries it too",
        "one is served, or a flaw is closed", "asked by the command line, all of them close", hide_flaws,
    ),
    SemanticAct(
        "incident-orders-more", "incident", (Column.ORDERS,),
        "every action under its own key, stops without end, and as many stops as it likes",
        "one is taken that does not lapse, or one more than the day has", "stops of an hour are taken", order_more,
    ),
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

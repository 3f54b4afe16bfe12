"""A compromised access asks keyring for every message key that its sessions can open, as fast as it answers."""

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_keyring import OpenPages, Session
from bulkhead.drill.bare_cell import BareCell, Person, answer
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error
from bulkhead.records.page import PAGE_ENTRIES_MAX

PAGES = tuple(range(1, 257))  # of one request: 65,536 keys
ROUNDS = 12  # of them, twice what keyring.keys_per_worker_minute takes by default


async def _session(cell: BareCell, gate: Exchange, person: Person) -> Session | None:
    try:
        return (await cell.log_in(gate, person))[1]
    except Error:
        return None


async def _opens(gate: Exchange, session: Session | None) -> bool:
    if session is None:
        return False
    return not isinstance(await answer(gate, "keyring", OpenPages(session.handle, PAGES)), str)


async def open_everything(cell: BareCell) -> Finding:
    """Two people's sessions at one process: page after page; then those that are left, and new logins."""
    person, other = await cell.add_person(), await cell.add_person()
    access = cell.exchanges["access"]
    sessions = [await _session(cell, access, one) for one in (person, other)]
    limit = cell.settings["keyring"]["keys_per_worker_minute"]
    cell.keyring.openings.rate.clock = lambda: 0.0  # all of it is within one minute
    free = limit // (len(PAGES) * PAGE_ENTRIES_MAX)  # requests that are usual
    opened = [await _opens(access, sessions[0]) for _ in range(free)]
    control = bool(opened) and all(opened)
    tried = [await _opens(access, sessions[round_ % 2]) for round_ in range(ROUNDS)]
    again = [await _session(cell, access, one) is not None for one in (person, other)]
    fresh = cell.worker("access")
    control &= await _opens(fresh, await _session(cell, fresh, other))
    return Finding(sum(tried) + sum(again), len(tried) + len(again), control)


ACTS = (
    SemanticAct(
        "keys-by-the-million", "access", (Column.STORED_MAIL,),
        "every summary page of two live sessions asked for as fast as keyring answers, and both logged in again",
        "one answer beyond what is usual in a minute", "as many as are usual; a session at another process",
        open_everything,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

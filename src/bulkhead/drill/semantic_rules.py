"""A compromised access asks keyring for every message key that its sessions can open, as fast as it answers."""

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_keyring import OpenPages, Session
from bulkhead.drill.bare_cell import BareCell, Person, answer
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error
from bulkhead.holder.rules import ACCOUNTS
from bulkhead.records.page import PAGE_ENTRIES_MAX


async def _session(cell: BareCell, gate: Exchange, person: Person) -> Session | None:
    try:
        return (await cell.log_in(gate, person))[1]
    except Error:
        return None


async def _opens(gate: Exchange, session: Session | None, pages: int) -> bool:
    if session is None:
        return False
    return not isinstance(await answer(gate, "keyring", OpenPages(session.handle, tuple(range(1, pages + 1)))), str)


async def open_everything(cell: BareCell) -> Finding:
    """As many people's sessions at one process as are usual, and one more: page after page; then new logins."""
    people = [await cell.add_person() for _ in range(ACCOUNTS + 1)]
    access = cell.exchanges["access"]
    sessions = [await _session(cell, access, one) for one in people]
    cell.keyring.openings.rate.clock = lambda: 0.0  # all of it is within one minute
    share = cell.settings["keyring"]["keys_per_worker_minute"] // ACCOUNTS  # of an account's keys these count
    pages = -(-share // PAGE_ENTRIES_MAX)
    opened = [await _opens(access, session, pages) for session in sessions[:-1]]
    control = all(opened)
    tried = [await _opens(access, session, pages) for session in reversed(sessions)]
    again = [await _session(cell, access, one) is not None for one in people[:2]]
    fresh = cell.worker("access")
    control &= await _opens(fresh, await _session(cell, fresh, people[-1]), pages)
    return Finding(sum(tried) + sum(again), len(tried) + len(again), control)


ACTS = (
    SemanticAct(
        "keys-by-the-million", "access", (Column.STORED_MAIL,),
        "every summary page of 17 live sessions asked for as fast as keyring answers, and two logged in again",
        "one answer beyond what is usual in a minute", "as many as are usual; a session at another process",
        open_everything,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

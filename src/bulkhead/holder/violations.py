"""Violations that a holder saw on its own edges, as entries: who broke which rule, never what was sent.

The edge has ended and the supervisor knows before anything is written here. The first of a kind is written at once,
the others of a minute as one number: what a hostile process sends does not fill the log.
"""

from collections.abc import Callable

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.first_of_kind import FirstOfKind
from bulkhead.errors import BoundaryViolation
from bulkhead.holder.witness import ledger_text

Details = dict[str, str | int | bool | None]


def watch_violations(exchange: Exchange, write: Callable[[str, Details], None]) -> None:
    """Have `write` called with actor and details of each EdgeViolation that is to be an entry.

    what: the rule, in our own words. worker: the newest of that compartment. count: of the kind since the last entry.
    """

    def say(kind: tuple[str, ...], worker: int, count: int) -> None:
        write(f"compartment:{kind[0]}", {"what": ledger_text(kind[-1]), "worker": worker, "count": count})

    seen = FirstOfKind(say)

    def on_violation(violation: BoundaryViolation, peer: Channel) -> None:
        seen.saw((peer.compartment, violation.public), peer.worker)

    exchange.on_violation(on_violation)

"""Acts that widen reach: in the ledger before they take effect, or they do not happen.

Acts that narrow it go the other way, by the outbox: they take effect first (design: acts and the ledger).
"""

import hashlib
import time
from collections.abc import Mapping

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import AppendEvents, Event
from bulkhead.holder.database import REHEARSAL

TEXT_MAX = 200  # characters of a free text that goes into an event
ACTOR_MAX = 64  # characters, as a Name in a message has


async def witness(
    exchange: Exchange, stamp: Stamp, kind: str, details: Mapping[str, str | int | bool | None], account: bytes = b""
) -> None:
    """Have the ledger take this event durably. Raises TemporaryFailure when it is not there, and Refused when
    it takes no such event: then do not act.

    A rehearsal tells nobody.
    The event's request id comes from the act's, so that an act that is asked for again is logged once.
    """
    if REHEARSAL.get():
        return
    request_id = hashlib.sha256(b"witness" + stamp.request_id).digest()[:16]
    event = Event(kind, int(time.time() * 1000), actor_text(stamp.actor), account, dict(details))
    await exchange.to("ledger").call(
        AppendEvents(Stamp.fresh(exchange.me.compartment, request_id=request_id), (event,))
    )


def ledger_text(text: str) -> str:
    """`text` as the ledger takes it: printable, short, without an @, so that no address enters the log."""
    return "".join(c if c.isprintable() else " " for c in text.replace("@", " at "))[:TEXT_MAX]


def actor_text(actor: str) -> str:
    """`actor` as the ledger takes it; `cell` where it names nobody."""
    return ledger_text(actor)[:ACTOR_MAX] or "cell"

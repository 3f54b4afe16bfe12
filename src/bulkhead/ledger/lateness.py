"""Acts that took effect long before the log has them: an entry of its own says so, and whoever watches sees it."""

import math
import time
from collections.abc import Sequence

from bulkhead.boundary.messages import to_ledger
from bulkhead.boundary.processes import OPERATOR_CONSOLE
from bulkhead.ledger.event import EVENTS, INTEGER_MAX, Event, encode_event

AGAIN_SECONDS = 60.0


class Lateness:
    """Says it once a minute and compartment. seconds: after how long; 0: never. The command line tells of the past."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self._told: dict[str, float] = {}

    def entries(self, compartment: str, events: Sequence[to_ledger.Event]) -> list[bytes]:
        """What to append behind these events: nothing, or one entry. Call `told` once it is durable."""
        now = time.time_ns() // 1_000_000
        waited = [now - event.time for event in events if now - event.time > self.seconds * 1000]
        if not waited or not self.seconds or compartment == OPERATOR_CONSOLE:
            return []
        if time.monotonic() < self._told.get(compartment, -math.inf) + AGAIN_SECONDS:
            return []
        details: dict[str, str | int | bool | None] = {
            "of": compartment, "waited_ms": min(INTEGER_MAX, max(waited)), "events": len(waited),
            "compartment": "ledger",
        }  # fmt: skip
        return [encode_event(Event(EVENTS["EventsLate"], now, "ledger", (), details))]

    def told(self, compartment: str) -> None:
        """It is in the log."""
        self._told[compartment] = time.monotonic()

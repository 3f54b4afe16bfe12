"""How many addresses one worker may ask for in vain: what keeps a compromised gate from guessing all of them.

Counted by compartment and worker, so that a restart begins nothing anew and no worker uses up another's minute. Past
the limit every question of that worker waits for the next minute: an answer to the right ones alone would confirm them.
"""

import time
from collections.abc import Callable

from bulkhead.boundary.terms import Channel
from bulkhead.errors import TemporaryFailure

UNKNOWN_PER_MINUTE = 60_000


class Guesses:
    """limit: unknown addresses a minute; 0: no limit."""

    def __init__(self, limit: int = UNKNOWN_PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self._clock = limit, clock
        self._minute = -1
        self._counts: dict[tuple[str, int], int] = {}

    def require(self, channel: Channel) -> None:
        """Raises TemporaryFailure (`busy`) where the worker has used up this minute's."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        if self.limit and self._counts.get((channel.compartment, channel.worker), 0) >= self.limit:
            raise TemporaryFailure("too many addresses that do not exist; ask again in a minute", code="busy")

    def count(self, channel: Channel) -> None:
        """One that does not exist, or is not whose it was said to be."""
        key = (channel.compartment, channel.worker)
        self._counts[key] = self._counts.get(key, 0) + 1

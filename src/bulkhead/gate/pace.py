"""How fast one source may go: connections, messages, recipients and unknown recipients in a minute, in one process.

Each rate is a bucket that holds a minute's worth and fills evenly. Memory: SOURCES_MAX buckets a rate; the source that
was quiet longest is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

SOURCES_MAX: Final = 20_000


class Rate:
    """One rate. a_minute: 0 is no limit."""

    def __init__(self, a_minute: int = 0, *, clock: Callable[[], float] = monotonic) -> None:
        self.a_minute, self._clock = a_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when it was

    def __len__(self) -> int:
        return len(self._buckets)

    def left(self, source: str) -> bool:
        """Whether the source may go on now."""
        return not self.a_minute or self._level(source) >= 1

    def take(self, source: str) -> bool:
        """Count one; False, and not counted, where the minute's worth is used up."""
        if not self.a_minute:
            return True
        level = self._level(source)
        if level < 1:
            return False
        self._buckets[source] = (level - 1, self._clock())
        self._buckets.move_to_end(source)
        if len(self._buckets) > SOURCES_MAX:
            self._buckets.popitem(last=False)
        return True

    def _level(self, source: str) -> float:
        found = self._buckets.get(source)
        if found is None:
            return float(self.a_minute)
        left, then = found
        return min(float(self.a_minute), left + (self._clock() - then) * self.a_minute / 60)


class SourceRates:
    """The rates of one gate."""

    def __init__(self) -> None:
        self.connections, self.messages, self.recipients, self.unknown = (Rate() for _ in range(4))

    def configure(self, section: Mapping[str, Any]) -> None:
        """Take over the settings; those that a gate has not are no limit. What was counted stays."""
        for rate, name in (
            (self.connections, "connections_per_source_minute"),
            (self.messages, "messages_per_source_minute"),
            (self.recipients, "recipients_per_source_minute"),
            (self.unknown, "unknown_per_source_minute"),
        ):
            rate.a_minute = int(section.get(name, 0))

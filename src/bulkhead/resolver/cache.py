"""Answers kept until their time to live ends. PURE: the clock is an argument."""

from collections import OrderedDict

from bulkhead.resolver.response import Answer, Type

Key = tuple[str, Type]


class Cache:
    """At most `entries_max` answers; the one not used for longest goes first."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Answer | None:
        """The answer, if it is still good at `now` (seconds)."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, answer: Answer, now: float) -> None:
        """Keep an answer for its ttl."""
        if answer.ttl <= 0:
            return
        self._entries[key] = (now + answer.ttl, answer)
        self._entries.move_to_end(key)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

"""Counts that fall with time, by key: leaky buckets in memory that no sender can make larger.

Each is a fixed number of keys. Where more come, the one that was touched longest ago is forgotten, so that a flood of
keys makes a limit forget, never refuse. Whoever sets the number says what else bounds such a flood.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Levels:
    """capacity: the highest level. per_second: how fast one falls. keys_max: about 250 octets each."""

    capacity: float
    per_second: float
    clock: Callable[[], float]
    keys_max: int = 1 << 16
    _levels: OrderedDict[bytes, tuple[float, float]] = field(default_factory=OrderedDict)  # (level, when)

    def __len__(self) -> int:
        return len(self._levels)

    def of(self, key: bytes) -> float:
        """The key's level now."""
        level, when = self._levels.get(key, (0.0, 0.0))
        return max(0.0, level - (self.clock() - when) * self.per_second)

    def is_full(self, key: bytes) -> bool:
        """Whether one more would be above the capacity."""
        return self.of(key) + 1 > self.capacity

    def add(self, key: bytes, count: float = 1.0) -> None:
        """Raise the key's level, or take back what was added."""
        self._levels[key] = min(self.capacity, max(0.0, self.of(key) + count)), self.clock()
        self._levels.move_to_end(key)
        if len(self._levels) > self.keys_max:
            self._levels.popitem(last=False)

    def forget(self, prefix: bytes) -> None:
        """Every key that begins so is at 0."""
        for key in [key for key in self._levels if key.startswith(prefix)]:
            del self._levels[key]


@dataclass(slots=True)
class Spread:
    """Different keys in a minute. ceiling: from so many on it is over, until a whole minute stayed below."""

    ceiling: int
    clock: Callable[[], float]
    episodes: int = 0  # how often it began to be over
    _minute: int = 0
    _keys: set[bytes] = field(default_factory=set)
    _was_over: bool = False  # in the minute before this one

    def note(self, key: bytes) -> None:
        """Count a key, once a minute."""
        over = self.over
        if len(self._keys) < self.ceiling:
            self._keys.add(key)
            self.episodes += not over and self.over

    @property
    def count(self) -> int:
        """Keys of this minute, at most the ceiling."""
        return len(self._keys) if int(self.clock() // 60) == self._minute else 0

    @property
    def over(self) -> bool:
        """Whether the ceiling was reached in this minute or in the last."""
        minute = int(self.clock() // 60)
        if minute != self._minute:
            self._was_over = len(self._keys) >= self.ceiling and minute == self._minute + 1
            self._minute, self._keys = minute, set()
        return self._was_over or len(self._keys) >= self.ceiling

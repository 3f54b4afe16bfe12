"""When a key may be tried again: a wait that doubles with its wrong tries, and never outlasts a stated maximum.

Time passes for whoever waits, whatever others do: a try that comes too early is refused and lengthens nothing.

Memory: 1,024 shards of 128 keys. A region always has the same shard, so that a flood from one region (one IPv6 /32 has
16 million /56) makes its own shard forget and, by chance, the waits of one region in 1,024 begin anew.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

SHARDS = 1024
SHARD_KEYS = 128
PER_SECOND = 1 / 3600  # wrong tries forgotten: one an hour
COUNT_MAX = 24.0
_Entry = tuple[float, float, float]
"""Wrong tries when it was last tried, when that was, and since when it has asked again (inf: not)."""


def delay(count: float, *, free: int, longest: float) -> float:
    """Seconds to wait after `count` wrong tries: none below `free`, then 1, doubled with each, at most `longest`."""
    return 0.0 if count < free else float(min(longest, 2.0 ** min(count - free, 32.0)))


@dataclass(slots=True)
class Waits:
    """free: wrong tries without a wait. longest: seconds a key waits at most for its own wrong tries."""

    free: int
    longest: float
    clock: Callable[[], float]
    _shards: list[OrderedDict[bytes, _Entry]] = field(default_factory=lambda: [OrderedDict() for _ in range(SHARDS)])

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def is_ready(self, key: bytes, region: bytes, hold: float) -> bool:
        """Whether it may be tried now. hold: seconds from its first try that it waits even without wrong tries."""
        now, (count, tried, since) = self.clock(), self._entry(key, region)
        since = min(since, now)
        if now >= since + hold and now >= tried + self._own(count):
            return True
        self._put(key, region, (count, tried, since))
        return False

    def count(self, key: bytes, region: bytes) -> _Entry:
        """One wrong try, until it is taken back. Returns what to put back."""
        now, before = self.clock(), self._entry(key, region)
        count = max(0.0, before[0] - (now - before[1]) * PER_SECOND)
        self._put(key, region, (min(COUNT_MAX, count + 1), now, inf))
        return before

    def put_back(self, key: bytes, region: bytes, before: _Entry | None) -> None:
        """The try was not wrong. before: None where it was right, and all is forgotten."""
        if before is not None and before[1] > -inf:
            self._put(key, region, before)
        else:
            self._shard(region).pop(key, None)

    def forget(self, prefix: bytes) -> None:
        """Every key that begins so was never tried."""
        for shard in self._shards:
            for key in [key for key in shard if key.startswith(prefix)]:
                del shard[key]

    def _own(self, count: float) -> float:
        return delay(count, free=self.free, longest=self.longest)

    def _entry(self, key: bytes, region: bytes) -> _Entry:
        return self._shard(region).get(key, (0.0, -inf, inf))

    def _put(self, key: bytes, region: bytes, entry: _Entry) -> None:
        shard = self._shard(region)
        shard[key] = entry
        shard.move_to_end(key)
        if len(shard) > SHARD_KEYS:
            shard.popitem(last=False)

    def _shard(self, region: bytes) -> OrderedDict[bytes, _Entry]:
        return self._shards[hash(region) % SHARDS]

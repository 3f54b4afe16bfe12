"""When a process that died is started again."""

from dataclasses import dataclass, field

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 10.0
CALM_SECONDS = 30.0


@dataclass(slots=True)
class Backoff:
    """Waits between restarts: at once-ish first, doubled up to 10 s, forgotten after 30 s of life."""

    _failures: int = field(default=0)

    def next_delay(self, lived: float) -> float:
        """Seconds to wait now that a process died which lived for `lived` seconds."""
        if lived >= CALM_SECONDS:
            self._failures = 0
        delay = min(LONGEST_SECONDS, FIRST_SECONDS * float(2**self._failures))
        self._failures = min(self._failures + 1, 16)
        return delay


@dataclass(slots=True)
class Allowance:
    """So many a minute, saved up to one minute's worth."""

    per_minute: float
    _left: float = field(default=-1.0)
    _last: float = field(default=0.0)

    def spend(self, now: float, amount: float = 1.0) -> bool:
        """Whether `amount` may be used at the monotonic time `now`; nothing is used where it may not."""
        if self._left < 0:
            self._left = self.per_minute
        else:
            self._left = min(self.per_minute, self._left + (now - self._last) * self.per_minute / 60)
        self._last = now
        if self._left < amount:
            return False
        self._left -= amount
        return True

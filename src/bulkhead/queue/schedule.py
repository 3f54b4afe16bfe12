"""When to try again, when to tell the sender of a delay, and when to give up. PURE.

Source: RFC 5321 section 4.5.4.1. Times are milliseconds since 1970-01-01T00:00Z; settings are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JITTER = 0.1  # the share by which jitter may lengthen a delay


@dataclass(frozen=True, slots=True)
class Schedule:
    """The [queue] settings, in seconds."""

    first: int
    longest: int
    expire: int
    warn: int

    @classmethod
    def configured(cls, section: Mapping[str, Any]) -> "Schedule":
        """From the section, which config has checked."""
        return cls(
            int(section["retry_first_seconds"]),
            int(section["retry_max_seconds"]),
            int(section["expire_seconds"]),
            int(section["warn_seconds"]),
        )

    def retry_delay(self, attempt: int, *, jitter: float) -> float:
        """Seconds to wait before the next delivery attempt.

        attempt: failed attempts so far, from 1.   jitter: 0.0 to 1.0, drawn by the caller.
        Doubles from `first` to `longest` (never below `first`); jitter only lengthens, by a tenth at most.
        Raises ValueError on an argument out of range: our bug, never the peer's.
        """
        if attempt < 1 or not 0.0 <= jitter <= 1.0:
            raise ValueError("attempts count from 1, jitter is 0.0 to 1.0")
        doubled = self.first * 2.0 ** min(attempt - 1, 64)
        return min(doubled, float(max(self.longest, self.first))) * (1.0 + JITTER * jitter)

    def next_attempt(self, now: int, attempt: int, expires: int, *, jitter: float) -> int:
        """The time of the next attempt. The last one falls on `expires`; what it does not deliver is bounced.

        Past `expires` (a bounce could not be delivered) the delay holds as it is.
        """
        due = now + int(self.retry_delay(attempt, jitter=jitter) * 1000)
        return min(due, expires) if now < expires else due

    def expires(self, enqueued: int) -> int:
        """When delivery is given up."""
        return enqueued + self.expire * 1000

    def warn_after(self, enqueued: int) -> int:
        """When the sender is told that it is delayed."""
        return enqueued + self.warn * 1000

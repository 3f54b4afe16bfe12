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

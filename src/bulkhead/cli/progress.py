"""A progress bar on a terminal, and nothing where there is none. Standard library only."""

import sys
import time

WIDTH = 30
PAUSE = 0.2  # seconds between two drawings


class ProgressBar:
    """One line on standard error, drawn again and again. size: octets in all."""

    def __init__(self, size: int) -> None:
        self._size = max(size, 1)
        self._began = self._drawn = time.monotonic()
        self._shown = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def show(self, offset: int, made: int) -> None:
        """So many octets read, so many accounts made by this run."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < PAUSE:
            return
        self._drawn = now
        share = min(offset / self._size, 1.0)
        full = int(share * WIDTH)
        rate = made / max(now - self._began, 0.001)
        bar = "#" * full + "." * (WIDTH - full)
        print(f"\r[{bar}] {share:6.1%}  {made:,} accounts, {rate:,.0f}/s ", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line."""
        if self._shown:
            print(file=sys.stderr, flush=True)

"""A rate that a carrier keeps to, so that what can wait leaves the disk and the processes to those who cannot."""

import asyncio
import time


class Pace:
    """So many octets a second, in all that share it; 0: as many as go."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate, self._free_at = bytes_per_second, 0.0

    async def spend(self, octets: int) -> None:
        """Wait until these, which were carried just now, are paid for."""
        if self._rate:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + octets / self._rate
            await asyncio.sleep(self._free_at - now)

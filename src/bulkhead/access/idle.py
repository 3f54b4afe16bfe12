"""Waiting in IDLE for the client's DONE, for changes, or for the time to show that we are there (RFC 2177)."""

import asyncio

from bulkhead.access.deflate import Input

STILL_HERE_SECONDS = 150.0  # below what routers and NATs forget a connection after


class Waiting:
    """Waits for bytes of the client, for a change, or for the time to say something."""

    def __init__(self, source: Input, changed: asyncio.Event) -> None:
        self._source, self._changed = source, changed
        self._reading: asyncio.Task[bytes] | None = None

    async def next(self, seconds: float = STILL_HERE_SECONDS) -> bytes | None:
        """The client's bytes (b"" at the end), or None where something changed or `seconds` went by.

        Raises IdleTooLong. Bytes are never lost between two calls; call close() when done.
        """
        loop = asyncio.get_running_loop()
        if self._reading is None:
            self._reading = loop.create_task(self._source.read())
        change = loop.create_task(self._changed.wait())
        try:
            await asyncio.wait((self._reading, change), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        if self._reading.done():
            reading, self._reading = self._reading, None
            return reading.result()
        return None

    async def close(self) -> None:
        """Stop reading. Bytes that have not come yet stay with the source."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

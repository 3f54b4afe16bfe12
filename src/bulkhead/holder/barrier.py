"""A barrier that stands for moments: nothing of a sort begins while two holders take their snapshots.

It falls by itself after HOLD_SECONDS, so that whoever asked for it and went away holds nobody up for longer.
"""

import asyncio
from collections.abc import Callable

from bulkhead.errors import TemporaryFailure

DRAIN_SECONDS = 30.0  # how long what is under way may take to end
HOLD_SECONDS = 10.0
LOOK_SECONDS = 0.01


class Barrier:
    """Open until held."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._holds = 0

    async def wait(self) -> None:
        """Pass, once it is open."""
        while not self._open.is_set():
            await self._open.wait()

    async def hold(self, busy: Callable[[], bool]) -> Callable[[], bool]:
        """Close it and wait until what is under way has ended; what ends that says whether it stood until then.

        Raises TemporaryFailure (`busy`) where something takes too long to end.
        """
        self._holds += 1
        self._open.clear()
        number, loop = self._holds, asyncio.get_running_loop()

        def let_go() -> bool:
            stood = number == self._holds and not self._open.is_set()
            if stood:
                self._open.set()
            return stood

        ends = loop.time() + DRAIN_SECONDS
        while busy():
            if loop.time() > ends:
                let_go()
                raise TemporaryFailure("changes of credentials do not come to their end", code="busy")
            await asyncio.sleep(LOOK_SECONDS)
        loop.call_later(HOLD_SECONDS, let_go)
        return let_go

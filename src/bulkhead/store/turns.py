"""How much of one kind goes on at once for one channel, so that nobody waits for what another gate does not finish."""

import asyncio

from bulkhead.boundary.terms import Channel


class Turns:
    """Work that is bounded a channel. Memory: what one may take, times the workers of the gates that ask."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._channels: dict[Channel, asyncio.Semaphore] = {}

    def of(self, channel: Channel) -> asyncio.Semaphore:
        """Held while the work goes on; first come, first served among those of the channel."""
        turns = self._channels.get(channel)
        if turns is None:
            turns = self._channels[channel] = asyncio.Semaphore(self._at_once)
        return turns

    def forget(self, channel: Channel) -> None:
        """Its edge has ended."""
        self._channels.pop(channel, None)

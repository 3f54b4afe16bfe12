"""How many bytes of listings one channel may have unread: a reader that takes none cannot have them pile up here."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from bulkhead.boundary.terms import Channel

CHANNEL_BYTES_MAX = 128 << 20  # of one channel; a single listing may be larger


class Loan:
    """Bytes set aside for one listing, given back when nobody holds it any more: sent, broken off, or never begun."""

    __slots__ = ("_channel", "_loans", "_size", "parts")

    def __init__(self, loans: "Loans", channel: Channel, size: int) -> None:
        self._loans, self._channel, self._size = loans, channel, size
        self.parts: Iterable[bytes] = ()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.parts
        finally:
            self.release()

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Give it back; once."""
        size, self._size, self.parts = self._size, 0, ()
        if size:
            self._loans.give(self._channel, size)


class Loans:
    """What each channel has out. First come, first served within a channel; no channel waits for another."""

    def __init__(self) -> None:
        self.out: Counter[Channel] = Counter()
        self._waiting: dict[Channel, deque[tuple[int, asyncio.Future[None]]]] = {}

    async def take(self, channel: Channel, size: int) -> Loan:
        """A loan of `size` bytes, as soon as the channel has taken enough of its earlier ones."""
        waiting = self._waiting.setdefault(channel, deque())
        if waiting or not self._fits(channel, size):
            turn = asyncio.get_running_loop().create_future()
            waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self.give(channel, size)
                raise
        else:
            self.out[channel] += size
        return Loan(self, channel, size)

    def give(self, channel: Channel, size: int) -> None:
        """They are free again; the next who waits may have them."""
        self.out[channel] -= size
        waiting = self._waiting.get(channel)
        while waiting and (waiting[0][1].done() or self._fits(channel, waiting[0][0])):
            wanted, turn = waiting.popleft()
            if not turn.done():
                self.out[channel] += wanted
                turn.set_result(None)
        if not self.out[channel]:
            del self.out[channel]
            self._waiting.pop(channel, None)

    def _fits(self, channel: Channel, size: int) -> bool:
        return not self.out[channel] or self.out[channel] + size <= CHANNEL_BYTES_MAX

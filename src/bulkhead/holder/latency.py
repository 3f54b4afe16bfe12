"""How long requests took that were answered: fourteen counts a kind, whatever is asked; nothing of an account."""

import inspect
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.latency import BOUNDS, Latencies
from bulkhead.boundary.terms import Channel


class Latency:
    """Counts since start."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts, self._seconds = [0] * (len(BOUNDS) + 1), 0.0

    def observe(self, seconds: float) -> None:
        """One took so long."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def said(self) -> Latencies:
        """As a reply has them."""
        return Latencies(tuple(self._counts), int(self._seconds * 1_000_000))


def timed(handler: Handler, of: Callable[[Any], Latency]) -> Handler:
    """The handler; what it answers is counted in its state's Latency, what it refuses is not."""

    async def finish(reply: Awaitable[Any], began: float, latency: Latency) -> Any:
        answer = await reply
        latency.observe(time.perf_counter() - began)
        return answer

    def answer(state: Any, channel: Channel, request: Request[Any], body: BodyReader | None) -> Any:
        began = time.perf_counter()
        reply: Any = handler(state, channel, request, body)
        if inspect.isawaitable(reply):
            return finish(reply, began, of(state))
        of(state).observe(time.perf_counter() - began)
        return reply

    answer.__doc__ = handler.__doc__
    answer.__name__ = getattr(handler, "__name__", "answer")
    return answer

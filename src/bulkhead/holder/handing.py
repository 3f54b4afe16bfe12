"""Handlers that only hand a request on to the part of the state that answers it."""

import inspect
from collections.abc import Callable
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.terms import Channel


def hand_on(answer: Callable[[Any, Any], Any], *, wake: bool = False) -> Handler:
    """The handler that gives what `answer(state, request)` gives. wake: `state.outbox` has something then."""

    async def handle(state: Any, _: Channel, request: Request[Any], __: BodyReader | None) -> Any:
        reply = answer(state, request)
        if inspect.isawaitable(reply):
            reply = await reply
        if wake:
            state.outbox.wake()
        return reply

    return handle

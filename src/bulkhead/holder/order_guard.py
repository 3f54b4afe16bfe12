"""What command line and staff sessions may not do without an order, where the roster's policy says so."""

import inspect
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.orders import ORDERS, OrderKind
from bulkhead.boundary.processes import OPERATOR_CONSOLE
from bulkhead.boundary.terms import Channel, Served
from bulkhead.errors import Error, Refused
from bulkhead.holder import order_rows as rows
from bulkhead.holder.database import Database
from bulkhead.holder.order_effects import Effects
from bulkhead.holder.order_rows import Kept, OrderState
from bulkhead.records.order import decode_order

DESTROYING = tuple(row.action for row in ORDERS.values() if row.kind is OrderKind.DESTROY)

WITHOUT_ORDERS = (OPERATOR_CONSOLE, "console")
"""Who asks without the signatures that an order has: the command line of the host, and one member of staff."""


class Guard:
    """refused: whether the policy in force asks for orders. exempt: what is refused to nobody. alone: by serial."""

    def __init__(
        self,
        database: Database,
        effects: Effects,
        now: Callable[[], int],
        refused: Callable[[], bool],
        exempt: Callable[[Request[Any]], bool],
        alone: Callable[[bytes], AbstractAsyncContextManager[Any]],
    ) -> None:
        self._database, self._effects, self._now = database, effects, now
        self._refused, self._exempt, self._alone = refused, exempt, alone

    def around(self, handler: Handler) -> Handler:
        """The handler, for whom it still serves."""

        def guarded(state: Any, channel: Channel, request: Any, body: BodyReader | None) -> Served | Awaitable[Served]:
            if channel.compartment not in WITHOUT_ORDERS or not self._refused() or self._is_free(request):
                return handler(state, channel, request, body)
            permit, once = self._permit_for(request)
            if not once:
                return handler(state, channel, request, body)
            return self._use(permit, partial(handler, state, channel, request, body))

        return guarded

    def _is_free(self, request: Request[Any]) -> bool:
        """Whether it needs no order: also a mailbox key that nobody gets a password for."""
        makes_key = type(request).__name__ == "CreateMailboxKeys"
        return self._exempt(request) or (makes_key and not getattr(request, "token", True))

    def _permit_for(self, request: Request[Any]) -> tuple[Kept, bool]:
        """The order that allows it, and whether it allows it once. Raises Refused (`order-required`).

        What an order destroyed may be asked for again: that changes nothing, and lets a receipt be made.
        """
        now = self._now()
        permits = [kept for kept in rows.of_state(self._database, OrderState.PERMITS) if kept.due > now]
        done = rows.executed(self._database, DESTROYING)
        for kept in (*permits, *done):
            order = decode_order(kept.data)
            for effect in self._effects.of(ORDERS[kept.action]):
                if self._effects.fits(effect, request, order, kept):
                    return kept, effect.once
        raise Refused(
            f"{type(request).__name__} needs an order of officers here: bulkhead officer order make",
            code="order-required",
        )

    async def _use(self, permit: Kept, work: Callable[[], Served | Awaitable[Served]]) -> Served:
        """Once: written down before, and taken back where it came to nothing."""
        async with self._alone(permit.serial):
            kept = rows.find(self._database, permit.serial)
            if kept is None or kept.state != OrderState.PERMITS:
                raise Refused("that order was used", code="order-required")
            await self._database.write(_putting(replace(kept, state=OrderState.USED, due=0)))
            try:
                result = work()
                return await result if inspect.isawaitable(result) else result
            except Error:
                await self._database.write(_putting(kept))
                raise


def _putting(kept: Kept) -> Callable[[sqlite3.Connection], None]:
    return partial(rows.put, kept=kept)

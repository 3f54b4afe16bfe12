"""What an order comes to in one compartment: a request that it knows anyway, handed to its own handler."""

import asyncio
import hashlib
import inspect
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.messages.fields import Request, Stamp
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.orders import OPTIONAL, ORDERS, Effect, Form, Given, Of, OrderRow
from bulkhead.errors import TemporaryFailure
from bulkhead.holder.database import RIDER, Database, Rider
from bulkhead.holder.order_rows import Kept
from bulkhead.records.order import Order

FINISH_TRIES = 5  # an effect that is durable and not finished is asked for again so often
Put = Callable[[sqlite3.Connection], None]


class Effects:
    """Of one compartment. state, handlers: those that it serves others with."""

    def __init__(
        self,
        database: Database,
        exchange: Exchange,
        state: Any,
        handlers: Mapping[type[Request[Any]], Handler],
    ) -> None:
        self._database, self._exchange, self.state, self._handlers = database, exchange, state, handlers
        self._me = exchange.me.compartment

    def of(self, row: OrderRow) -> tuple[Effect, ...]:
        """The row's effects here."""
        return tuple(effect for effect in row.effects if effect.executor == self._me)

    def kind(self, effect: Effect) -> type[Request[Any]]:
        """The request that it is."""
        found: type[Request[Any]] = getattr(RECEIVERS[self._me], effect.message)
        return found

    def requests(self) -> frozenset[type[Request[Any]]]:
        """Every request here that an order may come to."""
        module = RECEIVERS[self._me]
        return frozenset(getattr(module, effect.message) for row in ORDERS.values() for effect in self.of(row))

    async def do(self, effect: Effect, order: Order, kept: Kept, put: Put, *, epoch: int = 0) -> None:
        """Do it, `put` in the first transaction that it makes. epoch: instead of the one that the row names.

        Raises as the handler does. What is durable and could not be finished is asked for again a while.
        """
        request, rider = self._request(effect, order, kept, epoch), Rider(put)
        handler = self._handlers[type(request)]
        for left in reversed(range(FINISH_TRIES)):
            token = RIDER.set(rider)
            try:
                result = handler(self.state, self._exchange.me, request, None)
                if inspect.isawaitable(result):
                    await result
                break
            except TemporaryFailure:
                if not rider.ran or not left:
                    raise
                await asyncio.sleep(1)  # it is durable, and what follows it has to be done too
            finally:
                RIDER.reset(token)
        if not rider.ran:
            await self._database.write(put)

    def fits(self, effect: Effect, request: Request[Any], order: Order, kept: Kept) -> bool:
        """Whether a request is what the order names; fields that it does not name are free."""
        if effect.message != type(request).__name__:
            return False
        named = {name: source for name, source in effect.fields.items() if not isinstance(source, Given)}
        return all(getattr(request, name) == _value(source, order, kept, 0) for name, source in named.items())

    def stamp(self, what: str, digest: bytes) -> Stamp:
        """The same for the same thing here, so that nothing is done or logged twice."""
        ident = hashlib.sha256(f"order/{self._me}/{what}/".encode() + digest).digest()[:16]
        return Stamp.fresh(f"order:{what}"[:38], request_id=ident)

    def _request(self, effect: Effect, order: Order, kept: Kept, epoch: int) -> Request[Any]:
        kind = getattr(RECEIVERS[self._me], effect.message)
        fields = {name: _value(source, order, kept, epoch) for name, source in effect.fields.items()}
        stamp = self.stamp(f"{kept.serial.hex()}/{effect.message}/{epoch}", kept.hash)
        made: Request[Any] = kind(stamp=stamp, **fields)
        return made


def _value(source: Any, order: Order, kept: Kept, epoch: int) -> Any:
    match source:
        case Given.NOW:
            return epoch or kept.at
        case Given.ISSUED:
            return epoch or order.issued
        case Given.REASON:
            return order.reason
        case Of():
            value = order.parameters.get(source.parameter)
            if value is None:
                return OPTIONAL[source.parameter]
            form = ORDERS[order.action].parameters[source.parameter]
            digits = form in (Form.ACCOUNT, Form.SERIAL, Form.DIGEST, Form.SET)
            return bytes.fromhex(str(value)) if digits else value
    return source

"""Live logins of this process, by the handle that keyring gave: ended where keyring ends them, or goes away."""

from collections import OrderedDict
from collections.abc import Callable

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import SessionEnded

EARLY_MAX = 1024  # ends heard of before the login that they end


class Logins:
    """Who is logged in here. Handles do not outlive keyring's process, and no login outlives its handle."""

    def __init__(self, exchange: Exchange) -> None:
        self._live: dict[bytes, Callable[[], None]] = {}
        self._early: OrderedDict[bytes, None] = OrderedDict()
        exchange.serve(self, {}, {SessionEnded: _session_ended})
        exchange.on_departure(self._on_departure)

    def __len__(self) -> int:
        return len(self._live)

    def begin(self, handle: bytes, end: Callable[[], None]) -> None:
        """Call `end` once when this login is over; at once where that was heard before."""
        if handle in self._early:
            del self._early[handle]
            end()
        else:
            self._live[handle] = end

    def leave(self, handle: bytes) -> bool:
        """The subscriber left; whether the login was live until now."""
        return self._live.pop(handle, None) is not None

    def ended(self, handle: bytes) -> None:
        """Keyring ended this one."""
        end = self._live.pop(handle, None)
        if end is not None:
            end()
            return
        self._early[handle] = None
        if len(self._early) > EARLY_MAX:
            self._early.popitem(last=False)

    def _on_departure(self, channel: Channel) -> None:
        if channel.compartment == "keyring":
            live, self._live = self._live, {}
            self._early.clear()
            for end in live.values():
                end()


def _session_ended(logins: Logins, _: Channel, fact: SessionEnded) -> None:
    logins.ended(fact.handle)

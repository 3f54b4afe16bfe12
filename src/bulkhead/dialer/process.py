"""The dialer process."""

from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.dialer.handle import HANDLERS, Dialer
from bulkhead.dialer.routes import Routes


class DialerService:
    """A started dialer."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New routes for the next connections."""
        self._dialer.routes = _routes(settings)

    async def stop(self) -> None:
        """Nothing is held."""


async def start(host: Host) -> Service:
    """Serve courier and resolver."""
    dialer = Dialer(_routes(host.settings))
    host.exchange.serve(dialer, HANDLERS)
    return DialerService(dialer)


def _routes(settings: Mapping[str, Any]) -> Routes:
    courier, resolver = settings["courier"], settings["resolver"]
    return Routes.configured(courier["port"], courier["allow_networks"], resolver["nameservers"])

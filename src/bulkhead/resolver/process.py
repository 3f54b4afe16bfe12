"""The resolver process."""

import time
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host, Service
from bulkhead.resolver.handle import HANDLERS, Resolver
from bulkhead.resolver.lookup import Lookup
from bulkhead.resolver.name_servers import DNS_PORT, NameServers
from bulkhead.resolver.zone import Zone


class ResolverService:
    """A started resolver."""

    def __init__(self, resolver: Resolver, exchange: Exchange) -> None:
        self._resolver, self._exchange = resolver, exchange

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New zone and servers; what was cached is forgotten. Raises ConfigError and keeps the old ones."""
        self._resolver.lookup = make_lookup(self._exchange, settings["resolver"])

    async def stop(self) -> None:
        """Nothing is held."""


async def start(host: Host) -> Service:
    """Serve courier. Raises ConfigError where the zone text cannot be read."""
    resolver = Resolver(make_lookup(host.exchange, host.settings["resolver"]))
    host.exchange.serve(resolver, HANDLERS)
    return ResolverService(resolver, host.exchange)


def make_lookup(exchange: Exchange, section: Mapping[str, Any], *, port: int = DNS_PORT) -> Lookup:
    """From the [resolver] section, whose `zone` is the zone file's text."""
    servers = NameServers(exchange, section["nameservers"], float(section["timeout_seconds"]), port=port)
    return Lookup(Zone(section["zone"]), servers, int(section["cache_entries_max"]), time.monotonic)

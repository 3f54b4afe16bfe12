"""What a compartment's process.py is given: who it is, its settings, its key, its listeners, its edges."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.identifiers import TenantId


@dataclass(slots=True)
class Host:
    """One process's surroundings. `root_key` opens its key file and is None where it has none."""

    channel: Channel
    tenant: TenantId
    settings: Mapping[str, Any]
    exchange: Exchange
    listeners: Mapping[str, socket.socket] = field(default_factory=dict)
    root_key: bytes | None = field(default=None, repr=False)


class Service(Protocol):
    """A started compartment: what `start(host)` of its process.py gives back."""

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """Take over new settings, and for a gate the key and chain that now lie in its directory."""

    async def stop(self) -> None:
        """Finish what is under way, within 3 s, and leave everything durable."""

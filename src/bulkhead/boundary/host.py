"""What a compartment's process.py is given: who it is, its settings, its key, its listeners, its edges."""

import asyncio
import socket
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.happenings import Happening
from bulkhead.identifiers import TenantId


@dataclass(frozen=True, slots=True)
class Load:
    """What a gate has: connections and sessions now, sessions begun since it started, and whether it takes no more."""

    connections: int = 0
    sessions: int = 0
    begun: int = 0
    full: bool = False


@dataclass(slots=True)
class Host:
    """One process's surroundings. `root_key` opens its key file and is None where it has none.

    next_root_key: where a change of the root key was cut short, the one that may already be in force.
    files: open descriptors by name, read only, of what its row of PROCESSES reads; who takes one removes and closes it.
    A new one may be here at a reload.
    happenings, taken: of ledger, what the supervisor wants to be entries, and how it is told by number that one is.
    tell_load: a gate says what it has whenever that changes; the supervisor has others forked accordingly.
    """

    channel: Channel
    tenant: TenantId
    settings: Mapping[str, Any]
    exchange: Exchange
    listeners: Mapping[str, socket.socket] = field(default_factory=dict)
    root_key: bytes | None = field(default=None, repr=False)
    files: MutableMapping[str, int] = field(default_factory=dict)
    tell_load: Callable[[Load], None] = lambda _: None
    next_root_key: bytes | None = field(default=None, repr=False)
    happenings: "asyncio.Queue[Happening] | None" = None
    taken: Callable[[int], object] = lambda _: None


class Service(Protocol):
    """A started compartment: what `start(host)` of its process.py gives back."""

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """Take over new settings, and for a gate the key and chain that now lie in its directory."""

    async def stop(self) -> None:
        """Finish what is under way, within 3 s, and leave everything durable."""


@runtime_checkable
class Gate(Service, Protocol):
    """What `start(host)` of a network-facing compartment gives back."""

    async def retire(self, seconds: float) -> None:
        """Accept no more; return when the last session has ended, or after `seconds`. What is left meets stop()."""

"""Finds the message types that PEERS names."""

from types import ModuleType
from typing import Any

from bulkhead.boundary.messages import (
    facts,
    to_auth,
    to_dialer,
    to_directory,
    to_incident,
    to_keyring,
    to_ledger,
    to_queue,
    to_resolver,
    to_store,
)
from bulkhead.boundary.messages.fields import Fact, Request
from bulkhead.boundary.peers import PEERS, Peering

RECEIVERS: dict[str, ModuleType] = {
    "auth": to_auth,
    "dialer": to_dialer,
    "directory": to_directory,
    "incident": to_incident,
    "keyring": to_keyring,
    "ledger": to_ledger,
    "queue": to_queue,
    "resolver": to_resolver,
    "store": to_store,
}


def requests_of(peering: Peering) -> tuple[type[Request[Any]], ...]:
    """What the client of this edge may ask. Raises ValueError on a name that is no request: our bug."""
    return tuple(_find(RECEIVERS[peering.server], name, Request) for name in peering.requests)


def carried_by(server: str) -> tuple[type[Request[Any]], ...]:
    """What a session may have carried to this server. Raises ValueError as requests_of."""
    names = dict.fromkeys(name for peering in PEERS if peering.server == server for name in peering.carries)
    return tuple(_find(RECEIVERS[server], name, Request) for name in names)


def facts_of(names: tuple[str, ...]) -> tuple[type[Fact], ...]:
    """The facts of these names."""
    return tuple(_find(facts, name, Fact) for name in names)


def _find(module: ModuleType, name: str, kind: type[Any]) -> type[Any]:
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ValueError(f"{module.__name__} has no {kind.__name__.lower()} {name}")
    return found

"""Finds the message types that PEERS names."""

from functools import cache
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


def tag_of(kind: type[Request[Any]]) -> int:
    """The number that its messages bear: never another's at the same receiver."""
    return int(kind.__struct_config__.tag)  # type: ignore[arg-type]  # each of ours is an integer


def name_of(server: str, tag: int) -> str:
    """The name of the request with this tag; the tag where this version knows none."""
    return _names(server).get(tag, str(tag))


@cache
def _names(server: str) -> dict[int, str]:
    found = vars(RECEIVERS[server]).values() if server in RECEIVERS else ()
    return {
        tag_of(kind): kind.__name__
        for kind in found
        if isinstance(kind, type) and issubclass(kind, Request) and kind.__struct_config__.tag is not None
    }


def facts_of(names: tuple[str, ...]) -> tuple[type[Fact], ...]:
    """The facts of these names."""
    return tuple(_find(facts, name, Fact) for name in names)


def _find(module: ModuleType, name: str, kind: type[Any]) -> type[Any]:
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ValueError(f"{module.__name__} has no {kind.__name__.lower()} {name}")
    return found

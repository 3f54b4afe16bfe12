"""A directory with its edges, in this process: a cli and gates on one side, a ledger that writes down on the other."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import AddAccount, AddDomain, BindingRow
from bulkhead.boundary.messages.to_ledger import Appended, AppendEvents, Event
from bulkhead.directory.create import create_keys
from bulkhead.directory.process import start
from bulkhead.errors import TemporaryFailure
from bulkhead.identifiers import AccountId, TenantId, new_id

TENANT = TenantId("kddi")
ROOT = bytes(range(32))
SETTINGS = {"id": "kddi", "directory": {"default_quota_bytes": 1 << 30, "postmaster": ""}}


@dataclass(slots=True)
class Running:
    """A started directory and its peers."""

    peers: dict[str, Exchange]
    events: list[Event]
    service: Any
    refused: set[str]  # kinds of events that the ledger does not take

    async def ask(self, request: Any, peer: str = "cli") -> Any:
        return await self.peers[peer].to("directory").call(request)

    async def add(self, address: str, account: bytes | None = None, quota: int = 0) -> AccountId:
        account = AccountId(account or new_id())
        domain = address.rpartition("@")[2]
        await self.ask(AddDomain(Stamp.fresh("test"), domain))
        await self.ask(AddAccount(Stamp.fresh("test"), address, BindingRow(account, b"binding"), quota))
        return account


def join(one: Exchange, other: Exchange, generation: int = 1) -> None:
    """An edge between two exchanges of this process."""
    left, right = socket.socketpair()
    one.attach(left, other.me, generation)
    other.attach(right, one.me, generation)


def _fail(*what: object) -> None:
    raise AssertionError(what)


@asynccontextmanager
async def running(folder: Path, settings: dict[str, Any] = SETTINGS) -> AsyncIterator[Running]:
    """The directory over the files in `folder`, which must be the current directory."""
    if not (folder / "keys.sealed").exists():
        (folder / "keys.sealed").write_bytes(create_keys().seal(TENANT, "directory", 1, ROOT))
    exchange = Exchange(Channel("directory", 0, 1), _fail)
    events: list[Event] = []
    refused: set[str] = set()
    ledger = Exchange(Channel("ledger", 0, 1), _fail)

    def append(_: object, __: Channel, request: AppendEvents, ___: object) -> Appended:
        if any(event.kind in refused for event in request.events):
            raise TemporaryFailure("the disk is full", code="storage")
        events.extend(request.events)
        return Appended(0)

    ledger.serve(None, {AppendEvents: append})
    join(exchange, ledger)
    host = Host(exchange.me, TENANT, settings, exchange, root_key=ROOT)
    service = await start(host)
    peers = {}
    for name in ("cli", "mx", "submit", "access", "courier"):
        peers[name] = Exchange(Channel(name, 0, 1), _fail)
        join(peers[name], exchange)
    yield Running(peers, events, service, refused)
    await service.stop()
    exchange.close()


@pytest.fixture
def with_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Runs a coroutine function with a started directory."""
    monkeypatch.chdir(tmp_path)

    def run(test: Callable[[Running], Coroutine[Any, Any, None]], settings: dict[str, Any] = SETTINGS) -> None:
        async def main() -> None:
            async with running(tmp_path, settings) as directory:
                await test(directory)

        asyncio.run(main())

    return run

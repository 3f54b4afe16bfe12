"""Coroutine tests, and what they share: a database file, a holder's exchange, and a real ledger at its other end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.boundary.conftest import pytest_pyfunc_call

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.to_ledger import ReadEntries
from bulkhead.boundary.terms import Channel
from bulkhead.identifiers import TenantId
from bulkhead.ledger import process
from bulkhead.ledger.create import LOG, create_keys, origin_of, signer_of
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log

__all__ = ["Cell", "make_cell", "pytest_pyfunc_call"]

TENANT, ROOT = TenantId("kddi"), bytes(range(32))
LEDGER = {
    "ledger": {"origin": "", "late_seconds": 60, "alive_seconds": 600},
    "pinned": {"ledger_witness": ""},
}
KEYS = create_keys()


class Cell:
    """auth's exchange with a ledger that can be started and stopped; `entries` are what is in the log."""

    def __init__(self) -> None:
        self.auth = Exchange(Channel("auth", 0, 1), _violation)
        self._incarnation = 0
        self._ledger: Exchange | None = None
        self._cli: Exchange | None = None
        self._service: Any = None

    async def start_ledger(self) -> None:
        """A new incarnation, on new edges."""
        self._incarnation += 1
        me = Channel("ledger", 0, self._incarnation)
        self._ledger, self._cli = Exchange(me, _violation), Exchange(Channel("cli", 0, 1), _violation)
        for peer in (self.auth, self._cli):
            ours, theirs = socket.socketpair()
            peer.attach(ours, me, self._incarnation)
            self._ledger.attach(theirs, peer.me, self._incarnation)
        host = Host(me, TENANT, {"id": TENANT, **LEDGER}, self._ledger, root_key=ROOT)
        self._service = await process.start(host)

    async def stop_ledger(self) -> None:
        """Nobody is at the other end any more."""
        if self._ledger is None or self._cli is None:
            return
        await self._service.stop()
        self._ledger.close()
        self._cli.close()
        self._ledger = None
        await asyncio.sleep(0.01)

    async def entries(self) -> list[Event]:
        """All events in the log, parsed."""
        assert self._cli is not None
        found: list[Event] = []
        while page := (await self._cli.to("ledger").call(ReadEntries(len(found)))).entries:
            found += map(parse_event, page)
        return found

    async def logged(self, count: int) -> list[Event]:
        """The log once it has so many entries."""
        async with asyncio.timeout(60):
            while len(found := await self.entries()) < count:
                await asyncio.sleep(0.01)
        return found


def _violation(*what: object) -> None:
    raise AssertionError(what)


@pytest.fixture
def make_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a Cell in a directory of its own; its ledger runs unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    Path("keys.sealed").write_bytes(KEYS.seal(TENANT, "ledger", 1, ROOT))
    LOG.mkdir()
    create_log(DirectoryFiles(str(LOG)), signer_of(KEYS, origin_of(TENANT)), origin_of(TENANT))

    @asynccontextmanager
    async def cell(*, ledger: bool = True) -> AsyncIterator[Cell]:
        made = Cell()
        if ledger:
            await made.start_ledger()
        try:
            yield made
        finally:
            await made.stop_ledger()
            made.auth.close()

    return cell

"""A console on a real listener, behind TLS; a real directory, and executors that are real for orders and staff."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop
from tests.directory.conftest import ROOT, join
from tests.gate.cell import authority, client_context, listening

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_auth, to_incident, to_keyring, to_ledger, to_queue, to_store
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.latency import BOUNDS, Latencies
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.messages.to_directory import AddAccount, AddDomain, BindingRow, SetAccountStatus
from bulkhead.boundary.staff import EXECUTORS, RECORDERS
from bulkhead.boundary.support import CASE_HOLDERS
from bulkhead.boundary.terms import Channel
from bulkhead.cli.api_client import ApiClient
from bulkhead.cli.certificates import issue
from bulkhead.console import process as console_process
from bulkhead.directory import process as directory_process
from bulkhead.directory.create import create_keys
from bulkhead.drill.officers import People
from bulkhead.errors import Refused
from bulkhead.holder import access_search, cases, order_rows, orders, outbox, staff
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.roster import Pinned
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.ledger import create
from bulkhead.ledger.appending import Ledger
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.handle import HANDLERS, append_events
from bulkhead.ledger.log import open_log
from bulkhead.records.keyfile import KeySet
from bulkhead.records.officer_file import OfficerPrivateKey

TENANT, DOMAIN, NAME = TenantId("kddi"), "kddi.example", "console.kddi.example"
SECTION = {
    "connections_max": 64, "connections_per_source_max": 32, "mode": "default", "workers": 1, "recycle_sessions": 0,
    "idle_seconds": 30, "request_seconds": 60, "requests_per_connection_max": 1000,
}  # fmt: skip


class ConsoleCell:
    """Everything on one loop of one thread; tests talk to it over TLS from theirs."""

    def __init__(self, root: Path, tenant: str = TENANT) -> None:
        self.root, self.tenant = root, TenantId(tenant)
        self.people = People(self.tenant)
        self.events: list[to_ledger.Event] = []
        self.exchanges: dict[str, Exchange] = {}
        self.services: list[Any] = []
        self.states: dict[str, Any] = {}
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def start(self) -> None:
        """Directory, ledger, executors, console."""
        for name in ("directory", "ledger", "incident", "console", "cli", *EXECUTORS):
            self.exchanges.setdefault(name, Exchange(Channel(name, 0, 1), self._fail))
        self._serve_ledger()
        settings = {
            "id": self.tenant, "directory": {"default_quota_bytes": 1 << 30, "postmaster": ""},
            "pinned": self.people.pinned(), "names": {"console": NAME}, "console": SECTION,
        }  # fmt: skip
        home = self.root / "directory"
        home.mkdir()
        (home / "keys.sealed").write_bytes(create_keys().seal(self.tenant, "directory", 1, ROOT))
        for name in EXECUTORS:
            join(self.exchanges[name], self.exchanges["ledger"])
            join(self.exchanges["console"], self.exchanges[name])
            join(self.exchanges["cli"], self.exchanges[name])
        with contextlib.chdir(home):
            host = Host(
                self.exchanges["directory"].me, self.tenant, settings, self.exchanges["directory"], root_key=ROOT
            )
            service = await directory_process.start(host)
        self.services.append(service)
        self.states["directory"] = service._directory
        for name in EXECUTORS[1:]:
            self._executor(name, settings)
        roster = self.people.use(self.people.roster())
        for name in EXECUTORS:
            await self.install(name, roster)
        await self._start_console(settings)

    async def install(self, name: str, roster: bytes) -> None:
        request = RECEIVERS[name].InstallRoster(Stamp.fresh("test"), roster, self.people.sign(roster))
        await self.exchanges["cli"].to(name).call(request)

    async def add(self, address: str) -> AccountId:
        account, directory = AccountId(new_id()), self.exchanges["cli"].to("directory")
        await directory.call(AddDomain(Stamp.fresh("test"), address.rpartition("@")[2]))
        await directory.call(AddAccount(Stamp.fresh("test"), address, BindingRow(account, b"binding"), 0))
        await directory.call(SetAccountStatus(Stamp.fresh("test"), address, 2, "made"))
        return account

    async def heard(self) -> list[str]:
        """Kinds of what the ledger has, once directory's outbox is empty."""
        database = self.states["directory"].book.database
        while database.first("SELECT count(*) FROM outbox")[0]:
            await asyncio.sleep(0.005)
        return [event.kind for event in self.events]

    def client(self, officer: str = "") -> ApiClient:
        client = ApiClient("127.0.0.1", self.port, NAME, client_context())
        if officer:
            client.open(self.key(officer))
        return client

    def key(self, officer: str) -> OfficerPrivateKey:
        return OfficerPrivateKey(officer, self.people.NAMES[officer].value, self.people.keys[officer])

    def stop(self) -> None:
        async def stop() -> None:
            for service in reversed(self.services):
                await service.stop()
            for state in self.states.values():
                if isinstance(state, SimpleNamespace):
                    state.orders.stop()
                    state.outbox.stop()
                    if hasattr(state, "accesses"):
                        await state.accesses.close()
                    await state.database.close()
            await self.ledger.drain(2.0)
            await self.ledger.run(self.ledger.log.close)
            self.ledger._worker.shutdown()
            for exchange in self.exchanges.values():
                exchange.close()

        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _start_console(self, settings: dict[str, Any]) -> None:
        (self.root / "gate.pem").write_text(issue(authority(), [NAME], ["127.0.0.1"], now=datetime.now(UTC)))
        sock = listening()
        self.port = sock.getsockname()[1]
        for name in ("ledger", "incident"):
            join(self.exchanges["console"], self.exchanges[name])
        with contextlib.chdir(self.root):
            exchange = self.exchanges["console"]
            host = Host(exchange.me, self.tenant, settings, exchange, listeners={"console": sock})
            self.services.append(await console_process.start(host))

    def _executor(self, name: str, settings: dict[str, Any]) -> None:
        schema = [f"{outbox.SCHEMA}; {order_rows.SCHEMA}", order_rows.FLOOR, cases.SCHEMA]
        database = Database(self.root / f"{name}.sqlite", schema)
        exchange, module = self.exchanges[name], RECEIVERS[name]
        state = SimpleNamespace(database=database, outbox=outbox.Outbox(database, exchange))
        pinned = Pinned.of(self.tenant, settings)
        state.orders = orders.Orders(pinned, database, state.outbox, exchange)
        served = {**orders.handlers(module), **staff.handlers(module)}
        served |= _COUNTS[name]
        if name in CASE_HOLDERS:
            served |= cases.handlers(module)
        served |= _STAND_INS.get(name, {})
        if name in RECORDERS:
            (self.root / f"{name}.keys").write_bytes(KeySet().seal(self.tenant, name, 1, ROOT))
            keys = KeyFile(self.root / f"{name}.keys", self.tenant, name, KeySet(), 1, ROOT)
            state.accesses = Accesses(self.tenant, name, database, keys, self.root / f"{name}.accesses")
            served |= access_search.handlers(module.SearchAccesses, module.CountAccesses)
        state.orders.serve(state, served)
        self.states[name] = state

    def _serve_ledger(self) -> None:
        """A real log, of which `events` has what came in."""
        (self.root / "ledger").mkdir()
        keys, origin = create.create_keys(), create.origin_of(self.tenant)
        create.begin_log(keys, self.root / "ledger", self.tenant, "cell")
        self.log_key, subject = create.signer_of(keys, origin).verifier, keys.current(create.SUBJECT)[1]
        files = DirectoryFiles(str(self.root / "ledger" / "log"))
        log = partial(open_log, files, create.signer_of(keys, origin), origin)
        self.ledger = Ledger(log, subject, ThreadPoolExecutor(1))

        async def append(
            ledger: Ledger, peer: Channel, request: to_ledger.AppendEvents, _: BodyReader | None
        ) -> to_ledger.Appended:
            self.events.extend(request.events)
            return await append_events(ledger, peer, request, None)

        self.exchanges["ledger"].serve(self.ledger, {**HANDLERS, to_ledger.AppendEvents: append})
        self.exchanges["incident"].serve(
            None,
            {
                to_incident.ReadContract: lambda *_: to_incident.ContractState("", 0, 0, b"", ()),
                to_incident.ListCanaries: lambda *_: to_incident.CanaryCopies(()),
            },
        )

    def _fail(self, *what: object) -> None:
        raise AssertionError(what)


async def _usage(state: Any, _: Channel, request: to_store.ShowUsage, __: Any) -> to_store.UsageCard:
    return await state.orders.cases.look(request, request.case, lambda _: to_store.UsageCard(5, 10))


async def _logins(state: Any, _: Channel, request: to_auth.ShowLoginCard, __: Any) -> to_auth.LoginCard:
    return await state.orders.cases.look(request, request.case, lambda _: to_auth.LoginCard(1, 0, ""))


def _act(state: Any, _: Channel, request: to_auth.ActInCase, __: Any) -> Done:
    state.orders.cases.require(request.case)
    raise Refused("no such code", code="bad-consent")


_TOOK = Latencies((*range(len(BOUNDS)), 1), 5)
_COUNTS: dict[str, dict[Any, Any]] = {
    "auth": {
        to_auth.CountLogins: lambda *_: to_auth.LoginCounts(3, 2, 1, 0, 0, 0, 0, 0, 4, False, 1, 250, 0, _TOOK),
    },
    "keyring": {to_keyring.CountKeyring: lambda *_: to_keyring.KeyringCounts(9, 8, 0, 2, 30, 4, 5, 1, False, 0)},
    "store": {to_store.CountStore: lambda *_: to_store.StoreCounts(1, 2, 3, 4, 5, 6, 7, 8, _TOOK, _TOOK)},
    "queue": {to_queue.CountQueue: lambda *_: to_queue.QueueCounts(1, 2, 3, 4, 5, 6, _TOOK)},
}


def _create(_: Any, __: Channel, request: to_keyring.CreateMailboxKeys, ___: Any) -> to_keyring.CreatedMailboxKeys:
    return to_keyring.CreatedMailboxKeys(BindingRow(request.account, b"binding"), bytes(16))


_STAND_INS: dict[str, dict[Any, Any]] = {
    "keyring": {to_keyring.CreateMailboxKeys: _create},
    "auth": {to_auth.ShowLoginCard: _logins, to_auth.ActInCase: _act},
    "store": {
        to_store.ShowUsage: _usage,
        to_store.LimitAccount: lambda *_: Done(),
        to_store.OpenAccount: lambda *_: Done(),
        to_store.ReadUsage: lambda *_: to_store.UsageCard(5, 10),
    },
}


@contextlib.contextmanager
def console_cell(root: Path, tenant: str = TENANT, *, accounts: int = 5) -> Iterator[ConsoleCell]:
    """Started, with accounts a0, a1, ... and taro."""
    cell = ConsoleCell(root, tenant)
    try:
        cell.run(cell.start())
        for number in range(accounts):
            cell.run(cell.add(f"a{number}@{DOMAIN}"))
        cell.run(cell.add(f"taro@{DOMAIN}"))
        yield cell
    finally:
        cell.stop()

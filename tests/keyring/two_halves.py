"""auth and keyring for real in one process, on real edges; store, ledger, gates and command line are recorded."""

import asyncio
import contextlib
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.auth import create as create_auth
from bulkhead.auth import process as auth_process
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.facts import SessionEnded
from bulkhead.boundary.messages.fields import Done, Fact, Reply, Request, Stamp
from bulkhead.boundary.messages.to_auth import Authenticate, Scope, SetPassword
from bulkhead.boundary.messages.to_keyring import CreatedMailboxKeys, CreateMailboxKeys, RedeemLogin, Session
from bulkhead.boundary.messages.to_ledger import Appended, AppendEvents, Event
from bulkhead.boundary.messages.to_store import EndGenerations, GenerationsEnded, GrantSessions, RevokeSessions
from bulkhead.errors import BoundaryViolation, Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.keyring import create as create_keyring
from bulkhead.keyring import process as keyring_process
from bulkhead.keyring.create import NewKeyring
from bulkhead.records.credential import StretchParameters
from bulkhead.records.mailbox import RecoveryKey

TENANT = TenantId("stnet")
CHEAP = StretchParameters(8, 1, 1)
ROOT_KEY = bytes(range(32))
FAILURE_SECONDS = 0.25
T = TypeVar("T")
R = TypeVar("R", bound=Reply)
Work = Callable[["TwoHalves"], Awaitable[T]]

SETTINGS: dict[str, dict[str, Any]] = {
    "auth": {
        "failure_seconds": FAILURE_SECONDS,
        "argon2_threads": 2,
        "argon2_queue_max": 64,
        "failures_per_source_minute": 600,
        "failures_per_network_minute": 600,
        "failures_per_gate_minute": 6000,
        "failing_accounts_per_minute": 1000,
        "delay_seconds_max": 900,
        "delay_network_seconds_max": 3600,
        "known_days": 90,
        "cache_minutes": 60,
        "main_password": ("imap", "pop", "submit"),
        "breached": "mark",
    },
    "keyring": {"session_seconds": 3600, "failures_per_hour": 400, "failing_accounts_per_hour": 1000},
}


@dataclass
class Recorded:
    """What store and ledger were told, and what facts the gates got."""

    grants: list[GrantSessions] = field(default_factory=list)
    revokes: list[RevokeSessions] = field(default_factory=list)
    ends: list[EndGenerations] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ended: list[tuple[Channel, SessionEnded]] = field(default_factory=list)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


class TwoHalves:
    """One cell's auth and keyring. Every other compartment is an Exchange that records."""

    def __init__(self, root: Path, keys: NewKeyring, settings: dict[str, dict[str, Any]]) -> None:
        self.root, self.keys, self.settings = root, keys, settings
        self.seen = Recorded()
        self.exchanges: dict[str, Exchange] = {}
        self.services: dict[str, Any] = {}
        self.roots: dict[str, bytes] = {}
        self.next_roots: dict[str, bytes] = {}
        self.left = True  # whether store says that something is under an older mailbox key
        self.refused: set[str] = set()  # kinds of events that the ledger does not take
        self._generation = 0
        self._incarnation = 0
        self.binding_key = Ed25519PublicKey.from_public_bytes(keys.binding_key)

    # --- processes -----------------------------------------------------------------------------------------------

    def exchange(self, name: str, worker: int = 0) -> Exchange:
        """A fresh process of that compartment; `access/1` and `access` are two of one."""
        self._incarnation += 1
        return Exchange(Channel(name, worker, self._incarnation), self._violated)

    def _violated(self, peer: Channel, generation: int, violation: BoundaryViolation) -> None:
        raise AssertionError(f"{peer}: {violation.public} {violation.detail}")

    def connect(self, one: str, other: str) -> None:
        """A new edge between two running processes."""
        self._generation += 1
        left, right = socket.socketpair()
        self.exchanges[one].attach(left, self.exchanges[other].me, self._generation)
        self.exchanges[other].attach(right, self.exchanges[one].me, self._generation)

    async def start(self, name: str) -> Any:
        """auth or keyring, on what lies in its directory."""
        exchange = self.exchanges[name] = self.exchange(name)
        root, following = self.roots.get(name, ROOT_KEY), self.next_roots.get(name)
        host = Host(exchange.me, TENANT, self.settings, exchange, root_key=root, next_root_key=following)
        with contextlib.chdir(self.root / name):
            if name == "auth":
                self.services[name] = await auth_process.start(host, parameters=CHEAP)
            else:
                self.services[name] = await keyring_process.start(host)
        return self.services[name]

    def start_store(self) -> None:
        """A store that notes what it is told."""
        exchange = self.exchanges["store"] = self.exchange("store")

        def on_grant(_: Any, __: Channel, request: GrantSessions, ___: Any) -> Done:
            self.seen.grants.append(request)
            self.seen.order.append("complete" if request.complete else "grant")
            return Done()

        def on_revoke(_: Any, __: Channel, request: RevokeSessions, ___: Any) -> Done:
            self.seen.revokes.append(request)
            self.seen.order.append("revoke")
            return Done()

        def on_end(_: Any, __: Channel, request: EndGenerations, ___: Any) -> GenerationsEnded:
            self.seen.ends.append(request)
            return GenerationsEnded(self.left)

        handlers = {GrantSessions: on_grant, RevokeSessions: on_revoke, EndGenerations: on_end}
        exchange.serve(None, handlers)

    def start_ledger(self) -> None:
        """A ledger that takes everything."""
        exchange = self.exchanges["ledger"] = self.exchange("ledger")

        def on_append(_: Any, __: Channel, request: AppendEvents, ___: Any) -> Appended:
            if any(event.kind in self.refused for event in request.events):
                raise TemporaryFailure("the disk is full", code="storage")
            self.seen.events.extend(request.events)
            return Appended(len(self.seen.events))

        exchange.serve(None, {AppendEvents: on_append})

    def start_gate(self, name: str, label: str = "", worker: int = 0) -> None:
        """A gate's worker, known here by its label."""
        exchange = self.exchanges[label or name] = self.exchange(name, worker)

        def on_fact(_: Any, __: Channel, fact: Fact) -> None:
            assert isinstance(fact, SessionEnded)
            self.seen.ended.append((exchange.me, fact))

        exchange.serve(None, {}, {SessionEnded: on_fact})
        self.connect(label or name, "auth")
        self.connect(label or name, "keyring")

    async def open(self, *, ledger: bool = True) -> None:
        """Everything started and connected."""
        self.start_store()
        await self.start("keyring")
        await self.start("auth")
        self.connect("auth", "keyring")
        self.connect("keyring", "store")
        if ledger:
            self.add_ledger()
        for label, name, worker in (("access", "access", 0), ("access/1", "access", 1), ("submit", "submit", 0)):
            self.start_gate(name, label, worker)
        self.exchanges["cli"], self.exchanges["courier"] = self.exchange("cli"), self.exchange("courier")
        self.connect("cli", "auth")
        self.connect("cli", "keyring")
        self.connect("courier", "keyring")
        await settled(lambda: "complete" in self.seen.order)

    def add_ledger(self) -> None:
        self.start_ledger()
        self.connect("auth", "ledger")
        self.connect("keyring", "ledger")

    async def close(self) -> None:
        for service in self.services.values():
            await service.stop()
        for exchange in self.exchanges.values():
            exchange.close()

    async def restart(self, name: str) -> None:
        """A clean restart of auth or keyring, connected again."""
        await self.services[name].stop()
        peers = [label for label, e in self.exchanges.items() if any(x.peer.compartment == name for x in e.edges())]
        self.exchanges[name].close()
        await self.start(name)
        for label in peers:
            self.connect(label, name)

    # --- acts ----------------------------------------------------------------------------------------------------

    async def ask(self, who: str, whom: str, request: Request[R]) -> R:
        return await self.exchanges[who].to(whom).call(request, timeout=10.0)

    async def create(self, account: AccountId) -> CreatedMailboxKeys:
        return await self.ask("cli", "keyring", CreateMailboxKeys(stamp(), account))

    async def set_password(self, account: AccountId, password: bytes, token: bytes, scope: int = Scope.ALL) -> None:
        await self.ask("cli", "auth", SetPassword(stamp(), account, password, token, scope))

    async def add_account(self, password: bytes, scope: int = Scope.ALL) -> AccountId:
        account = AccountId(new_id())
        await self.set_password(account, password, (await self.create(account)).token, scope)
        return account

    async def log_in(
        self, account: AccountId, password: bytes, scope: int = Scope.IMAP, gate: str = "access", source: str = "::1"
    ) -> Session:
        """As bulkhead.gate.login does it, from the account on."""
        nonce = secrets.token_bytes(16)
        await self.ask(gate, "auth", Authenticate(account, password, scope, source, nonce))
        return await self.ask(gate, "keyring", RedeemLogin(nonce, account, scope))

    async def admits(self, account: AccountId, password: bytes) -> bool:
        try:
            await self.log_in(account, password)
        except Refused as error:
            assert error.code == "bad-credentials"
            return False
        return True

    def state(self, name: str) -> Any:
        service = self.services[name]
        return service._auth if name == "auth" else service._keyring

    def database(self, name: str) -> Any:
        return self.state(name).database


PARTNER_KEY, OPERATOR_KEY = X25519PrivateKey.generate(), X25519PrivateKey.generate()


def new_cell(root: Path, **changes: dict[str, Any]) -> TwoHalves:
    """Directories and keys of a new cell, as `tenant add` makes them."""
    keys = create_keyring.create_keys(
        RecoveryKey(1, PARTNER_KEY.public_key()), RecoveryKey(1, OPERATOR_KEY.public_key())
    )
    for name, key_set in (("auth", create_auth.create_keys()), ("keyring", keys.keys)):
        (root / name).mkdir(parents=True)
        (root / name / "keys.sealed").write_bytes(key_set.seal(TENANT, name, 1, ROOT_KEY))
    settings = {"id": str(TENANT)} | {name: section | changes.get(name, {}) for name, section in SETTINGS.items()}
    return TwoHalves(root, keys, settings)


def run(root: Path, work: Work[T], *, ledger: bool = True, **changes: dict[str, Any]) -> T:
    """Run `work` with a new cell under `root`."""

    async def whole() -> T:
        async with opened(new_cell(root, **changes), ledger=ledger) as cell:
            return await work(cell)

    return asyncio.run(whole())


@contextlib.asynccontextmanager
async def opened(cell: TwoHalves, *, ledger: bool = True) -> AsyncIterator[TwoHalves]:
    await cell.open(ledger=ledger)
    try:
        yield cell
    finally:
        await cell.close()


async def settled(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it holds."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to hold in time")


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        assert error.code == code
        return
    raise AssertionError(f"not refused with {code}")


def stamp(request_id: bytes | None = None) -> Stamp:
    return Stamp.fresh("cli:test", request_id=request_id)


def copy_of(cell: TwoHalves, to: Path) -> Path:
    """The files of both databases as a kill at this moment would leave them."""
    shutil.copytree(cell.root, to)
    return to


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

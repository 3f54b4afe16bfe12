"""A bare cell, in one process and without supervisor: every holder's real service over real edges.

Any of them can be replaced by hostile code.

What the supervisor never allows, a hostile process in the place of a holder that honest ones ask, is made here. The
files lie below `root` and are thrown away with it. The working directory becomes store's, as after its chroot, so a
process has one bare cell at a time. Passwords are stretched cheaply; nothing else is other than in a live cell.
"""

import asyncio
import base64
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.auth import create as create_auth
from bulkhead.auth import process as auth_process
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Reply, Request, Stamp
from bulkhead.boundary.messages.to_auth import Scope, SetPassword
from bulkhead.boundary.messages.to_directory import AccountStatus, AddAccount, AddDomain, BindingRow, SetAccountStatus
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys, Session
from bulkhead.boundary.messages.to_store import OpenAccount
from bulkhead.boundary.peers import PEERS, between
from bulkhead.config.schema import SETTINGS, Required
from bulkhead.directory import create as create_directory
from bulkhead.directory import process as directory_process
from bulkhead.directory.create import TOMBSTONE
from bulkhead.drill.officers import People
from bulkhead.errors import BoundaryViolation, Error, TemporaryFailure
from bulkhead.gate.delivery import Sealer, deliver
from bulkhead.gate.login import log_in
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.holder.backup import Backups
from bulkhead.holder.roster import Pinned
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.incident import create as create_incident
from bulkhead.incident import process as incident_process
from bulkhead.keyring import create as create_keyring
from bulkhead.keyring import process as keyring_process
from bulkhead.ledger import create as create_ledger
from bulkhead.ledger import process as ledger_process
from bulkhead.ledger.note import NoteSigner, SignatureType
from bulkhead.queue import process as queue_process
from bulkhead.queue.backup import take as take_queue
from bulkhead.queue.forwards import Forwards
from bulkhead.records.credential import StretchParameters
from bulkhead.records.forward import public_key
from bulkhead.records.mailbox import RecoveryKey
from bulkhead.store import process as store_process

HOLDERS = ("ledger", "incident", "store", "keyring", "auth", "directory", "queue")  # in the order in which they start
SERVICES: Mapping[str, Any] = {
    "auth": auth_process, "directory": directory_process, "incident": incident_process,
    "keyring": keyring_process, "ledger": ledger_process,
    "queue": queue_process, "store": store_process,
}  # fmt: skip
SOURCE = "192.0.2.66"  # of the net that is for documentation: RFC 5737 section 3
FAILURE_SECONDS = 0.1
SECONDS = 10.0
WITNESS = NoteSigner("witness/bare", Ed25519PrivateKey.generate(), SignatureType.COSIGNATURE)
_CHEAP = StretchParameters(8, 1, 1)
_CHANGED: Mapping[str, Mapping[str, Any]] = {
    "store": {"segment_bytes": 1 << 22},
    "auth": {
        "failure_seconds": FAILURE_SECONDS, "argon2_threads": 1, "argon2_queue_max": 256,
        "failures_per_source_minute": 100_000, "failures_per_network_minute": 100_000,
        "failures_per_gate_minute": 100_000, "delay_seconds_max": 0, "delay_network_seconds_max": 0,
    },
    "queue": {
        "messages_max": 1000, "messages_per_account_hour": 0, "recipients_per_account_hour": 0,
        "recipients_per_account_day": 0,
    },
}  # fmt: skip
R = TypeVar("R", bound=Reply)


def _defaults(section: str) -> dict[str, Any]:
    """What a section holds where nobody set anything."""
    return {
        setting.name: setting.default for setting in SETTINGS
        if setting.section == section and not isinstance(setting.default, Required)
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """A subscriber of the bare cell."""

    address: str
    password: bytes
    account: AccountId
    binding: BindingRow


class BareCell:
    """The running cell. `violations`: what edges ended for, as the supervisor would have been told."""

    def __init__(self, root: Path, tenant: str = "bare", settings: Mapping[str, Mapping[str, Any]] | None = None):
        self.root, self.tenant = root, TenantId(tenant)
        self.domain = f"{tenant}.example"
        self.people = People(tenant)
        self.exchanges: dict[str, Exchange] = {}
        self.services: dict[str, Any] = {}
        self.violations: list[BoundaryViolation] = []
        self._root_key = secrets.token_bytes(32)
        self._numbers = iter(range(1, 1 << 30))
        self.recovery = tuple(X25519PrivateKey.generate() for _ in range(2))
        keys = create_keyring.create_keys(*(RecoveryKey(1, key.public_key()) for key in self.recovery))
        self.ledger_keys = create_ledger.create_keys()
        directory = create_directory.create_keys()
        sets = {
            "auth": create_auth.create_keys(), "directory": directory, "keyring": keys.keys,
            "ledger": self.ledger_keys, "incident": create_incident.create_keys(),
        }  # fmt: skip
        for name in HOLDERS:
            (root / name).mkdir(parents=True)
        for name, key_set in sets.items():
            (root / name / "keys.sealed").write_bytes(key_set.seal(self.tenant, name, 1, self._root_key))
        create_ledger.begin_log(self.ledger_keys, root / "ledger", self.tenant, "drill")
        changes = settings or {}
        self.settings: dict[str, Any] = {
            "id": tenant,
            "names": {
                "access": f"imap.{self.domain}",
                "submit": f"smtp.{self.domain}",
                "mx": f"mx.{self.domain}",
                "console": f"console.{self.domain}",
            },
            "pinned": {
                "binding_key": base64.b64encode(keys.binding_key).decode(),
                "queue_key": base64.b64encode(keys.queue_key).decode(),
                "forward_key": base64.b64encode(public_key(directory.current(TOMBSTONE)[1], self.tenant)).decode(),
                "ledger_witness": str(WITNESS.verifier),
                **{
                    f"recovery_{party}": base64.b64encode(key.public_key().public_bytes_raw()).decode()
                    for party, key in zip(("partner", "operator"), self.recovery, strict=True)
                },
                **self.people.pinned(),
            },
        } | {name: {**_defaults(name), **_CHANGED.get(name, {}), **changes.get(name, {})} for name in HOLDERS}

    # --- processes ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Every holder, an honest worker of each gate, courier's edges and the command line's."""
        for name in ("access", "submit", "mx", "courier", "cli"):
            self.exchanges[name] = self.exchange(name)
            self.exchanges[name].serve(None, {})
        for name in HOLDERS:
            await self.start(name)
        await self.ask("cli", "directory", AddDomain(stamp(), self.domain))

    def exchange(self, compartment: str, worker: int = 0) -> Exchange:
        """A fresh process of that compartment, as far as its neighbours can tell."""
        me = Channel(compartment, worker, next(self._numbers))
        return Exchange(me, lambda _, __, violation: self.violations.append(violation))

    async def start(self, name: str) -> None:
        """The real holder on what lies in its directory, connected with all that are there."""
        exchange = self.exchange(name)
        host = Host(exchange.me, self.tenant, self.settings, exchange, root_key=self._root_key)
        os.chdir(self.root / name)
        try:
            if name == "auth":
                self.services[name] = await auth_process.start(host, parameters=_CHEAP)
            elif name == "queue":
                pinned = Pinned.of(self.tenant, self.settings)
                forwards = Forwards.configured(self.tenant, self.settings)
                service = queue_process.open_queue(
                    exchange, self.settings["queue"], self.root / "queue", pinned=pinned, forwards=forwards
                )
                service.queue.backups = Backups(host, partial(take_queue, service.queue))
                self.services[name] = service
            else:
                self.services[name] = await SERVICES[name].start(host)
        finally:
            os.chdir(self.root / "store")
        self._install(name, exchange)

    async def stop(self, name: str) -> None:
        """The holder ends; what it had committed stays."""
        self.exchanges.pop(name).close()
        service = self.services.pop(name, None)
        if service is not None:
            await service.stop()

    async def restart(self, name: str) -> None:
        """Stopped and started again."""
        await self.stop(name)
        await self.start(name)

    async def replace(self, name: str, state: Any, handlers: Mapping[type[Request[Any]], Handler]) -> Exchange:
        """Hostile code in the place of that compartment: its neighbours take it for the real one."""
        if name in self.exchanges:
            await self.stop(name)
        exchange = self.exchange(name)
        exchange.serve(state, handlers)
        self._install(name, exchange)
        return exchange

    def worker(self, compartment: str) -> Exchange:
        """Another process of that compartment that asks all its servers what it likes."""
        exchange = self.exchange(compartment, next(self._numbers) % 0xFFFF)
        exchange.serve(None, {})
        for peering in PEERS:
            if peering.client == compartment and peering.server in self.exchanges:
                self.join(exchange, self.exchanges[peering.server])
        return exchange

    def join(self, one: Exchange, other: Exchange) -> None:
        """An edge between two processes."""
        left, right = socket.socketpair()
        generation = next(self._numbers)
        one.attach(left, other.me, generation)
        other.attach(right, one.me, generation)

    def _install(self, name: str, exchange: Exchange) -> None:
        self.exchanges[name] = exchange
        for peer, other in self.exchanges.items():
            if peer != name and between(name, peer) is not None:
                self.join(exchange, other)

    async def close(self) -> None:
        """Everything ends."""
        for name in HOLDERS[::-1]:
            if name in self.exchanges:
                await self.stop(name)
        for exchange in self.exchanges.values():
            exchange.close()

    # --- the state of the real holders, for controls ----------------------------------------------------------------

    @property
    def auth(self) -> Any:
        """auth's state."""
        return self.services["auth"]._auth

    @property
    def keyring(self) -> Any:
        """keyring's state."""
        return self.services["keyring"]._keyring

    @property
    def store(self) -> Any:
        """store's state."""
        return self.services["store"].state

    # --- what honest people and processes do ------------------------------------------------------------------------

    async def ask(self, who: str, whom: str, request: Request[R]) -> R:
        """The honest `who` asks."""
        return await self.exchanges[who].to(whom).call(request, timeout=SECONDS)

    async def add_person(self, name: str = "", password: bytes = b"") -> Person:
        """A subscriber with a mailbox and a password, a random one where none is given."""
        address = f"{name or 'u'}{next(self._numbers)}@{self.domain}"
        password = password or secrets.token_hex(8).encode()
        account = AccountId(new_id())
        created = await self.ask("cli", "keyring", CreateMailboxKeys(stamp(), account))
        await self.ask("cli", "store", OpenAccount(stamp(), account, 0))
        await self.ask("cli", "directory", AddAccount(stamp(), address, created.binding, 0))
        await self.ask("cli", "auth", SetPassword(stamp(), account, password, created.token, Scope.ALL))
        await self.ask("cli", "directory", SetAccountStatus(stamp(), address, AccountStatus.ACTIVE, "drill"))
        return Person(address, password, account, created.binding)

    async def log_in(
        self, gate: Exchange | str, person: Person | str, password: bytes | None = None, scope: int = Scope.IMAP
    ) -> tuple[AccountId, Session]:
        """As both gates log in. Raises Refused, TemporaryFailure."""
        exchange = self.exchanges[gate] if isinstance(gate, str) else gate
        login = person if isinstance(person, str) else person.address
        typed = password if password is not None else person.password if isinstance(person, Person) else b"?"
        own = bytes(bytearray(typed))  # log_in overwrites it
        return await log_in(exchange, login, own, scope, SOURCE)

    async def admits(
        self, gate: Exchange | str, person: Person | str, password: bytes | None = None, scope: int = Scope.IMAP
    ) -> bool:
        """Whether a gate lets somebody in."""
        try:
            await self.log_in(gate, person, password, scope)
        except Error:
            return False
        return True

    async def deliver(self, person: Person, *texts: bytes, gate: str = "mx") -> None:
        """Mail into the person's INBOX, as mx delivers it."""
        sealer = Sealer(self.tenant, self.settings["pinned"]["binding_key"])
        for text in texts:
            await deliver(self.exchanges[gate], sealer, [person.binding], text, 1_700_000_000, actor=gate)

    def outbound(self) -> OutboundSealer:
        """What submit seals queued mail with."""
        return OutboundSealer(self.tenant, self.settings["pinned"]["queue_key"])


def stamp(actor: str = "drill") -> Stamp:
    """A stamp for a new request."""
    return Stamp.fresh(actor)


def letter(subject: str = "secret", body: bytes = b"Text\r\n") -> bytes:
    """A small message."""
    return (
        b"From: a@example.org\r\nTo: b@example.net\r\nSubject: " + subject.encode() + b"\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:20 +0900\r\nMessage-ID: <" + secrets.token_hex(8).encode() + b"@example.org>\r\n"
        b"\r\n" + body
    )


async def answer(exchange: Exchange, compartment: str, request: Request[R], body: bytes | None = None) -> R | str:
    """What came of asking: the reply, or the refusal's code."""
    try:
        return await exchange.to(compartment).call(request, body, timeout=SECONDS)
    except Error as error:
        return error.code


async def violates(exchange: Exchange, compartment: str, request: Request[Any]) -> bool:
    """Whether a request is served that PEERS does not allow; the edge it was said on has ended otherwise."""
    edge = exchange.edge_to(compartment)
    if edge is None:
        return False
    try:
        await edge.call(request, None, 5.0)
    except TemporaryFailure:
        return edge.alive
    except Error:
        return True
    return True


@contextlib.contextmanager
def weakened(target: Any, name: str, value: Any) -> Iterator[None]:
    """One check replaced or removed meanwhile: what a positive control runs against."""
    had = vars(target).get(name) if hasattr(target, "__dict__") else getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        if had is None:
            delattr(target, name)
        else:
            setattr(target, name, had)


@contextlib.asynccontextmanager
async def opened(
    root: Path, tenant: str = "bare", settings: Mapping[str, Mapping[str, Any]] | None = None
) -> AsyncIterator[BareCell]:
    """A running bare cell below `root`, which is made. The working directory is as before afterwards."""
    before = Path.cwd()
    cell = BareCell(root, tenant, settings)
    try:
        await cell.open()
        yield cell
    finally:
        await cell.close()
        await asyncio.sleep(0)
        os.chdir(before)

"""A cell of real compartments in one process: holders on one loop's thread, access with its listeners on another's."""

import asyncio
import base64
import contextlib
import imaplib
import os
import poplib
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.access import process as access_process
from bulkhead.auth import create as create_auth
from bulkhead.auth import process as auth_process
from bulkhead.boundary.edge import Channel, Edge
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Request, Stamp
from bulkhead.boundary.messages.to_auth import Scope, SetPassword
from bulkhead.boundary.messages.to_directory import AccountStatus, AddAccount, AddDomain, BindingRow, SetAccountStatus
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.boundary.messages.to_ledger import Appended, AppendEvents
from bulkhead.boundary.messages.to_store import CheckStore, CountStore, OpenAccount, StoreCounts
from bulkhead.cli.certificates import issue, make_ca
from bulkhead.directory import create as create_directory
from bulkhead.directory import process as directory_process
from bulkhead.gate.delivery import Sealer, deliver
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.keyring import create as create_keyring
from bulkhead.keyring import process as keyring_process
from bulkhead.records.credential import StretchParameters
from bulkhead.records.mailbox import RecoveryKey
from bulkhead.store import process as store_process

TENANT = TenantId("stnet")
ROOT_KEY = bytes(range(32))
PASSWORD = "correct horse battery"
NAME = "imap.stnet.example"
T = TypeVar("T")
HOLDERS = ("store", "keyring", "auth", "directory")
EDGES = (
    ("auth", "keyring"), ("keyring", "store"), ("auth", "ledger"), ("keyring", "ledger"), ("directory", "ledger"),
    ("access", "directory"), ("access", "auth"), ("access", "keyring"), ("access", "store"), ("mx", "store"),
    ("cli", "directory"), ("cli", "auth"), ("cli", "keyring"), ("cli", "store"),
)  # fmt: skip


class LoopThread:
    """A loop on a thread of its own."""

    def __init__(self, name: str, *, uv: bool = False) -> None:
        self.loop = uvloop.new_event_loop() if uv else asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


class Account:
    """A subscriber."""

    def __init__(self, address: str, id_: AccountId, binding: BindingRow) -> None:
        self.address, self.id, self.binding = address, id_, binding


class Cell:
    """The running cell. The working directory is the store's, as after its chroot."""

    def __init__(self, root: Path, *, uv: bool = True, **access: Any) -> None:
        self.root = root
        self.holders, self.front = LoopThread("holders"), LoopThread("access", uv=uv)
        self.exchanges: dict[str, Exchange] = {}
        self.services: dict[str, Any] = {}
        self.violations: list[Any] = []
        self.sent: list[tuple[str, Request[Any]]] = []  # what access asked of its peers
        self._numbers = iter(range(1, 1 << 30))
        keys = create_keyring.create_keys(*(RecoveryKey(1, X25519PrivateKey.generate().public_key()) for _ in "po"))
        sets = {"auth": create_auth.create_keys(), "directory": create_directory.create_keys(), "keyring": keys.keys}
        for name in ("store", "access", *sets):
            (root / name).mkdir()
        for name, key_set in sets.items():
            (root / name / "keys.sealed").write_bytes(key_set.seal(TENANT, name, 1, ROOT_KEY))
        self.settings: dict[str, Any] = {
            "id": str(TENANT),
            "names": {"access": NAME},
            "pinned": {"binding_key": base64.b64encode(keys.binding_key).decode()},
            "store": {"segment_bytes": 1 << 24},
            "directory": {"default_quota_bytes": 1 << 30, "postmaster": ""},
            "keyring": {"session_seconds": 3600, "failures_per_hour": 600, "failing_accounts_per_hour": 1000},
            "auth": {
                "failure_seconds": 0.1, "argon2_threads": 1, "argon2_queue_max": 64,
                "failures_per_source_minute": 60000, "failures_per_network_minute": 60000,
                "failures_per_gate_minute": 60000, "failing_accounts_per_minute": 60000,
                "delay_seconds_max": 0, "delay_network_seconds_max": 0, "known_days": 90, "cache_minutes": 60,
                "breached": "mark", "main_password": ("imap", "pop", "submit"),
            },
            "access": {
                "connections_max": 512, "connections_per_source_max": 500, "idle_seconds": 1800,
                "pop3_idle_seconds": 600, "preauth_seconds": 60, "append_bytes_max": 64 << 20, "errors_max": 10,
                "mode": "default", "workers": 1, "sessions_max": 512, "recycle_sessions": 0,
            } | access,
        }  # fmt: skip
        ca = make_ca("Test CA", now=datetime.now(UTC))
        (root / "access" / "gate.pem").write_text(issue(ca, [NAME, "localhost"], ["127.0.0.1"], now=datetime.now(UTC)))
        self.ca_pem = ca.pem
        self.client_tls = ssl.create_default_context(cadata=ca.pem)
        self.sealer = Sealer(TENANT, self.settings["pinned"]["binding_key"])
        self.ports: dict[str, int] = {}
        os.chdir(root / "store")
        self.holders.run(self._open())
        self.front.run(self._open_access())
        for one, other in EDGES:
            self.connect(one, other)
        self.ask(AddDomain(stamp(), "stnet.example"), "directory")

    # --- processes ------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        for name in ("ledger", "cli", "mx"):
            self.exchanges[name] = self._exchange(name)
        self.exchanges["ledger"].serve(None, {AppendEvents: lambda *_: Appended(0)})
        for name in HOLDERS:
            await self._start_holder(name)

    async def _start_holder(self, name: str) -> None:
        exchange = self.exchanges[name] = self._exchange(name)
        host = Host(exchange.me, TENANT, self.settings, exchange, root_key=ROOT_KEY)
        with contextlib.chdir(self.root / name):
            if name == "auth":
                self.services[name] = await auth_process.start(host, parameters=StretchParameters(8, 1, 1))
            else:
                modules = {"keyring": keyring_process, "directory": directory_process, "store": store_process}
                self.services[name] = await modules[name].start(host)

    async def _open_access(self) -> None:
        listeners = {}
        for name in ("imaps", "pop3s", "imap", "pop3"):
            sock = listeners[name] = socket.create_server(("127.0.0.1", 0), backlog=512)
            self.ports[name] = sock.getsockname()[1]
        exchange = self.exchanges["access"] = self._exchange("access")
        self._record(exchange)
        host = Host(exchange.me, TENANT, self.settings, exchange, listeners)
        with contextlib.chdir(self.root / "access"):
            self.services["access"] = await access_process.start(host)

    def _exchange(self, name: str) -> Exchange:
        return Exchange(Channel(name, 0, next(self._numbers)), lambda *report: self.violations.append(report))

    def _record(self, exchange: Exchange) -> None:
        attach = exchange.attach

        def recording(*args: Any) -> Edge:
            edge = attach(*args)
            call = edge.call

            def record(request: Request[Any], *rest: Any) -> Any:
                self.sent.append((edge.peer.compartment, request))
                return call(request, *rest)

            edge.call = record  # type: ignore[method-assign]
            return edge

        exchange.attach = recording  # type: ignore[method-assign]

    def _thread(self, name: str) -> LoopThread:
        return self.front if name == "access" else self.holders

    def connect(self, one: str, other: str) -> None:
        """A new edge between two running processes."""
        left, right = socket.socketpair()
        generation = next(self._numbers)

        async def attach(name: str, sock: socket.socket, peer: str) -> None:
            self.exchanges[name].attach(sock, self.exchanges[peer].me, generation)

        self._thread(one).run(attach(one, left, other))
        self._thread(other).run(attach(other, right, one))

    def restart(self, name: str) -> None:
        """A holder ends as if killed, and comes back after a moment."""
        self.kill(name)
        self.revive(name)

    def kill(self, name: str) -> None:
        """A holder's edges end at once; what it had committed stays."""

        async def end() -> None:
            self.exchanges[name].close()
            await self.services[name].stop()

        self.holders.run(end())

    def revive(self, name: str) -> None:
        self.holders.run(self._start_holder(name))
        for one, other in EDGES:
            if name in (one, other):
                self.connect(one, other)

    def cut(self, one: str, other: str) -> None:
        """The edge between two processes ends; both live."""

        async def end() -> None:
            edge = self.exchanges[one].edge_to(other)
            if edge is not None:
                edge.close(None)

        self._thread(one).run(end())

    def forget_grants(self) -> None:
        """The store takes access for dead."""

        async def forget() -> None:
            self.services["store"].state.grants.drop_channel(self.exchanges["access"].me)

        self.holders.run(forget())

    def close(self) -> None:
        async def stop(names: tuple[str, ...]) -> None:
            for name in names:
                await self.services[name].stop()
                self.exchanges[name].close()

        self.front.run(stop(("access",)))
        self.holders.run(stop(HOLDERS[::-1]))
        self.front.stop()
        self.holders.stop()

    # --- acts -----------------------------------------------------------------------------------------------------

    def ask(self, request: Any, server: str, timeout: float = 30.0) -> Any:
        return self.holders.run(self.exchanges["cli"].to(server).call(request, timeout=timeout))

    def add_account(self, quota: int = 0) -> Account:
        address = f"u{next(self._numbers)}@stnet.example"
        id_ = AccountId(new_id())
        created = self.ask(CreateMailboxKeys(stamp(), id_), "keyring")
        self.ask(OpenAccount(stamp(), id_, quota), "store")
        self.ask(AddAccount(stamp(), address, created.binding, quota), "directory")
        self.ask(SetPassword(stamp(), id_, PASSWORD.encode(), created.token, Scope.ALL), "auth")
        self.ask(SetAccountStatus(stamp(), address, AccountStatus.ACTIVE, "test"), "directory")
        return Account(address, id_, created.binding)

    def deliver(self, account: Account, *messages: bytes, date: int = 1_700_000_000) -> None:
        async def all_of_them() -> None:
            for message in messages:
                await deliver(self.exchanges["mx"], self.sealer, [account.binding], message, date, actor="mx")

        self.holders.run(all_of_them())

    def rows(self, query: str, *values: Any) -> list[Any]:
        """What the store's database says."""

        async def read() -> list[Any]:
            return list(self.services["store"].state.database.read(query, values))

        return self.holders.run(read())

    def arrived(self, account: Account) -> int:
        """Messages of the account that are in no page."""
        query = "SELECT count(*) FROM email e JOIN account a ON a.seq = e.account WHERE a.account = ? AND e.page = 0"
        return int(self.rows(query, account.id)[0][0])

    def wait_filed(self, account: Account, left: int = 0) -> None:
        """Until all but so many messages of the account are in a page."""
        ends = time.monotonic() + 30
        while self.arrived(account) > left:
            assert time.monotonic() < ends, "nobody files"
            time.sleep(0.02)

    def counts(self) -> StoreCounts:
        counts: StoreCounts = self.ask(CountStore(), "store")
        return counts

    def check(self) -> None:
        assert self.ask(CheckStore(deep=True), "store").problems == ()
        assert self.violations == []

    @contextlib.contextmanager
    def sending(self) -> Iterator[list[Request[Any]]]:
        """What access asks of store and keyring meanwhile."""
        start, requests = len(self.sent), list[Request[Any]]()
        yield requests
        requests += [request for server, request in self.sent[start:] if server in ("store", "keyring")]

    # --- clients --------------------------------------------------------------------------------------------------

    def imap(self, account: Account | None = None) -> imaplib.IMAP4_SSL:
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=self.client_tls, timeout=30)
        if account is not None:
            client.login(account.address, PASSWORD)
        return client

    def pop(self, account: Account | None = None) -> poplib.POP3_SSL:
        client = poplib.POP3_SSL("127.0.0.1", self.ports["pop3s"], context=self.client_tls, timeout=30)
        if account is not None:
            client.user(account.address)
            client.pass_(PASSWORD)
        return client

    def raw(self, account: Account | None = None, listener: str = "imaps") -> "Raw":
        raw = Raw(self, listener)
        if account is not None:
            assert raw.command(f'LOGIN {account.address} "{PASSWORD}"')[-1].startswith(b"T1 OK")
        return raw


class Raw:
    """A client that sends what it is told, octet by octet."""

    def __init__(self, cell: Cell, listener: str) -> None:
        """On a listener in clear, TLS begins with start_tls()."""
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", cell.ports[listener]), timeout=20)
        self._tls = cell.client_tls
        if listener in ("imaps", "pop3s"):
            self.start_tls()
        self.file = self.sock.makefile("rb")
        self._tags = 0
        self.greeting = self.line()

    def start_tls(self) -> None:
        self.sock = self._tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line; a literal at its end is kept with it."""
        line = self.file.readline()
        while line.endswith(b"}\r\n") and b"{" in line:
            size = int(line[line.rindex(b"{") + 1 : -3])
            line += self.file.read(size) + self.file.readline()
        return line

    def until(self, start: bytes) -> list[bytes]:
        """Lines up to the one that begins so."""
        lines = []
        while True:
            line = self.line()
            if not line:
                raise EOFError(lines)
            lines.append(line)
            if line.startswith(start):
                return lines

    def command(self, text: str | bytes) -> list[bytes]:
        """Send a command under the next tag; all lines of its answer, the tagged one last."""
        self._tags += 1
        tag = b"T%d " % self._tags
        self.send(tag + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        return self.until(tag)

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def stamp() -> Stamp:
    return Stamp.fresh("test")


def message(subject: str = "Hello", body: bytes = b"Text\r\n", extra: bytes = b"") -> bytes:
    """A plain message."""
    return (
        b"From: a@example.org\r\nTo: b@stnet.example\r\nSubject: " + subject.encode() + b"\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:20 +0900\r\nMessage-ID: <" + secrets.token_hex(8).encode() + b"@example.org>\r\n"
        + extra + b"\r\n" + body
    )  # fmt: skip

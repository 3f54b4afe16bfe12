"""A cell around one SMTP gate: real listener, TLS, edges; holders that answer from memory and can be made to misbehave.

What a holder was handed is opened with the account's own key, so a test sees what the subscriber would.
"""

import asyncio
import base64
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_auth import Authenticate
from bulkhead.boundary.messages.to_directory import (
    BindingRow,
    CheckSender,
    FindLogin,
    LoginAccount,
    Recipient,
    RecipientVerdict,
    ResolveRecipient,
)
from bulkhead.boundary.messages.to_keyring import EndSession, RedeemLogin, Session
from bulkhead.boundary.messages.to_queue import Enqueue, EnqueueForward
from bulkhead.boundary.messages.to_store import CheckRoom, Copy, DeliverMail
from bulkhead.cli.certificates import Authority, issue, make_ca
from bulkhead.errors import Error, Refused
from bulkhead.identifiers import AccountId, EmailId, QueueId, TenantId, new_id, parse_address
from bulkhead.mx import process as mx_process
from bulkhead.records.mailbox import QUEUE_ACCOUNT, sign_binding
from bulkhead.records.message import open_body, open_header, open_key_box, open_summary
from bulkhead.records.queued import QueuedEnvelope, open_queue_body_pieces, open_queue_header, open_queue_key_box
from bulkhead.records.seed import MailboxSeed, new_secret
from bulkhead.submit import process as submit_process
from bulkhead.wire.summary import Summary

TENANT = TenantId("kddi")
DOMAIN = "kddi.example"
PASSWORD = "correct horse battery"
HOSTNAMES = {"mx": "mx.kddi.example", "submit": "smtp.kddi.example"}


@cache
def authority() -> Authority:
    """One authority for all tests of this run."""
    return make_ca("tests", now=datetime.now(UTC))


def client_context() -> ssl.SSLContext:
    """Believes the tests' authority and checks names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority().pem)
    return context


@dataclass(slots=True)
class Account:
    """A subscriber."""

    address: str
    id: AccountId
    seed: MailboxSeed
    binding: BindingRow


@dataclass(slots=True)
class Delivery:
    """What store was handed in one request, and what the owners read of it."""

    request: DeliverMail
    body: bytes

    @property
    def accounts(self) -> list[bytes]:
        return [copy.account for copy in self.request.copies]


@dataclass(slots=True)
class Cell:
    """The holders' state and the gate's addresses."""

    accounts: dict[str, Account] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    full: set[bytes] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)
    attempts: list[bytes] = field(default_factory=list)
    queued: list[tuple[Enqueue, bytes]] = field(default_factory=list)
    forwards: dict[str, bytes] = field(default_factory=dict)  # statement by address; without a copy
    forwarded: list[tuple[EnqueueForward, bytes]] = field(default_factory=list)
    ended: list[bytes] = field(default_factory=list)
    logins: list[Authenticate] = field(default_factory=list)
    store_failure: Error | None = None
    queue_failure: Error | None = None
    directory_failure: Error | None = None
    auth_failure: Error | None = None
    store_gate: asyncio.Event = field(default_factory=asyncio.Event)
    store_asked: asyncio.Event = field(default_factory=asyncio.Event)
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    queue_seed: MailboxSeed = field(
        default_factory=lambda: MailboxSeed(TENANT, AccountId(QUEUE_ACCOUNT), 1, new_secret())
    )
    service: Any = None
    gate: Any = None
    generation: int = 1

    def add(self, local_part: str, *, signer: Ed25519PrivateKey | None = None) -> Account:
        account = AccountId(new_id())
        seed = MailboxSeed(TENANT, account, 1, new_secret())
        record = sign_binding(seed, signer or self.signing, key_version=1).record
        address = f"{local_part}@{DOMAIN}"
        self.accounts[address] = Account(address, account, seed, BindingRow(account, record))
        return self.accounts[address]

    # --- what store and queue got, opened ---

    def messages(self) -> list[tuple[str, bytes]]:
        """(address, message) of every copy delivered, in order."""
        by_id = {account.id: account for account in self.accounts.values()}
        found = []
        for delivery in self.deliveries:
            at = 0
            for copy in delivery.request.copies:
                end = at + copy.summary_size + copy.header_size + copy.body_size
                account = by_id[AccountId(copy.account)]
                found.append((account.address, open_copy(account, copy, delivery.body[at:end])[1]))
                at = end
            assert at == len(delivery.body)
        return found

    def outbound(self) -> list[tuple[Enqueue, bytes]]:
        """(request, message) of everything queued."""
        found = []
        for request, body in self.queued:
            queue_id = QueueId(request.queue_id)
            key = open_queue_key_box(request.box, self.queue_seed.message_private_key(), TENANT, queue_id)
            envelope, header = QueuedEnvelope.split(open_queue_header(key, queue_id, body[: request.header_size]))
            envelope.require(request.reverse_path, enumerate(request.recipients))
            pieces = open_queue_body_pieces(key, queue_id, (body[request.header_size :],))
            found.append((request, header + b"".join(pieces)))
        return found

    def envelopes(self) -> list[QueuedEnvelope]:
        """The sealed envelope of everything queued."""
        found = []
        for request, body in self.queued:
            queue_id = QueueId(request.queue_id)
            key = open_queue_key_box(request.box, self.queue_seed.message_private_key(), TENANT, queue_id)
            found.append(QueuedEnvelope.split(open_queue_header(key, queue_id, body[: request.header_size]))[0])
        return found

    # --- the holders ---

    def resolve(self, _: Channel, request: ResolveRecipient, __: BodyReader | None) -> Recipient:
        if self.directory_failure:
            raise self.directory_failure
        text = f"postmaster@{DOMAIN}" if request.address == "postmaster" else request.address
        address = parse_address(text)
        if address.domain != DOMAIN:
            return Recipient(RecipientVerdict.NOT_OURS)
        account = self.accounts.get(address.key)
        if account is None:
            return Recipient(RecipientVerdict.NO_SUCH_ADDRESS)
        if account.address in self.closed:
            return Recipient(RecipientVerdict.CLOSED)
        if account.address in self.forwards and request.reverse:
            statements = (self.forwards[account.address],)
            return Recipient(RecipientVerdict.LOCAL, forwards=statements, own=account.binding)
        return Recipient(RecipientVerdict.LOCAL, account.binding)

    def find_login(self, _: Channel, request: FindLogin, __: BodyReader | None) -> LoginAccount:
        account = self.accounts.get(request.login.lower())
        return LoginAccount(account.id if account else AccountId(new_id()))

    def check_sender(self, _: Channel, request: CheckSender, __: BodyReader | None) -> Done:
        account = self.accounts.get(request.address.lower())
        if account is None or account.id != request.account:
            raise Refused("not yours", code="not-owner")
        return Done()

    def check_room(self, _: Channel, request: CheckRoom, __: BodyReader | None) -> Done:
        if request.account in self.full:
            raise Refused("no room", code="over-quota")
        return Done()

    async def deliver(self, _: Channel, request: DeliverMail, body: BodyReader | None) -> Done:
        assert body is not None
        sealed = await body.read_all()
        self.attempts.append(request.stamp.request_id)
        self.store_asked.set()
        await self.store_gate.wait()
        if self.store_failure:
            raise self.store_failure
        if request.stamp.request_id not in [done.request.stamp.request_id for done in self.deliveries]:
            self.deliveries.append(Delivery(request, sealed))
        return Done()

    async def enqueue(self, _: Channel, request: Enqueue, body: BodyReader | None) -> Done:
        assert body is not None
        sealed = await body.read_all()
        if self.queue_failure:
            raise self.queue_failure
        self.queued.append((request, sealed))
        return Done()

    async def enqueue_forward(self, _: Channel, request: EnqueueForward, body: BodyReader | None) -> Done:
        assert body is not None
        sealed = await body.read_all()
        if self.queue_failure:
            raise self.queue_failure
        self.forwarded.append((request, sealed))
        return Done()

    def authenticate(self, _: Channel, request: Authenticate, __: BodyReader | None) -> Done:
        if self.auth_failure:
            raise self.auth_failure
        known = any(account.id == request.account for account in self.accounts.values())
        if not known or request.password != PASSWORD.encode():
            raise Refused("no", code="bad-credentials")
        self.logins.append(request)
        return Done()

    def redeem(self, _: Channel, request: RedeemLogin, __: BodyReader | None) -> Session:
        if (request.nonce, request.account) not in [(login.nonce, login.account) for login in self.logins]:
            raise Refused("no", code="bad-credentials")
        return Session(secrets.token_bytes(16), 1 << 60, bytes(32))

    def end_session(self, _: Channel, request: EndSession, __: BodyReader | None) -> Done:
        self.ended.append(request.handle)
        return Done()

    # --- edges ---

    def holders(self) -> dict[str, dict[type, Any]]:
        return {
            "directory": {
                ResolveRecipient: Cell.resolve,
                FindLogin: Cell.find_login,
                CheckSender: Cell.check_sender,
            },
            "store": {CheckRoom: Cell.check_room, DeliverMail: Cell.deliver},
            "queue": {Enqueue: Cell.enqueue, EnqueueForward: Cell.enqueue_forward},
            "auth": {Authenticate: Cell.authenticate},
            "keyring": {RedeemLogin: Cell.redeem, EndSession: Cell.end_session},
        }

    def connect(self, holder: str) -> None:
        """A fresh incarnation of a holder with an edge to the gate; the old one is gone."""
        old = self.exchanges.pop(holder, None)
        if old is not None:
            old.close()
        self.generation += 1
        exchange = self.exchanges[holder] = Exchange(Channel(holder, 0, self.generation), _violation)
        exchange.serve(self, self.holders()[holder])
        ours, theirs = socket.socketpair()
        self.gate.attach(ours, exchange.me, self.generation)
        exchange.attach(theirs, self.gate.me, self.generation)


def _violation(*what: object) -> None:
    raise AssertionError(what)


def open_copy(account: Account, copy: Copy, sealed: bytes) -> tuple[Summary, bytes]:
    """What the owner sees: the summary, and header and body as one."""
    email = EmailId(copy.email)
    key = open_key_box(copy.box, account.seed.message_private_key(), TENANT, account.id, email)
    header_at, body_at = copy.summary_size, copy.summary_size + copy.header_size
    summary = Summary.decode(open_summary(key, account.id, email, sealed[:header_at]))
    header = open_header(key, account.id, email, sealed[header_at:body_at])
    body = open_body(key, account.id, email, sealed[body_at:])
    assert summary.size == copy.size == len(header) + len(body)
    assert summary.header_size == len(header)
    return summary, header + body


SECTION: dict[str, Any] = {
    "connections_max": 64,
    "connections_per_source_max": 32,
    "mode": "default",
    "workers": 1,
    "recycle_sessions": 0,
    "message_bytes_max": 36_700_160,
    "recipients_max": 100,
    "idle_seconds": 30,
    "preauth_seconds": 20,
    "errors_max": 10,
}


def settings(cell: Cell, **changes: Any) -> dict[str, Any]:
    """What the supervisor would hand to a gate."""
    section = {**SECTION, **changes}
    pinned = {
        "binding_key": base64.b64encode(cell.signing.public_key().public_bytes_raw()).decode(),
        "queue_key": base64.b64encode(cell.queue_seed.message_public_key()).decode(),
    }
    return {"id": TENANT, "names": HOSTNAMES, "pinned": pinned, "mx": section, "submit": section}


def listening() -> socket.socket:
    """A socket on a free port of the loopback."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    return sock


@asynccontextmanager
async def running(compartment: str, listeners: Sequence[str], **changes: Any) -> AsyncIterator[Cell]:
    """The gate `compartment` in the current directory, with its holders."""
    Path("gate.pem").write_text(issue(authority(), [HOSTNAMES[compartment]], ["127.0.0.1"], now=datetime.now(UTC)))
    cell = Cell()
    cell.store_gate.set()
    cell.gate = Exchange(Channel(compartment, 0, 1), _violation)
    for holder in cell.holders():
        if compartment == "submit" or holder in {"directory", "store"}:
            cell.connect(holder)
    socks = {name: listening() for name in listeners}
    cell.ports = {name: sock.getsockname()[1] for name, sock in socks.items()}
    host = Host(cell.gate.me, TENANT, settings(cell, **changes), cell.gate, listeners=socks)
    cell.service = await {"mx": mx_process, "submit": submit_process}[compartment].start(host)
    try:
        yield cell
    finally:
        await cell.service.stop()
        cell.gate.close()
        for exchange in cell.exchanges.values():
            exchange.close()
        for sock in socks.values():
            sock.close()


Test = Callable[[Cell], Coroutine[Any, Any, None]]


def run_with(test: Test, compartment: str, listeners: Sequence[str], **changes: Any) -> None:
    """Run `test` on the loop that gates use."""

    async def main() -> None:
        async with running(compartment, listeners, **changes) as cell:
            await asyncio.wait_for(test(cell), 60)

    uvloop.run(main())


class Client:
    """A raw SMTP client: sends what it is told, reads whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, *, tls: str = "", greet: bool = True) -> "Client":
        context = client_context() if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=tls or None, limit=1 << 20
        )
        client = cls(reader, writer)
        if greet:
            assert (await client.reply())[0].startswith("220 ")
        return client

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> list[str]:
        """The lines of one reply; [] at the end of the stream."""
        lines: list[str] = []
        while True:
            line = (await self.reader.readline()).decode("ascii")
            if not line:
                return lines
            assert line.endswith("\r\n")
            lines.append(line[:-2])
            if line[3:4] != "-":
                return lines

    async def say(self, line: str) -> str:
        """Send a command; the reply on one line, with code and status once."""
        await self.send(line.encode() + b"\r\n")
        return " / ".join(await self.reply())

    async def expect(self, line: str, start: str) -> str:
        answer = await self.say(line)
        assert answer.startswith(start), f"{line[:60]} -> {answer}"
        return answer

    async def start_tls(self, name: str) -> None:
        await self.expect("STARTTLS", "220 ")
        await self.writer.start_tls(client_context(), server_hostname=name)

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        return await self.reader.read()

    async def deliver(self, sender: str, recipients: Sequence[str], message: bytes) -> str:
        """One transaction; the reply to the final dot."""
        await self.expect(f"MAIL FROM:<{sender}>", "250 ")
        for recipient in recipients:
            await self.expect(f"RCPT TO:<{recipient}>", "250 ")
        await self.expect("DATA", "354 ")
        await self.send(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return " / ".join(await self.reply())

    async def close(self) -> None:
        self.writer.close()

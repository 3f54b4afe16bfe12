"""A store served through real edges: socketpairs in one process, the loop on both sides."""

import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.facts import MailboxChanged
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.identifiers import new_id
from bulkhead.store.compaction import Policy
from bulkhead.store.disk import Disk
from bulkhead.store.process import Store, open_store

STORE = Channel("store", 0, 1)
KEYRING = Channel("keyring", 0, 1)
ACCESS = Channel("access", 0, 1)
MX = Channel("mx", 0, 1)
CLI = Channel("cli", 0, 1)
FAR = 1 << 60


class Peer:
    """One other compartment, connected to the store."""

    def __init__(self, channel: Channel, store: Exchange, generation: int = 1) -> None:
        self.channel, self.facts, self.violations = channel, [], []
        self.exchange = Exchange(channel, lambda *report: self.violations.append(report))
        self.exchange.serve(self, {}, {MailboxChanged: lambda self, _, fact: self.facts.append(fact)})
        ours, theirs = socket.socketpair()
        self.edge = self.exchange.attach(ours, STORE, generation)
        store.attach(theirs, channel, generation)

    async def call(self, request: Any, body: Any = None, timeout: float = 20.0) -> Any:
        return await self.exchange.to("store").call(request, body, timeout=timeout)

    async def open(self, request: Any) -> tuple[Any, bytes]:
        reply, reader = await self.exchange.to("store").open(request)
        return reply, await reader.read_all()


class World:
    """The store of the working directory and its peers."""

    def __init__(self, disk: Disk | None = None, segment_bytes: int = 1 << 26, policy: Policy | None = None) -> None:
        self.violations: list[Any] = []
        self.exchange = Exchange(STORE, lambda *report: self.violations.append(report))
        self.disk, self.segment_bytes, self.policy = disk or Disk(), segment_bytes, policy
        self.store: Store
        self.peers: dict[Channel, Peer] = {}

    async def start(self) -> "World":
        self.store = await open_store(self.exchange, self.disk, self.segment_bytes, self.policy)
        return self

    def peer(self, channel: Channel) -> Peer:
        if channel not in self.peers:
            self.peers[channel] = Peer(channel, self.exchange)
        return self.peers[channel]

    async def stop(self) -> None:
        for peer in self.peers.values():
            peer.exchange.close()
        self.exchange.close()
        await self.store.stop()

    async def account(self, quota: int = 0) -> bytes:
        account = new_id()
        await self.peer(CLI).call(to_store.OpenAccount(stamp(), account, quota))
        return account

    async def grant(self, *grants: to_store.Grant, complete: bool = True, epoch: int = 0) -> None:
        await self.peer(KEYRING).call(to_store.GrantSessions(tuple(grants), complete, epoch))

    async def session(
        self, account: bytes, channel: Channel = ACCESS, rights: int = to_store.Rights.ALL, expires: int = FAR
    ) -> "Client":
        handle = new_id()
        await self.grant(to_store.Grant(handle, account, rights, *channel, expires))
        client = Client(self.peer(channel), handle, account)
        client.inbox = (await client.ask(to_store.ListMailboxes)).rows[0].mailbox
        return client

    async def deliver(self, *copies: to_store.Copy, body: bytes | None = None, request_id: bytes | None = None) -> Any:
        data = b"".join(payload(copy) for copy in copies) if body is None else body
        return await self.peer(MX).call(to_store.DeliverMail(stamp(request_id), copies), data)

    async def check(self, deep: bool = True) -> to_store.StoreReport:
        return await self.peer(CLI).call(to_store.CheckStore(deep))

    async def counts(self) -> to_store.StoreCounts:
        return await self.peer(CLI).call(to_store.CountStore())


class Client:
    """A session of the access compartment."""

    inbox: bytes

    def __init__(self, peer: Peer, handle: bytes, account: bytes) -> None:
        self.peer, self.handle, self.account = peer, handle, account

    async def ask(self, request: type, *fields: Any, **named: Any) -> Any:
        return await self.peer.call(request(self.handle, *fields, **named))

    async def row(self, mailbox: bytes) -> to_store.MailboxRow:
        """The mailbox with its counts."""
        (found,) = [row for row in (await self.ask(to_store.ListMailboxes)).rows if row.mailbox == mailbox]
        return found

    async def change(self, request: type, *fields: Any, body: Any = None, **named: Any) -> Any:
        return await self.peer.call(request(stamp(), self.handle, *fields, **named), body)

    async def open(self, request: type, *fields: Any, **named: Any) -> tuple[Any, bytes]:
        return await self.peer.open(request(self.handle, *fields, **named))

    async def change_open(self, request: type, *fields: Any, **named: Any) -> tuple[Any, bytes]:
        return await self.peer.open(request(stamp(), self.handle, *fields, **named))

    async def create(self, role: int = 0) -> bytes:
        mailbox = new_id()
        await self.change(to_store.CreateMailbox, mailbox, b"sealed name", new_id(), role=role)
        return mailbox

    async def append(self, mailbox: bytes, copy: to_store.Copy, flags: int = 0) -> Any:
        return await self.change(to_store.AppendMessage, mailbox, copy, flags, body=payload(copy))

    async def columns(self, mailbox: bytes | None = None) -> dict[int, tuple[int, int, int, int, bytes]]:
        """UID to (flags, size, date, modseq, email)."""
        reply, body = await self.open(to_store.ReadColumns, mailbox or self.inbox, 63)
        return unpack_columns(reply.messages, body)


def unpack_columns(count: int, body: bytes) -> dict[int, tuple[int, int, int, int, bytes]]:
    layout = struct.Struct(f"<{count}I{count}Q{count}I{count}q{count}Q")
    values = layout.unpack_from(body)
    assert len(body) == layout.size + 16 * count
    emails = [body[at : at + 16] for at in range(layout.size, len(body), 16)]
    columns = [values[at * count : (at + 1) * count] for at in range(5)]
    return {row[0]: row[1:] for row in zip(*columns, emails, strict=True)}


def u32s(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def stamp(request_id: bytes | None = None) -> Stamp:
    return Stamp.fresh("test", request_id=request_id)


def copy_for(account: bytes, size: int = 100, *, sealed: tuple[int, int, int] = (40, 60, 200), date: int = 0) -> Any:
    size = max(size, sum(sealed[1:]) - 256)  # a message of which such parts may be
    return to_store.Copy(account, new_id(), b"box" * 29, size, *sealed, date or int(time.time()))


def payload(copy: to_store.Copy) -> bytes:
    """Bytes that only this copy has."""
    size = copy.summary_size + copy.header_size + copy.body_size
    return (copy.email * (size // 16 + 1))[:size]


@asynccontextmanager
async def running(
    disk: Disk | None = None, segment_bytes: int = 1 << 26, policy: Policy | None = None
) -> AsyncIterator[World]:
    world = await World(disk, segment_bytes, policy).start()
    try:
        yield world
    finally:
        await world.stop()

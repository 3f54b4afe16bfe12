"""courier among its neighbours: a real queue and a real dialer; keyring, directory, store and resolver by script."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.queue.queue_host import QueueHost, fail, join

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_directory import BindingRow, Recipient, RecipientVerdict, ResolveRecipient
from bulkhead.boundary.messages.to_keyring import OpenQueued, QueuedKey
from bulkhead.boundary.messages.to_queue import CountQueue, ListQueue, QueueCounts, RetryNow
from bulkhead.boundary.messages.to_resolver import FindMailHosts, MailHost, MailHosts, MailHostsVerdict
from bulkhead.boundary.messages.to_store import DeliverMail
from bulkhead.courier.process import Courier
from bulkhead.dialer.handle import HANDLERS, Dialer
from bulkhead.dialer.routes import Routes
from bulkhead.errors import Error
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.identifiers import AccountId, EmailId, TenantId, new_id, parse_address
from bulkhead.records.mailbox import QUEUE_ACCOUNT, sign_binding
from bulkhead.records.message import open_body, open_header, open_key_box
from bulkhead.records.queued import open_queue_key_box
from bulkhead.records.seed import MailboxSeed, new_secret

TENANT = TenantId("kddi")
OWN = "mx.kddi.example"
TEXT = b"From: s@kddi.example\r\nSubject: hello\r\n\r\nhello\r\n.dotted\r\n"


class Cell:
    """What courier sees. Script: hosts by domain, failures of directory and store."""

    def __init__(self, folder: Path, port: int, networks: tuple[str, ...] = ("127.0.0.0/8",), **queue: Any) -> None:
        self.queue = QueueHost(folder, **queue)
        self.exchange = self.queue.peers["courier"]
        self.port, self.networks = port, networks
        self.hosts: dict[str, MailHosts] = {}
        self.accounts = {"sender@kddi.example": AccountId(new_id())}
        self.inbox: list[bytes] = []
        self.deliveries = 0  # DeliverMail requests, repeated ones too
        self.store_failures: list[Error] = []
        self.keyring_failures: list[Error] = []
        self._receipts: set[bytes] = set()
        self._binding_key = Ed25519PrivateKey.generate()
        self._seeds = {account: MailboxSeed(TENANT, account, 1, new_secret()) for account in self.accounts.values()}
        self._queue_seed = MailboxSeed(TENANT, AccountId(QUEUE_ACCOUNT), 1, new_secret())
        self.courier: Courier
        self._others: list[Exchange] = []

    def open(self) -> None:
        """Start everything; courier last."""
        self.queue.open()
        self.neighbour("keyring", self, {OpenQueued: _open_queued})
        self.neighbour("directory", self, {ResolveRecipient: _resolve})
        self.neighbour("store", self, {DeliverMail: _deliver})
        self.neighbour("resolver", self, {FindMailHosts: _find})
        self.neighbour("dialer", Dialer(Routes.configured(self.port, self.networks, ())), HANDLERS)
        self.courier = self.start_courier()

    def neighbour(self, name: str, state: Any, handlers: Any) -> None:
        other = Exchange(Channel(name, 0, 1), fail)
        other.serve(state, handlers)
        join(other, self.exchange)
        self._others.append(other)

    def start_courier(self) -> Courier:
        public = base64.b64encode(self._binding_key.public_key().public_bytes_raw()).decode()
        settings = {
            "id": "kddi",
            "names": {"mx": OWN},
            "pinned": {"binding_key": public, "queue_key": ""},
            "courier": {
                "port": self.port,
                "connect_seconds": 2,
                "reply_seconds": 2,
                "concurrency": 4,
                "sessions_per_host_max": 4,
            },
        }
        host = Host(self.exchange.me, TENANT, settings, self.exchange)
        return Courier(host, clock=lambda: self.queue.clock / 1000)

    async def close(self) -> None:
        await self.courier.stop()
        await self.queue.close()
        for other in self._others:
            other.close()

    def binding(self, account: AccountId) -> BindingRow:
        return BindingRow(account, sign_binding(self._seeds[account], self._binding_key, key_version=1).record)

    def at(self, domain: str, *addresses: str) -> None:
        """The domain's mail goes to these addresses, each a host of its own, in this order."""
        hosts = tuple(
            MailHost(10 * (number + 1), f"mx{number}.{domain}", (address,)) for number, address in enumerate(addresses)
        )
        self.hosts[domain] = MailHosts(MailHostsVerdict.FOUND, hosts, 60)

    async def send(
        self, *recipients: str, text: bytes = TEXT, sender: str = "sender@kddi.example", **wishes: Any
    ) -> bytes:
        """As submit would."""
        key = base64.b64encode(self._queue_seed.message_public_key()).decode()
        sealer = OutboundSealer(TENANT, key)
        addresses = [parse_address(recipient) for recipient in recipients]
        submit, reverse_path = self.queue.peers["submit"], parse_address(sender) if sender else None
        return await sealer.enqueue(submit, reverse_path, addresses, text, **wishes)

    async def counts(self) -> QueueCounts:
        counts: QueueCounts = await self.queue.ask(CountQueue(), "cli")
        return counts

    async def until(self, true: Callable[[QueueCounts], bool], seconds: float = 60.0) -> QueueCounts:
        """Wait until the queue's counts are so."""
        for _ in range(int(seconds / 0.01)):
            counts = await self.counts()
            if true(counts):
                return counts
            await asyncio.sleep(0.01)
        page = await self.queue.ask(ListQueue(), "cli")
        raise AssertionError(f"never came true: {counts} {[row.last_error for row in page.rows]}")

    async def attempted(self) -> None:
        """Wait until no attempt is under way and nothing is due."""
        for _ in range(6000):
            await asyncio.sleep(0.01)
            queue = self.queue.service.queue
            row = queue.database.first("SELECT count(*) FROM message WHERE next_due <= ?", (self.queue.clock,))
            if not queue.leases and not row[0] and not self.courier._active:
                return
        raise AssertionError("attempts do not end")

    async def retry(self, after_seconds: int = 0) -> None:
        """Move the clock and make everything due; wait for the attempt."""
        self.queue.clock += after_seconds * 1000
        await self.queue.ask(RetryNow(Stamp.fresh("cli")), "cli")
        await self.attempted()


def _open_queued(cell: Cell, _: Channel, request: OpenQueued, __: BodyReader | None) -> QueuedKey:
    if cell.keyring_failures:
        raise cell.keyring_failures.pop(0)
    private = cell._queue_seed.message_private_key()
    return QueuedKey(open_queue_key_box(request.box, private, TENANT, request.queue_id))


def _resolve(cell: Cell, _: Channel, request: ResolveRecipient, __: BodyReader | None) -> Recipient:
    account = cell.accounts.get(request.address)
    if account is not None:
        return Recipient(RecipientVerdict.LOCAL, cell.binding(account), 1 << 30)
    ours = request.address.endswith("@kddi.example")
    return Recipient(RecipientVerdict.NO_SUCH_ADDRESS if ours else RecipientVerdict.NOT_OURS)


def _find(cell: Cell, _: Channel, request: FindMailHosts, __: BodyReader | None) -> MailHosts:
    return cell.hosts.get(request.domain, MailHosts(MailHostsVerdict.NO_SUCH_DOMAIN, (), 60))


async def _deliver(cell: Cell, _: Channel, request: DeliverMail, body: BodyReader | None) -> Done:
    """As store does: a request id that was seen is answered and not done again."""
    assert body is not None
    sealed = await body.read_all()
    cell.deliveries += 1
    if cell.store_failures:
        raise cell.store_failures.pop(0)
    if request.stamp.request_id in cell._receipts:
        return Done()
    cell._receipts.add(request.stamp.request_id)
    (copy,) = request.copies
    account, email = AccountId(copy.account), EmailId(copy.email)
    key = open_key_box(copy.box, cell._seeds[account].message_private_key(), TENANT, account, email)
    at = copy.summary_size
    header = open_header(key, account, email, sealed[at : at + copy.header_size])
    cell.inbox.append(header + open_body(key, account, email, sealed[at + copy.header_size :]))
    return Done()


@asynccontextmanager
async def opened(folder: Path, port: int, **settings: Any) -> AsyncIterator[Cell]:
    """A running cell."""
    logging.getLogger("bulkhead").setLevel(logging.INFO)
    cell = Cell(folder, port, **settings)
    cell.open()
    try:
        yield cell
    finally:
        await cell.close()

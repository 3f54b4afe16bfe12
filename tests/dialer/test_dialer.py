"""dialer over a real edge: sockets that work, refusals that hold, no descriptor left behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.queue.queue_host import fail, join

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.registry import requests_of
from bulkhead.boundary.messages.to_dialer import DialTcp, DialUdp
from bulkhead.boundary.peers import PEERS
from bulkhead.dialer.handle import HANDLERS
from bulkhead.dialer.process import start
from bulkhead.errors import Error, Refused, TemporaryFailure
from bulkhead.identifiers import TenantId

HERE = "127.0.0.21"


class Dialing:
    """A dialer with courier and resolver on its edges."""

    def __init__(self, port: int, networks: list[str], servers: list[str]) -> None:
        settings = {"courier": {"port": port, "allow_networks": networks}, "resolver": {"nameservers": servers}}
        self.exchange = Exchange(Channel("dialer", 0, 1), fail)
        self.courier = Exchange(Channel("courier", 0, 1), fail)
        self.resolver = Exchange(Channel("resolver", 0, 1), fail)
        self.host = Host(self.exchange.me, TenantId("kddi"), settings, self.exchange)
        self.service: Any = None

    async def tcp(self, address: str, port: int, timeout_ms: int = 1000) -> socket.socket:
        return (await self.courier.to("dialer").dial(DialTcp(address, port, timeout_ms)))[1]


@asynccontextmanager
async def dialing(port: int, networks: list[str], servers: list[str]) -> AsyncIterator[Dialing]:
    world = Dialing(port, networks, servers)
    world.service = await start(world.host)
    join(world.exchange, world.courier)
    join(world.exchange, world.resolver)
    try:
        yield world
    finally:
        for exchange in (world.courier, world.resolver, world.exchange):
            exchange.close()


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says back what it reads; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, HERE, 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), 60)

    asyncio.run(within())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_message_to_dialer_has_a_handler() -> None:
    named = {request for peering in PEERS if peering.server == "dialer" for request in requests_of(peering)}
    assert set(HANDLERS) == named


def test_a_handed_socket_is_connected_and_carries_bytes_both_ways() -> None:
    async def test() -> None:
        async with echo() as port, dialing(port, ["127.0.0.0/24"], []) as world:
            reply, sock = await world.courier.to("dialer").dial(DialTcp(HERE, port, 1000))
            assert reply.local_address.startswith("127.")
            assert sock.getpeername() == (HERE, port)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, b"hello")
            assert await loop.sock_recv(sock, 100) == b"hello"
            sock.close()

    run(test)


def test_a_thousand_sockets_are_handed_over_and_no_descriptor_stays() -> None:
    async def test() -> None:
        async with echo() as port, dialing(port, ["127.0.0.0/24"], []) as world:
            (await world.tcp(HERE, port)).close()
            await asyncio.sleep(0.05)
            before = descriptors()
            for _ in range(100):
                socks = await asyncio.gather(*(world.tcp(HERE, port) for _ in range(10)))
                assert len({sock.getsockname() for sock in socks}) == 10
                for sock in socks:
                    sock.close()
            for _ in range(3000):  # what was opened meanwhile is closed by the loop, in its own time
                if descriptors() <= before + 1:
                    break
                await asyncio.sleep(0.02)
            assert descriptors() <= before + 1

    run(test)


def test_refusals_and_failures_leave_no_descriptor_and_keep_the_edge() -> None:
    async def test() -> None:
        async with echo() as port, dialing(port, ["127.0.0.0/24"], []) as world:
            (await world.tcp(HERE, port)).close()
            await asyncio.sleep(0.05)
            before = descriptors()
            for address, wanted in (("10.0.0.1", Refused), ("127.0.0.22", TemporaryFailure)) * 50:
                with pytest.raises(wanted):
                    await world.tcp(address, port)
            (await world.tcp(HERE, port)).close()
            await asyncio.sleep(0.05)
            assert descriptors() <= before + 1

    run(test)


def test_a_caller_that_gave_up_leaves_no_descriptor() -> None:
    async def test() -> None:
        async with echo() as port, dialing(port, ["127.0.0.0/24"], []) as world:
            (await world.tcp(HERE, port)).close()
            await asyncio.sleep(0.05)
            before = descriptors()
            for _ in range(50):
                task = asyncio.create_task(world.tcp(HERE, port))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            for _ in range(3000):  # what was opened meanwhile is closed by the loop, in its own time
                if descriptors() <= before + 1:
                    break
                await asyncio.sleep(0.02)
            assert descriptors() <= before + 1
            (await world.tcp(HERE, port)).close()

    run(test)


def test_a_peer_that_does_not_answer_is_given_up_in_time() -> None:
    async def test() -> None:
        with socket.socket() as full:  # its queue is full, so that a further connection waits
            full.bind((HERE, 0))
            full.listen(0)
            port = full.getsockname()[1]
            async with dialing(port, ["127.0.0.0/24"], []) as world:
                waiting: list[socket.socket] = []
                with pytest.raises(TemporaryFailure) as failure:
                    for _ in range(10):
                        waiting.append(await world.tcp(HERE, port, timeout_ms=200))
                assert failure.value.code == "timeout"
                for sock in waiting:
                    sock.close()

    run(test)


def test_udp_is_for_resolver_and_its_servers_only() -> None:
    async def test() -> None:
        async with dialing(25, [], ["127.0.0.23"]) as world:
            _, sock = await world.resolver.to("dialer").dial(DialUdp("127.0.0.23", 53))
            assert (sock.type, sock.getpeername()) == (socket.SOCK_DGRAM, ("127.0.0.23", 53))
            sock.close()
            for address, port in (("127.0.0.24", 53), ("127.0.0.23", 54), ("8.8.8.8", 53)):
                with pytest.raises(Refused):
                    await world.resolver.to("dialer").dial(DialUdp(address, port))

    run(test)


def test_resolver_dials_no_mail_server_and_courier_no_name_server() -> None:
    async def test() -> None:
        async with echo() as port, dialing(port, ["127.0.0.0/24"], ["127.0.0.23"]) as world:
            with pytest.raises(Refused):
                await world.resolver.to("dialer").dial(DialTcp(HERE, port, 100))
            with pytest.raises(Refused):
                await world.courier.to("dialer").dial(DialTcp("127.0.0.23", 53, 100))

    run(test)


def test_courier_cannot_even_ask_for_udp() -> None:
    async def test() -> None:
        async with dialing(25, [], ["127.0.0.23"]) as world:
            world.exchange._report = lambda *_: None  # PEERS forbids it: the edge ends
            with pytest.raises(Error):
                await world.courier.to("dialer").dial(DialUdp("127.0.0.23", 53), timeout=1)

    run(test)


def test_a_reload_changes_the_routes() -> None:
    async def test() -> None:
        async with echo() as port, dialing(port, [], []) as world:
            with pytest.raises(Refused):
                await world.tcp(HERE, port)
            networks = {"courier": {"port": port, "allow_networks": ["127.0.0.0/24"]}, "resolver": {"nameservers": []}}
            await world.service.reload(networks)
            (await world.tcp(HERE, port)).close()

    run(test)

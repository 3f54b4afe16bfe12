"""Asks the configured name servers, over sockets that dialer connected: UDP, then TCP where the answer is truncated.

Against forgery: a fresh socket and so a fresh port for each question, 16 random bits of identity, a connected socket
that takes datagrams of that server only, and the question compared (RFC 5452 section 9.1).
"""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from struct import Struct

import dns.name

from bulkhead.boundary.dialed import require_connected_to
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_dialer import DialTcp, DialUdp
from bulkhead.errors import Error, PeerError
from bulkhead.resolver.response import FAILED, RESPONSE_MAX, Answer, Truncated, Type, Verdict, question, read_response

DNS_PORT = 53
ROUNDS = 2
IGNORED_MAX = 16  # datagrams that answer something else, before a server is given up
AT_ONCE = 64  # questions on the way
_LENGTH = Struct(">H")


class NameServers:
    """The servers in their order. seconds: how long one may take over one question."""

    def __init__(self, exchange: Exchange, addresses: Sequence[str], seconds: float, *, port: int = DNS_PORT) -> None:
        self._dialer = exchange.to("dialer")
        self._addresses, self._seconds, self._port = tuple(addresses), seconds, port
        self._slots = asyncio.Semaphore(AT_ONCE)

    def __bool__(self) -> bool:
        return bool(self._addresses)

    async def ask(self, name: dns.name.Name, wanted: Type) -> Answer:
        """The first answer that a server gives; FAILED when none does in two rounds."""
        async with self._slots:
            for _ in range(ROUNDS):
                for address in self._addresses:
                    answer = await self._ask_one(address, name, wanted)
                    if answer.verdict is not Verdict.FAILED:
                        return answer
        return FAILED

    async def _ask_one(self, address: str, name: dns.name.Name, wanted: Type) -> Answer:
        identity = secrets.randbits(16)
        query = question(name, wanted, identity)
        try:
            async with asyncio.timeout(self._seconds):
                try:
                    return await self._by_udp(address, query, name, wanted, identity)
                except Truncated:
                    pass
            async with asyncio.timeout(self._seconds):
                return await self._by_tcp(address, query, name, wanted, identity)
        except (Error, OSError, TimeoutError):
            return FAILED

    async def _by_udp(self, address: str, query: bytes, name: dns.name.Name, wanted: Type, identity: int) -> Answer:
        _, sock = await self._dialer.dial(DialUdp(address, self._port), timeout=self._seconds)
        with require_connected_to(sock, socket.SOCK_DGRAM, address, self._port):
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, query)
            for _ in range(IGNORED_MAX):
                data = await loop.sock_recv(sock, RESPONSE_MAX)
                try:
                    return read_response(data, name, wanted, identity)
                except Truncated:
                    raise
                except PeerError:
                    continue
        return FAILED

    async def _by_tcp(self, address: str, query: bytes, name: dns.name.Name, wanted: Type, identity: int) -> Answer:
        request = DialTcp(address, self._port, int(self._seconds * 1000))
        _, sock = await self._dialer.dial(request, timeout=self._seconds)
        with require_connected_to(sock, socket.SOCK_STREAM, address, self._port):
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(sock, _LENGTH.pack(len(query)) + query)
            (length,) = _LENGTH.unpack(await _receive(sock, _LENGTH.size))
            if length > RESPONSE_MAX:
                raise PeerError("a response of an impossible size")
            return read_response(await _receive(sock, length), name, wanted, identity)


async def _receive(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not piece:
            raise PeerError("the server closed in the middle of a response")
        data += piece
    return bytes(data)

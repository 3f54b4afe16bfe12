"""A name server on loopback, UDP and TCP on one port, that says what its script says: the truth or worse."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from struct import pack

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

Reply = dns.message.Message
Script = Callable[[dns.message.Message, bool], Iterable[bytes]]


def answer_to(query: Reply, *records: str, rcode: int = dns.rcode.NOERROR, authority: Iterable[str] = ()) -> Reply:
    """A response with these records, as text `name ttl IN type data`."""
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(rcode)
    for section, texts in ((response.answer, records), (response.authority, authority)):
        for text in texts:
            name, ttl, rdclass, rdtype, data = text.split(" ", 4)
            section.append(dns.rrset.from_text(name, int(ttl), rdclass, rdtype, data))
    return response


class NameServer:
    """Answers from `records` (name and type to texts) unless `script` takes over. `asked` lists what came."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.names: set[str] = set()
        self.script: Script | None = None
        self.asked: list[tuple[str, str, bool]] = []
        self.delay = 0.0
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None

    def add(self, *texts: str) -> None:
        """Records as text."""
        for text in texts:
            name, _, _, rdtype, _ = text.split(" ", 4)
            self.records.setdefault((name, rdtype), []).append(text)
            self.names.add(name)

    async def open(self, address: str) -> int:
        """Listen on one port for both; the port."""
        self._tcp = await asyncio.start_server(self._serve_tcp, address, 0)
        port = int(self._tcp.sockets[0].getsockname()[1])
        server = self

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                server._udp = transport  # type: ignore[assignment]

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                asyncio.get_running_loop().create_task(server._serve_udp(data, addr))

        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, sock=sock)
        return port

    def close(self) -> None:
        """Listen no more."""
        if self._tcp is not None:
            self._tcp.close()
        if self._udp is not None:
            self._udp.close()

    async def _serve_udp(self, data: bytes, addr: tuple[str, int]) -> None:
        for response in await self._respond(data, tcp=False):
            if self._udp is not None:
                self._udp.sendto(response, addr)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = int.from_bytes(await reader.readexactly(2), "big")
            for response in await self._respond(await reader.readexactly(size), tcp=True):
                writer.write(pack(">H", len(response)) + response)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _respond(self, data: bytes, *, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        (asked,) = query.question
        name, rdtype = asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, rdtype, tcp))
        await asyncio.sleep(self.delay)
        if self.script is not None:
            return list(self.script(query, tcp))
        records = self.records.get((name, rdtype)) or self.records.get((name, "CNAME"), [])
        soa = ["example. 60 IN SOA ns.example. h.example. 1 2 3 4 30"]
        rcode = dns.rcode.NOERROR if name in self.names else dns.rcode.NXDOMAIN
        return [answer_to(query, *records, rcode=rcode, authority=() if records else soa).to_wire()]

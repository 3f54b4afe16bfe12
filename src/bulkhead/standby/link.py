"""The carrier's end of a link to a standby's receiver: a connection a stream and one for leases, each with one request.

A connection that is cut is made anew with the next request, and a piece that was under way goes on at the octet that
arrived last. A receiver that is slow or dead keeps this process waiting, never a holder.
"""

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from bulkhead.errors import PeerError, Refused, TemporaryFailure
from bulkhead.identifiers import TenantId
from bulkhead.standby.frames import (
    ANSWERS,
    Code,
    Frame,
    FrameParser,
    Kind,
    Where,
    frame,
    open_frame,
    piece_frame,
    read_done,
    read_refused,
)
from bulkhead.standby.identity import Pinned
from bulkhead.standby.place import read_have
from bulkhead.standby.receive import READ_BYTES, STALL_SECONDS, watch_dead

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # after its last octet was given to TCP
SLICE = 1 << 16  # octets between two looks at whether it goes on
_FAILURES = (OSError, TimeoutError, PeerError, EOFError)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a receiver listens, and the key that it has."""

    host: str
    port: int
    context: ssl.SSLContext = field(repr=False)
    pinned: Pinned = field(repr=False)


class Connection:
    """One channel. known: the stream of which the other side was asked, in this connection, how far it is."""

    def __init__(self, address: Address, tenant: TenantId, channel: int) -> None:
        self._address, self._tenant, self._channel = address, tenant, channel
        self._lock = asyncio.Lock()
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter, FrameParser] | None = None
        self.known = ""
        self.term = b""

    async def ask(self, *octets: bytes | memoryview) -> bytes:
        """What is answered. Raises TemporaryFailure, Refused (`no-stream`)."""
        async with self._lock:
            try:
                if self._open is None:
                    self._open = await self._connect()
                    self._heard(await self._exchange(open_frame(self._channel, self._tenant)))
                answer = await self._exchange(*octets)
            except _FAILURES as error:
                self.close()
                raise TemporaryFailure(_why(error), code="no-link") from None
            except BaseException:  # what was under way is not known
                self.close()
                raise
            return self._heard(answer)

    def close(self) -> None:
        """Let go."""
        if self._open is not None:
            self._open[1].transport.abort()
        self._open, self.known = None, ""

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, FrameParser]:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                self._address.host, self._address.port, ssl=self._address.context, server_hostname="",
                ssl_shutdown_timeout=1.0,
            )  # fmt: skip
        try:
            self._address.pinned.require(writer.get_extra_info("ssl_object"))
            watch_dead(writer.get_extra_info("socket"))
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer, FrameParser(ANSWERS)

    async def _exchange(self, *octets: bytes | memoryview) -> Frame:
        if self._open is None:
            raise ValueError("no connection is open")
        reader, writer, parser = self._open
        for part in octets:
            for start in range(0, len(part), SLICE):
                writer.write(part[start : start + SLICE])
                async with asyncio.timeout(STALL_SECONDS):
                    await writer.drain()
        async with asyncio.timeout(ANSWER_SECONDS):
            while (event := parser.next_event()) is None:
                data = await reader.read(READ_BYTES)
                if not data:
                    raise EOFError
                parser.receive_data(data)
        if not isinstance(event, Frame) or not parser.idle:
            raise PeerError("the receiver answers what it was not asked")
        return event

    def _heard(self, answer: Frame) -> bytes:
        try:
            if answer.kind is Kind.DONE:
                self.term, payload = read_done(answer.body)
                return payload
            code, text = read_refused(answer.body)
        except PeerError as error:
            self.close()
            raise TemporaryFailure(error.public, code="no-link") from None
        if code is Code.ORDER:
            self.known = ""
            raise Refused(text, code="no-stream")
        if code is Code.TENANT:
            self.close()
        raise TemporaryFailure(text, code="no-link")


class LinkWay:
    """A tenant's link. channels: the holders, in the order of their numbers from 1."""

    def __init__(self, address: Address, tenant: TenantId, channels: tuple[str, ...]) -> None:
        self._lease = Connection(address, tenant, 0)
        self._streams: Mapping[str, Connection] = {
            name: Connection(address, tenant, number) for number, name in enumerate(channels, 1)
        }

    async def settle(self, content: bytes) -> None:
        """Bring the tenant's settings."""
        await self._lease.ask(frame(Kind.SETTINGS, content))

    async def last(self, compartment: str, stream: str) -> int:
        """The newest piece that is there for good."""
        return (await self._where(compartment, stream)).last if stream else 0

    async def begin(self, compartment: str, stream: str, lead: bytes) -> None:
        """Begin a stream."""
        connection = self._streams[compartment]
        await connection.ask(frame(Kind.BEGIN, stream.encode("ascii"), lead))
        connection.known = stream

    async def add(self, compartment: str, stream: str, number: int, piece: bytes) -> bytes:
        """Bring the next piece, from the octet on that the other side has not; the term read once it was there."""
        connection = self._streams[compartment]
        digest, offset = hashlib.sha256(piece).digest(), 0
        if connection.known != stream:
            where = await self._where(compartment, stream)
            if not where.there:
                raise Refused("the standby has nothing of that stream", code="no-stream")
            if where.last == number and not where.part and where.digest == digest:
                return connection.term
            if where.last == number - 1 and hashlib.sha256(piece[: where.part]).digest() == where.digest:
                offset = where.part
        begin, rest = piece_frame(stream, number, piece, offset, digest)
        await connection.ask(begin, rest)
        return connection.term

    async def have(self) -> tuple[int, tuple[int, ...]]:
        """(lineage, segments) of store that the standby has for good."""
        return read_have(await self._lease.ask(frame(Kind.HAVE)))

    async def term(self) -> bytes:
        """What the standby signed when it took over: it is in each answer, read after what that speaks of."""
        await self._lease.ask(frame(Kind.TERM))
        return self._lease.term

    async def granted(self, ask: bytes, ends: float) -> bytes:
        """What was granted for that until then."""
        digest = hashlib.sha256(ask).digest()
        content = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                await self._lease.ask(frame(Kind.ASK, ask))
                while not content:
                    content = await self._lease.ask(frame(Kind.GRANT, digest))
        return content[32:] if content[:32] == digest else b""

    async def close(self) -> None:
        """Let go."""
        for connection in (self._lease, *self._streams.values()):
            connection.close()

    async def _where(self, compartment: str, stream: str) -> Where:
        connection = self._streams[compartment]
        answer = await connection.ask(frame(Kind.WHERE, stream.encode("ascii")))
        try:
            where = Where.decode(answer)
        except PeerError as error:
            connection.close()
            raise TemporaryFailure(error.public, code="no-link") from None
        connection.known = stream if where.there else ""
        return where


def _why(error: BaseException) -> str:
    if isinstance(error, PeerError):
        return error.public
    if isinstance(error, TimeoutError):
        return "the standby's receiver does not answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the standby's receiver has another key than the one that was pinned"
    if isinstance(error, EOFError | ssl.SSLError | ConnectionResetError):
        return "the standby's receiver ended the connection: has it the certificate of this link?"
    return f"the standby's receiver is not reached: {error}"

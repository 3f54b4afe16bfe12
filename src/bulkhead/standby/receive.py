"""The standby's receiver: it listens for one primary's carrier, and writes what that sends into the place.

It has no key but its own of the link, and opens nothing. Whoever has not shown the pinned certificate within
HANDSHAKE_SECONDS is gone, and none of his octets beyond TLS are read.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from bulkhead.errors import Error, IntegrityError, PeerError, Refused, TemporaryFailure
from bulkhead.standby.frames import (
    REQUESTS,
    STREAM_OCTETS,
    VERSION,
    Code,
    Event,
    Frame,
    FrameParser,
    Kind,
    Octets,
    PieceBegun,
    done_frame,
    parse_stream,
    refused_frame,
)
from bulkhead.standby.identity import Pinned
from bulkhead.standby.inbox import Inbox, Incoming
from bulkhead.standby.place import SETTINGS

HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 150.0  # between requests; leases are renewed within 100
STALL_SECONDS = 20.0  # within one, or while its answer is not taken
GRANT_SECONDS = 0.3  # an answer to GRANT is held back so long where there is none yet
POLL_SECONDS = 0.02
CONNECTIONS_MAX = 64
CONNECTIONS_OF_ONE = 24  # address; a carrier has eight
USER_TIMEOUT_MS = 15_000  # TCP's, of octets that nobody acknowledges (RFC 5482 section 3)
READ_BYTES = 1 << 16
_log = logging.getLogger("bulkhead.standby")
T = TypeVar("T")


class Receiver:
    """One tenant's. channels: the holders, in the order of their numbers from 1; 0 is the lease's."""

    def __init__(self, inbox: Inbox, channels: tuple[str, ...], context: ssl.SSLContext, pinned: Pinned) -> None:
        self._inbox, self._channels, self._context, self._pinned = inbox, channels, context, pinned
        self._open: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[int, asyncio.Task[None]] = {}

    async def serve(self, listener: socket.socket) -> None:
        """Answer whoever comes, until this is cancelled."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        try:
            while True:
                await self._slots.acquire()
                try:
                    connection, peer = await loop.sock_accept(listener)
                except OSError as error:
                    self._slots.release()
                    _log.warning("no connection was taken: %s", error)
                    await asyncio.sleep(1)
                    continue
                task = asyncio.create_task(self._take(connection, str(peer[0])))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, connection: socket.socket, source: str) -> None:
        self._open[source] += 1
        try:
            with connection:
                if self._open[source] <= CONNECTIONS_OF_ONE:
                    await self._secure(connection, source)
        finally:
            self._open[source] -= 1
            self._open += Counter()
            self._slots.release()

    async def _secure(self, connection: socket.socket, source: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        connection.setblocking(False)
        watch_dead(connection)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=1.0,
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            _log.warning("%s did not show the pinned certificate: %s", source, error)
            return
        try:
            self._pinned.require(transport.get_extra_info("ssl_object"))
            await _Session(self, reader, asyncio.StreamWriter(transport, protocol, reader, loop)).run()
        except (Error, OSError, TimeoutError) as error:
            _log.warning("the connection of %s ended: %s", source, error)
        finally:
            transport.abort()

    async def claim(self, channel: int) -> None:
        """Have a channel alone: an older connection of it, which a cut left behind, is ended first."""
        task, own = self._sessions.get(channel), asyncio.current_task()
        if own is None:
            raise ValueError("a channel is claimed by a task")
        self._sessions[channel] = own
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    @property
    def inbox(self) -> Inbox:
        """Where it writes."""
        return self._inbox

    def compartment(self, channel: int) -> str:
        """The holder of a channel; empty for the lease's. Raises PeerError."""
        if channel > len(self._channels):
            raise PeerError("there is no such channel")
        return self._channels[channel - 1] if channel else ""


class _Session:
    """One connection, from OPEN on."""

    def __init__(self, receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._receiver, self._inbox, self._reader, self._writer = receiver, receiver.inbox, reader, writer
        self._compartment: str | None = None
        self._stream, self._last, self._tail = "", 0, b""  # where the chain ends
        self._coming: Incoming | None = None
        self._refusal: Error | None = None  # of the piece that is coming, which is read to its end

    async def run(self) -> None:
        """Answer until the other side ends it. Raises PeerError, TimeoutError, OSError."""
        try:
            async for event in self._events():
                match event:
                    case PieceBegun():
                        await self._begin_piece(event)
                    case Octets():
                        await self._go_on(event)
                    case Frame():
                        await self._answer(self._request(event))
        finally:
            self._drop()

    async def _events(self) -> AsyncIterator[Event]:
        parser = FrameParser(REQUESTS)
        waits = IDLE_SECONDS
        while True:
            async with asyncio.timeout(waits):
                data = await self._reader.read(READ_BYTES)
            if not data:
                return
            parser.receive_data(data)
            while (event := parser.next_event()) is not None:
                yield event
            waits = IDLE_SECONDS if parser.idle else STALL_SECONDS

    async def _request(self, request: Frame) -> bytes:
        kind, body = request.kind, request.body
        if (kind is Kind.OPEN) != (self._compartment is None):
            raise PeerError("OPEN comes first, and once")
        if kind is Kind.OPEN:
            return await self._open(body)
        if kind is Kind.TERM:
            return b""
        if (kind in (Kind.WHERE, Kind.BEGIN)) != bool(self._compartment):
            raise PeerError(f"{kind.name} does not belong to this channel")
        match kind:
            case Kind.WHERE:
                return await self._where(parse_stream(body))
            case Kind.BEGIN:
                return await self._begin(parse_stream(body[:STREAM_OCTETS]), body[STREAM_OCTETS:])
            case Kind.SETTINGS:
                await in_thread(self._inbox.small, SETTINGS, body)
            case Kind.ASK:
                await in_thread(self._inbox.small, "ask", body)
            case Kind.GRANT:
                return await self._grant(body)
            case Kind.HAVE:
                return await in_thread(self._inbox.place.read, "have")
        return b""

    async def _open(self, body: bytes) -> bytes:
        if len(body) < 2 or body[0] != VERSION:
            raise PeerError("the carrier speaks another version of the link")
        compartment = self._receiver.compartment(body[1])
        if body[2:] != self._inbox.place.tenant.encode("ascii"):
            raise Refused(f"this is the receiver of {self._inbox.place.tenant}", code="tenant")
        await self._receiver.claim(body[1])
        self._compartment = compartment
        return b""

    async def _where(self, stream: str) -> bytes:
        where, self._tail = await in_thread(self._inbox.where, str(self._compartment), stream)
        self._stream, self._last = stream if where.there else "", where.last
        return where.encode()

    async def _begin(self, stream: str, lead: bytes) -> bytes:
        self._tail = await in_thread(self._inbox.begin, str(self._compartment), stream, lead)
        self._stream, self._last = stream, 0
        return b""

    async def _grant(self, wanted: bytes) -> bytes:
        ends = asyncio.get_running_loop().time() + GRANT_SECONDS
        while True:
            content = await in_thread(self._inbox.place.read, "grant")
            if content[:32] == wanted or asyncio.get_running_loop().time() > ends:
                return content if content[:32] == wanted else b""
            await asyncio.sleep(POLL_SECONDS)

    async def _begin_piece(self, begun: PieceBegun) -> None:
        if not self._compartment:
            raise PeerError("PIECE does not belong to this channel")
        self._drop()
        try:
            if begun.stream != self._stream or begun.number not in (self._last, self._last + 1):
                raise Refused("that is not what comes next in the stream", code="order")
            if begun.number == self._last:  # it came, and its answer did not
                if begun.digest != self._tail:
                    raise Refused("another piece has this number", code="order")
                return
            await in_thread(self._inbox.take, begun.total - begun.offset)
            folder = self._inbox.place.stream(self._compartment, begun.stream)
            self._coming = Incoming(folder, begun, self._tail)
            await in_thread(self._coming.open)
        except (Refused, TemporaryFailure, OSError) as error:
            self._refuse(error)

    async def _go_on(self, octets: Octets) -> None:
        if self._coming is not None and self._refusal is None:
            try:
                self._coming.write(octets.data)
            except OSError as error:
                self._refuse(error)
        if octets.last:
            await self._answer(self._end_piece())

    async def _end_piece(self) -> bytes:
        coming, refusal = self._coming, self._refusal
        try:
            if refusal is not None:
                raise refusal
            if coming is not None:
                await in_thread(coming.done)
                self._last, self._tail = coming.begun.number, coming.begun.digest
        finally:
            self._drop()
        return b""

    def _refuse(self, error: Error | OSError) -> None:
        """Read the piece to its end, and then say why it was not taken."""
        self._drop()
        self._refusal = error if isinstance(error, Error) else _no_room(error)

    def _drop(self) -> None:
        if self._coming is not None:
            self._coming.close()
        self._coming = self._refusal = None

    async def _answer(self, work: Coroutine[Any, Any, bytes]) -> None:
        """Do it, and say how it went; the term is read behind it."""
        try:
            payload = await work
            answer = done_frame(await in_thread(self._inbox.term), payload)
        except Refused as error:
            answer = refused_frame(Code.TENANT if error.code == "tenant" else Code.ORDER, error.public)
        except IntegrityError as error:
            answer = refused_frame(Code.ORDER, error.public)
        except (TemporaryFailure, OSError) as error:
            answer = refused_frame(Code.FULL, (error if isinstance(error, Error) else _no_room(error)).public)
        self._writer.write(answer)
        async with asyncio.timeout(STALL_SECONDS):
            await self._writer.drain()


async def in_thread(work: Callable[..., T], *words: Any) -> T:
    """What it gives; on return, also of a cancelled one, no thread works on it any more."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *words))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def watch_dead(connection: socket.socket) -> None:
    """Have TCP end a connection whose other side acknowledges nothing."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)


def _no_room(error: OSError) -> TemporaryFailure:
    return TemporaryFailure(f"the standby's place cannot be written: {error.strerror}", code="full")

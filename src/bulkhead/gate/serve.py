"""Accepts connections and runs one session coroutine on each: limits by count, source and time, back-pressure.

A full gate stops accepting, so that clients wait in the kernel's queue instead of being refused.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from bulkhead.errors import Error, PeerError

READ_HIGH = 256 * 1024  # bytes read ahead of the session
WRITE_HIGH = 256 * 1024  # bytes queued before drain waits
HANDSHAKE_SECONDS = 20.0
LINGER_SECONDS = 5.0

_log = logging.getLogger("bulkhead.gate")


class IdleTooLong(PeerError):
    """The client was silent longer than it may be."""

    code = "idle"


class ConnectionEnded(PeerError):
    """The client is gone."""

    code = "gone"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one gate process takes on."""

    connections: int
    connections_per_source: int
    idle_seconds: float


class Connection(asyncio.Protocol):
    """One client's byte stream: `read`, `write`, `drain`, `start_tls`."""

    __slots__ = (
        "_buffer", "_drain", "_ended", "_idle_seconds", "_last", "_loop", "_on_lost", "_paused", "_timed_out",
        "_timer", "_transport", "_waiter", "local_address", "secure", "source",
    )  # fmt: skip

    def __init__(self, source: str, local_address: str, idle_seconds: float, on_lost: Callable[[], None]) -> None:
        self.source, self.local_address = source, local_address
        self.secure = False
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._ended = self._paused = self._timed_out = False
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._last = self._loop.time()
        self._timer = self._loop.call_later(idle_seconds, self._on_timer)

    async def read(self) -> bytes:
        """All bytes that have come, at least one; b"" at the end. Raises IdleTooLong."""
        while not self._buffer:
            if self._timed_out:
                raise IdleTooLong("idle for too long")
            if self._ended:
                return b""
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = bytes(self._buffer)
        self._buffer.clear()
        self.resume()
        return data

    @property
    def buffered(self) -> bool:
        """Whether bytes wait that the session has not read."""
        return bool(self._buffer)

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent; follow with drain() where there may be many."""
        if self._transport is not None and not self._ended and data:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client takes what was written. Raises ConnectionEnded, IdleTooLong."""
        while self._drain is not None and not self._ended:
            await asyncio.shield(self._drain)
        if self._timed_out:
            raise IdleTooLong("idle for too long")
        if self._ended:
            raise ConnectionEnded("the connection ended")

    def set_idle_seconds(self, seconds: float) -> None:
        """How long the client may be silent from now on."""
        self._idle_seconds = seconds
        self._last = self._loop.time()
        self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def touch(self) -> None:
        """The session does something for the client: not idle."""
        self._last = self._loop.time()

    def pause(self) -> None:
        """Read nothing more until the session reads or TLS has started."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands. Call pause() before the client is told to go ahead. Raises ConnectionEnded.

        Bytes that came in clear after the command are dropped here: they were never protected (RFC 3207 section 6).
        """
        if self._transport is None or self._ended:
            raise ConnectionEnded("the connection ended")
        self._buffer.clear()
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, ssl.SSLError, TimeoutError, asyncio.CancelledError) as error:
            self.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise ConnectionEnded("no TLS", detail=str(error)) from None
        if transport is None:
            raise ConnectionEnded("the connection ended")
        self._transport = transport
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._paused = False
        self.secure = True
        self.touch()

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        if self._transport is None:
            self._transport = cast(asyncio.Transport, transport)
            self._transport.set_write_buffer_limits(high=WRITE_HIGH)
            self.pause()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._last = self._loop.time()
        self._buffer += data
        if len(self._buffer) > READ_HIGH:
            self.pause()
        self._wake()

    def eof_received(self) -> bool:
        """Called by the loop: the client will send no more."""
        self._ended = True
        self._wake()
        return False

    def pause_writing(self) -> None:
        """Called by the loop."""
        if self._drain is None:
            self._drain = self._loop.create_future()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._last = self._loop.time()
        self._release_drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._ended = True
        self._timer.cancel()
        self._release_drain()
        self._wake()
        self._on_lost()

    def _release_drain(self) -> None:
        if self._drain is not None:
            if not self._drain.done():
                self._drain.set_result(None)
            self._drain = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_timer(self) -> None:
        left = self._last + self._idle_seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left + 0.01, self._on_timer)
            return
        self._timed_out = True
        self._release_drain()
        self._wake()
        if self._waiter is None:
            self._loop.call_later(LINGER_SECONDS, self.abort)


Session = Callable[[Connection], Awaitable[None]]


class Listener:
    """One listening socket and the sessions on it. `tls`: a context for TLS from the first byte, else None."""

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits,
        session: Session,
        tls: Callable[[], ssl.SSLContext] | None,
        full: bytes = b"",
    ) -> None:
        self._sock, self._limits, self._session, self._tls, self._full = sock, limits, session, tls, full
        self._loop = asyncio.get_running_loop()
        self._sources: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._accepting = False
        self._stopping = False
        self._count = 0

    def start(self) -> None:
        """Accept."""
        self._sock.setblocking(False)
        self._set_accepting(True)

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._count

    async def stop(self, seconds: float = 2.0) -> None:
        """Accept no more; sessions are cancelled and say goodbye in their own way within `seconds`."""
        self._stopping = True
        self._set_accepting(False)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for connection in list(self._connections):
            connection.close()

    def _set_accepting(self, accepting: bool) -> None:
        if accepting != self._accepting:
            self._accepting = accepting
            if accepting:
                self._loop.add_reader(self._sock.fileno(), self._on_acceptable)
            else:
                self._loop.remove_reader(self._sock.fileno())

    def _on_acceptable(self) -> None:
        for _ in range(64):
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:  # out of descriptors: let some go first
                _log.error("cannot accept: %s", error.strerror)
                self._set_accepting(False)
                self._loop.call_later(0.5, self._resume)
                return
            self._take(client, address)
            if self._count >= self._limits.connections:
                self._set_accepting(False)
                return

    def _resume(self) -> None:
        if not self._stopping and self._count < self._limits.connections:
            self._set_accepting(True)

    def _take(self, client: socket.socket, address: tuple[str, int]) -> None:
        client.setblocking(False)
        source = str(address[0])
        key = source_key(source)
        if self._sources.get(key, 0) >= self._limits.connections_per_source:
            with contextlib.suppress(OSError):
                if self._full and self._tls is None:
                    client.send(self._full)
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sources[key] = self._sources.get(key, 0) + 1
        self._count += 1
        task = self._loop.create_task(self._run(client, source, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _release(self, key: str) -> None:
        self._count -= 1
        left = self._sources[key] - 1
        if left:
            self._sources[key] = left
        else:
            del self._sources[key]
        self._resume()

    async def _run(self, client: socket.socket, source: str, key: str) -> None:
        lost = asyncio.Event()
        connection = Connection(source, str(client.getsockname()[0]), self._limits.idle_seconds, lost.set)
        self._connections.add(connection)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client)
            if self._tls is not None:
                await connection.start_tls(self._tls())
            else:
                connection.resume()
            await self._session(connection)
        except (PeerError, asyncio.CancelledError):
            pass
        except Error as error:
            _log.warning("session from %s: %s", source, error.public)
        except Exception:
            _log.exception("fault in a session from %s", source)
        finally:
            connection.close()
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(lost.wait(), LINGER_SECONDS)
            connection.abort()
            self._connections.discard(connection)
            self._release(key)


def source_key(source: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64."""
    address = ipaddress.ip_address(source)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return source

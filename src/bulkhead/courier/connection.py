"""A socket that dialer connected, as bytes with deadlines; a client's TLS on it.

asyncio writes with send(); nothing here makes a socket.
"""

import asyncio
import socket
import ssl
from typing import cast

from bulkhead.errors import PeerError

READ_HIGH = 256 * 1024  # octets that wait here before no more is read
WRITE_HIGH = 256 * 1024
LINGER_SECONDS = 5.0


class HandshakeFailed(PeerError):
    """No TLS came about."""

    code = "no-tls"


def client_context() -> ssl.SSLContext:
    """TLS for a mail exchanger: encrypted, not authenticated, because an MX name from DNS proves nothing.

    Source: RFC 7435 (opportunistic security); RFC 8996 (nothing below TLS 1.2).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Connection(asyncio.Protocol):
    """Bytes in and out. Every wait has its seconds; TimeoutError when they are over."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._ended = self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @classmethod
    async def over(cls, sock: socket.socket) -> "Connection":
        """A connection over a connected socket, which it now owns."""
        connection = cls()
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, sock=sock)
        except BaseException:
            sock.close()
            raise
        return connection

    @property
    def buffered(self) -> bool:
        """Whether bytes wait that were not read."""
        return bool(self._buffer)

    @property
    def buffered_or_ended(self) -> bool:
        """Whether bytes wait that nobody asked for, or the server is gone."""
        return self._ended or bool(self._buffer)

    async def read(self, seconds: float) -> bytes:
        """What came, at least one byte; b"" at the end."""
        if not self._buffer and not self._ended:
            self._waiter = self._loop.create_future()
            try:
                await asyncio.wait_for(self._waiter, seconds)
            finally:
                self._waiter = None
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes, seconds: float) -> None:
        """Queue bytes, and wait until the server takes them."""
        if self._transport is None or self._ended:
            return
        self._transport.write(data)
        if self._room is not None:
            await asyncio.wait_for(asyncio.shield(self._room), seconds)

    async def start_tls(self, context: ssl.SSLContext, name: str, seconds: float) -> None:
        """Shake hands as the client. Raises HandshakeFailed."""
        if self._transport is None or self._ended:
            raise HandshakeFailed("the connection ended")
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_hostname=name, ssl_handshake_timeout=seconds
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self.abort()
            raise HandshakeFailed("the TLS handshake failed", detail=str(error)) from None
        if transport is None:
            raise HandshakeFailed("the connection ended")
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH)

    def close(self) -> None:
        """Send what is queued, then close; a server that does not take it is left after LINGER_SECONDS."""
        if self._transport is not None:
            self._transport.close()
            self._loop.call_later(LINGER_SECONDS, self.abort)

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

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._buffer += data
        if len(self._buffer) > READ_HIGH and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Called by the loop."""
        self._end()
        return False

    def pause_writing(self) -> None:
        """Called by the loop."""
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Called by the loop."""
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._end()
        self.resume_writing()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

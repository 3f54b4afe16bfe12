"""One client's byte stream: what came, what goes, TLS, and how long a client may take."""

import asyncio
import math
import ssl
from collections.abc import Callable
from typing import cast

from bulkhead.errors import PeerError
from bulkhead.wipe import wipe, wipe_buffer

READ_HIGH = 256 * 1024  # bytes read ahead of the session
WRITE_HIGH = 256 * 1024  # bytes queued before drain waits
HANDSHAKE_SECONDS = 20.0
PACE = 512  # octets a second: a paced client that sends more slowly is as good as silent
BUSY_SECONDS = 1.0  # when to look again at a client that waits for us


class IdleTooLong(PeerError):
    """The client was silent longer than it may be."""

    code = "idle"


class ConnectionEnded(PeerError):
    """The client is gone."""

    code = "gone"


class Connection(asyncio.Protocol):
    """One client's byte stream: `read`, `write`, `drain`, `start_tls`.

    Time that the session spends on an answer never counts against the client.
    """

    __slots__ = (
        "_buffer", "_closing", "_drain", "_ends", "_eof", "_first", "_idle_seconds", "_idle_until", "_interrupted",
        "_loop", "_lost", "_on_lost", "_paced", "_paused", "_timed_out", "_timer", "_transport", "_waiter",
        "local_address", "secure", "source",
    )  # fmt: skip

    def __init__(self, source: str, local_address: str, idle_seconds: float, on_lost: Callable[[], None]) -> None:
        self.source, self.local_address = source, local_address
        self.secure = False
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._first = b""  # what came first, as it came: nearly always all there is, and then it is copied nowhere
        self._buffer = bytearray()  # what came after it, in one run: single octets must not become as many objects
        self._closing = self._eof = self._lost = self._paused = self._paced = self._timed_out = self._interrupted = (
            False
        )
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._ends = math.inf
        self._idle_until = self._loop.time() + idle_seconds
        self._timer = self._loop.call_at(self._idle_until, self._on_timer)

    async def read(self) -> bytes:
        """All bytes that have come, at least one, the caller's to wipe; b"" at the end.

        Raises IdleTooLong, CancelledError.
        """
        while True:
            if self._interrupted:
                raise asyncio.CancelledError
            if self._timed_out or self._loop.time() >= self._ends:
                raise IdleTooLong("idle for too long")
            if self._first:
                break
            if self._eof or self._lost:
                return b""
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._first
        if self._buffer:  # a password may be in either
            data = b"".join((self._first, self._buffer))
            wipe(self._first)
            wipe_buffer(self._buffer)
        self._forget()
        self.resume()
        return data

    @property
    def made(self) -> bool:
        """Whether there was a connection to read from."""
        return self._transport is not None

    @property
    def buffered(self) -> bool:
        """Whether bytes wait that the session has not read."""
        return bool(self._first)

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent; follow with drain() where there may be many."""
        if self._transport is not None and not self._closing and not self._lost and data:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client takes what was written. Raises ConnectionEnded, IdleTooLong."""
        while self._drain is not None and not self._lost:
            await asyncio.shield(self._drain)
        if self._timed_out:
            raise IdleTooLong("idle for too long")
        if self._lost:
            raise ConnectionEnded("the connection ended")

    def set_idle_seconds(self, seconds: float) -> None:
        """How long the client may be silent from now on."""
        self._idle_seconds = seconds
        self.touch()
        self._rearm()

    def set_lifetime(self, seconds: float | None) -> None:
        """End the connection so many seconds from now, whatever the client does; None takes that back."""
        self._ends = math.inf if seconds is None else self._loop.time() + seconds
        self._rearm()

    def keep_pace(self) -> None:
        """From now on only touch() grants the whole idle time again; octets earn time at 512 a second.

        So a client that feeds us single octets does not hold its place for ever.
        """
        self._paced = True

    def touch(self) -> None:
        """The client got something done, or we did for it: its idle time begins again."""
        self._idle_until = self._loop.time() + self._idle_seconds

    def interrupt(self) -> None:
        """Have the session's present or next read() raise CancelledError; what it is doing it finishes."""
        self._interrupted = True
        self._wake()

    def pause(self) -> None:
        """Read nothing more until the session reads or TLS has started."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and self._paused and not self._lost:
            self._paused = False
            self._transport.resume_reading()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands. Call pause() before the client is told to go ahead. Raises ConnectionEnded.

        Bytes that came in clear after the command are dropped here: they were never protected (RFC 3207 section 6).
        """
        if self._transport is None or self._eof or self._lost:
            raise ConnectionEnded("the connection ended")
        self._forget()
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, ssl.SSLError, TimeoutError, asyncio.CancelledError) as error:
            self.abort()
            self.connection_lost(None)  # the loop does not tell of a connection that never became ours
            if isinstance(error, asyncio.CancelledError):
                raise
            raise ConnectionEnded("no TLS", detail=str(error)) from None
        if transport is None or transport.is_closing() or transport.get_extra_info("ssl_object") is None:
            self.connection_lost(None)  # uvloop gives a dead transport where the client left during the handshake
            raise ConnectionEnded("the connection ended")
        self._transport = transport
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._paused = False
        self.secure = True
        self.touch()

    def close(self) -> None:
        """Send what is queued, then close; abort() ends the wait for a client that does not follow.

        In clear our side ends first and what still comes is dropped: a close with octets unread would be a reset, which
        can take the last reply from the client.
        """
        transport = self._transport
        if transport is None or self._closing or self._lost:
            return
        self._closing = True
        self._forget()
        if self.secure or self._eof:
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:
            transport.close()
        self.resume()

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
        if self._closing:
            return
        whole = self._loop.time() + self._idle_seconds
        self._idle_until = min(whole, self._idle_until + len(data) / PACE) if self._paced else whole
        if self._first:
            self._buffer += data
        else:
            self._first = data
        if len(self._first) + len(self._buffer) > READ_HIGH:
            self.pause()
        self._wake()

    def eof_received(self) -> bool:
        """Called by the loop: the client will send no more. In clear it may still read what is due to it."""
        self._eof = True
        self._wake()
        return not self.secure and not self._closing

    def pause_writing(self) -> None:
        """Called by the loop."""
        if self._drain is None:
            self._drain = self._loop.create_future()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.touch()
        self._release_drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._lost = True
        self._timer.cancel()
        self._release_drain()
        self._wake()
        self._on_lost()

    def _forget(self) -> None:
        self._first = b""
        if self._buffer:
            self._buffer.clear()

    def _release_drain(self) -> None:
        if self._drain is not None:
            if not self._drain.done():
                self._drain.set_result(None)
            self._drain = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _rearm(self) -> None:
        self._timer.cancel()
        if not self._lost:
            self._timer = self._loop.call_at(min(self._idle_until, self._ends) + 0.01, self._on_timer)

    def _on_timer(self) -> None:
        if min(self._idle_until, self._ends) > self._loop.time():
            self._rearm()
        elif self._waiter is None and self._drain is None:  # the client waits for us
            self._timer = self._loop.call_later(BUSY_SECONDS, self._on_timer)
        else:
            self._timed_out = True
            self._release_drain()
            self._wake()

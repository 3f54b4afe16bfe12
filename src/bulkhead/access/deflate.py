"""COMPRESS=DEFLATE (RFC 4978): raw deflate both ways, with bounded memory whatever the client sends.

What we compress with takes 102 KiB: a window of 8 KiB, memory level 7, level 1. Measured: a listing shrinks to
15 per cent at 300 MB of it a second; a window of 32 KiB with 256 KiB of memory leaves 16, level 6 leaves 13 at half the
speed. The client chooses its own window, so reading takes 40 KiB, with what came and is not inflated yet (at most
twice `gate.connection.READ_HIGH`) and one piece.
"""

import asyncio
import zlib

from bulkhead.errors import PeerError
from bulkhead.gate.serve import Connection

LEVEL = 1
WINDOW_BITS = 13
MEMORY_LEVEL = 7
PIECE_MAX = 64 * 1024  # octets that one read inflates, however many a bomb would give
_FED = 4096  # octets given to zlib at once, since it gives back a copy of what it did not take


class Deflater:
    """What we send, compressed; each piece ends so that the client can read all of it."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)

    def deflate(self, data: bytes) -> bytes:
        """The octets to send for `data`."""
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class Inflater:
    """What the client sends, in pieces of at most 64 KiB."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._pending = bytearray()
        self._full = False  # the last piece was as long as it may be: zlib may hold more

    def feed(self, data: bytes) -> None:
        """Octets from the client; take() comes before more are given."""
        self._pending += data

    def take(self) -> bytes:
        """The next piece, empty where more octets are needed. Raises PeerError on what is no deflate stream."""
        while True:
            if self._stream.eof:
                raise PeerError("the compressed stream has ended", code="not-deflate")
            if not (self._pending or self._full or self._stream.unconsumed_tail):
                return b""
            given = self._stream.unconsumed_tail
            if not given:
                given = bytes(self._pending[:_FED])
                del self._pending[:_FED]
            try:
                piece = self._stream.decompress(given, PIECE_MAX)
            except zlib.error:
                raise PeerError("what came is not compressed", code="not-deflate") from None
            self._full = len(piece) == PIECE_MAX
            if piece:
                return piece


class Input:
    """The receiving side of one session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inflater: Inflater | None = None

    def inflate(self, rest: bytes) -> None:
        """From now on what comes is compressed; `rest` came already."""
        self._inflater = Inflater()
        self._inflater.feed(rest)

    async def read(self) -> bytes:
        """Octets that have come, at least one; b"" at the end. Raises IdleTooLong, CancelledError, PeerError.

        Between two pieces of what had come together the other sessions get their turn.
        """
        inflater = self._inflater
        if inflater is None:
            return await self._connection.read()
        while not (piece := inflater.take()):
            data = await self._connection.read()
            if not data:
                return b""
            inflater.feed(data)
        await asyncio.sleep(0)
        return piece

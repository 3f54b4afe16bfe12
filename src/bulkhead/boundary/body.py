"""Bodies: bytes that follow a message in chunks of at most 64 KiB, no faster than their reader grants credit."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

from bulkhead.boundary.messages.fields import CHUNK_MAX
from bulkhead.errors import BoundaryViolation, Error, TemporaryFailure

WINDOW = 8  # chunks that may be sent before the first credit
BodySource = bytes | Iterable[bytes] | AsyncIterable[bytes]


def cut(data: bytes) -> Iterator[bytes | memoryview]:
    """`data` in pieces of at most a chunk, without copying where it fits."""
    if len(data) <= CHUNK_MAX:
        yield data
        return
    view = memoryview(data)
    for start in range(0, len(data), CHUNK_MAX):
        yield view[start : start + CHUNK_MAX]


class BodyReader:
    """The receiving end of one body. Credits go back as chunks are read, so at most WINDOW chunks wait here."""

    __slots__ = ("_cancel", "_chunks", "_credit", "_ended", "_error", "_left", "_owed", "_received", "_waiter")

    def __init__(self, limit: int, credit: Callable[[int], None], cancel: Callable[[], None] | None = None) -> None:
        self._chunks: deque[bytes] = deque()
        self._credit = credit
        self._cancel = cancel
        self._left = limit
        self._owed = 0
        self._received = 0  # chunks that came and were not credited yet
        self._ended = False
        self._error: Error | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the last chunk or a failure has arrived."""
        return self._ended or self._error is not None

    @property
    def waiting(self) -> int:
        """Chunks that have come and were not read."""
        return len(self._chunks)

    async def read(self) -> bytes:
        """The next chunk, never empty but at the end. Raises TemporaryFailure when the sender gave up."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self._chunks.popleft()
        self._owe()
        return chunk

    async def read_all(self) -> bytes:
        """The whole body; the caller has bounded it by the message's body_max."""
        parts = []
        while chunk := await self.read():
            parts.append(chunk)
        return b"".join(parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    def close(self) -> None:
        """Read no further: what waits is dropped, and so is what still comes; the sender is told to stop."""
        ended = self.ended
        self.fail(TemporaryFailure("reading was given up", code="gave-up"))
        self._chunks.clear()
        if not ended and self._cancel is not None:
            self._cancel()

    def feed(self, chunk: bytes, last: bool) -> None:
        """Take a chunk from the edge. Raises BoundaryViolation past the limit or the credit."""
        self._left -= len(chunk)
        self._received += 1
        if self._left < 0 or self._received > WINDOW:
            raise BoundaryViolation("a body over its limit or its credit")
        if self._error is None:
            self._ended = last
            if chunk:
                self._chunks.append(chunk)
            else:
                self._owe()
            self._wake()

    def fail(self, error: Error) -> None:
        """The rest will not come."""
        if not self.ended:
            self._error = error
            self._wake()

    def _owe(self) -> None:
        self._owed += 1
        if self._owed >= WINDOW // 2 and not self.ended:
            self._credit(self._owed)
            self._received -= self._owed
            self._owed = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class BodyWriter:
    """The sending end's credit: `take` waits until one more chunk may go. `finished`: nothing more will be sent."""

    __slots__ = ("_credit", "_error", "_waiter", "finished")

    def __init__(self) -> None:
        self._credit = WINDOW
        self._error: Error | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.finished = False

    async def take(self) -> None:
        """Use one credit. Raises TemporaryFailure when the reader gave up."""
        while self._credit == 0 and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            raise self._error
        self._credit -= 1

    def grant(self, chunks: int) -> None:
        """The reader took some. Raises BoundaryViolation on more credit than a window."""
        self._credit += chunks
        if chunks == 0 or self._credit > WINDOW:
            raise BoundaryViolation("more credit than the window")
        self._wake()

    def fail(self, error: Error | None = None) -> None:
        """Nobody reads the rest."""
        self.finished = True
        self._error = error or TemporaryFailure("the peer gave up", code="gave-up")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

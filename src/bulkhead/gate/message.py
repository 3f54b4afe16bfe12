"""A message on its way in: kept in large pieces, made into one run of octets once, off the loop where it is large."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from bulkhead.errors import Refused
from bulkhead.wire.header import header_end

INLINE_MAX = 512 * 1024  # octets: work on larger messages is done on the one thread beside the loop
JOIN_INLINE_MAX = 4 << 20  # octets: copied in a millisecond
PIECE = 256 * 1024
APART_MIN = 4096  # octets of a piece that is kept as it came, not copied behind others
HEADER_MAX = 1 << 20  # octets of a message's header

T = TypeVar("T")
_log = logging.getLogger("bulkhead.gate")


@cache
def worker() -> ThreadPoolExecutor | None:
    """The one thread beside the loop, started now; None where the system gives none, which is logged once."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="message")
    try:
        executor.submit(int).result()
    except RuntimeError:
        _log.error("no second thread: large messages hold up others; has another installation the same uid_base?")
        return None
    return executor


async def run_aside(octets: int, work: Callable[[], T]) -> T:
    """What `work` gives; for more than INLINE_MAX octets on the thread, one at a time, so that the loop goes on."""
    executor = worker() if octets > INLINE_MAX else None
    if executor is None:
        return work()
    return await asyncio.get_running_loop().run_in_executor(executor, work)


class MessageText:
    """The octets of one message as they come. Memory: the octets and at most a piece."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Take the next octets, of whatever length."""
        self.size += len(data)
        if len(data) >= APART_MIN:
            self._cut()
            self._pieces.append(data)
            return
        self._tail += data
        if len(self._tail) >= PIECE:
            self._cut()

    def header(self) -> bytes:
        """The header with its empty line, or all there is. Raises Refused (`header-too-large`) above 1 MiB."""
        self._cut()
        first = self._pieces[0] if self._pieces else b""
        end = header_end(first, 0, len(first))
        if end < min(len(first), HEADER_MAX):  # nearly always: the rest need not be joined
            return first[:end]
        head, held = [], 0
        for piece in self._pieces:
            head.append(piece)
            held += len(piece)
            if held > HEADER_MAX:
                break
        block = b"".join(head)
        end = header_end(block, 0, len(block))
        if end > HEADER_MAX:
            raise Refused("the header is too large", code="header-too-large")
        return block[:end]

    async def join(self, before: bytes) -> bytes:
        """`before` and the message as one; the pieces are given up."""
        self._cut()
        pieces, self._pieces = [before, *self._pieces], []
        if self.size <= JOIN_INLINE_MAX:
            return b"".join(pieces)
        return await run_aside(self.size, lambda: b"".join(pieces))

    def _cut(self) -> None:
        if self._tail:
            self._pieces.append(bytes(self._tail))
            self._tail = bytearray()

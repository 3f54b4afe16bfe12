"""What a holder changed since its stream to the standby began, in its order, until the standby has it.

Changes are gathered on the thread that makes them: octets written to files, names that went, and after each commit the
pages of the database. A *group* is what was gathered up to a commit; it is cut into sealed pieces when the carrier asks
for the next one, and dropped once the carrier says that the standby has it. Files come before the pages that name what
is in them. Of files only the place is kept and read when it is shipped, so that a backlog of mail takes no memory.

Nothing here stops a commit. Where the backlog would exceed BACKLOG_MAX, or the log was not as it must be, the stream is
broken: it is dropped, and the carrier has to begin a new one, with a new base.
"""

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.wal import WalReader
from bulkhead.records.backup import Head
from bulkhead.records.standby import ENDED, WHOLE, Mark, Op, Pages, Remove, Write, seal_piece

BACKLOG_MAX = 64 << 20  # octets of pages and other changes in memory
FILES_MAX = 4 << 30  # octets of files to be read yet
PIECE_BYTES = 1 << 20  # of what is in one piece, about
MARK_SECONDS = 3.0  # at the latest the standby is told that nothing changed
FILES_OPEN = 8  # files kept open for the next write to them
_log = logging.getLogger("bulkhead.holder")


class _File:
    """A file that can still be read when its name is gone."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)

    def read(self, length: int, offset: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def __del__(self) -> None:
        os.close(self._fd)


@dataclass(slots=True)
class _Range:
    """Octets of a file, to be read when they are shipped. file: None to open it by its name, if it is there then."""

    path: str
    file: _File | None
    offset: int
    length: int

    def pieces(self) -> Iterator[Op]:
        if self.file is not None:
            yield from _writes(self.path, self.file.read, self.offset, self.length)
            return
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # its removal follows
            return
        try:
            file = _File(fd)
        finally:
            os.close(fd)
        yield from _writes(self.path, file.read, self.offset, self.length)


@dataclass(slots=True)
class _Group:
    """Changes up to a commit. pages: by number, each as it was last."""

    changes: list[Op | _Range] = field(default_factory=list)
    pages: dict[int, bytes] = field(default_factory=dict)
    waiting: list[Callable[[bool], None]] = field(default_factory=list)
    began: float = 0.0  # CLOCK_BOOTTIME of its first change
    flags: int = WHOLE

    def __bool__(self) -> bool:
        return bool(self.changes or self.pages or self.waiting or self.flags != WHOLE)


@dataclass(frozen=True, slots=True)
class Lag:
    """What the standby has not. octets: of changes in memory, and of files. seconds: the oldest of it."""

    octets: int
    seconds: float


class Shipping:
    """The stream of one holder, from `begin` on. `wrote` and its like on any thread; the rest on the loop's.

    database: its path, where there is one.
    """

    def __init__(self, database: Path | None) -> None:
        self._path, self._loop = database, asyncio.get_running_loop()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="standby")
        self._lock = threading.Lock()
        self._active, self.broken = False, ""
        self._wal: WalReader | None = None
        self._open = _Group()
        self._sealed: deque[bytes] = deque(maxlen=1)
        self._head: Head | None = None
        self._key = self._before = b""
        self._number = 0
        self._memory = self._files = 0
        self._kept: dict[str, _File] = {}
        self._current: _Group | None = None
        self._cutting: Iterator[tuple[int, list[Op]]] | None = None
        self._news = asyncio.Event()
        self._shipped = 0.0  # when a group was last taken

    @property
    def stream(self) -> str:
        """The name of the stream that is shipped; empty where none is."""
        return self._head.backup if self._active and self._head is not None else ""

    @property
    def active(self) -> bool:
        """Whether changes are gathered."""
        return self._active

    def lag(self) -> Lag:
        """What waits. Of nothing: zeros."""
        with self._lock:
            began = [group.began for group in (self._current, self._open) if group is not None and group.began]
            return Lag(self._memory + self._files, time.clock_gettime(time.CLOCK_BOOTTIME) - min(began) if began else 0)

    # --- gathering, on the thread that changes something -------------------------------------------------------------

    def start(self) -> None:
        """Gather from here on. For a database: on the writer's thread, right after a commit."""
        with self._lock:
            self._drop()
            self._wal = None if self._path is None else WalReader(self._path)
            self._active, self.broken = True, ""

    def wrote(self, path: str, offset: int, length: int, fd: int | None = None) -> None:
        """Octets of a file were written. fd: the file; without it, it is opened by its name when it is shipped."""
        if not self._active:
            return
        with self._lock:
            last = self._open.changes[-1] if self._open.changes else None
            if isinstance(last, _Range) and last.path == path and last.offset + last.length == offset:
                last.length += length
            else:
                self._open.changes.append(_Range(path, None if fd is None else self._keep(path, fd), offset, length))
            self._files += length
            self._mark()

    def change(self, *ops: Op) -> None:
        """Something else changed."""
        if not self._active:
            return
        with self._lock:
            self._open.changes.extend(ops)
            self._memory += sum(len(op.data) if isinstance(op, Write) else 64 for op in ops)
            for op in ops:
                if isinstance(op, Remove):
                    self._kept.pop(op.path, None)
            self._mark()

    def committed(self) -> None:
        """A transaction is committed: on the writer's thread, before the next one. Raises nothing."""
        if not self._active:
            return
        with self._lock:
            try:
                if self._wal is not None:
                    pages = self._wal.frames()
                    before = len(self._open.pages)
                    self._open.pages |= pages
                    self._memory += (len(self._open.pages) - before) * self._wal.page_size
                    if pages:
                        self._mark()
            except (IntegrityError, OSError) as error:
                self._break(str(error))
        self._loop.call_soon_threadsafe(self._news.set)

    def failed(self) -> None:
        """A transaction failed in SQLite: what lies in the log is not to be trusted to tell commits apart."""
        if self._active and self._wal is not None:
            with self._lock:
                self._break("a transaction failed")

    def _keep(self, path: str, fd: int) -> _File:
        file = self._kept.get(path)
        if file is None:
            file = self._kept[path] = _File(fd)
            if len(self._kept) > FILES_OPEN:
                del self._kept[next(iter(self._kept))]
        return file

    def _mark(self) -> None:
        if not self._open.began:
            self._open.began = time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._memory > BACKLOG_MAX or self._files > FILES_MAX:
            self._break("the carrier was away for too long")

    def _break(self, why: str) -> None:
        """The stream has a gap from here on: drop it, and let go of whoever waits for it."""
        _log.warning("the stream to the standby ends, a new base is needed: %s", why)
        self.broken = why
        waiting = [*(self._current.waiting if self._current else ()), *self._open.waiting]
        self._drop()
        for callback in waiting:
            self._loop.call_soon_threadsafe(callback, False)
        self._loop.call_soon_threadsafe(self._news.set)

    def _drop(self) -> None:
        self._active = False
        if self._wal is not None:
            self._wal.close()
            self._wal = None
        self._open, self._current, self._cutting = _Group(), None, None
        self._memory = self._files = 0
        self._kept.clear()
        self._sealed.clear()

    # --- shipping, on the loop's thread ------------------------------------------------------------------------------

    async def drop(self, why: str) -> None:
        """Ship no more; whoever waits is let go, and on return no thread reads what was to be shipped."""
        if self._active:
            with self._lock:
                self._break(why)
        await self._loop.run_in_executor(self._worker, _nothing)

    def close(self) -> None:
        """Let go of the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def begin(self, head: Head, key: bytes, lead: bytes, base: Iterable[Op]) -> None:
        """A new stream: first `base`, then what was gathered since `start`, whose first group makes it whole."""
        with self._lock:
            self._head, self._key, self._number = head, key, 0
            self._before = hashlib.sha256(lead).digest()
            self._current, self._open = self._open, _Group()
            self._cutting = _cut(base, self._current, self._size())

    def when_shipped(self, callback: Callable[[bool], None]) -> None:
        """Call back on the loop once the standby has all that was gathered until now (True), or never will."""
        with self._lock:
            if self._active:
                self._open.waiting.append(callback)
                self._news.set()
                return
        callback(False)

    def end(self) -> None:
        """The last piece of the stream: no change is answered any more."""
        with self._lock:
            self._open.flags |= ENDED
            self._news.set()

    async def next(self, stream: str, after: int, seconds: float) -> bytes:
        """The piece after number `after`, which the standby has; empty where there is none within so many seconds.

        Raises Refused (`no-stream`) where this stream is not, or no longer, shipped.
        """
        released = self._acknowledge(stream, after)
        for callback in released:
            callback(True)
        if self._sealed:
            return self._sealed[0]
        piece = await self._loop.run_in_executor(self._worker, self._next, stream)
        if not piece and seconds:
            try:
                async with asyncio.timeout(seconds):
                    while not piece:
                        await self._news.wait()
                        self._news.clear()
                        piece = await self._loop.run_in_executor(self._worker, self._next, stream)
            except TimeoutError:
                return b""
        return piece

    def _acknowledge(self, stream: str, after: int) -> list[Callable[[bool], None]]:
        with self._lock:
            if not stream or stream != self.stream:
                raise Refused(f"that stream is not shipped: {self.broken or 'begin one'}", code="no-stream")
            if after == self._number and self._sealed:
                self._sealed.clear()
                if self._cutting is None and self._current is not None:  # the last piece of its group
                    released, self._current = self._current.waiting, None
                    return released
            elif after not in (self._number, self._number - bool(self._sealed)):
                raise Refused("the stream has gone on from another piece", code="no-stream")
            return []

    def _next(self, stream: str) -> bytes:
        """In a thread."""
        with self._lock:
            if stream != self.stream or self._head is None:
                raise Refused(f"that stream is not shipped: {self.broken}", code="no-stream")
            if self._sealed:
                return self._sealed[0]
            if self._cutting is None:
                idle = time.monotonic() - self._shipped < MARK_SECONDS
                if self._current is not None or (idle and not self._open):
                    return b""
                self._current, self._open = self._open, _Group()
                self._memory = self._files = 0
                self._cutting = _cut((), self._current, self._size())
            cutting, head, key = self._cutting, self._head, self._key
        try:
            flags, ops = next(cutting)  # reads files: not under the lock
        except (OSError, IntegrityError) as error:
            with self._lock:
                self._break(str(error))
            raise Refused("what was to be shipped cannot be read", code="no-stream") from None
        with self._lock:
            if stream != self.stream:
                raise Refused("that stream is no longer shipped", code="no-stream")
            piece = seal_piece(key, head, self._number + 1, flags, self._before, ops)
            self._number, self._before = self._number + 1, hashlib.sha256(piece).digest()
            self._sealed.append(piece)
            if flags & WHOLE:
                self._cutting = None
            return piece

    def _size(self) -> tuple[str, int, int, int]:
        """Of the database, and when this was."""
        self._shipped, now = time.monotonic(), int(time.time() * 1000)
        if self._wal is None or self._path is None:
            return "", 0, 0, now
        return self._path.name, self._wal.page_size, self._wal.total, now


def _nothing() -> None:
    """What a thread does behind whatever it was given before."""


def _cut(base: Iterable[Op], group: _Group, size: tuple[str, int, int, int]) -> Iterator[tuple[int, list[Op]]]:
    """(flags, what is to be done) of each piece; the last is flagged WHOLE."""
    taken: list[Op] = []
    octets = 0
    for op in _ops(base, group, size):
        taken.append(op)
        octets += _octets(op)
        if octets >= PIECE_BYTES:
            yield 0, taken
            taken, octets = [], 0
    yield group.flags, taken


def _ops(base: Iterable[Op], group: _Group, size: tuple[str, int, int, int]) -> Iterator[Op]:
    yield from base
    for change in group.changes:
        if isinstance(change, _Range):
            yield from change.pieces()
        else:
            yield change
    path, page_size, total, at = size
    numbers = sorted(group.pages)
    step = max(1, PIECE_BYTES // (page_size or 1))
    for start in range(0, len(numbers), step):
        pages = tuple((number, group.pages[number]) for number in numbers[start : start + step])
        yield Pages(path, page_size, total, pages)
    yield Mark(at)


def _writes(path: str, read: Callable[[int, int], bytes], offset: int, length: int) -> Iterator[Op]:
    end = offset + length
    while offset < end:
        data = read(min(PIECE_BYTES, end - offset), offset)
        if not data:
            return  # cut by a later change, which follows
        yield Write(path, offset, data)
        offset += len(data)


def _octets(op: Op) -> int:
    if isinstance(op, Write):
        return len(op.data)
    if isinstance(op, Pages):
        return op.size * len(op.pages)
    return 64

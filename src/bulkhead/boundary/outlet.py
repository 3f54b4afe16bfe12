"""What waits to be sent on one edge: joined into few writes, descriptors with exactly their frame.

Writes with `send`: asyncio's own transports write with `sendmsg` from Python 3.12 on, which the sandbox denies to all
but `dialer`, and only `dialer` gives descriptors here.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from bulkhead.wipe import wipe

RUN_MAX = 128 * 1024  # bytes joined for one write: about what the kernel takes; the rest would be copied again
OUTBOX_HIGH = 1 << 20  # bytes waiting: above it bodies wait, facts are dropped, and a server reads no requests


class Outlet:
    """The sending half of an edge. `broken` is called when the peer is gone, `drained` when little waits again."""

    __slots__ = (
        "_broken", "_closed", "_drained", "_frames", "_loop", "_room", "_scheduled", "_sock", "_writing", "size",
        "wipes",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, broken: Callable[[], None], drained: Callable[[], None]) -> None:
        self._sock, self._broken, self._drained = sock, broken, drained
        self._loop = asyncio.get_running_loop()
        self._frames: deque[tuple[bytes | memoryview, socket.socket | None]] = deque()
        self._room: asyncio.Future[None] | None = None
        self._scheduled = self._writing = self._closed = False
        self.size = 0
        self.wipes = False  # whether frames are overwritten once they are sent

    @property
    def full(self) -> bool:
        """Whether more waits than should."""
        return self.size > OUTBOX_HIGH

    def put(self, frame: bytes | memoryview, sock: socket.socket | None = None) -> None:
        """Queue a frame or a part of one, or one frame and its socket, which is owned here from now on."""
        if self._closed:
            if sock is not None:
                sock.close()
            return
        self._frames.append((frame, sock))
        self.size += len(frame)
        if not self._scheduled and not self._writing:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    async def room(self) -> None:
        """Wait until little enough waits, or until the edge has ended."""
        while self.full and not self._closed:
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def close(self) -> None:
        """Send nothing more, and close what was to be handed over."""
        self._closed = True
        self._loop.remove_writer(self._sock.fileno())
        for _, sock in self._frames:
            if sock is not None:
                sock.close()
        self._frames.clear()
        self.size = 0
        self._release()

    def _flush(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        try:
            while self._frames and self._send_some():
                pass
        except OSError:
            self._broken()
            return
        if self._frames and not self._writing:
            self._writing = True
            self._loop.add_writer(self._sock.fileno(), self._flush)
        elif not self._frames and self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock.fileno())
        if not self.full:
            self._release()
            self._drained()

    def _send_some(self) -> bool:
        """Send the next frames up to one with a socket, or that one alone; False when the kernel takes no more."""
        first, sock = self._frames[0]
        try:
            if sock is not None:  # small, so the kernel takes it whole or not at all
                socket.send_fds(self._sock, [first], [sock.fileno()])
                sock.close()
                self._frames.popleft()
                self.size -= len(first)
                return True
            run, size = [], 0
            while self._frames and self._frames[0][1] is None and size < RUN_MAX:
                run.append(self._frames.popleft()[0])
                size += len(run[-1])
            data = run[0] if len(run) == 1 else b"".join(run)
            sent = 0
            try:
                sent = self._sock.send(data)
            finally:
                if sent < len(data):
                    self._frames.appendleft((memoryview(data)[sent:], None))
                self.size -= sent
            if self.wipes and sent == len(data):
                for piece in (data, *run):
                    if isinstance(piece, bytes):
                        wipe(piece)
            return sent == len(data)
        except (BlockingIOError, InterruptedError):
            return False

    def _release(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

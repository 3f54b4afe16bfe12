"""What a session sends: gathered, sent in pieces no faster than the client takes them, with pauses for the others."""

import asyncio

from bulkhead.access.deflate import Deflater
from bulkhead.gate.serve import Connection

GATHER_MAX = 64 * 1024  # octets gathered before they are sent
STEP_SECONDS = 0.004  # after so long without a pause the other sessions get their turn


class Output:
    """The sending side of one session. `inside` is set while half a response is out, so that nothing cuts into it."""

    __slots__ = ("_connection", "_deflater", "_loop", "_parts", "_since", "_size", "inside")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0
        self._since = self._loop.time()
        self._deflater: Deflater | None = None
        self.inside = False

    def deflate(self) -> None:
        """What was gathered goes as it is, all that follows compressed."""
        self.push()
        self._deflater = Deflater()

    def send(self, data: bytes) -> None:
        """Gather octets; follow with breathe() where there may be many."""
        self._parts.append(data)
        self._size += len(data)

    async def breathe(self) -> None:
        """Send what has gathered where it is much, and let others run where this step has taken long."""
        if self._size >= GATHER_MAX:
            await self.flush()
        if self._loop.time() - self._since > STEP_SECONDS:
            self._connection.touch()
            await asyncio.sleep(0)
            self._since = self._loop.time()

    async def flush(self) -> None:
        """Send everything and wait until the client keeps up. Raises ConnectionEnded, IdleTooLong."""
        self.push()
        await self._connection.drain()

    def push(self) -> None:
        """Send everything without waiting."""
        if self._parts:
            data = b"".join(self._parts)
            self._connection.write(data if self._deflater is None else self._deflater.deflate(data))
            self._parts.clear()
            self._size = 0

    def resumed(self) -> None:
        """This session waited: its step begins anew."""
        self._since = self._loop.time()

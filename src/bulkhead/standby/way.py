"""How a carrier reaches the standby: a directory that is mounted, or a link of its own (standby/link.py).

What a way says is there, is there for good: a holder that hears it may answer what it speaks of.
"""

import asyncio
import hashlib
import time
from typing import Protocol

from bulkhead.durable import sync_folder
from bulkhead.standby.place import SETTINGS, Place, read_have

POLL_SECONDS = 0.02  # how often a grant is looked for


class Way(Protocol):
    """Raises TemporaryFailure or OSError where the standby is not reached."""

    async def settle(self, content: bytes) -> None:
        """Bring the tenant's settings."""

    async def last(self, compartment: str, stream: str) -> int:
        """The newest piece of a stream that is there; 0 where there is none."""

    async def begin(self, compartment: str, stream: str, lead: bytes) -> None:
        """Begin a stream."""

    async def add(self, compartment: str, stream: str, number: int, piece: bytes) -> bytes:
        """Bring the next piece; the term as it was once that was there. Raises Refused (`no-stream`)."""

    async def have(self) -> tuple[int, tuple[int, ...]]:
        """(lineage, segments) of store that the standby has for good."""

    async def term(self) -> bytes:
        """What the standby signed when it took over; empty where it did not."""

    async def granted(self, ask: bytes, ends: float) -> bytes:
        """What was granted for that until time.monotonic() is `ends`; empty: nothing."""

    async def close(self) -> None:
        """Let go."""


class DirectoryWay:
    """A directory of the standby's, mounted here."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def settle(self, content: bytes) -> None:
        """Bring the tenant's settings."""
        await asyncio.to_thread(self._place.write, SETTINGS, content)

    async def last(self, compartment: str, stream: str) -> int:
        """The newest piece that is there for good: one that was given its name before a cut may not be yet."""
        if not stream or stream not in self._place.streams(compartment):
            return 0
        folder = self._place.stream(compartment, stream)
        await asyncio.to_thread(sync_folder, folder.path)
        return max(folder.numbers(), default=0)

    async def begin(self, compartment: str, stream: str, lead: bytes) -> None:
        """Begin a stream."""
        await asyncio.to_thread(self._place.stream(compartment, stream).begin, lead)

    async def add(self, compartment: str, stream: str, number: int, piece: bytes) -> bytes:
        """Bring the next piece; the term as it was once that was there."""
        await asyncio.to_thread(self._place.stream(compartment, stream).add, number, piece)
        return self._place.read("term")

    async def have(self) -> tuple[int, tuple[int, ...]]:
        """(lineage, segments) of store that the standby has for good."""
        return read_have(self._place.read("have"))

    async def term(self) -> bytes:
        """What the standby signed when it took over."""
        return self._place.read("term")

    async def granted(self, ask: bytes, ends: float) -> bytes:
        """What was granted for that until then."""
        await asyncio.to_thread(self._place.write, "ask", ask)
        digest = hashlib.sha256(ask).digest()
        while time.monotonic() < ends:
            content = self._place.read("grant")
            if content[:32] == digest:
                return content[32:]
            await asyncio.sleep(POLL_SECONDS)
        return b""

    async def close(self) -> None:
        """Nothing is held."""

"""What a receiver writes into the place, and how much of it: pieces as they come, leads, the small files.

A compartment comes from a list, a stream's name has one form and a number is a number: nothing that a primary sends
becomes another path. A piece has its name only once it is whole, is the next one of its chain, and is durable.
"""

import hashlib
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from bulkhead.durable import sync_folder
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.records.standby import PIECE_MAX, read_lead, read_piece
from bulkhead.standby.frames import TERM_MAX, PieceBegun, Where
from bulkhead.standby.place import Place, StreamFolder

STREAMS_MAX = 8  # of a holder; `follow` keeps one, and takes the newest
BLOCK = 4096  # octets that a file takes at least
HEAD = 64  # octets of a piece in which its number and its chain stand


class Inbox:
    """One tenant's part of the place, as its receiver writes it; blocks, on any thread.

    room: octets that may lie there.
    """

    def __init__(self, place: Place, room: int) -> None:
        self.place, self._room = place, room
        self._lock = threading.Lock()
        self._used = self._measure()

    def where(self, compartment: str, stream: str) -> tuple[Where, bytes]:
        """(how far a stream is here, SHA-256 of its newest piece or of its lead)."""
        folder = self.place.stream(compartment, stream)
        if not (folder.path / "lead").exists():
            return Where(there=False), b""
        sync_folder(folder.path)  # a piece that has its name since a moment: what is said here is counted upon
        last = max(folder.numbers(), default=0)
        tail = folder.digest(last)
        part = _prefix(folder.part(last + 1))
        if part is None:
            return Where(True, last, 0, tail), tail
        return Where(True, last, part[0], part[1].digest()), tail

    def begin(self, compartment: str, stream: str, lead: bytes) -> bytes:
        """Make a stream; SHA-256 of its lead. Raises Refused, IntegrityError, TemporaryFailure."""
        head = read_lead(lead).head
        if (head.tenant, head.compartment, head.backup) != (self.place.tenant, compartment, stream):
            raise IntegrityError("this is the lead of another stream")
        folder = self.place.stream(compartment, stream)
        if (folder.path / "lead").exists():
            raise Refused("that stream has begun", code="order")
        self._forget_streams(compartment)
        self.take(len(lead))
        folder.begin(lead)
        return hashlib.sha256(lead).digest()

    def small(self, name: str, content: bytes) -> None:
        """Put a small file there, where it says something new. Raises TemporaryFailure."""
        if self.place.read(name) != content:
            self.take(len(content))
            self.place.write(name, content)

    def term(self) -> bytes:
        """What the standby signed when it took over; empty where it did not."""
        content = self.place.read("term")
        return content if len(content) <= TERM_MAX else b""

    def take(self, octets: int) -> None:
        """Count a file that is to be written. Raises TemporaryFailure where there is no room for it."""
        with self._lock:
            wanted = -(-octets // BLOCK) * BLOCK
            if self._used + wanted > self._room:
                self._used = self._measure()  # what was applied is gone
                if self._used + wanted > self._room:
                    raise TemporaryFailure("the standby's place is full: is `standby follow` running?", code="full")
            self._used += wanted

    def _measure(self) -> int:
        used = 0
        for folder, _, names in os.walk(self.place.path):
            for name in names:
                try:
                    used += -(-(Path(folder) / name).lstat().st_size // BLOCK) * BLOCK
                except FileNotFoundError:  # applied meanwhile
                    continue
        return used

    def _forget_streams(self, compartment: str) -> None:
        """Before a new one: streams that never became whole, the oldest first; nobody takes them any more."""
        for old in self.place.streams(compartment)[: 1 - STREAMS_MAX]:
            folder = self.place.stream(compartment, old).path
            (folder / "lead").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Incoming:
    """A piece that is coming. before: SHA-256 of what it follows."""

    folder: StreamFolder
    begun: PieceBegun
    before: bytes
    _file: int = -1

    def open(self) -> None:
        """Go on at its offset. Raises Refused (`order`) where other octets are here, OSError."""
        path = self.folder.part(self.begun.number)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if self.begun.offset else os.O_CREAT | os.O_TRUNC)
        try:
            self._file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            raise _order() from None
        if os.lseek(self._file, 0, os.SEEK_END) != self.begun.offset:
            raise _order()

    def write(self, octets: bytes) -> None:
        """The next octets, as they came. Raises OSError."""
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def done(self) -> None:
        """It came whole; durable on return. Raises Refused (`order`) where it is not the next one, OSError."""
        path, begun = self.folder.part(self.begun.number), self.begun
        found = _prefix(path)
        try:
            if found is None or (found[0], found[1].digest()) != (begun.total, begun.digest):
                raise _order()
            number, _, before = read_piece(os.pread(self._file, HEAD, 0))
            if (number, before) != (begun.number, self.before):
                raise _order()
        except (Refused, IntegrityError):
            path.unlink(missing_ok=True)
            raise _order() from None
        self.folder.add_part(begun.number)

    def close(self) -> None:
        """Keep what came."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _order() -> Refused:
    return Refused("that is not what comes next in the stream", code="order")


def _prefix(path: Path) -> "tuple[int, hashlib._Hash] | None":
    """(octets, their SHA-256) of a piece's part; None where there is none to go on from."""
    try:
        content = path.read_bytes() if path.stat().st_size <= PIECE_MAX else b""
    except FileNotFoundError:
        return None
    return (len(content), hashlib.sha256(content)) if content else None

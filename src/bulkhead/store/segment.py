"""Segment files: where sealed bytes lie, what states they may be in, and why a crash loses nothing acknowledged.

A segment is `segments/NNNNNNNNNN.seg`: records one after another, only ever appended to. A record is a header of 68
bytes and its payload: of a message the sealed summary, header and body; of a page the sealed page (docs/store.md).

States of a record, and what each leaves after a crash:

    absent      nothing, or torn bytes behind the last referenced record: no row names them, waste
    OPEN        its place is reserved and its payload is still arriving: no row names it, waste
    written     header and payload were written, perhaps not synced: no row names it, waste
    synced      `Segments.sync` returned, the transaction that names it is not committed: no row names it, waste
    named       the transaction is committed (synchronous=FULL): the reply may leave
    dead        a later transaction took its row away, or names a copy of it: waste until its segment is unlinked

Order: payload and header, fdatasync of the segment, fsync of `segments/` where the file is new, COMMIT, reply. So a row
that survives a crash names bytes that survived it, and a reply that left names a row that did. A sync that fails makes
its transaction roll back and its segment unusable, because the kernel reports a lost write once only. A segment that
was open when the process ended is never appended to again: a torn tail has nothing behind it.

States of a segment: current (one) -> closed -> empty (its row says 0 live records) -> its row is deleted by a
transaction of its own -> unlinked, once no answer under way reads from it. A crash between the last two leaves a file
without a row, removed at the next start. Compaction (compaction.py) brings a closed segment to empty: it writes the
live records once more, in the order above, and the transaction that names the copies forgets the originals.

`witness` in each header is the highest email.seq that was committed when the record was written. A database that has
never given that number out has lost commits (its WAL was removed, an old copy was put back): start refuses, and
fsck says so.
"""

import logging
import struct
import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.store.disk import Disk

DIRECTORY = "segments"
MAGIC = b"BHSG"
VERSION = 1
OPEN_FILES_MAX = 256  # segments kept open for reading
READ_BYTES = 64 * 1024  # of one read

_FIELDS = struct.Struct("<4sBBH16s16sIIIIQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size

_log = logging.getLogger("bulkhead.store")


class RecordKind(IntEnum):
    """What a record is; numbers are never reused."""

    MESSAGE = 1
    PAGE = 2
    OPEN = 3  # reserved, its payload still arriving or given up


class Place(NamedTuple):
    """Where a record lies: segment number, offset of its header, bytes with header."""

    segment: int
    offset: int
    length: int


class RecordHeader(NamedTuple):
    """A record's header. `ident`: the EmailId, or of a page its number and version (u32 LE each) and zeros."""

    kind: int
    account: bytes
    ident: bytes
    sizes: tuple[int, int, int]
    crc: int  # CRC-32 of the payload
    witness: int

    def encode(self) -> bytes:
        """The 68 bytes."""
        fields = _FIELDS.pack(
            MAGIC, VERSION, self.kind, 0, self.account, self.ident, *self.sizes, self.crc, self.witness
        )
        return fields + _CRC.pack(zlib.crc32(fields))

    @property
    def payload(self) -> int:
        """Bytes that follow the header."""
        return sum(self.sizes)


def decode_header(data: bytes) -> RecordHeader:
    """The header in 68 bytes. Raises IntegrityError on any that `encode` does not make."""
    if len(data) != HEADER_BYTES:
        raise IntegrityError("the record header is cut short")
    magic, version, kind, zero, account, ident, summary, header, body, crc, witness = _FIELDS.unpack_from(data)
    if magic != MAGIC or version != VERSION or kind not in set(RecordKind) or zero:
        raise IntegrityError("no record begins here")
    if _CRC.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(data[: _FIELDS.size]):
        raise IntegrityError("the record header is damaged")
    return RecordHeader(kind, account, ident, (summary, header, body), crc, witness)


def page_ident(page: int, version: int) -> bytes:
    """The `ident` of a page's record."""
    return struct.pack("<IIQ", page, version, 0)


def path_of(number: int) -> str:
    """The path of a segment."""
    return f"{DIRECTORY}/{number:010d}.seg"


def numbers_in(disk: Disk) -> list[int]:
    """The numbers of the segment files that exist."""
    return [int(name[:-4]) for name in disk.names(DIRECTORY) if name.endswith(".seg") and name[:-4].isdigit()]


def records_in(disk: Disk, number: int, offset: int = 0) -> Iterator[tuple[int, RecordHeader]]:
    """Offset and header of each record of a segment from `offset` on, up to the first place where none begins."""
    fd = disk.open(path_of(number))
    try:
        while True:
            try:
                header = decode_header(disk.pread(fd, HEADER_BYTES, offset))
            except IntegrityError:
                return
            yield offset, header
            offset += HEADER_BYTES + header.payload
    finally:
        disk.close(fd)


class SegmentFile:
    """An open segment. Its descriptor is closed with the last reference, so a read under way never loses it."""

    __slots__ = ("_disk", "fd", "number", "size")

    def __init__(self, disk: Disk, number: int, fd: int) -> None:
        self._disk, self.number, self.fd = disk, number, fd
        self.size = 0  # bytes given out; of the current segment only

    def __del__(self) -> None:
        self._disk.close(self.fd)


class Segments:
    """The segments of one store. `put` and `sync` on the writer thread; streams and reads on the loop's."""

    def __init__(self, disk: Disk, next_number: int, segment_bytes: int) -> None:
        self._disk, self._next = disk, next_number
        self.segment_bytes = segment_bytes
        self.witness = 0
        self.syncs = self.reads = 0
        self._lock = threading.Lock()
        self._current: SegmentFile | None = None
        self._buffered: list[tuple[SegmentFile, int, bytes]] = []
        self._dirty: dict[int, SegmentFile] = {}
        self._failed: set[int] = set()
        self._name_unsynced = False
        self._streams: dict[int, int] = {}  # segment number: streams that still write into it
        self._readable: OrderedDict[int, SegmentFile] = OrderedDict()
        self._held: Counter[int] = Counter()  # segment number: answers under way that read from it
        self._doomed: set[int] = set()  # to be unlinked when nobody reads from them any more

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, kind: RecordKind, account: bytes, ident: bytes, sizes: tuple[int, int, int], payload: bytes) -> Place:
        """Give a record its place; it is written by the next `sync`. Raises TemporaryFailure on a full disk."""
        header = RecordHeader(kind, account, ident, sizes, zlib.crc32(payload), self.witness).encode()
        length = len(header) + len(payload)
        with self._lock:
            file, offset = self._allocate(length)
            self._buffered.append((file, offset, header))
            self._buffered.append((file, offset + HEADER_BYTES, payload))
        return Place(file.number, offset, length)

    def stream(self, account: bytes, ident: bytes, sizes: tuple[int, int, int]) -> "Stream":
        """Reserve a message record whose payload arrives in pieces. Raises TemporaryFailure on a full disk."""
        length = HEADER_BYTES + sum(sizes)
        with self._lock:
            file, offset = self._allocate(length)
            self._streams[file.number] = self._streams.get(file.number, 0) + 1
        header = RecordHeader(RecordKind.OPEN, account, ident, sizes, 0, self.witness)
        try:
            self._write(file, offset, header.encode())
        except TemporaryFailure:
            self._release(file.number)
            raise
        return Stream(self, file, Place(file.number, offset, length), header)

    def sync(self) -> None:
        """Write what was put and make all that was written durable. Raises OSError: nothing of it may be named then."""
        with self._lock:
            buffered, self._buffered = self._buffered, []
        touched = {file.number: file for file, _, _ in buffered}
        try:
            for file, offset, data in _runs(buffered):
                self._disk.pwrite(file.fd, data, offset)
            with self._lock:
                touched |= self._dirty
                self._dirty = {}
                name_unsynced, self._name_unsynced = self._name_unsynced, False
            for file in touched.values():
                self._disk.fdatasync(file.fd)
                self.syncs += 1
            if name_unsynced:
                self._disk.fsync_directory(DIRECTORY)
                self.syncs += 1
        except OSError:
            with self._lock:
                self._failed |= touched.keys()
                self._name_unsynced = True
                self._current = None
            raise

    @property
    def current(self) -> int | None:
        """The number of the segment that new records go to, where there is one."""
        current = self._current
        return None if current is None else current.number

    def require_usable(self, place: Place) -> None:
        """Raises TemporaryFailure where a sync of this segment has failed since it was written to."""
        if place.segment in self._failed:
            raise TemporaryFailure("storage failed", code="storage")

    def close_if_empty(self, number: int) -> bool:
        """Whether segment `number`, which no row names, may go: nothing will be written to it any more."""
        with self._lock:
            if self._streams.get(number):
                return False
            self._buffered = [entry for entry in self._buffered if entry[0].number != number]
            if self._current is not None and self._current.number == number:
                self._current = None
            self._dirty.pop(number, None)
            return True

    def retire(self, number: int) -> bool:
        """Whether nothing will be written to segment `number` any more; the current one is closed for that."""
        with self._lock:
            if self._streams.get(number):
                return False
            if self._current is not None and self._current.number == number:
                self._current = None
            return True

    def remove(self, number: int) -> None:
        """Unlink a segment whose row is gone, once nobody reads from it. A failure is logged: the next start tries."""
        if self._held[number]:
            self._doomed.add(number)
            return
        self._doomed.discard(number)
        self._readable.pop(number, None)
        try:
            self._disk.unlink(path_of(number))
        except OSError as error:
            _log.error("segment %d could not be removed: %s", number, error)

    def close(self) -> None:
        """Let go of every file."""
        self._current = None
        self._readable.clear()

    def _allocate(self, length: int) -> tuple[SegmentFile, int]:
        file = self._current
        if file is None or file.size >= self.segment_bytes:
            try:
                file = SegmentFile(self._disk, self._next, self._disk.create(path_of(self._next)))
            except OSError as error:
                raise TemporaryFailure("storage failed", code="storage", detail=str(error)) from None
            self._next += 1
            self._current, self._name_unsynced = file, True
        offset = file.size
        file.size += length
        return file, offset

    def _write(self, file: SegmentFile, offset: int, data: bytes) -> None:
        try:
            self._disk.pwrite(file.fd, data, offset)
        except OSError as error:
            raise TemporaryFailure("storage failed", code="storage", detail=str(error)) from None
        with self._lock:
            self._dirty[file.number] = file  # after the write: a sync in between leaves it marked for the next

    def _release(self, number: int) -> None:
        with self._lock:
            self._streams[number] -= 1
            if not self._streams[number]:
                del self._streams[number]

    # --- reading -----------------------------------------------------------------------------------------------------

    def hold(self, numbers: Iterable[int]) -> "Hold":
        """Keep these segments' files until the hold is let go of, though their records may be moved meanwhile."""
        return Hold(self, set(numbers))

    def _let_go(self, numbers: set[int]) -> None:
        for number in numbers:
            self._held[number] -= 1
            if not self._held[number]:
                del self._held[number]
                if number in self._doomed:
                    self.remove(number)

    def read(self, segment: int, offset: int, length: int) -> bytes:
        """`length` bytes. Raises IntegrityError where the segment does not have them."""
        data = self._disk.pread(self._open(segment).fd, length, offset)
        if len(data) != length:
            raise IntegrityError("stored bytes are missing; run `bulkhead fsck`", detail=f"segment {segment}")
        return data

    def pieces(self, segment: int, offset: int, length: int) -> Iterator[bytes]:
        """The same in pieces of 64 KiB, also while the segment is being removed."""
        return self._pieces(self._open(segment), offset, offset + length)

    def _pieces(self, file: SegmentFile, offset: int, end: int) -> Iterator[bytes]:
        while offset < end:
            data = self._disk.pread(file.fd, min(READ_BYTES, end - offset), offset)
            if not data:
                raise IntegrityError("stored bytes are missing; run `bulkhead fsck`", detail=f"segment {file.number}")
            yield data
            offset += len(data)

    def _open(self, number: int) -> SegmentFile:
        file = self._readable.get(number)
        if file is not None:
            self._readable.move_to_end(number)
            return file
        try:
            file = SegmentFile(self._disk, number, self._disk.open(path_of(number)))
        except FileNotFoundError:
            raise IntegrityError("a segment is missing; run `bulkhead fsck`", detail=str(number)) from None
        except OSError as error:
            raise TemporaryFailure("storage failed", code="storage", detail=f"{number}: {error}") from None
        self._readable[number] = file
        if len(self._readable) > OPEN_FILES_MAX:
            self._readable.popitem(last=False)
        return file


class Hold:
    """Segments that an answer still reads from; let go of with the last reference. On the loop's thread."""

    __slots__ = ("_numbers", "_segments")

    def __init__(self, segments: Segments, numbers: set[int]) -> None:
        self._segments, self._numbers = segments, numbers
        segments._held.update(numbers)

    def __del__(self) -> None:
        self._segments._let_go(self._numbers)


class Stream:
    """A message record whose payload is written as it arrives: `write`, `finish`, and always `release`."""

    def __init__(self, segments: Segments, file: SegmentFile, place: Place, header: RecordHeader) -> None:
        self._segments, self._file, self.place, self._header = segments, file, place, header
        self._at = HEADER_BYTES
        self._crc = 0

    @property
    def missing(self) -> int:
        """Bytes of the payload that have not come yet."""
        return self.place.length - self._at

    def write(self, piece: bytes) -> None:
        """The next bytes. Raises TemporaryFailure on a full disk, ValueError past the reserved length: our bug."""
        if len(piece) > self.missing:
            raise ValueError("more bytes than were reserved")
        self._segments._write(self._file, self.place.offset + self._at, piece)
        self._crc = zlib.crc32(piece, self._crc)
        self._at += len(piece)

    def finish(self) -> None:
        """All bytes are there: the record becomes a message."""
        header = self._header._replace(kind=RecordKind.MESSAGE, crc=self._crc)
        self._segments._write(self._file, self.place.offset, header.encode())

    def release(self) -> None:
        """Nothing more will be written, and the row is committed or will never be."""
        self._segments._release(self._file.number)


def _runs(buffered: list[tuple[SegmentFile, int, bytes]]) -> Iterator[tuple[SegmentFile, int, bytes]]:
    """The same bytes with neighbours joined: one write for a batch."""
    at = 0
    while at < len(buffered):
        file, start, data = buffered[at]
        parts, end = [data], start + len(data)
        at += 1
        while at < len(buffered) and buffered[at][0] is file and buffered[at][1] == end:
            parts.append(buffered[at][2])
            end += len(buffered[at][2])
            at += 1
        yield file, start, b"".join(parts)

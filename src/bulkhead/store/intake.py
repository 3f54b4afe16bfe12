"""Bodies on their way in: small ones are gathered in memory, large ones go to their reserved place as they come."""

from collections.abc import Sequence

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import Copy
from bulkhead.errors import BoundaryViolation, Refused
from bulkhead.store.segment import Place, RecordKind, Segments, Stream

GATHER_MAX = 1 << 20  # sealed bytes of a delivery that is gathered in memory
GATHERED_MAX = 32 << 20  # bytes of all of them
PARTS_OVERHEAD = 256  # bytes of header and body that are not the message's octets: two records, one chunk
SUMMARY_MAX = (1 << 20) + 256  # sealed bytes of one summary
SUMMARY_OVERHEAD = 1024
SUMMARY_FACTOR = 64  # bytes of summary for each octet of the message, at most


def sizes_of(copy: Copy) -> tuple[int, int, int]:
    """The sealed sizes of its parts."""
    return copy.summary_size, copy.header_size, copy.body_size


def require_sizes(copy: Copy) -> None:
    """Quota counts RFC822.SIZE, so the sealed parts may be no more than a message of that size makes.

    Header and body: their octets, a record's header and tag each, 16 bytes for each 64 KiB (docs/formats.md). A
    summary repeats fields and describes parts: of a small message of many addresses or parts it is many times as large.
    Raises Refused (`bad-sizes`).
    """
    parts = copy.size + copy.size // 65536 * 16 + PARTS_OVERHEAD
    summary = min(SUMMARY_MAX, SUMMARY_FACTOR * copy.size + SUMMARY_OVERHEAD)
    if copy.header_size + copy.body_size > parts or copy.summary_size > summary:
        raise Refused("the sealed parts are larger than the message that they say they are", code="bad-sizes")


def wrong_length() -> BoundaryViolation:
    """The sender's own numbers do not agree: it is broken or hostile."""
    return BoundaryViolation("a body of another length than its copies name")


class Gathered:
    """Copies whose bytes are in memory; they get their place within the transaction."""

    def __init__(self, segments: Segments, copies: Sequence[Copy], data: bytes) -> None:
        self._segments, self._copies, self._data = segments, copies, data

    def place(self, index: int) -> Place:
        """The place of copy `index`, asked in ascending order, once."""
        copy = self._copies[index]
        start = sum(sum(sizes_of(before)) for before in self._copies[:index])
        payload = self._data[start : start + sum(sizes_of(copy))] if len(self._copies) > 1 else self._data
        return self._segments.put(RecordKind.MESSAGE, copy.account, copy.email, sizes_of(copy), payload)

    def release(self) -> None:
        """Committed, or given up."""


class Written:
    """Copies whose bytes lie in their reserved places already."""

    def __init__(self, segments: Segments, streams: list[Stream]) -> None:
        self._segments, self._streams = segments, streams

    def place(self, index: int) -> Place:
        """The place of copy `index`. Raises TemporaryFailure where a sync failed meanwhile."""
        place = self._streams[index].place
        self._segments.require_usable(place)
        return place

    def release(self) -> None:
        """Committed, or given up."""
        for stream in self._streams:
            stream.release()


Parcels = Gathered | Written


async def gather(segments: Segments, copies: Sequence[Copy], body: BodyReader | None, total: int) -> Gathered:
    """The copies of a body of `total` bytes, in memory. Raises BoundaryViolation on another length."""
    data = b""
    if body is not None:
        data = await body.read()
        if len(data) < total:
            parts, length = [data], len(data)
            while length <= total and (piece := await body.read()):
                parts.append(piece)
                length += len(piece)
            data = b"".join(parts)
        elif await body.read():
            raise wrong_length()
    if len(data) != total:
        raise wrong_length()
    return Gathered(segments, copies, data)


async def write_through(segments: Segments, copies: Sequence[Copy], body: BodyReader | None) -> Written:
    """The copies, each written to its place as it came. Raises BoundaryViolation on another length."""
    written = Written(segments, [])
    piece = b""
    try:
        for copy in copies:
            stream = segments.stream(copy.account, copy.email, sizes_of(copy))
            written._streams.append(stream)
            while stream.missing:
                piece = piece or (await body.read() if body is not None else b"")
                if not piece:
                    raise wrong_length()
                taken, piece = piece[: stream.missing], piece[stream.missing :]
                stream.write(taken)
            stream.finish()
        if piece or (body is not None and await body.read()):
            raise wrong_length()
    except BaseException:
        written.release()
        raise
    return written

"""Packed columns of a mailbox: out of a body's octets, and what is asked of them."""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from bulkhead.errors import IntegrityError
from bulkhead.wire.imap.sequence import runs


def unpack(typecode: str, body: bytes, start: int, count: int) -> "array[int]":
    """`count` little-endian numbers of `body` from octet `start` on. Raises IntegrityError where it is shorter."""
    column = array(typecode)
    end = start + count * column.itemsize
    if len(body) < end:
        raise IntegrityError("a column is shorter than its count")
    column.frombytes(memoryview(body)[start:end])
    if sys.byteorder == "big":
        column.byteswap()
    return column


def find(uids: "array[int]", uid: int) -> int | None:
    """The place of a UID in an ascending column, or None."""
    at = bisect_left(uids, uid)
    return at if at < len(uids) and uids[at] == uid else None


def without(column: "array[int]", places: list[int]) -> "array[int]":
    """The column without these places, which ascend; those past its end are not in it."""
    kept = array(column.typecode)
    start = 0
    for place in (*places, len(column)):
        kept += column[start:place]
        start = place + 1
    return kept


def batches(places: Sequence[range], size: int) -> Iterator[list[range]]:
    """Places in order, at most `size` messages together."""
    batch: list[range] = []
    room = size
    for place in places:
        start = place.start
        while start < place.stop:
            taken = range(start, min(place.stop, start + room))
            batch.append(taken)
            start, room = taken.stop, room - len(taken)
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch


def ranges_of(places: Sequence[int]) -> list[range]:
    """Ascending places as ranges."""
    return [range(first, last + 1) for first, last in runs(places)]

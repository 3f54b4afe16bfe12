"""Packed columns of a mailbox: out of a body's octets, and what is asked of them."""

import sys
from array import array
from bisect import bisect_left

from bulkhead.errors import IntegrityError


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

"""Which messages are \\Recent for one session: those that it was the first to be told of (RFC 3501 section 2.3.2)."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class Recent:
    """UIDs as ranges, ascending; neighbours are joined, so that few ranges stand for many messages."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, first: int, last: int) -> None:
        """The session is the first to see these UIDs; they are above those of before. Nothing where last < first."""
        if self._lasts:
            first = max(first, self._lasts[-1] + 1)
        if last < first:
            return
        if self._lasts and self._lasts[-1] + 1 == first:
            self._lasts[-1] = last
        else:
            self._firsts.append(first)
            self._lasts.append(last)

    def __contains__(self, uid: int) -> bool:
        """Whether the message is \\Recent here."""
        at = bisect_right(self._firsts, uid) - 1
        return at >= 0 and uid <= self._lasts[at]

    def count(self, uids: Sequence[int]) -> int:
        """How many of `uids` (ascending) are \\Recent here."""
        pairs = zip(self._firsts, self._lasts, strict=True)
        return sum(bisect_right(uids, last) - bisect_left(uids, first) for first, last in pairs)

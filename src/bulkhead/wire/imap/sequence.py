"""Sequence sets: parse, resolve over packed arrays, and write back in short form (RFC 3501 section 9, sequence-set)."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bulkhead.wire.imap.grammar import NUMBER_MAX, CommandError, Scanner
from bulkhead.wire.imap.limits import SEQUENCE_RANGES_MAX
from bulkhead.wire.imap.search_returns import Window

STAR: Final = NUMBER_MAX + 1  # `*`: above every number, so that ranges order without a special case

_SET: Final = re.compile(rb"[0-9:,*]+")
_RANGE: Final = re.compile(rb"([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?")


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as the client wrote them, each from its lower to its higher end; STAR stands for `*`.

    saved: it is `$`, the result that a SEARCH kept (RFC 5182 section 2.2), to be put in place before it is resolved.
    """

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    @property
    def size(self) -> int:
        """How many numbers are named; one named twice counts twice."""
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def ascends(self) -> bool:
        """Whether every range lies above the one before it."""
        return all(before[1] < after[0] for before, after in pairwise(self.ranges))

    def __bytes__(self) -> bytes:
        if self.saved:
            return b"$"
        return b",".join(
            _number(first) if first == last else _number(first) + b":" + _number(last) for first, last in self.ranges
        )


ALL: Final = SequenceSet(((1, STAR),))
SAVED: Final = SequenceSet((), saved=True)


def parse_sequence_set(scanner: Scanner) -> SequenceSet:
    """The sequence set at the scanner: at most 20,000 ranges, or `$`. Raises CommandError."""
    if scanner.accept(b"$"):
        return SAVED
    found = _SET.match(scanner.data, scanner.pos)
    if found is None:
        raise CommandError("expected a sequence set such as 1:5,8,10:*")
    text = found[0]
    scanner.pos = found.end()
    if text == b"1:*":
        return ALL
    if text.count(b",") >= SEQUENCE_RANGES_MAX:
        raise CommandError("too many ranges in the sequence set")
    return SequenceSet(tuple(_parse_range(item) for item in text.split(b",")))


def resolve_numbers(wanted: SequenceSet, count: int, *, strict: bool = True) -> list[range]:
    """Indexes (from 0) of the message numbers in `wanted`, as ascending ranges that do not touch.

    count: messages in the mailbox. strict: a number above count raises CommandError, `*` in an empty mailbox too
    (RFC 3501 section 9, seq-number); SEARCH passes False and gets what exists.
    """
    spans = []
    for first, last in wanted.ranges:
        # only n:* can have its lower end above the last message once `*` is known
        low, high = sorted((count if first == STAR else first, count if last == STAR else last))
        if strict and (high > count or low < 1):
            raise CommandError("no message has that number")
        low, high = max(low, 1), min(high, count)
        if low <= high:
            spans.append((low - 1, high))
    return _merge(spans)


def resolve_uids(wanted: SequenceSet, uids: "array[int]") -> list[range]:
    """Indexes of the messages whose UIDs are in `wanted`, as ascending ranges that do not touch.

    uids: ascending. UIDs that do not exist are passed over (RFC 3501 section 6.4.8); `*` is the highest one, so that
    `n:*` with n above it still means the last message. O(ranges * log n).
    """
    if not uids:
        return []
    top = uids[-1]
    spans = []
    for first, last in wanted.ranges:
        low, high = sorted((top if first == STAR else first, top if last == STAR else last))
        start, stop = bisect_left(uids, low), bisect_right(uids, high)
        if start < stop:
            spans.append((start, stop))
    return _merge(spans)


def within(places: Sequence[range], window: Window) -> list[range]:
    """Of the indexes in `places` those that stand in the window when they are counted."""
    wanted, passed = window.of(count(places)), 0
    found: list[range] = []
    for place in places:
        start, stop = max(wanted.start - passed, 0), min(wanted.stop - passed, len(place))
        if start < stop:
            found.append(place[start:stop])
        passed += len(place)
    return found


def compress(numbers: Sequence[int]) -> bytes:
    """`1:3,5` for strictly ascending numbers; empty for none. O(runs * log n), about 0.4 us a run.

    Texts of consecutive slices may be joined with a comma, for lists that would take too long at once. Raises
    ValueError on numbers that repeat or fall, where it sees it at a run's end.
    """
    runs = []
    index, size = 0, len(numbers)
    while index < size:
        stop = index + 1
        if stop < size and numbers[stop] == numbers[index] + 1:
            stop = run_end(numbers, index)
        if stop < size and numbers[stop] <= numbers[stop - 1]:
            raise ValueError("numbers must ascend")
        first, last = numbers[index], numbers[stop - 1]
        runs.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
        index = stop
    return b",".join(runs)


def in_order(numbers: Sequence[int]) -> bytes:
    """`5,1:3,2` for numbers in whatever order: only those that follow each other upwards make a range."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] + 1 == number:
            found[-1][1] = number
        else:
            found.append([number, number])
    return b",".join(b"%d" % first if first == last else b"%d:%d" % (first, last) for first, last in found)


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers; they ascend."""
    at = 0
    while at < len(numbers):
        stop = run_end(numbers, at)
        yield numbers[at], numbers[stop - 1]
        at = stop


def count(ranges: Iterable[range]) -> int:
    """How many indexes the ranges hold."""
    return sum(map(len, ranges))


def run_end(numbers: Sequence[int], index: int) -> int:
    """Index after the run of consecutive ascending numbers that begins at `index`: doubled steps, then bisection."""
    size, base = len(numbers), numbers[index] - index
    good, step = index, 1
    while good + step < size and numbers[good + step] - good - step == base:
        good += step
        step *= 2
    bad = min(good + step, size)
    while bad - good > 1:
        middle = (good + bad) // 2
        if numbers[middle] - middle == base:
            good = middle
        else:
            bad = middle
    return good + 1


def _merge(spans: list[tuple[int, int]]) -> list[range]:
    if len(spans) == 1:
        return [range(*spans[0])]
    spans.sort()
    merged: list[range] = []
    for start, stop in spans:
        if merged and start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(stop, merged[-1].stop))
        else:
            merged.append(range(start, stop))
    return merged


def _parse_range(item: bytes) -> tuple[int, int]:
    found = _RANGE.fullmatch(item)
    if found is None:
        raise CommandError("expected a sequence set such as 1:5,8,10:*")
    first = _value(found[1])
    last = first if found[2] is None else _value(found[2])
    return (first, last) if first <= last else (last, first)


def _value(text: bytes) -> int:
    if text == b"*":
        return STAR
    value = int(text)
    if value > NUMBER_MAX:
        raise CommandError("number too large")
    return value


def _number(value: int) -> bytes:
    return b"*" if value == STAR else b"%d" % value

"""SEARCH: the cheapest way to an answer. Each key knows how far it reads; what is cheap decides first.

The caller narrows by `candidates`, then asks the test of `compile_search` with ARRAYS, and only for the messages still
undecided opens the summary and asks again, then the header, then the body.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from bulkhead.wire.imap.search import (
    Age,
    And,
    Dated,
    DateField,
    DateTest,
    HasEmailId,
    HasField,
    HasFlag,
    InBody,
    InText,
    Larger,
    ModSeq,
    Not,
    Numbers,
    Or,
    SearchKey,
    Smaller,
    Uids,
)
from bulkhead.wire.imap.sequence import resolve_numbers, resolve_uids
from bulkhead.wire.imap.sources import SUMMARY_FIELDS, Source
from bulkhead.wire.search_text import contains, fold

_EPOCH = date(1970, 1, 1)
_DAY = 86_400


def source_of_key(key: SearchKey, summary_fields: AbstractSet[bytes] = SUMMARY_FIELDS) -> Source:
    """How far into a message `key` may have to read. summary_fields: upper-case names a summary holds."""
    match key:
        case And(keys) | Or(keys):
            return max((source_of_key(item, summary_fields) for item in keys), default=Source.ARRAYS)
        case Not(inner):
            return source_of_key(inner, summary_fields)
        case HasField(field, _):
            return Source.SUMMARY if field in summary_fields else Source.HEADER
        case Dated(DateField.SENT, _, _) | HasEmailId():
            return Source.SUMMARY
        case InBody() | InText():
            return Source.BODY
        case _:
            return Source.ARRAYS


def asks_modseq(key: SearchKey) -> bool:
    """Whether a MODSEQ key is in the program: the answer then tells the highest one found (RFC 7162 section 3.1.5)."""
    match key:
        case And(keys) | Or(keys):
            return any(map(asks_modseq, keys))
        case Not(inner):
            return asks_modseq(inner)
        case _:
            return isinstance(key, ModSeq)


def names_numbers(key: SearchKey) -> bool:
    """Whether message numbers are in the program, UID SEARCH or not."""
    match key:
        case And(keys) | Or(keys):
            return any(map(names_numbers, keys))
        case Not(inner):
            return names_numbers(inner)
        case _:
            return isinstance(key, Numbers)


def cheapest_first(key: SearchKey, summary_fields: AbstractSet[bytes] = SUMMARY_FIELDS) -> SearchKey:
    """The same search with groups flattened, double NOT gone, and each group's keys in the order of their price."""
    match key:
        case Not(Not(inner)):
            return cheapest_first(inner, summary_fields)
        case Not(inner):
            return Not(cheapest_first(inner, summary_fields))
        case And(keys) | Or(keys):
            group = type(key)
            flat: list[SearchKey] = []
            for item in keys:
                tidy = cheapest_first(item, summary_fields)
                flat += tidy.keys if isinstance(tidy, group) else (tidy,)
            flat.sort(key=lambda item: source_of_key(item, summary_fields))
            return flat[0] if len(flat) == 1 else group(tuple(flat))
        case _:
            return key


def _nothing(uid: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Columns:
    """A mailbox's packed arrays, all of one length, ascending by UID.

    flags: masks. sizes: RFC822.SIZE. dates: seconds since 1970 UTC. flag_bit: FlagNames.bit. offset_minutes: zone in
    which INTERNALDATE is shown, and so searched.
    modseqs: where a key asks for them. is_recent: whether a UID is \\Recent for this session. now: seconds since 1970.
    """

    uids: "array[int]"
    flags: "array[int]"
    sizes: "array[int]"
    dates: "array[int]"
    flag_bit: Callable[[bytes], int]
    offset_minutes: int = 0
    is_recent: Callable[[int], bool] = _nothing
    modseqs: "array[int] | None" = None
    now: int = 0


class MessageText(Protocol):
    """What the caller opened of one message; asked only up to the Source that the test was given."""

    def email_id(self) -> bytes:
        """Its EMAILID."""

    def sent_day(self) -> date | None:
        """The day in the Date field as written there, None if it has none."""

    def field(self, name: bytes) -> Sequence[str] | None:
        """Decoded values of the header field `name` (upper case); None if what was opened cannot tell."""

    def header_text(self) -> str:
        """The whole header, decoded."""

    def body_text(self) -> str:
        """The text of the body, transfer encodings and charsets decoded."""


Test = Callable[[int, Source, MessageText | None], bool | None]


def candidates(key: SearchKey, columns: Columns) -> list[range]:
    """Indexes that can match by the numbers and UIDs every message must have: the rest is never looked at."""
    ranges = [range(len(columns.uids))] if columns.uids else []
    for item in key.keys if isinstance(key, And) else (key,):
        if isinstance(item, Numbers):
            ranges = _intersect(ranges, resolve_numbers(item.wanted, len(columns.uids), strict=False))
        elif isinstance(item, Uids):
            ranges = _intersect(ranges, resolve_uids(item.wanted, columns.uids))
    return ranges


def compile_search(key: SearchKey, columns: Columns) -> Test:
    """A test of one message: (index, how far it was opened, what was opened) gives yes, no, or None for undecided.

    With Source.BODY it is never None. Sets are resolved and texts folded once, here.
    """
    match key:
        case And(keys):
            return _all([compile_search(item, columns) for item in keys])
        case Or(keys):
            return _any([compile_search(item, columns) for item in keys])
        case Not(inner):
            return _not(compile_search(inner, columns))
        case HasEmailId(email):
            return lambda index, source, text: None if text is None else text.email_id() == email
        case HasField(field, wanted):
            return _in_field(field, fold(wanted))
        case InBody(wanted):
            return _in_body(fold(wanted))
        case InText(wanted):
            return _in_text(fold(wanted))
        case Dated(DateField.SENT, compared, day):
            return _sent(compared, day)
        case _:
            known = _by_arrays(key, columns)
            return lambda index, source, text: known(index)


def _all(tests: list[Test]) -> Test:
    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        answer: bool | None = True
        for part in tests:
            found = part(index, source, text)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return test


def _any(tests: list[Test]) -> Test:
    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        answer: bool | None = False
        for part in tests:
            found = part(index, source, text)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return test


def _not(inner: Test) -> Test:
    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        found = inner(index, source, text)
        return None if found is None else not found

    return test


def _in_field(field: bytes, folded: str) -> Test:
    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        if source < Source.SUMMARY or text is None:
            return None
        values = text.field(field)
        if values is None:  # a summary leaves out what is too long for it
            return None if source < Source.HEADER else False
        return any(contains(value, folded) for value in values)

    return test


def _in_body(folded: str) -> Test:
    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        return None if source < Source.BODY or text is None else contains(text.body_text(), folded)

    return test


def _in_text(folded: str) -> Test:
    """TEXT: a hit in the header spares the body."""

    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        if source < Source.HEADER or text is None:
            return None
        if contains(text.header_text(), folded):
            return True
        return None if source < Source.BODY else contains(text.body_text(), folded)

    return test


def _sent(compared: DateTest, day: date) -> Test:
    def test(index: int, source: Source, text: MessageText | None) -> bool | None:
        return None if source < Source.SUMMARY or text is None else _day_matches(text.sent_day(), compared, day)

    return test


def _day_matches(sent: date | None, test: DateTest, day: date) -> bool:
    if sent is None:
        return False
    if test is DateTest.ON:
        return sent == day
    return sent < day if test is DateTest.BEFORE else sent >= day


def _by_arrays(key: SearchKey, columns: Columns) -> Callable[[int], bool]:
    flags, sizes, dates = columns.flags, columns.sizes, columns.dates
    match key:
        case HasFlag(b"\\Recent"):
            uids, is_recent = columns.uids, columns.is_recent
            return lambda index: is_recent(uids[index])
        case HasFlag(name):
            bit = columns.flag_bit(name)
            return lambda index: bool(flags[index] & bit)
        case Larger(octets):
            return lambda index: sizes[index] > octets
        case Smaller(octets):
            return lambda index: sizes[index] < octets
        case ModSeq(least):
            modseqs = columns.modseqs
            if modseqs is None:
                raise ValueError("a key without its column")
            return lambda index: modseqs[index] >= least
        case Numbers(wanted):
            return _within(resolve_numbers(wanted, len(columns.uids), strict=False))
        case Uids(wanted):
            return _within(resolve_uids(wanted, columns.uids))
        case Age(seconds, older):
            moment = columns.now - seconds
            return (lambda index: dates[index] <= moment) if older else (lambda index: dates[index] >= moment)
        case Dated(_, test, day):
            first = (day - _EPOCH).days * _DAY - columns.offset_minutes * 60
            after = first + _DAY
            if test is DateTest.BEFORE:
                return lambda index: dates[index] < first
            if test is DateTest.SINCE:
                return lambda index: dates[index] >= first
            return lambda index: first <= dates[index] < after
        case _:
            raise ValueError("not a key that arrays answer")


def _within(ranges: list[range]) -> Callable[[int], bool]:
    starts = [item.start for item in ranges]

    def test(index: int) -> bool:
        place = bisect_right(starts, index) - 1
        return place >= 0 and index < ranges[place].stop

    return test


def _intersect(left: list[range], right: list[range]) -> list[range]:
    common, one, two = [], 0, 0
    while one < len(left) and two < len(right):
        start, stop = max(left[one].start, right[two].start), min(left[one].stop, right[two].stop)
        if start < stop:
            common.append(range(start, stop))
        if left[one].stop < right[two].stop:
            one += 1
        else:
            two += 1
    return common

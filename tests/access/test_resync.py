"""The arithmetic of QRESYNC, compared with the slow way of doing it."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.access.resync import _gaps, _holds, _spans, last_match
from bulkhead.wire.imap.sequence import STAR, SequenceSet, runs

UIDS = st.sets(st.integers(1, 60)).map(sorted)
RANGES = st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)).map(lambda pair: tuple(sorted(pair))), max_size=6)


@given(UIDS, st.integers(1, 60), st.integers(1, 60))
def test_gaps_hold_exactly_what_is_not_there(uids: list[int], first: int, last: int) -> None:
    found = [uid for low, high in _gaps(array("I", uids), first, last) for uid in range(low, high + 1)]
    assert found == [uid for uid in range(first, last + 1) if uid not in uids]


@given(RANGES, st.integers(1, 70), st.integers(0, 70))
def test_spans_hold_exactly_the_numbers_between(ranges: list[tuple[int, int]], low: int, high: int) -> None:
    spans = _spans(SequenceSet(tuple(ranges)), low, high)
    wanted = {n for first, last in ranges for n in range(first, last + 1) if low <= n <= high}
    assert {n for first, last in spans for n in range(first, last + 1)} == wanted
    assert all(_holds(spans, n) == (n in wanted) for n in range(75))


def test_the_star_is_the_highest_uid_there_has_been() -> None:
    assert _spans(SequenceSet(((5, STAR),)), 1, 9) == [(5, 9)]
    assert _spans(SequenceSet(((50, STAR),)), 1, 9) == [(9, 9)]


@given(UIDS, UIDS, st.data())
def test_the_last_match_is_the_last_pair_that_still_holds(
    before: list[int], gone: list[int], data: st.DataObject
) -> None:
    places = data.draw(st.sets(st.integers(1, len(before))).map(sorted)) if before else []
    pairs = [(number, before[number - 1]) for number in places]
    now = array("I", [uid for uid in before if uid not in gone])
    numbers, uids = SequenceSet(tuple(runs(places))), SequenceSet(tuple(runs([uid for _, uid in pairs])))
    if not pairs:
        return
    expected = max((uid for number, uid in pairs if number <= len(now) and now[number - 1] == uid), default=0)
    assert last_match(numbers, uids, now) == expected

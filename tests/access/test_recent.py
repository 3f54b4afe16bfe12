"""Which messages are \\Recent."""

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.access.recent import Recent


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=8), st.sets(st.integers(1, 70)))
def test_ranges_hold_what_was_added_above_those_of_before(pairs: list[tuple[int, int]], uids: set[int]) -> None:
    recent, expected = Recent(), set[int]()
    for first, last in pairs:
        top = max(expected, default=0)
        recent.add(first, last)
        expected |= {uid for uid in range(first, last + 1) if uid > top}
    ascending = sorted(uids)
    assert [uid for uid in ascending if uid in recent] == sorted(uids & expected)
    assert recent.count(ascending) == len(uids & expected)

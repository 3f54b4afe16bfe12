"""When queue tries again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.queue.schedule import Schedule

DEFAULT = Schedule(1800, 14_400, 432_000, 14_400)


def test_the_first_retry_comes_after_thirty_minutes_and_later_ones_double_to_four_hours() -> None:
    delays = [DEFAULT.retry_delay(attempt, jitter=0.0) for attempt in range(1, 7)]
    assert delays == [1800, 3600, 7200, 14_400, 14_400, 14_400]


@given(st.integers(1, 10_000), st.floats(0.0, 1.0))
def test_jitter_only_lengthens_and_by_a_tenth_at_most(attempt: int, jitter: float) -> None:
    plain = DEFAULT.retry_delay(attempt, jitter=0.0)
    assert plain <= DEFAULT.retry_delay(attempt, jitter=jitter) <= plain * 1.1 + 1e-6


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.0), (1, -0.1), (1, 1.1)])
def test_an_argument_out_of_range_is_our_bug(attempt: int, jitter: float) -> None:
    with pytest.raises(ValueError):
        DEFAULT.retry_delay(attempt, jitter=jitter)


def test_a_longest_delay_below_the_first_does_not_shorten_the_first() -> None:
    assert Schedule(1800, 60, 432_000, 60).retry_delay(3, jitter=0.0) == 1800


def test_the_last_attempt_falls_on_the_expiry() -> None:
    assert DEFAULT.next_attempt(1_000_000, 5, 2_000_000, jitter=0.0) == 2_000_000


def test_past_the_expiry_the_delay_holds_so_that_a_bounce_is_tried_again_without_haste() -> None:
    assert DEFAULT.next_attempt(2_000_000, 1, 2_000_000, jitter=0.0) == 2_000_000 + 1_800_000


def test_mail_of_defaults_is_tried_for_five_days_and_warned_of_after_four_hours() -> None:
    assert DEFAULT.expires(0) == 5 * 24 * 3600 * 1000
    assert DEFAULT.warn_after(0) == 4 * 3600 * 1000

"""Rates of one source: a minute's worth, filled evenly, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.gate import pace
from bulkhead.gate.pace import Rate, SourceRates


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_then_comes_back_evenly():
    clock = Clock()
    rate = Rate(6, clock=clock)
    assert [rate.take("a") for _ in range(7)] == [True] * 6 + [False]
    assert rate.take("b") and not rate.left("a")
    clock.now += 10
    assert rate.left("a") and rate.take("a") and not rate.take("a")
    clock.now += 3600
    assert [rate.take("a") for _ in range(7)] == [True] * 6 + [False]


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=200))
def test_no_source_gets_more_than_twice_a_minutes_worth_in_a_minute(limit, waits):
    clock = Clock()
    rate, taken = Rate(limit, clock=clock), []
    for wait in waits:
        clock.now += wait
        if rate.take("a"):
            taken.append(clock.now)
    assert all(sum(at <= then < at + 60 for then in taken) <= 2 * limit for at in taken)


def test_zero_is_no_limit_and_takes_no_memory():
    rate = Rate(0)
    assert all(rate.take(str(number)) for number in range(100)) and rate.left("a") and len(rate) == 0


def test_the_source_that_was_quiet_longest_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(pace, "SOURCES_MAX", 2)
    rate = Rate(1)
    assert rate.take("a") and rate.take("b") and rate.take("c") and len(rate) == 2
    assert rate.take("a") and not rate.take("c")


def test_settings_that_a_gate_has_not_are_no_limit_and_counts_outlive_a_reload():
    rates = SourceRates()
    rates.configure({"messages_per_source_minute": 2})
    assert rates.messages.take("a") and rates.connections.a_minute == 0
    rates.configure({"messages_per_source_minute": 1})
    assert rates.messages.take("a") and not rates.messages.take("a")

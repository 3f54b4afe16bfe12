"""Waits end at their stated maximum, whatever others do, and levels and waits are bounded whatever comes."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.holder.levels import Levels, Spread
from bulkhead.holder.sources import Source
from bulkhead.holder.waits import SHARD_KEYS, SHARDS, Waits, delay

LONGEST, HOLD = 3600.0, 900.0


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_delay_doubles_from_a_second_and_ends_at_its_maximum() -> None:
    assert [delay(count, free=8, longest=900) for count in (0, 7.9, 8, 9, 17, 18, 1e9)] == [0, 0, 1, 2, 512, 900, 900]


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.booleans()), max_size=60),
    st.floats(0, HOLD),
)
def test_nobody_waits_longer_than_the_maximum_from_the_attempt_that_was_refused(
    history: list[tuple[float, bool]], hold: float
) -> None:
    clock = Clock()
    waits = Waits(8, LONGEST, clock)
    refused: float | None = None
    for pause, tried_by_another in history:
        clock.now += pause
        if waits.is_ready(b"key", b"region", hold):
            waits.count(b"key", b"region")
            refused = None
        else:
            refused = clock.now if refused is None else refused
            assert clock.now < refused + max(LONGEST, HOLD)
        if tried_by_another and waits.is_ready(b"other", b"region", 0.0):
            waits.count(b"other", b"region")
    waits.is_ready(b"key", b"region", hold)
    clock.now += LONGEST
    assert waits.is_ready(b"key", b"region", hold)


def test_a_key_without_wrong_tries_waits_as_long_as_it_is_held_and_no_longer() -> None:
    clock = Clock()
    waits = Waits(8, LONGEST, clock)
    assert not waits.is_ready(b"key", b"", HOLD)
    clock.now += HOLD - 1
    assert not waits.is_ready(b"key", b"", HOLD)
    clock.now += 1
    assert waits.is_ready(b"key", b"", HOLD)
    waits.count(b"key", b"")
    assert not waits.is_ready(b"key", b"", HOLD)


def test_wrong_tries_are_forgotten_one_an_hour_and_all_where_one_is_right() -> None:
    clock = Clock()
    waits = Waits(2, LONGEST, clock)
    before = None
    for _ in range(3):
        before = waits.count(b"key", b"")
    assert not waits.is_ready(b"key", b"", 0)
    clock.now += 2
    assert waits.is_ready(b"key", b"", 0)
    waits.put_back(b"key", b"", before)  # the third was not answered
    clock.now += 1
    assert waits.is_ready(b"key", b"", 0)
    waits.put_back(b"key", b"", None)
    assert len(waits) == 0
    for _ in range(24):
        waits.count(b"key", b"")
    clock.now += 23 * 3600
    waits.count(b"key", b"")
    assert not waits.is_ready(b"key", b"", 0)
    clock.now += 2
    assert waits.is_ready(b"key", b"", 0)


def test_a_flood_from_one_region_keeps_a_bounded_number_of_waits_and_no_other_regions() -> None:
    clock = Clock()
    waits = Waits(8, LONGEST, clock)
    regions = [bytes((0, number)) for number in range(20)]
    other = next(region for region in regions if waits._shard(region) is not waits._shard(b"flood"))
    assert not waits.is_ready(b"subscriber", other, HOLD)
    for number in range(3 * SHARD_KEYS):
        waits.is_ready(number.to_bytes(4, "big"), b"flood", HOLD)
    assert len(waits) == SHARD_KEYS + 1
    clock.now += HOLD
    assert waits.is_ready(b"subscriber", other, HOLD)
    assert len(waits._shards) == SHARDS


@given(st.lists(st.tuples(st.binary(max_size=2), st.floats(-2, 20), st.floats(0, 100)), max_size=100))
@settings(max_examples=50)
def test_a_level_stays_between_nothing_and_its_capacity_and_keys_are_bounded(
    history: list[tuple[bytes, float, float]],
) -> None:
    clock = Clock()
    levels = Levels(10, 0.5, clock, 16)
    for key, count, pause in history:
        levels.add(key, count)
        assert 0 <= levels.of(key) <= 10 and len(levels) <= 16
        full = levels.of(key)
        clock.now += pause
        assert abs(levels.of(key) - max(0.0, full - pause * 0.5)) < 1e-6


def test_a_level_is_full_where_one_more_would_be_above_its_capacity() -> None:
    clock = Clock()
    levels = Levels(2, 1, clock)
    levels.add(b"a")
    assert not levels.is_full(b"a")
    levels.add(b"a")
    assert levels.is_full(b"a") and not levels.is_full(b"b")
    clock.now += 1
    assert not levels.is_full(b"a")


def test_a_spread_is_over_from_its_ceiling_until_a_whole_minute_stayed_below() -> None:
    clock = Clock(60.0)
    spread = Spread(3, clock)
    for key in (b"a", b"b", b"b", b"a"):
        spread.note(key)
    assert not spread.over
    for key in (b"c", b"d", b"e"):
        spread.note(key)
    assert spread.over and spread.episodes == 1 and len(spread._keys) == 3
    clock.now += 60
    assert spread.over
    for key in (b"a", b"b", b"c"):  # it goes on, and is one episode
        spread.note(key)
    clock.now += 60
    assert spread.over and spread.episodes == 1
    clock.now += 60
    assert not spread.over
    for key in (b"a", b"b", b"c"):
        spread.note(key)
    assert spread.episodes == 2
    clock.now += 120
    assert not spread.over


def test_a_source_has_a_host_a_network_and_a_region() -> None:
    assert Source.of("192.0.2.1") == Source.of("::ffff:192.0.2.1") == Source(b"\xc0\0\2\1", b"\xc0\0\2", b"\xc0\0")
    one, same_host = Source.of("2001:db8::1"), Source.of("2001:db8::ffff:2")
    same_network, other = Source.of("2001:db8:0:1::1"), Source.of("2001:db8:0:100::1")
    assert one == same_host != same_network
    assert one.network == same_network.network != other.network
    assert one.region == other.region and (len(one.host), len(one.network), len(one.region)) == (8, 7, 4)
    assert Source.of("nonsense") == Source.of("") == Source.of("192.0.2.1\0") == Source(b"", b"", b"")

import time
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.grammar import CommandError, Scanner
from bulkhead.wire.imap.sequence import (
    ALL,
    STAR,
    SequenceSet,
    compress,
    count,
    in_order,
    parse_sequence_set,
    resolve_numbers,
    resolve_uids,
)

ENDS = st.one_of(st.integers(1, 40), st.just(STAR))
SETS = st.lists(st.tuples(ENDS, ENDS).map(lambda pair: (min(pair), max(pair))), min_size=1, max_size=6).map(
    lambda ranges: SequenceSet(tuple(ranges))
)
UIDS = st.sets(st.integers(1, 60), max_size=30).map(lambda values: array("I", sorted(values)))


def parse(text: bytes) -> SequenceSet:
    scanner = Scanner(text)
    found = parse_sequence_set(scanner)
    scanner.end()
    return found


def flat(ranges: list[range]) -> list[int]:
    return [index for item in ranges for index in item]


@given(SETS)
def test_what_is_rendered_is_parsed_back(wanted: SequenceSet) -> None:
    assert parse(bytes(wanted)) == wanted


@given(SETS, UIDS)
def test_uids_are_found_as_by_looking_at_each(wanted: SequenceSet, uids: "array[int]") -> None:
    top = uids[-1] if uids else 0
    spans = [
        sorted((min(low, STAR) if low != STAR else top, top if high == STAR else high)) for low, high in wanted.ranges
    ]
    expected = [index for index, uid in enumerate(uids) if any(low <= uid <= high for low, high in spans)]
    assert flat(resolve_uids(wanted, uids)) == expected


@given(SETS, st.integers(0, 50))
def test_lenient_numbers_are_those_that_exist(wanted: SequenceSet, size: int) -> None:
    expected = flat(resolve_uids(wanted, array("I", range(1, size + 1))))
    assert flat(resolve_numbers(wanted, size, strict=False)) == expected


@given(UIDS)
def test_a_compressed_list_resolves_to_itself(uids: "array[int]") -> None:
    if uids:
        assert flat(resolve_uids(parse(compress(uids)), uids)) == list(range(len(uids)))
    else:
        assert compress(uids) == b""


def test_a_list_is_compressed_to_its_runs() -> None:
    assert compress([1, 2, 3, 5]) == b"1:3,5"
    assert compress([7]) == b"7"
    with pytest.raises(ValueError, match="ascend"):
        compress([2, 1])


def test_a_star_range_beyond_the_last_uid_is_the_last_message() -> None:
    assert resolve_uids(parse(b"100:*"), array("I", [3, 9])) == [range(1, 2)]
    assert resolve_uids(parse(b"*:4"), array("I", [3, 9])) == [range(1, 2)]


@pytest.mark.parametrize("text", [b"4", b"1:4", b"4:*", b"2,9"])
def test_a_number_without_a_message_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        resolve_numbers(parse(text), 3)


def test_a_star_in_an_empty_mailbox_is_refused_and_its_uids_are_none() -> None:
    with pytest.raises(CommandError):
        resolve_numbers(parse(b"1:*"), 0)
    assert resolve_uids(ALL, array("I")) == []


@pytest.mark.parametrize("text", [b"", b"0", b"1,", b",1", b"1:", b":1", b"1:2:3", b"01", b"4294967296", b"**", b"a"])
def test_what_is_no_sequence_set_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse(text)


def test_the_largest_number_is_taken() -> None:
    assert parse(b"4294967295").ranges == ((4294967295, 4294967295),)


def test_20000_ranges_are_taken_and_one_more_is_not() -> None:
    assert len(parse(b",".join([b"1"] * 20_000)).ranges) == 20_000
    with pytest.raises(CommandError, match="too many"):
        parse(b",".join([b"1"] * 20_001))


def test_a_list_in_order_keeps_its_order() -> None:
    assert in_order([1, 2, 3, 5, 4, 3, 8, 9]) == b"1:3,5,4,3,8:9"
    assert in_order([]) == b"" and in_order([7]) == b"7"


def test_all_of_a_million_uids_resolves_and_compresses_without_looking_at_each() -> None:
    uids = array("I", range(1, 1_000_001))
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        found = resolve_uids(ALL, uids)
        text = compress(uids)
        spent.append(time.perf_counter() - started)
        assert (count(found), text) == (1_000_000, b"1:1000000")
    assert min(spent) < 0.001

"""Header blocks: their end, their fields, and IMAP's HEADER.FIELDS."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.header import (
    FIELDS_MAX,
    HEADER_EXAMINED_MAX,
    FieldCutter,
    field_block,
    header_end,
    scan_fields,
    unfold,
)  # fmt: skip

HEADER = b"From: a@b\r\nSubject: one\r\n two\r\n\tthree\r\nno colon\r\nTO : c@d\r\nSubject: again\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\n\r\nbody", 7),
        (b"A: b\n\n\r\n\r\n", 6),
        (b"A: b\r\n\r\n\n\n", 8),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
        (b"", 0),
        (b"A: b\r\n \r\nbody", 13),
    ],
)
def test_header_ends_after_its_first_empty_line(data: bytes, end: int) -> None:
    assert header_end(data, 0, len(data)) == end
    assert header_end(b"\n\n" + data + b"\n\n", 2, len(data) + 2) == end + 2


def test_fields_have_lower_case_names_and_ranges_that_hold_their_folds() -> None:
    fields = scan_fields(HEADER, 0, len(HEADER))
    assert [name for name, *_ in fields] == [b"from", b"subject", b"to", b"subject"]
    _, start, value, end = fields[1]
    assert HEADER[start:end] == b"Subject: one\r\n two\r\n\tthree\r\n"
    assert unfold(HEADER[value:end]) == b"one two\tthree"


def test_named_fields_are_given_as_they_stand() -> None:
    assert field_block(HEADER, [b"SUBJECT"]) == b"Subject: one\r\n two\r\n\tthree\r\nSubject: again\r\n\r\n"
    assert field_block(HEADER, [b"to", b"from"]) == b"From: a@b\r\nTO : c@d\r\n\r\n"
    assert field_block(HEADER, [b"x"]) == b"\r\n"
    assert field_block(HEADER, []) == b"\r\n"


def test_all_but_the_named_fields_are_given_with_what_is_no_field() -> None:
    assert field_block(HEADER, [b"Subject"], True) == b"From: a@b\r\nno colon\r\nTO : c@d\r\n\r\n"
    assert field_block(HEADER, [], True) == HEADER


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n", b"\r\n\r\n", b"\n\n"])
def test_block_ends_with_an_empty_line_however_the_header_ends(end: bytes) -> None:
    lines = b"\r\n" if end in (b"", b"\r\n", b"\r\n\r\n") else b"\n"
    assert field_block(b"A: b" + end, [b"a"]) == b"A: b" + lines + b"\r\n"
    assert field_block(b"A: b" + end, [b"x"], True) == b"A: b" + lines + b"\r\n"


def test_fields_are_counted_up_to_the_limit() -> None:
    assert len(scan_fields(b"a:\r\n" * FIELDS_MAX + b"\r\n", 0, FIELDS_MAX * 4 + 2)) == FIELDS_MAX
    header = b"a:\r\n" * FIELDS_MAX + b"b: late\r\n\r\n"
    assert len(scan_fields(header, 0, len(header))) == FIELDS_MAX
    assert field_block(header, [b"b"]) == b"\r\n"
    assert field_block(header, [b"a"], True) == b"b: late\r\n\r\n"


def test_field_across_the_octet_limit_is_not_given() -> None:
    whole = b"a: " + b"x" * (HEADER_EXAMINED_MAX - 5) + b"\r\n"
    assert [name for name, *_ in scan_fields(whole, 0, len(whole))] == [b"a"]
    assert scan_fields(b"a: " + whole, 0, len(whole) + 3) == []


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b" ", b"A", b":", b"b", b"\0", b"\r"]), max_size=40))
def test_named_and_other_fields_together_are_the_header(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    header = data[: header_end(data, 0, len(data))]
    fields = scan_fields(header, 0, len(header))
    assert all(0 <= start < value <= end <= len(header) for _, start, value, end in fields)
    named, others = field_block(header, [b"a"]), field_block(header, [b"a"], True)
    assert Counter(header) <= Counter(named + others)
    assert named.endswith(b"\r\n") and others.endswith(b"\r\n")


_NAMES = st.sampled_from([b"From", b"to", b"X-A.b", b"SUBJECT", b"Sub", b"Subject "])
_VALUES = st.binary(max_size=8).map(lambda octets: octets.replace(b"\n", b""))
_LINES = st.builds(
    lambda name, gap, value, folds: name + gap + b":" + value + b"".join(b"\r\n " + fold for fold in folds) + b"\r\n",
    _NAMES, st.sampled_from([b"", b" ", b"\t", b"\r", b"\x0b"]), _VALUES,
    st.lists(st.sampled_from([b"folded", b"", b"From: no"]), max_size=2),
)  # fmt: skip
_NO_FIELDS = st.sampled_from([b"no colon\r\n", b": no name\r\n", b"\n", b" begins folded\r\n", b"From\n: x\n"])


@given(st.lists(_LINES | _NO_FIELDS, max_size=8), st.sets(_NAMES.map(bytes.strip), min_size=1))
def test_the_quick_cutter_cuts_what_field_block_cuts(lines: list[bytes], names: set[bytes]) -> None:
    block = b"".join(lines)
    assert FieldCutter(names).cut(block) == field_block(block, names)

"""Row keys and lists of fields, made in fewer steps, are those that the plain constructions give."""

import hmac
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.records.derive import Hmac, Shape, join_fields

FIELDS = st.lists(st.binary(max_size=40), min_size=3, max_size=3)


@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_a_key_digested_once_gives_the_hmac_of_every_message(key: bytes, messages: list[bytes]) -> None:
    digest = Hmac(key).digest
    assert [digest(message) for message in messages] == [hmac.digest(key, one, "sha256") for one in messages]


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Hmac(bytes(31))


@given(st.lists(FIELDS, min_size=1, max_size=6))
def test_lists_read_as_they_were_joined_whatever_was_read_before(lists: list[list[bytes]]) -> None:
    shape = Shape(3, head=2, tail=1)
    for fields in [*lists, *lists]:
        assert list(shape.read(b"ab" + join_fields(fields) + b"z")) == fields


@given(FIELDS, st.binary(max_size=160))
def test_octets_that_are_no_such_list_are_refused_after_one_that_was(fields: list[bytes], other: bytes) -> None:
    shape, fresh = Shape(3), Shape(3)
    shape.read(join_fields(fields))
    try:
        expected = fresh.read(other)
    except ValueError:
        with pytest.raises(ValueError, match=r"is too short|has the wrong length"):
            shape.read(other)
    else:
        assert shape.read(other) == expected and join_fields(expected) == other


def test_a_list_of_the_same_size_and_other_lengths_is_read_by_its_own() -> None:
    shape = Shape(2)
    first, second = [b"abc", b"d"], [b"a", b"bcd"]
    assert [list(shape.read(join_fields(one))) for one in (first, second, first)] == [first, second, first]
    assert len({len(join_fields(one)) for one in (first, second)}) == 1
    with pytest.raises(ValueError, match="has the wrong length"):
        shape.read(join_fields([b"abc"]) + os.urandom(1) * 3)

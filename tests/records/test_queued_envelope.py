"""The envelope that is sealed with a queued message: both versions, and what is not one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.records.queued import QueuedEnvelope, QueuedWish

WORDS = st.text(st.characters(exclude_characters="\n\t\0", codec="utf-8"), max_size=30)


@given(
    WORDS, st.lists(st.tuples(WORDS, st.integers(0, 15), WORDS), min_size=1), WORDS, WORDS, st.booleans(), st.binary()
)
def test_what_is_joined_is_split_again(reverse_path, rows, ret, envid, utf8, header):
    wishes = tuple(QueuedWish(notify, original) for _, notify, original in rows)
    envelope = QueuedEnvelope(reverse_path, tuple(row[0] for row in rows), wishes, ret, envid, utf8)
    assert QueuedEnvelope.split(envelope.join(header)) == (envelope, header)


def test_an_envelope_of_version_1_is_read():
    text = b"s@kddi.example\na@far.example\nb@far.example"
    found, header = QueuedEnvelope.split(struct.pack("<I", len(text)) + text + b"Subject: x\r\n\r\n")
    assert found == QueuedEnvelope("s@kddi.example", ("a@far.example", "b@far.example"))
    assert header == b"Subject: x\r\n\r\n" and found.wish(1) == QueuedWish()


@pytest.mark.parametrize(
    "text", [b"\0002\n", b"\0002\tFULL\tid\t0", b"\0002\t\t\t0\n\nx\ty\tz", b"\0002\t\t\t0\n\nx", b"\xff"]
)
def test_what_is_no_envelope_is_refused(text):
    with pytest.raises(IntegrityError):
        QueuedEnvelope.split(struct.pack("<I", len(text)) + text)


@pytest.mark.parametrize("address", ["a\nb@c.example", "a\tb@c.example"])
def test_a_value_with_a_separator_is_our_bug(address):
    with pytest.raises(ValueError):
        QueuedEnvelope("", (address,)).join(b"")


@given(st.binary(max_size=60))
def test_random_octets_are_an_envelope_or_an_integrity_error(octets):
    try:
        QueuedEnvelope.split(octets)
    except IntegrityError:
        pass

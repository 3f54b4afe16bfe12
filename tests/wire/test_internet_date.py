"""Dates: what is read, what is not, and what is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.grammar import DATE_TIME_MAX, CommandError, Scanner
from bulkhead.wire.internet_date import internal_date, message_date, parse_date

MOMENT = 1795305607  # 2026-11-22 09:00:07 +0900


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (b"Sun, 22 Nov 2026 09:00:07 +0900", (MOMENT, 540)),
        (b"22 Nov 2026 00:00:07 GMT", (MOMENT, 0)),
        (b"Sun, 22 Nov 2026 09:00:07 +0900 (JST)", (MOMENT, 540)),
        (b"Sun, 22 Nov 26 09:00:07 JST", (MOMENT, 540)),
        (b" Sun,22 nov 2026  9:00:07 +09:00", (MOMENT, 540)),
        (b"Sun Nov 22 09:00:07 JST 2026", (MOMENT, 540)),
        (b"Sun Nov 22 00:00:07 2026", (MOMENT, 0)),
        (b"Sunday, 22-Nov-26 00:00:07 UT", (MOMENT, 0)),
        (b"Sat, 21 November 2026 19:00:07 EST", (MOMENT, -300)),
        (b"Sun, 22 Nov 2026 00:00:07", (MOMENT, 0)),
        (b"Sun, 22 Nov 2026 00:00:07 A", (MOMENT, 0)),
        (b"Sun, 22 Nov 2026 00:00:07 +9999", (MOMENT, 0)),
        (b"22 Nov 2026", (MOMENT - 7, 0)),
        (b"Fri, 21 Nov 1997 09:55:06 -0600", (880127706, -360)),
        (b"Thu, 01 Jan 1970 00:00:00 +0000", (0, 0)),
        (b"31 Dec 1969 23:59:59 +0000", (-1, 0)),
        (b"31 Dec 2016 23:59:60 +0000", (1483228799, 0)),
        (b"1 Jan 99 00:00:00 Z", (915148800, 0)),
        (b"1 Jan 100 00:00:00 Z", (946684800, 0)),
        (b"Sun, 22 Nov\r\n 2026 00:00:07 GMT", (MOMENT, 0)),
        (b"", None),
        (b"yesterday", None),
        (b"32 Nov 2026 00:00:00 +0000", None),
        (b"29 Feb 2026 00:00:00 +0000", None),
        (b"22 Foo 2026 00:00:00 +0000", None),
        (b"22 Nov 2026 24:00:00 +0000", None),
        (b"22 Nov 0000 00:00:00 +0000", None),
        (b"\xff" * 300, None),
    ],
)
def test_date_is_read_or_refused(value: bytes, moment: tuple[int, int] | None) -> None:
    assert parse_date(value) == moment


def test_internal_date_has_quotes_and_a_padded_day() -> None:
    assert internal_date(MOMENT, 540) == b'"22-Nov-2026 09:00:07 +0900"'
    assert internal_date(0) == b'" 1-Jan-1970 00:00:00 +0000"'
    assert internal_date(0, -330) == b'"31-Dec-1969 18:30:00 -0530"'


def test_message_date_is_rfc_5322s() -> None:
    assert message_date(MOMENT, 540) == b"Sun, 22 Nov 2026 09:00:07 +0900"
    assert message_date(0) == b"Thu, 1 Jan 1970 00:00:00 +0000"


@pytest.mark.parametrize(
    "value",
    [b"", b"22-Nov-2026", b'"1-January-2026 0:00:00 +0000"', b'"30-Feb-2026 00:00:00 +0000"', b"Sun, 22 Nov 2026"],
)
def test_other_text_is_no_internal_date(value: bytes) -> None:
    with pytest.raises(CommandError):
        Scanner(value).date_time()


@given(st.integers(-62135510400, 253402214399), st.integers(-1439, 1439))
def test_written_dates_are_read_back(seconds: int, offset: int) -> None:
    assert Scanner(internal_date(seconds, offset)).date_time() == min(max(seconds, 0), DATE_TIME_MAX)
    if seconds >= -30610224000:  # year 1000: message_date writes four digits, and "0999" would be read as written too
        assert parse_date(message_date(seconds, offset)) == (seconds, offset)


@given(st.integers(), st.integers())
def test_any_moment_can_be_written(seconds: int, offset: int) -> None:
    assert len(internal_date(seconds, offset)) == 28


@given(st.binary(max_size=160))
def test_random_octets_never_raise(value: bytes) -> None:
    parse_date(value)

"""Dates of messages: read tolerantly, written exactly (RFC 5322 section 3.3, RFC 3501 section 2.3.3).

A moment is (unix seconds, offset of the sender's clock from UTC in minutes). SENTSINCE and its like compare the
sender's own calendar day, which is (seconds + offset * 60) // 86400. Years 1 to 9999; leap seconds are read as second
59.
"""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

OFFSET_MAX = 24 * 60 - 1  # minutes
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NUMBERS = {name.encode(): number for number, name in enumerate(_MONTHS, 1)}
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# RFC 5322 section 4.3, and JST, which Japanese systems write. Every other name counts as -0000.
_ZONES = {
    b"ut": 0, b"gmt": 0, b"z": 0, b"utc": 0, b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300,
    b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420, b"jst": 540,
}  # fmt: skip
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST = -62135596800  # 0001-01-01 00:00:00 UTC
_LAST = 253402300799  # 9999-12-31 23:59:59 UTC

_TIME = rb"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2}))?(?:[.,]\d{1,9})?"
_ZONE = rb"[ \t]*(?:([+-])[ \t]*(\d{1,2}):?(\d\d)|([A-Za-z]{1,5})(?![A-Za-z]))?"
# [Sun,] 22 Nov 2026 00:00:07 +0900, also with hyphens (INTERNALDATE) and without the time
_RFC5322 = re.compile(
    rb"\s*(?:[A-Za-z]{2,9}\.?[ \t]*,?[ \t]*)?(\d{1,2})[ \t-]*([A-Za-z]{3})[a-z]{0,6}\.?[ \t,-]*(\d{2,4})"
    rb"(?:[ \t,]+" + _TIME + _ZONE + rb")?"
)
# Sun Nov 22 00:00:07 [JST] 2026
_ASCTIME = re.compile(
    rb"\s*(?:[A-Za-z]{3}[ \t,]+)?([A-Za-z]{3})[a-z]{0,6}[ \t]+(\d{1,2}),?[ \t]+" + _TIME + _ZONE + rb"[ \t]+(\d{4})"
)


def parse_date(value: bytes) -> tuple[int, int] | None:
    """The moment a Date field names, or None where it names none. Only the first 128 octets are read.

    Two- and three-digit years and zone names by RFC 5322 section 4.3; a missing time is midnight, a missing zone UTC.
    """
    text = value[:128].replace(b"\r", b"").replace(b"\n", b"")
    found = _RFC5322.match(text)
    if found:
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, zone = found.groups()
    else:
        found = _ASCTIME.match(text)
        if not found:
            return None
        month, day, hour, minute, second, sign, zone_hours, zone_minutes, zone, year = found.groups()
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < 50 else 1900
    elif len(year) == 3:
        number += 1900
    offset = 0
    if sign:
        offset = _offset(sign, int(zone_hours), int(zone_minutes))
    elif zone:
        offset = _ZONES.get(zone.lower(), 0)
    return _moment(
        (number, _MONTH_NUMBERS.get(month.lower(), 0), int(day)),
        (int(hour or 0), int(minute or 0), int(second or 0)),
        offset,
    )


def internal_date(seconds: int, offset: int = 0) -> bytes:
    """IMAP's date-time with its quotes: `"22-Nov-2026 09:00:07 +0900"`, the day padded with a space."""
    local, zone = _local(seconds, offset)
    month = _MONTHS[local.month - 1].title()
    return f'"{local.day:2d}-{month}-{local.year:04d} {local:%H:%M:%S} {zone}"'.encode()


@lru_cache(maxsize=16)  # a busy server writes the same second many times
def message_date(seconds: int, offset: int = 0) -> bytes:
    """The value of a Date field: `Sun, 22 Nov 2026 09:00:07 +0900` (RFC 5322 section 3.3)."""
    local, zone = _local(seconds, offset)
    month = _MONTHS[local.month - 1].title()
    return f"{_DAY_NAMES[local.weekday()]}, {local.day} {month} {local.year:04d} {local:%H:%M:%S} {zone}".encode()


def _offset(sign: bytes, hours: int, minutes: int) -> int:
    """Minutes from UTC; a zone that no clock has counts as UTC."""
    if hours > 23 or minutes > 59:
        return 0
    return (hours * 60 + minutes) * (-1 if sign == b"-" else 1)


def _moment(day: tuple[int, int, int], time: tuple[int, int, int], offset: int) -> tuple[int, int] | None:
    hour, minute, second = time
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date(*day).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * 86400 + hour * 3600 + minute * 60 + min(second, 59) - offset * 60, offset


def _local(seconds: int, offset: int) -> tuple[datetime, str]:
    """The sender's clock and its zone. Out of range is moved to the nearest year that can be written."""
    offset = max(-OFFSET_MAX, min(OFFSET_MAX, offset))
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=max(_FIRST, min(_LAST, seconds + offset * 60)))
    return local, f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}{abs(offset) % 60:02d}"

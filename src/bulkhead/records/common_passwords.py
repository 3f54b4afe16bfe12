"""The 10,000 passwords that people choose most, made from the patterns that they are made of; the same every time."""

from collections.abc import Iterator
from itertools import islice

COUNT = 10_000
_WORDS = (
    "password", "welcome", "dragon", "monkey", "sunshine", "princess", "football", "baseball", "shadow", "master",
    "letmein", "superman", "batman", "michael", "jordan", "qwerty", "qwertyuiop", "asdfgh", "zxcvbn", "iloveyou",
    "sakura", "hanako", "tarou", "doraemon", "pikachu", "yokohama", "osaka", "tokyo", "kyoto", "hello", "summer",
    "winter", "spring", "autumn", "secret", "computer", "internet", "samsung", "mercedes", "ferrari", "charlie",
    "jessica", "ashley", "daniel", "andrew", "joshua", "matthew", "hunter", "ranger", "buster", "soccer", "hockey",
    "killer", "george", "pepper", "ginger", "cookie", "chocolate", "flower", "purple", "orange", "yellow", "silver",
)  # fmt: skip
_TAILS = ("", "1", "12", "123", "1234", "12345", "!", "1!", "01", "2024", "2025", "2026", "99", "00", "7", "69", "007")


def _all() -> Iterator[str]:
    for digits in range(4, 11):
        yield "1234567890"[:digits]
        yield "9876543210"[:digits]
    for tail in _TAILS:
        for word in _WORDS:
            yield word + tail
            yield word.capitalize() + tail
    for year in range(1940, 2027):
        for month in range(1, 13):
            yield f"{year}{month:02}{month:02}"
    for first in _WORDS:
        for second in _WORDS:
            yield first + second
    for number in range(10_000):
        yield f"{number:04}" * 2


def common_passwords(count: int = COUNT) -> list[bytes]:
    """The first `count`, most usual patterns first, of at least eight octets: shorter ones are refused anyway."""
    found = dict.fromkeys(text.encode() for text in _all() if len(text) >= 8)
    return list(islice(found, count))

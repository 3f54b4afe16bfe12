"""SORT: what is asked, base subjects, and keys that order messages by comparing octets (RFC 5256; RFC 5957).

A key is one run of octets: its parts one after another, a part to be reversed with every octet inverted, and the
message's place last, which decides between equals. Text is collated by i;unicode-casemap (RFC 5051).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from bulkhead.wire.imap.grammar import CommandError, Scanner
from bulkhead.wire.imap.limits import SORT_KEYS_MAX
from bulkhead.wire.search_text import collate

TEXT_MAX: Final = 1000  # characters of a subject or name that are looked at
_INVERTED: Final = bytes(range(255, -1, -1))
_PLACE_OCTETS: Final = 4
_OFFSET: Final = 1 << 62  # dates before 1970 are negative


class SortField(Enum):
    """What messages are ordered by."""

    ARRIVAL = b"ARRIVAL"
    CC = b"CC"
    DATE = b"DATE"
    FROM = b"FROM"
    SIZE = b"SIZE"
    SUBJECT = b"SUBJECT"
    TO = b"TO"
    DISPLAYFROM = b"DISPLAYFROM"
    DISPLAYTO = b"DISPLAYTO"


@dataclass(frozen=True, slots=True)
class SortKey:
    """One sort criterion."""

    field: SortField
    reverse: bool = False


SORT_FIELDS: Final = {field.value: field for field in SortField}
IN_ARRAYS: Final = frozenset((SortField.ARRIVAL, SortField.SIZE))
"""Fields for which no message is opened."""


def parse_sort_keys(scanner: Scanner) -> tuple[SortKey, ...]:
    """The list of criteria, at most 20. Raises CommandError."""
    scanner.expect(b"(", "a list of sort criteria")
    keys: list[SortKey] = []
    while True:
        word = scanner.word("a sort criterion")
        reverse = word == b"REVERSE"
        if reverse:
            scanner.space()
            word = scanner.word("a sort criterion")
        field = SORT_FIELDS.get(word)
        if field is None:
            raise CommandError("no such sort criterion")
        keys.append(SortKey(field, reverse))
        if len(keys) > SORT_KEYS_MAX:
            raise CommandError("too many sort criteria")
        if not scanner.accept(b" "):
            break
    scanner.expect(b")", "the end of the sort criteria")
    return tuple(keys)


class Sortable(Protocol):
    """What the keys of one message are made from."""

    def arrived(self) -> int:
        """Seconds since 1970 at which it was stored."""

    def size(self) -> int:
        """RFC822.SIZE."""

    def sent(self) -> int:
        """Seconds since 1970 UTC of its Date field; without one that can be read, `arrived` (RFC 5256 section 2.2)."""

    def subject(self) -> str:
        """Its Subject, decoded; empty if it has none."""

    def first_mailbox(self, field: bytes) -> str:
        """The local part of the first address in `field` (lower case), or empty."""

    def display_name(self, field: bytes) -> str:
        """The name of the first address in `field`, decoded; without one the address (RFC 5957 section 3)."""


def order_key(keys: Sequence[SortKey], message: Sortable, place: int) -> bytes:
    """Octets that order the message among others of the same criteria; `place` breaks ties (RFC 5256 section 3)."""
    parts: list[bytes] = []
    for key in keys:
        part = _part(key.field, message)
        parts.append(part.translate(_INVERTED) if key.reverse else part)
    return b"".join(parts) + place.to_bytes(_PLACE_OCTETS, "big")


def place_of(key: bytes) -> int:
    """The place that an order key ends in."""
    return int.from_bytes(key[-_PLACE_OCTETS:], "big")


def _part(field: SortField, message: Sortable) -> bytes:
    match field:
        case SortField.ARRIVAL:
            return _number(message.arrived())
        case SortField.DATE:
            return _number(message.sent())
        case SortField.SIZE:
            return _number(message.size())
        case SortField.SUBJECT:
            return _text(base_subject(message.subject())[0])
        case SortField.DISPLAYFROM:
            return _text(message.display_name(b"from"))
        case SortField.DISPLAYTO:
            return _text(message.display_name(b"to"))
        case _:
            return _text(message.first_mailbox(field.value.lower()))


def _number(value: int) -> bytes:
    return max(0, min(value + _OFFSET, (1 << 64) - 1)).to_bytes(8, "big")


def _text(text: str) -> bytes:
    """The collated text with an end that sorts before everything."""
    return collate(text[:TEXT_MAX]).replace("\0", "").encode("utf-8", "replace") + b"\0"


# --- base subject (RFC 5256 section 2.1) -----------------------------------------------------------------------------

_SPACES = re.compile(r"[ \t\r\n]+")
_BLOB = r"\[[^\[\]]*+\][ ]*+"
# no possessive groups: before Python 3.11.5 they take what does not match (python/cpython#106052)
_BLOBS = re.compile(rf"(?:{_BLOB})*")
_REFWD = re.compile(rf"(?:re|fwd?+)[ ]*+(?:{_BLOB})?:", re.IGNORECASE | re.ASCII)
_TRAILER = "(fwd)"
_FORWARD, _FORWARD_END = "[fwd:", "]"


def base_subject(subject: str) -> tuple[str, bool]:
    """The subject without what replies and forwards add, and whether they added any.

    subject: decoded; its first 1,000 characters count. Numbers in comments are the steps of RFC 5256 section 2.1. Time
    in proportion to the length for each level of `[fwd: ...]`.
    """
    text = _SPACES.sub(" ", subject[:TEXT_MAX])  # 1
    is_reply = False
    while True:
        text, trailed = _without_trailers(text)  # 2
        text, led = _without_leaders(text)  # 3 to 5
        is_reply = is_reply or trailed or led
        if not (text[: len(_FORWARD)].lower() == _FORWARD and text.endswith(_FORWARD_END)):
            return text, is_reply
        text, is_reply = text[len(_FORWARD) : -len(_FORWARD_END)], True  # 6


def _without_trailers(text: str) -> tuple[str, bool]:
    found = False
    text = text.rstrip(" ")
    while text[-len(_TRAILER) :].lower() == _TRAILER:
        text, found = text[: -len(_TRAILER)].rstrip(" "), True
    return text, found


def _without_leaders(text: str) -> tuple[str, bool]:
    at, found, size = 0, False, len(text)
    while at < size:
        if text[at] == " ":
            at += 1
            continue
        blobs = _BLOBS.match(text, at)
        after = blobs.end() if blobs is not None else at
        mark = _REFWD.match(text, after)
        if mark is not None:  # 3: blobs too belong to the leader
            at, found = mark.end(), True
        elif after == at:
            break
        elif after < size:  # 4, for every blob of the run, since none leads to a mark
            at = after
        else:  # 4, but the last blob is all there is
            return _last_blob(text, at), found
    return text[at:], found


def _last_blob(text: str, at: int) -> str:
    """The last blob of a text that is nothing but blobs from `at` on."""
    return text[text.rindex("[", at) :]

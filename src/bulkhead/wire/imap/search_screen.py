"""A first look at a message's listed header fields that tells whether SEARCH can find it at all.

Most messages of a search in a header do not match, and most fields are plain ASCII. For those the needle is looked for
in the octets as they stand, without taking addresses apart or decoding words. The screen only ever errs towards yes:
whatever could read differently from how it looks (encoded words, 8-bit octets, comments, quoting, spaces around dots
and @ of an address) is let through to the real test.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from bulkhead.wire.header import FieldCutter
from bulkhead.wire.imap.search import And, HasField, Or, SearchKey
from bulkhead.wire.imap.sources import SUMMARY_FIELDS
from bulkhead.wire.search_text import fold

Screen: TypeAlias = Callable[[bytes], bool]
"""Whether a message with this block of listed fields, each whole, might match."""

_ADDRESS_FIELDS: Final = frozenset((b"FROM", b"TO", b"CC", b"BCC", b"SENDER", b"REPLY-TO"))
_LOWER: Final = bytes(range(256)).lower()
_LINE_ENDS_AND_NUL: Final = b"\r\n\0"
_DISGUISED: Final = re.compile(rb'[\\(]|[ \t][.@]|[.@][ \t]|"@|\."|"\.')


def screen_of(key: SearchKey) -> Screen | None:
    """The screen of a search, None where nothing can be told before the real test."""
    match key:
        case HasField(field, wanted) if field in SUMMARY_FIELDS:
            return _of_field(field, fold(wanted))
        case And(keys):
            screens = [screen for item in keys if (screen := screen_of(item)) is not None]
            return (lambda fields: all(screen(fields) for screen in screens)) if screens else None
        case Or(keys):
            either = [screen_of(item) for item in keys]
            known = [screen for screen in either if screen is not None]
            return (lambda fields: any(screen(fields) for screen in known)) if len(known) == len(either) else None
        case _:
            return None


def _of_field(field: bytes, folded: str) -> Screen | None:
    if not folded or not folded.isascii() or not folded.isprintable():
        return None
    needle, cut = folded.encode("ascii"), FieldCutter((field,)).cut
    disguised = _DISGUISED.search if field in _ADDRESS_FIELDS else None

    def screen(fields: bytes) -> bool:
        text = cut(fields).translate(_LOWER, _LINE_ENDS_AND_NUL)
        if needle in text or not text.isascii() or b"=?" in text or b"\x1b" in text:
            return True
        return disguised is not None and disguised(text) is not None

    return screen

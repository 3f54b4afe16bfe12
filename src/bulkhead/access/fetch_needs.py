"""What the items of one FETCH need of a message, so that no more of it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.wire.imap.fetch import (
    Attribute,
    BinarySection,
    BinarySize,
    BodySection,
    FetchItem,
    Section,
    SectionText,
    source_of_item,
)  # fmt: skip
from bulkhead.wire.imap.sources import Source


@dataclass(frozen=True, slots=True)
class Needs:
    """Of all items together. source: the furthest that any of them reads."""

    source: Source
    summary: bool
    header: bool  # the complete one, for sure
    whole: bool  # the message from its first octet to its last
    uid: bool  # asked for, as are the next two
    flags: bool
    modseq: bool

    @classmethod
    def of(cls, items: Sequence[FetchItem]) -> "Needs":
        """items: at least one."""
        return cls(
            max(map(source_of_item, items)),
            any(map(_needs_summary, items)),
            any(map(_needs_header, items)),
            any(map(_is_whole, items)),
            Attribute.UID in items,
            Attribute.FLAGS in items,
            Attribute.MODSEQ in items,
        )


def _needs_summary(item: FetchItem) -> bool:
    if isinstance(item, BinarySection | BinarySize):
        return bool(item.part)
    if item is Attribute.PREVIEW or (isinstance(item, BodySection) and item.section.part):
        return True
    return source_of_item(item) is Source.SUMMARY


def _needs_header(item: FetchItem) -> bool:
    if not isinstance(item, BodySection) or item.section.part or item.partial is not None:
        return False
    return item.section.text is not SectionText.TEXT and source_of_item(item) >= Source.HEADER


def _is_whole(item: FetchItem) -> bool:
    return isinstance(item, BodySection) and item.partial is None and item.section == Section()

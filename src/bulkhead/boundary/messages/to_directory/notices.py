"""What subscribers are told of changes to their addresses, as courier fetches it."""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U63, AddressText, Done, Millis, Mutation, Reply, Request, Text
from bulkhead.boundary.messages.to_directory.values import BindingRow

NOTICES_MAX = 16  # of one page


class NoticeKind(IntEnum):
    """What a subscriber is told."""

    ALIAS_ADDED = 1
    ALIAS_REMOVED = 2
    FORWARD_SET = 3
    FORWARD_ENDED = 4


class NoticeRow(Reply, frozen=True):
    """One notice. kind: of NoticeKind. about: addresses, those of others masked. address, binding: whose it is."""

    number: U63
    kind: U8
    about: Text
    at: Millis
    address: AddressText
    binding: BindingRow


class NoticePage(Reply, frozen=True):
    """The oldest that wait."""

    rows: Annotated[tuple[NoticeRow, ...], Meta(max_length=NOTICES_MAX)]


class TakeNotices(Request[NoticePage], frozen=True, tag=91):
    """Notices to subscribers about their addresses that wait to be delivered. after: numbers above it alone."""

    limit: Annotated[int, Meta(ge=1, le=NOTICES_MAX)]
    after: U63 = 0


class DropNotice(Mutation[Done], frozen=True, tag=92):
    """That notice is in its mailbox, or nobody's."""

    number: U63

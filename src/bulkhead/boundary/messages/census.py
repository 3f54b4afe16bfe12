"""What `auth` and `keyring` both answer about their records: opened, checked, counted, none listed."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U32, U63, Reply, Text

SORTS_MAX = 256
PROBLEMS_MAX = 100  # named; all are counted
WALK_ROWS_MAX = 16_384
ACCOUNTS_MAX = 12_288  # of one request by account: 192 KiB
HALVES_BYTES = 12

Cursor = Annotated[bytes, Meta(max_length=64)]
AccountIds = Annotated[bytes, Meta(min_length=16, max_length=16 * ACCOUNTS_MAX)]  # 16 bytes each


class RecordCount(Reply, frozen=True):
    """How many records are alike. kind: the record's. scheme: how its password is stretched; empty where it has none.

    `unreadable`: it does not open, or its layout is not known.
    """

    kind: U8
    scheme: Annotated[str, Meta(max_length=96)]
    state: U8
    key_version: U32
    count: U63


class RecordPage(Reply, frozen=True):
    """What a part of a walk gave. next: where to go on; empty: that was the end. faults: all, problems: the first."""

    counts: Annotated[tuple[RecordCount, ...], Meta(max_length=SORTS_MAX)]
    faults: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=PROBLEMS_MAX)]
    next: Cursor


class AccountRecords(Reply, frozen=True):
    """What the records of some accounts gave. halves: 12 bytes for each account, in the order asked, big-endian:

    state u8 of the account here (0: none) | halves of the main password u8 | newest g of it u32 |
    halves of app passwords u16 | sum of their g u32, modulo 2**32
    """

    counts: Annotated[tuple[RecordCount, ...], Meta(max_length=SORTS_MAX)]
    faults: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=PROBLEMS_MAX)]
    halves: Annotated[bytes, Meta(max_length=HALVES_BYTES * ACCOUNTS_MAX)]

"""Access records as a holder gives them: each receiver has these requests under tags of its own.

Rows are 47 octets each: at u64 (ms) | act u8 | outcome u8 | gate u8 | number u32 | account 16 | source 16
(records/access.py). A request looks for at most SEARCH_SECONDS and answers with a cursor behind what it has seen.
"""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U63, Millis, Reply, Request

ROWS_MAX = 4096
ROW_BYTES = 47
ACTS_ALL = 0xFFFF
Prefix = Annotated[bytes, Meta(max_length=16)]
Someone = Annotated[bytes, Meta(max_length=16)]


class Cursor(Reply, frozen=True):
    """Where a search goes on: in the day's file behind `offset` octets, past `index` records of the block there."""

    day: U32 = 0
    offset: U63 = 0
    index: U32 = 0


class AccessPage(Reply, frozen=True):
    """Records found. more: whether the search is to be gone on with from `cursor`. damaged: blocks that do not open.

    waiting: the time of the oldest record that the disk has no room for yet, which no search finds; 0: none.
    """

    rows: Annotated[bytes, Meta(max_length=ROWS_MAX * ROW_BYTES)]
    cursor: Cursor
    more: bool
    damaged: U32
    waiting: Millis = 0


class SearchAccessesBase(Request[AccessPage], frozen=True):
    """Records of a window, oldest first. account: 16 octets or none. source: the first octets of the address.

    acts: bit n for act n. gate: slot of a compartment, or 0.
    """

    since: Millis
    until: Millis
    account: Someone = b""
    source: Prefix = b""
    acts: Annotated[int, Meta(ge=0, le=ACTS_ALL)] = ACTS_ALL
    gate: Annotated[int, Meta(ge=0, le=255)] = 0
    cursor: Cursor = Cursor()
    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] = ROWS_MAX


class AccessCount(Reply, frozen=True):
    """How many records of one act and outcome."""

    act: Annotated[int, Meta(ge=0, le=255)]
    outcome: Annotated[int, Meta(ge=0, le=255)]
    records: U63


class AccessCounts(Reply, frozen=True):
    """What a window holds. accounts: how many different ones. oldest: first day whose key is there, since 1970."""

    rows: Annotated[tuple[AccessCount, ...], Meta(max_length=256)]
    records: U63
    accounts: U63
    damaged: U32
    oldest: U32


class CountAccessesBase(Request[AccessCounts], frozen=True):
    """How many records of a window, as SearchAccesses finds them. Refused: `busy` while another count is made."""

    since: Millis
    until: Millis
    account: Someone = b""
    source: Prefix = b""
    acts: Annotated[int, Meta(ge=0, le=ACTS_ALL)] = ACTS_ALL
    gate: Annotated[int, Meta(ge=0, le=255)] = 0

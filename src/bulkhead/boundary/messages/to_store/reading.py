"""From `access`, by handle: the state of a mailbox, what changed in it, and the sealed parts of messages."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U16, U32, U63, EmailId, Handle, MailboxId, Reply, Request, Seconds
from bulkhead.boundary.messages.to_keyring import Slot
from bulkhead.boundary.messages.to_store.values import (
    COLUMNS_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PAGE_BYTES_MAX,
    ROWS_MAX,
    Ranges,
)

PLACES_MAX = 4096  # messages of one reply of places
MESSAGES_BYTES_MAX = 4 << 20  # sealed headers and bodies of one ReadMessages


class Column:
    """Bits of ReadColumns.columns; the body holds the chosen ones in this order."""

    UID = 1
    FLAGS = 2
    SIZE = 4
    DATE = 8
    MODSEQ = 16
    EMAIL = 32


class Columns(Reply, frozen=True):
    """A mailbox's state at one moment; the body has `messages` values of each column asked for."""

    uid_validity: U32
    uid_next: U32
    modseq: U63  # the highest in this mailbox
    messages: U32
    recent_from: U32  # UIDs from here up to recent_to are \\Recent for this session; those behind it are another's
    recent_to: U32 = 0


class ReadColumns(Request[Columns], frozen=True, tag=30):
    """Packed arrays of a mailbox in UID order, from `first_uid` on. `claim_recent`: SELECT, not EXAMINE.

    `watch`: from now on tell this channel MailboxChanged(handle) when anything changes in the account.
    """

    reply_body_max: ClassVar[int] = COLUMNS_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    columns: U8
    first_uid: U32 = 1
    claim_recent: bool = False
    watch: bool = False


class Changes(Reply, frozen=True):
    """What happened since a MODSEQ. Body: `expunged` UIDs u32, then `changed` UIDs u32, flags u64, MODSEQs u64.

    Changed includes new messages. `complete` is False when the log no longer reaches back: read columns again.
    """

    uid_next: U32
    modseq: U63
    messages: U32
    expunged: U32
    changed: U32
    recent_from: U32
    complete: bool
    recent_to: U32 = 0  # the UID after the last that is \\Recent for this session


class ReadChanges(Request[Changes], frozen=True, tag=31):
    """What happened in a mailbox after `since`."""

    reply_body_max: ClassVar[int] = COLUMNS_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    since: U63
    claim_recent: bool = False


class MessageRow(Reply, frozen=True):
    """What is needed to read one message. page 0: arrived, `sealed_key` is the HPKE box; else filed, it is the slot."""

    uid: U32
    email: EmailId
    size: U32
    date: Seconds
    page: U32
    index: U8
    sealed_key: Slot
    summary_size: U32
    header_size: U32
    body_size: U32


class MessageRows(Reply, frozen=True):
    """Rows in UID order; `more`: ask again from the last UID + 1."""

    rows: Annotated[tuple[MessageRow, ...], Meta(max_length=ROWS_MAX)]
    more: bool


class ReadRows(Request[MessageRows], frozen=True, tag=32):
    """Rows of messages by UID; missing UIDs are left out."""

    handle: Handle
    mailbox: MailboxId
    uids: Ranges
    limit: U16 = ROWS_MAX


class PartSent(Reply, frozen=True):
    """The sealed bytes follow; `size` is the whole part's sealed size."""

    size: U32


class ReadPart(Request[PartSent], frozen=True, tag=33):
    """Sealed bytes [offset, offset + length) of one part (length 0: to its end). Refused: `no-such-message`."""

    reply_body_max: ClassVar[int] = MESSAGE_BYTES_MAX
    handle: Handle
    email: EmailId
    part: U8
    offset: U32 = 0
    length: U32 = 0


class SizedParts(Reply, frozen=True):
    """Sealed sizes of the parts that follow one after another; 0 where the message is gone."""

    sizes: Annotated[tuple[U32, ...], Meta(max_length=256)]


class ReadParts(Request[SizedParts], frozen=True, tag=34):
    """One part (summary or header) of many messages, whole."""

    reply_body_max: ClassVar[int] = COLUMNS_BYTES_MAX
    handle: Handle
    part: U8
    emails: Annotated[tuple[EmailId, ...], Meta(min_length=1, max_length=256)]


class ReadMessages(Request[SizedParts], frozen=True, tag=84):
    """Sealed header and body of several messages, one after another; the size is of both. Refused: `too-large`."""

    reply_body_max: ClassVar[int] = MESSAGES_BYTES_MAX
    handle: Handle
    emails: Annotated[tuple[EmailId, ...], Meta(min_length=1, max_length=64)]


class Places(Reply, frozen=True):
    """Where summaries are. Body: `messages` UIDs u32, their pages u32 (0: not filed), their indices in the page u8."""

    messages: U32


class ReadPlaces(Request[Places], frozen=True, tag=90):
    """The places of the summaries of messages by UID, at most 4,096; missing UIDs are left out."""

    reply_body_max: ClassVar[int] = 9 * PLACES_MAX
    handle: Handle
    mailbox: MailboxId
    uids: Ranges


class PageRow(Reply, frozen=True):
    """One summary page: its version, live summaries and sealed size (0: no such page)."""

    page: U32
    version: U32
    live: U16
    used: U16
    size: U32
    generation: U32 = 0  # of the mailbox key that it is sealed under


class PagesSent(Reply, frozen=True):
    """The sealed pages follow one after another."""

    pages: Annotated[tuple[PageRow, ...], Meta(max_length=64)]


class ReadPages(Request[PagesSent], frozen=True, tag=35):
    """Sealed summary pages of the account."""

    reply_body_max: ClassVar[int] = 64 * PAGE_BYTES_MAX
    handle: Handle
    pages: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=64)]

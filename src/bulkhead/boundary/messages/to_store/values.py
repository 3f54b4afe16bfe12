"""What several messages to `store` carry: limits, ranges of UIDs, a sealed copy."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, AccountId, EmailId, Reply, Seconds
from bulkhead.boundary.messages.to_keyring import KeyBox

ROWS_MAX = 1000  # rows of one reply
RANGES_MAX = 8192  # UID ranges of one request
MAILBOXES_MAX = 1000  # mailboxes of one account
MESSAGE_BYTES_MAX = 128 << 20  # sealed parts of one copy
COLUMNS_BYTES_MAX = 256 << 20  # packed columns of one mailbox
PAGE_BYTES_MAX = 16 << 20  # one sealed summary page

UidRange = tuple[U32, U32]  # first and last UID, both inside
Ranges = Annotated[tuple[UidRange, ...], Meta(max_length=RANGES_MAX)]
UidlText = Annotated[str, Meta(max_length=70, pattern=r"^[!-~]*\Z")]  # RFC 1939 section 7; empty: none


class Part:
    """The three sealed parts of a message."""

    SUMMARY = 1
    HEADER = 2
    BODY = 3


class Copy(Reply, frozen=True):
    """One sealed copy of a message for one account: its parts follow in the body, in this order."""

    account: AccountId
    email: EmailId
    box: KeyBox
    size: U32  # RFC822.SIZE, octets
    summary_size: U32  # sealed sizes, bytes
    header_size: U32
    body_size: U32
    date: Seconds  # INTERNALDATE

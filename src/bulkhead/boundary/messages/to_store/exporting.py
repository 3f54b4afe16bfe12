"""From the command line: an account's mail as it lies here, sealed, for a copy that its tenant takes away."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U63, U64, AccountId, EmailId, MailboxId, Reply, Request, Seconds
from bulkhead.boundary.messages.to_keyring import Slot
from bulkhead.boundary.messages.to_store.mailboxes import MailboxPage, NamedRows
from bulkhead.boundary.messages.to_store.reading import SizedParts
from bulkhead.boundary.messages.to_store.values import MESSAGE_BYTES_MAX, ROWS_MAX, UidlText

EXPORTED_PARTS_MAX = 64  # messages of one ExportParts


class ExportMailboxes(Request[MailboxPage], frozen=True, tag=100):
    """Every mailbox of an account. Refused: `no-such-account`."""

    account: AccountId


class ExportNames(Request[NamedRows], frozen=True, tag=101):
    """The account's keywords with their bits, or the names it subscribed to. Refused: `no-such-account`."""

    account: AccountId
    subscriptions: bool = False


class ExportedRow(Reply, frozen=True):
    """One message of a mailbox. filed: `sealed_key` is the slot; else it is the HPKE box."""

    uid: U32
    flags: U64
    modseq: U63
    uidl: UidlText
    email: EmailId
    size: U32
    date: Seconds
    filed: bool
    sealed_key: Slot
    header_size: U32
    body_size: U32


class ExportedRows(Reply, frozen=True):
    """Rows in UID order; `more`: ask again from the last UID + 1."""

    rows: Annotated[tuple[ExportedRow, ...], Meta(max_length=ROWS_MAX)]
    more: bool


class ExportRows(Request[ExportedRows], frozen=True, tag=102):
    """Messages of a mailbox from `first_uid` on. Refused: `no-such-account`, `no-such-mailbox`."""

    account: AccountId
    mailbox: MailboxId
    first_uid: U32 = 1


class ExportParts(Request[SizedParts], frozen=True, tag=103):
    """Sealed header and body of the first of these messages, one after another, as many as make 4 MiB and at least one.

    The size is of both, 0 where the message is gone; messages without a size: ask again for them.
    """

    reply_body_max: ClassVar[int] = MESSAGE_BYTES_MAX
    account: AccountId
    emails: Annotated[tuple[EmailId, ...], Meta(min_length=1, max_length=EXPORTED_PARTS_MAX)]

"""From the command line: mail of a backup comes back into a cell that runs. Sealed as it lay there; nobody reads it."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import (
    U8,
    U32,
    U64,
    AccountId,
    EmailId,
    MailboxId,
    Mutation,
    Reply,
    Request,
    Sealed,
)
from bulkhead.boundary.messages.to_store.values import MESSAGE_BYTES_MAX, Copy, UidlText

FOUND_MAX = 4000  # messages of one FindMessages
RESTORED_MAX = 100  # messages of one RestoreMessages
RESTORED_ROWS_MAX = 1000


class Found:
    """Where a message is."""

    NOWHERE = 0
    MAILBOX = 1
    DELETED = 2  # kept for undelete, in no mailbox


class FoundMessages(Reply, frozen=True):
    """An octet of Found for each, in their order."""

    states: Annotated[bytes, Meta(max_length=FOUND_MAX)]


class FindMessages(Request[FoundMessages], frozen=True, tag=112):
    """Which messages an account has. Refused: `no-such-account`."""

    account: AccountId
    emails: Annotated[tuple[EmailId, ...], Meta(min_length=1, max_length=FOUND_MAX)]


class RestoredMailbox(Reply, frozen=True):
    """Where messages of a mailbox go. made: made again, under a new UIDVALIDITY."""

    mailbox: MailboxId
    made: bool


class RestoreMailbox(Mutation[RestoredMailbox], frozen=True, tag=113):
    """The mailbox of this id; else the one that has its name; else it is made again under its id and sealed name.

    INBOX where the name is sealed to a mailbox key that was renewed since. Refused: `no-such-account`,
    `too-many-mailboxes`.
    """

    account: AccountId
    mailbox: MailboxId
    role: U8
    sealed_name: Sealed
    tag: Annotated[bytes, Meta(max_length=16)]  # empty: INBOX


class RestoredRow(Reply, frozen=True):
    """A copy's place in a mailbox. uidl: its unique-id of before, of INBOX."""

    copy: U8  # index
    mailbox: MailboxId
    flags: U64
    uidl: UidlText = ""


class MessagesRestored(Reply, frozen=True):
    """Messages that came back; that are there; and whose key is sealed to a mailbox key that is no more."""

    restored: U32
    present: U32
    closed: U32


class RestoreMessages(Mutation[MessagesRestored], frozen=True, tag=114):
    """Bring back those of these messages that are in no mailbox, under new UIDs; the body is all sealed parts in order.

    A copy's box is its key box, or its slot. Keywords that the account has not are left out. Refused, and nothing of
    it done: `over-quota`, `no-such-account`, `no-such-mailbox`, `bad-rows`.
    """

    body_max: ClassVar[int] = 2 * MESSAGE_BYTES_MAX
    copies: Annotated[tuple[Copy, ...], Meta(min_length=1, max_length=RESTORED_MAX)]
    rows: Annotated[tuple[RestoredRow, ...], Meta(min_length=1, max_length=RESTORED_ROWS_MAX)]

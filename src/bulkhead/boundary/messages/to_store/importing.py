"""From the command line: mail of another server's files into an account, sealed before it comes here."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U64, AccountId, MailboxId, Mutation, Reply, Sealed, Tag16
from bulkhead.boundary.messages.to_store.mailboxes import MailboxRow, NamedRow
from bulkhead.boundary.messages.to_store.values import MESSAGE_BYTES_MAX, Copy, UidlText

IMPORTED_MAX = 64  # messages of one ImportMessages
IMPORTED_UID_MAX = 4_000_000_000  # the rest is left for messages to come


class ImportMailbox(Mutation[MailboxRow], frozen=True, tag=115):
    """Make a mailbox; or give one that is there, and never had a message, another UIDVALIDITY.

    sealed_name, tag: of a new one; empty for one that is there.   uid_validity: 0 for the account's next, which it gets
    as well where another mailbox of it has that one.
    uid_next: at least that from now on; 0: as it is.
    Refused: `no-such-account`, `not-empty`, `mailbox-exists`, `too-many-mailboxes`, `bad-role`, `no-such-mailbox`.
    """

    account: AccountId
    mailbox: MailboxId
    uid_validity: U32 = 0
    sealed_name: Sealed = b""
    tag: Annotated[bytes, Meta(max_length=16)] = b""
    role: Annotated[int, Meta(ge=0, le=255)] = 0
    uid_next: U32 = 0


class ImportName(Mutation[NamedRow], frozen=True, tag=116):
    """A keyword of the account and its bit, or a subscription. Refused: `no-such-account`, `too-many-keywords`."""

    account: AccountId
    tag: Tag16
    sealed_name: Sealed
    subscription: bool = False


class ImportedMessages(Reply, frozen=True):
    """added: of them; the others were here by their EmailId.   renumbered: whose UID was taken or too low.

    renamed: whose unique-id could not be kept.
    """

    added: U32
    renumbered: U32
    renamed: U32


class ImportMessages(Mutation[ImportedMessages], frozen=True, tag=117):
    """Copies into one mailbox of one account, all or none, durable; the body is their sealed parts in order.

    uids: the UID that each is to have, 0 for the next.   uidls: unique-ids for POP3, empty for none. Both as many as
    copies. Refused: `over-quota`, `no-such-account`, `no-such-mailbox`, `unknown-keyword`, `bad-copies`.
    """

    body_max: ClassVar[int] = 2 * MESSAGE_BYTES_MAX
    account: AccountId
    mailbox: MailboxId
    copies: Annotated[tuple[Copy, ...], Meta(min_length=1, max_length=IMPORTED_MAX)]
    flags: Annotated[tuple[U64, ...], Meta(max_length=IMPORTED_MAX)]
    uids: Annotated[tuple[U32, ...], Meta(max_length=IMPORTED_MAX)]
    uidls: Annotated[tuple[UidlText, ...], Meta(max_length=IMPORTED_MAX)]

"""From `access`, by handle: mailboxes, keywords, subscriptions and quota."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import (
    U8,
    U32,
    U63,
    Done,
    Handle,
    MailboxId,
    Mutation,
    Reply,
    Request,
    Sealed,
    Tag16,
)
from bulkhead.boundary.messages.to_store.values import MAILBOXES_MAX


class Role:
    """A mailbox's special use, in clear: it decides what store does with it."""

    NONE = 0
    INBOX = 1
    DRAFTS = 2
    SENT = 3
    JUNK = 4
    TRASH = 5
    ARCHIVE = 6


class MailboxRow(Reply, frozen=True):
    """One mailbox. INBOX has an empty sealed name."""

    mailbox: MailboxId
    role: U8
    sealed_name: Sealed
    uid_validity: U32
    uid_next: U32
    messages: U32
    unseen: U32
    deleted: U32
    recent: U32
    size: U63
    modseq: U63
    deleted_size: U63 = 0  # octets of the messages flagged Deleted


class MailboxPage(Reply, frozen=True):
    """Every mailbox of the account."""

    rows: Annotated[tuple[MailboxRow, ...], Meta(max_length=MAILBOXES_MAX)]


class ListMailboxes(Request[MailboxPage], frozen=True, tag=20):
    """Every mailbox of the session's account, with counts."""

    handle: Handle


class CreateMailbox(Mutation[MailboxRow], frozen=True, tag=22):
    """Make a mailbox. Refused: `mailbox-exists` (same tag), `too-many-mailboxes`."""

    handle: Handle
    mailbox: MailboxId
    sealed_name: Sealed
    tag: Tag16  # keyed lookup tag of the name
    role: U8 = 0


class NameChange(Reply, frozen=True):
    """A mailbox's new sealed name."""

    mailbox: MailboxId
    sealed_name: Sealed
    tag: Tag16


class RenameMailboxes(Mutation[Done], frozen=True, tag=23):
    """Give mailboxes (one and its children) new names, all or none. Refused: `mailbox-exists`, `no-such-mailbox`."""

    handle: Handle
    changes: Annotated[tuple[NameChange, ...], Meta(min_length=1, max_length=MAILBOXES_MAX)]


class RenameInbox(Mutation[MailboxRow], frozen=True, tag=61):
    """Make a mailbox and move all of INBOX's messages into it, in one transaction (RFC 3501 section 6.3.5).

    Refused: `mailbox-exists`, `too-many-mailboxes`.
    """

    handle: Handle
    mailbox: MailboxId
    sealed_name: Sealed
    tag: Tag16


class DeleteMailbox(Mutation[Done], frozen=True, tag=24):
    """Delete a mailbox and what is in it. Refused: `no-such-mailbox`, `is-inbox`."""

    handle: Handle
    mailbox: MailboxId


class NamedRow(Reply, frozen=True):
    """A sealed name and its number: a keyword's flag bit (5 to 63), or 0 for a subscription."""

    bit: U8
    tag: Tag16
    sealed_name: Sealed


class NamedRows(Reply, frozen=True):
    """Keywords or subscriptions of the account."""

    rows: Annotated[tuple[NamedRow, ...], Meta(max_length=MAILBOXES_MAX)]


class ListKeywords(Request[NamedRows], frozen=True, tag=25):
    """The account's keywords and their bits."""

    handle: Handle


class AddKeyword(Mutation[NamedRow], frozen=True, tag=26):
    """The bit of a keyword, a new one if need be. Refused: `too-many-keywords` (59)."""

    handle: Handle
    tag: Tag16
    sealed_name: Sealed


class ListSubscriptions(Request[NamedRows], frozen=True, tag=27):
    """The names the subscriber subscribed to (RFC 3501 section 6.3.6)."""

    handle: Handle


class SetSubscription(Mutation[Done], frozen=True, tag=28):
    """Subscribe to a name, which need not exist, or not any more."""

    handle: Handle
    tag: Tag16
    sealed_name: Sealed
    subscribed: bool


class NewName(Reply, frozen=True):
    """What is known by `old` is from now on known by `tag`."""

    old: Tag16
    tag: Tag16
    sealed_name: Sealed


class NameTable:
    """What a name is of."""

    MAILBOX = 1
    KEYWORD = 2
    SUBSCRIPTION = 3


class ReplaceNames(Mutation[Done], frozen=True, tag=29):
    """Names as they are sealed under another mailbox key, all in one transaction.

    table: NameTable. One whose old tag is gone is left out. No MODSEQ changes, since no name does.
    Refused: `bad-table`, `mailbox-exists`.
    """

    handle: Handle
    table: U8
    names: Annotated[tuple[NewName, ...], Meta(min_length=1, max_length=MAILBOXES_MAX)]


class Quota(Reply, frozen=True):
    """What is used and allowed, in octets of RFC822.SIZE and in messages; 0 allowed means no limit."""

    used: U63
    allowed: U63
    messages: U63
    messages_allowed: U63 = 0


class ReadQuota(Request[Quota], frozen=True, tag=44):
    """The session's account's quota."""

    handle: Handle

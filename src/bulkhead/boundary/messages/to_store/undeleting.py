"""From the command line: what an account's subscriber deleted, and its way back. By ids: no mail is read."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U32, U63, AccountId, MailboxId, Mutation, Reply, Request, Seconds
from bulkhead.boundary.messages.to_store.values import MAILBOXES_MAX


class DeletedGroup(Reply, frozen=True):
    """What was deleted in one mailbox and can come back. gone: the mailbox was deleted too."""

    mailbox: MailboxId
    role: U8
    gone: bool
    messages: U32
    octets: U63
    first: Seconds  # when the first and the last of them were deleted
    last: Seconds


class DeletedGroups(Reply, frozen=True):
    """The mailboxes with the newest deletions."""

    groups: Annotated[tuple[DeletedGroup, ...], Meta(max_length=MAILBOXES_MAX)]


class ListDeleted(Request[DeletedGroups], frozen=True, tag=110):
    """What can come back, of deletions since `since`. Refused: `no-such-account`."""

    account: AccountId
    since: Seconds = 0


class Undeleted(Reply, frozen=True):
    """How many messages came back; `more`: ask again for the rest."""

    messages: U32
    more: bool


class UndeleteMessages(Mutation[Undeleted], frozen=True, tag=111):
    """Bring messages back into the mailbox they were deleted from, under new UIDs, at most 8,000 at once.

    A mailbox that was deleted is made again under its sealed name. Refused: `over-quota`, `no-such-account`,
    `no-such-mailbox` (nothing of it is kept), `too-many-mailboxes`.
    """

    account: AccountId
    mailbox: MailboxId
    since: Seconds = 0

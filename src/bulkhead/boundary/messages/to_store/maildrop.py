"""From `access`, for POP3: the lock of a maildrop, what its session deletes, unique-ids."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, Done, Handle, MailboxId, Mutation, Reply, Request
from bulkhead.boundary.messages.to_store.values import UidlText

RUNS_BYTES_MAX = 4 << 20  # runs of UIDs of one UpdateMaildrop: of 1,000,000 messages every second one
UIDLS_MAX = 2000  # rows of one UidlRows


class LockMaildrop(Request[Done], frozen=True, tag=80):
    """Hold the account's maildrop until UnlockMaildrop, or until the handle is served no more. Refused: `in-use`.

    Kept in memory: after a restart of the store nobody holds anything, and whoever asks first does.
    """

    handle: Handle


class UnlockMaildrop(Request[Done], frozen=True, tag=81):
    """Hold it no longer, if this handle does."""

    handle: Handle


class MaildropUpdated(Reply, frozen=True):
    """How many messages went."""

    expunged: U32


class UpdateMaildrop(Mutation[MaildropUpdated], frozen=True, tag=82):
    """Remove what a POP3 session deleted, all in one transaction. The body is runs of UIDs: first and last, u32 each.

    Refused, and nothing was removed: `not-locked` where this handle does not hold the maildrop, `bad-runs`.
    """

    body_max: ClassVar[int] = RUNS_BYTES_MAX
    handle: Handle
    mailbox: MailboxId


class UidlRow(Reply, frozen=True):
    """A message's imported unique-id."""

    uid: U32
    uidl: UidlText


class UidlRows(Reply, frozen=True):
    """Messages that have one, in UID order; `more`: ask again from the last UID + 1."""

    rows: Annotated[tuple[UidlRow, ...], Meta(max_length=UIDLS_MAX)]
    more: bool


class ReadUidls(Request[UidlRows], frozen=True, tag=83):
    """The imported unique-ids of a mailbox."""

    handle: Handle
    mailbox: MailboxId
    first_uid: U32 = 1

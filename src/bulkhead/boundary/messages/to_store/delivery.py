"""From `mx`, `submit` and `courier`, which may append and can name no existing message."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, AccountId, Done, Mutation, Request
from bulkhead.boundary.messages.to_store.values import MESSAGE_BYTES_MAX, Copy

COPIES_MAX = 100  # mailboxes of one delivery


class CheckRoom(Request[Done], frozen=True, tag=1):
    """Is there room for `size` octets? Refused: `over-quota`, `no-such-account`."""

    account: AccountId
    size: U32


class DeliverMail(Mutation[Done], frozen=True, tag=2):
    """Put every copy into its account's INBOX in one transaction: all or none, durable before Done.

    The body is the sealed parts of all copies, in order. Refused: `over-quota`, `no-such-account`.
    """

    body_max: ClassVar[int] = COPIES_MAX * MESSAGE_BYTES_MAX
    copies: Annotated[tuple[Copy, ...], Meta(min_length=1, max_length=COPIES_MAX)]

"""From `access`, by handle: flags, expunging, copying and appending."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U32, U63, U64, Handle, MailboxId, Mutation, Reply
from bulkhead.boundary.messages.to_store.values import COLUMNS_BYTES_MAX, MESSAGE_BYTES_MAX, Copy, Ranges, UidlText

APPENDED_MAX = 256  # messages of one AppendMessages


class FlagsStored(Reply, frozen=True):
    """Body: `changed` UIDs u32 and their flags u64, then `refused` UIDs u32 (changed since `unchanged_since`)."""

    modseq: U63
    changed: U32
    refused: U32


class FlagMode:
    """How StoreFlags combines."""

    REPLACE = 0
    ADD = 1
    REMOVE = 2


class StoreFlags(Mutation[FlagsStored], frozen=True, tag=40):
    """Change flags of messages; one MODSEQ for each 8,000 that changed. Lists every message named, changed or not."""

    reply_body_max: ClassVar[int] = COLUMNS_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    uids: Ranges
    mode: U8
    flags: U64
    unchanged_since: U63 = 0  # 0: always


class Expunged(Reply, frozen=True):
    """Body: the expunged UIDs u32."""

    modseq: U63
    expunged: U32


class Expunge(Mutation[Expunged], frozen=True, tag=41):
    """Remove messages flagged Deleted: of these UIDs, or of all when empty. Their slots and parts go at once."""

    reply_body_max: ClassVar[int] = COLUMNS_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    uids: Ranges
    deleted_only: bool = True


class Copied(Reply, frozen=True):
    """Body: `copied` source UIDs u32, then their target UIDs u32."""

    uid_validity: U32
    modseq: U63
    copied: U32


class CopyMessages(Mutation[Copied], frozen=True, tag=42):
    """Copy rows to another mailbox of the account, or move them. Refused: `no-such-mailbox`, `over-quota`."""

    reply_body_max: ClassVar[int] = COLUMNS_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    uids: Ranges
    target: MailboxId
    move: bool


class Appended(Reply, frozen=True):
    """Where an appended message went (RFC 4315). until: as in Done."""

    uid_validity: U32
    uid: U32
    modseq: U63
    until: U63 = 0


class AppendMessage(Mutation[Appended], frozen=True, tag=43):
    """Put one sealed copy into a mailbox of the session's account. Refused: `over-quota`, `no-such-mailbox`.

    `uidl`: the unique-id that POP3 clients know it by from a former system; into INBOX alone. Refused: `bad-uidl`
    (another mailbox, or the form of our own), `duplicate-uidl`.
    """

    body_max: ClassVar[int] = MESSAGE_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    copy: Copy
    flags: U64
    uidl: UidlText = ""


class AppendedMessages(Reply, frozen=True):
    """Where the messages went: UIDs from `first_uid` on, without a gap, in their order. until: as in Done."""

    uid_validity: U32
    first_uid: U32
    modseq: U63
    until: U63 = 0


class AppendMessages(Mutation[AppendedMessages], frozen=True, tag=60):
    """Put several copies into one mailbox of the session's account, all or none (RFC 3502).

    The body is the sealed parts of all copies, in order. Refused: `over-quota`, `no-such-mailbox`, `bad-flags` where
    there are not as many flags as copies.
    """

    body_max: ClassVar[int] = 2 * MESSAGE_BYTES_MAX
    handle: Handle
    mailbox: MailboxId
    copies: Annotated[tuple[Copy, ...], Meta(min_length=1, max_length=APPENDED_MAX)]
    flags: Annotated[tuple[U64, ...], Meta(min_length=1, max_length=APPENDED_MAX)]

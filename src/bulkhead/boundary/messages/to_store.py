"""Messages to `store`: ciphertext, flags, sizes and dates; never an address, a name or a key.

Columns and UID lists cross as bodies of packed little-endian arrays: UIDs and sizes u32, flags and MODSEQs u64,
dates i64 seconds. Flags: bit 0 Seen, 1 Answered, 2 Flagged, 3 Deleted, 4 Draft; bits 5 to 63 the account's keywords.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import (
    U8,
    U16,
    U32,
    U63,
    U64,
    AccountId,
    Done,
    EmailId,
    Handle,
    MailboxId,
    Millis,
    Mutation,
    Name,
    Reply,
    Request,
    Sealed,
    Seconds,
    Tag16,
    Text,
)  # fmt: skip
from bulkhead.boundary.messages.to_keyring import KeyBox, Slot

COPIES_MAX = 100  # mailboxes of one delivery
APPENDED_MAX = 256  # messages of one AppendMessages
ROWS_MAX = 1000  # rows of one reply
PLACES_MAX = 4096  # messages of one reply of places
RANGES_MAX = 8192  # UID ranges of one request
MAILBOXES_MAX = 1000  # mailboxes of one account
MESSAGE_BYTES_MAX = 128 << 20  # sealed parts of one copy
COLUMNS_BYTES_MAX = 256 << 20  # packed columns of one mailbox
MESSAGES_BYTES_MAX = 4 << 20  # sealed headers and bodies of one ReadMessages
RUNS_BYTES_MAX = 4 << 20  # runs of UIDs of one UpdateMaildrop: of 1,000,000 messages every second one
UIDLS_MAX = 2000  # rows of one UidlRows
PAGE_BYTES_MAX = 16 << 20  # one sealed summary page
SPARSE_MAX = 16  # half-dead pages named together

UidRange = tuple[U32, U32]  # first and last UID, both inside
Ranges = Annotated[tuple[UidRange, ...], Meta(max_length=RANGES_MAX)]
UidlText = Annotated[str, Meta(max_length=70, pattern=r"^[!-~]*\Z")]  # RFC 1939 section 7; empty: none


class Part:
    """The three sealed parts of a message."""

    SUMMARY = 1
    HEADER = 2
    BODY = 3


class Column:
    """Bits of ReadColumns.columns; the body holds the chosen ones in this order."""

    UID = 1
    FLAGS = 2
    SIZE = 4
    DATE = 8
    MODSEQ = 16
    EMAIL = 32


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


# --- from mx, submit, courier: append only -----------------------------------------------------------------------


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


# --- from keyring: what sessions exist -----------------------------------------------------------------------------


class Rights:
    """What a session may do."""

    READ = 1
    WRITE = 2
    ALL = 3


class Grant(Reply, frozen=True):
    """`handle`, used on any edge of this channel, acts for `account`, until `expires` (ms)."""

    handle: Handle
    account: AccountId
    rights: U8
    compartment: Name
    worker: U16
    incarnation: U32
    expires: Millis


class GrantSessions(Request[Done], frozen=True, tag=10):
    """Serve these sessions. After a start nothing is served before keyring has sent `complete`."""

    grants: Annotated[tuple[Grant, ...], Meta(max_length=1000)]
    complete: bool
    epoch: U63


class RevokeSessions(Request[Done], frozen=True, tag=11):
    """Serve these no more: the handles named, or all of them. The epoch is durable and only goes up."""

    handles: Annotated[tuple[Handle, ...], Meta(max_length=1000)]
    everything: bool
    epoch: U63


# --- from access: by handle -----------------------------------------------------------------------------------------


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


class Columns(Reply, frozen=True):
    """A mailbox's state at one moment; the body has `messages` values of each column asked for."""

    uid_validity: U32
    uid_next: U32
    modseq: U63  # the highest in this mailbox
    messages: U32
    recent_from: U32  # UIDs from here on are \\Recent for this session


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


class PagesSent(Reply, frozen=True):
    """The sealed pages follow one after another."""

    pages: Annotated[tuple[PageRow, ...], Meta(max_length=64)]


class ReadPages(Request[PagesSent], frozen=True, tag=35):
    """Sealed summary pages of the account."""

    reply_body_max: ClassVar[int] = 64 * PAGE_BYTES_MAX
    handle: Handle
    pages: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=64)]


class FilingPlan(Reply, frozen=True):
    """Where arrived mail may be filed: the account's newest page (0: none yet) and the next free number."""

    newest: PageRow
    next_page: U32


class PlanFiling(Request[FilingPlan], frozen=True, tag=36):
    """Which page may be filled, and which number is free."""

    handle: Handle


class FiledEntry(Reply, frozen=True):
    """One message's place in the page and its slot; for one that is in the page already, the slot is empty."""

    email: EmailId
    index: U8
    slot: Slot


class FileMessages(Mutation[Done], frozen=True, tag=37):
    """Write a page and make these messages filed, in one transaction. The body is the sealed page.

    `replaces` is the version it replaces, 0 for a new page. Refused: `page-changed`, and nothing was written.
    """

    body_max: ClassVar[int] = PAGE_BYTES_MAX
    handle: Handle
    page: U32
    version: U32
    replaces: U32
    used: U16  # summaries in it, dead ones too
    entries: Annotated[tuple[FiledEntry, ...], Meta(min_length=1, max_length=256)]


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
    """Where an appended message went (RFC 4315)."""

    uid_validity: U32
    uid: U32
    modseq: U63


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


class Quota(Reply, frozen=True):
    """What is used and allowed, in octets of RFC822.SIZE and in messages; 0 allowed means no limit."""

    used: U63
    allowed: U63
    messages: U63
    messages_allowed: U63 = 0


class ReadQuota(Request[Quota], frozen=True, tag=44):
    """The session's account's quota."""

    handle: Handle


class SparsePage(Reply, frozen=True):
    """A page of which at least half is dead. live: the indexes that messages name, ascending, one byte each."""

    page: U32
    version: U32
    used: U16
    live: Annotated[bytes, Meta(max_length=256)]


class SparsePages(Reply, frozen=True):
    """Pages worth writing anew; none: nothing to do."""

    pages: Annotated[tuple[SparsePage, ...], Meta(max_length=SPARSE_MAX)]


class ListSparsePages(Request[SparsePages], frozen=True, tag=70):
    """Some of the account's pages in which at least half of the summaries are of messages that are gone."""

    handle: Handle


class RewritePage(Mutation[Done], frozen=True, tag=71):
    """Write a page anew without dead summaries: their places stay, empty, so no message's index, UID or MODSEQ changes.

    The body is the sealed page; `replaces` the version it replaces; `kept` the indexes that are not empty in it,
    ascending. Refused: `page-changed` (another version, or a message names an index that would be empty), `bad-page`.
    """

    body_max: ClassVar[int] = PAGE_BYTES_MAX
    handle: Handle
    page: U32
    version: U32
    replaces: U32
    kept: Annotated[bytes, Meta(min_length=1, max_length=256)]


# --- from access, for POP3 ------------------------------------------------------------------------------------------


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


class ReadMessages(Request[SizedParts], frozen=True, tag=84):
    """Sealed header and body of several messages, one after another; the size is of both. Refused: `too-large`."""

    reply_body_max: ClassVar[int] = MESSAGES_BYTES_MAX
    handle: Handle
    emails: Annotated[tuple[EmailId, ...], Meta(min_length=1, max_length=64)]


# --- from the command line -----------------------------------------------------------------------------------------


class OpenAccount(Mutation[Done], frozen=True, tag=50):
    """Make an account's INBOX, or set its quota (octets, 0: no limit)."""

    account: AccountId
    quota_bytes: U63


class DestroyAccount(Mutation[Done], frozen=True, tag=51):
    """Remove every row, page and part of an account."""

    account: AccountId


class StoreCounts(Reply, frozen=True):
    """What is stored."""

    accounts: U63
    mailboxes: U63
    messages: U63
    bytes_stored: U63
    segments: U63
    reads: U63  # parts and pages read from segments since start
    syncs: U63  # fdatasync and commit syncs since start
    transactions: U63


class CountStore(Request[StoreCounts], frozen=True, tag=52):
    """Counts for `status`, `exposure` and tests."""


class StoreReport(Reply, frozen=True):
    """What `fsck` found; `unreferenced` bytes in segments are waste, not a fault."""

    accounts: U63
    messages: U63
    unreferenced: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=100)]


class CheckStore(Request[StoreReport], frozen=True, tag=53):
    """Check database and segments against each other. `deep`: read every part."""

    deep: bool


# --- from access: more of it ---------------------------------------------------------------------------------------


class AppendedMessages(Reply, frozen=True):
    """Where the messages went: UIDs from `first_uid` on, without a gap, in their order."""

    uid_validity: U32
    first_uid: U32
    modseq: U63


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


class RenameInbox(Mutation[MailboxRow], frozen=True, tag=61):
    """Make a mailbox and move all of INBOX's messages into it, in one transaction (RFC 3501 section 6.3.5).

    Refused: `mailbox-exists`, `too-many-mailboxes`.
    """

    handle: Handle
    mailbox: MailboxId
    sealed_name: Sealed
    tag: Tag16

"""Messages to `queue`: outbound envelopes, schedule and ciphertext."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.fields import (
    U8,
    U16,
    U32,
    U63,
    AccountId,
    AddressText,
    Done,
    Millis,
    Mutation,
    Name,
    QueueId,
    Reply,
    Request,
    Text,
)  # fmt: skip
from bulkhead.boundary.messages.latency import NOTHING, Latencies
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.surfaces import (
    LiftSurfacesBase,
    ReadSurfacesBase,
    StageAccountsBase,
    StopSurfacesBase,
)
from bulkhead.boundary.messages.to_directory import ForwardStatement
from bulkhead.boundary.messages.to_keyring import KeyBox

RECIPIENTS_MAX = 1000
MESSAGE_BYTES_MAX = 128 << 20  # sealed header and body of one message


class Enqueue(Mutation[Done], frozen=True, tag=1):
    """Take a message for delivery elsewhere; durable before Done. Body: sealed header, then sealed body.

    reverse_path: wire form without brackets, empty for null.   account: who sends, for the limits of an account; None
    counts for nobody. Refused: `queue-full`, `sent-too-much`.
    """

    body_max: ClassVar[int] = MESSAGE_BYTES_MAX
    queue_id: QueueId
    reverse_path: AddressText
    recipients: Annotated[tuple[AddressText, ...], Meta(min_length=1, max_length=RECIPIENTS_MAX)]
    box: KeyBox
    size: U32  # octets of the message
    header_size: U32  # sealed sizes, bytes
    body_size: U32
    account: AccountId | None = None


class EnqueueForward(Mutation[Done], frozen=True, tag=5):
    """Take a message that an account's forward sends to another server; durable before Done. Body as Enqueue's.

    statement: directory's, of which its id, recipient and reverse-path are; one statement takes one message.
    Refused: `no-statement`, `expired`, `used`, `queue-full`, `sent-too-much`.
    """

    body_max: ClassVar[int] = MESSAGE_BYTES_MAX
    statement: ForwardStatement
    box: KeyBox
    size: U32  # octets of the message
    header_size: U32  # sealed sizes, bytes
    body_size: U32


class DueRecipient(Reply, frozen=True):
    """A recipient still to be delivered: its number within the message."""

    number: U16
    address: AddressText


class Work(Reply, frozen=True):
    """One message that is due, leased to this channel."""

    queue_id: QueueId
    reverse_path: AddressText
    recipients: Annotated[tuple[DueRecipient, ...], Meta(max_length=RECIPIENTS_MAX)]
    box: KeyBox
    size: U32
    header_size: U32
    body_size: U32
    enqueued: Millis
    attempts: U32
    expires: Millis
    warn_after: Millis
    warned: bool


class WorkList(Reply, frozen=True):
    """Due messages; when there are fewer than asked for, `next_due` (ms, 0: none) says when to ask again."""

    items: Annotated[tuple[Work, ...], Meta(max_length=16)]
    next_due: Millis


class TakeWork(Request[WorkList], frozen=True, tag=2):
    """Lease up to `limit` due messages; the lease ends with the channel or with ReportAttempt."""

    limit: U8


class QueuedPartSent(Reply, frozen=True):
    """The sealed bytes follow."""

    size: U32


class ReadQueued(Request[QueuedPartSent], frozen=True, tag=3):
    """Sealed header and body of a leased message. Refused: `no-lease`."""

    reply_body_max: ClassVar[int] = MESSAGE_BYTES_MAX
    queue_id: QueueId


class Outcome:
    """What became of one recipient."""

    DELIVERED = 1
    DEFERRED = 2
    FAILED = 3  # a DSN has been delivered or is not owed
    UNKNOWN = 4  # the connection died between the final dot and its reply: tried again, counted


class RecipientOutcome(Reply, frozen=True):
    """One recipient's outcome with the remote's words."""

    number: U16
    outcome: U8
    status: Annotated[str, Meta(max_length=16)]  # RFC 3463
    text: Text


class Attempted(Reply, frozen=True):
    """What is left: recipients, and when the next attempt is due (0: the message is gone)."""

    left: U16
    next_due: Millis


class ReportAttempt(Mutation[Attempted], frozen=True, tag=4):
    """Record an attempt durably and end the lease. `warned`: a delay notice was delivered."""

    leased: ClassVar[bool] = False
    queue_id: QueueId
    outcomes: Annotated[tuple[RecipientOutcome, ...], Meta(max_length=RECIPIENTS_MAX)]
    warned: bool


class QueuedRow(Reply, frozen=True):
    """One message in the queue, as listed."""

    queue_id: QueueId
    reverse_path: AddressText
    recipients: U16
    size: U32
    enqueued: Millis
    attempts: U32
    next_due: Millis
    last_error: Text
    state: Name


class QueuePage(Reply, frozen=True):
    """Messages in order of age."""

    rows: Annotated[tuple[QueuedRow, ...], Meta(max_length=500)]


class ListQueue(Request[QueuePage], frozen=True, tag=10):
    """Messages queued at or after `after` (ms)."""

    after: Millis = 0
    limit: U16 = 500


class RetryNow(Mutation[Done], frozen=True, tag=11):
    """Make everything due now."""


class QueuedDestroyed(Reply, frozen=True):
    """How many messages there were."""

    messages: U32


class DestroyQueued(Mutation[QueuedDestroyed], frozen=True, tag=14):
    """Destroy what an account still has queued, under any address, and what it had sent; no bounce. May be repeated.

    What courier has in hand at that moment may still leave.
    """

    leased: ClassVar[bool] = False
    account: AccountId
    reverse_path: AddressText


class QueueCounts(Reply, frozen=True):
    """What waits, and what was done since the queue was made. unknown: tries at a recipient that may have arrived.

    accepting: how long submitted messages took until they were durable, since queue started.
    """

    messages: U63
    recipients: U63
    delivered: U63
    failed: U63
    unknown: U63
    oldest: Millis
    accepting: Latencies = NOTHING
    rule_stops: U32 = 0  # accounts whose outgoing mail a rule stopped


class CountQueue(Request[QueueCounts], frozen=True, tag=12):
    """Counts for `status`."""


class QueueReport(Reply, frozen=True):
    """What `fsck` found."""

    messages: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=100)]


class CheckQueue(Request[QueueReport], frozen=True, tag=13):
    """Check database and message files against each other."""


class BeginBackup(BeginBackupBase, frozen=True, tag=15):
    """Take a snapshot of `queue`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=16):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=17):
    """`queue`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=20):
    """An order of the tenant's officers, for `queue` to verify and to execute: outbound mail."""


class InstallRoster(InstallRosterBase, frozen=True, tag=21):
    """The next roster, by which `queue` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=22):
    """The roster in force at `queue`, and what became of orders there."""


class StopOutbound(Mutation[Done], frozen=True, tag=23):
    """Lend nothing to `courier` from now on; `epoch` only goes up. Durable, before the answer."""

    leased: ClassVar[bool] = False
    epoch: U63
    reason: Text


class LiftOutboundStop(Mutation[Done], frozen=True, tag=24):
    """Let outbound mail leave again."""

    epoch: U63
    reason: Text


class BeginStandby(BeginStandbyBase, frozen=True, tag=34):
    """Begin to ship what `queue` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=35):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=36):
    """The standby's lease for `queue`."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=40):
    """`queue`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=41):
    """How many there are."""


class StageAccounts(StageAccountsBase, frozen=True, tag=25):
    """Keep a set of accounts for a stop at `queue` to name. Body: their ids, ascending."""


class StopSurfaces(StopSurfacesBase, frozen=True, tag=26):
    """Close what `queue` guards of these surfaces, for that set or for everybody."""


class LiftSurfaces(LiftSurfacesBase, frozen=True, tag=27):
    """Open it again, once the ledger has it."""


class ReadSurfaces(ReadSurfacesBase, frozen=True, tag=28):
    """What is closed at `queue`, and what a stop would reach there."""


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `queue`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `queue`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `queue` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `queue` is over."""

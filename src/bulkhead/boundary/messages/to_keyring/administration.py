"""Counts and checks, rotation, and what every holder is asked alike: backup, orders, standby, staff, access records."""

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.census import WALK_ROWS_MAX, AccountIds, AccountRecords, Cursor, RecordPage
from bulkhead.boundary.messages.fields import U16, U32, U63, Reply, Request
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.rotation import DestroyKeyBase, ReadRotationBase, RotateKeyBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase


class KeyringCounts(Reply, frozen=True):
    """What is here, and what was opened since start. renewal: number of the order in force; renewed: since then."""

    credentials: U63
    mailboxes: U63
    tombstones: U63
    sessions: U63
    messages_opened: U63
    pages_opened: U63
    queued_opened: U63
    key_version: U32
    stopped: bool
    epoch: U63
    renewal: U32 = 0
    renewal_ordered_at: U63 = 0  # ms
    renewed: U63 = 0
    old_boxes: U63 = 0
    old_pages: U63 = 0
    rule_stops: U32 = 0  # processes of gates that a rule stopped


class CountKeyring(Request[KeyringCounts], frozen=True, tag=36):
    """Counts for `status` and `exposure`."""


class CheckKeyring(Request[RecordPage], frozen=True, tag=37):
    """Open up to `limit` records, halves and then mailbox keys, in the order of their row keys, from `after` on.

    signatures: verify every binding's too, which takes several times as long.
    """

    after: Cursor = b""
    limit: U16 = WALK_ROWS_MAX
    signatures: bool = False


class MatchKeyring(Request[AccountRecords], frozen=True, tag=59):
    """Open every record of these accounts; answered with how their halves stand. Refused: `bad-account`."""

    accounts: AccountIds


class RotateKey(RotateKeyBase, frozen=True, tag=60):
    """Make the next K_ring and seal every record under it, while logins go on; or go on with that."""


class ReadRotation(ReadRotationBase, frozen=True, tag=61):
    """Where the rotation of K_ring stands, and which versions are retired."""


class DestroyKey(DestroyKeyBase, frozen=True, tag=62):
    """Destroy a retired K_ring, and seal the other keys under `root`; in the ledger before it takes effect."""


class BeginBackup(BeginBackupBase, frozen=True, tag=64):
    """Take a snapshot of `keyring`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=65):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=66):
    """`keyring`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=80):
    """An order of the tenant's officers, for `keyring` to verify and to execute: sessions, credentials, accounts."""


class InstallRoster(InstallRosterBase, frozen=True, tag=81):
    """The next roster, by which `keyring` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=82):
    """The roster in force at `keyring`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=72):
    """Begin to ship what `keyring` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=73):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=74):
    """The standby's lease for `keyring`."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=90):
    """`keyring`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=91):
    """How many there are."""


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `keyring`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `keyring`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `keyring` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `keyring` is over."""

"""Counts and checks, rotation, and what every holder is asked alike: backup, orders, standby, staff, access records."""

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.census import WALK_ROWS_MAX, AccountIds, AccountRecords, Cursor, RecordPage
from bulkhead.boundary.messages.fields import U16, U32, U63, Reply, Request
from bulkhead.boundary.messages.latency import NOTHING, Latencies
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.rotation import DestroyKeyBase, ReadRotationBase, RotateKeyBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase


class AuthCounts(Reply, frozen=True):
    """How many credentials there are, and whether logins are stopped."""

    credentials: U63
    stopped: bool
    epoch: U63


class CountCredentials(Request[AuthCounts], frozen=True, tag=14):
    """Counts for `status`; opens no record."""


class LoginCounts(Reply, frozen=True):
    """Logins since auth started, and those that a limit refused unread, by the limit (docs/credentials.md).

    failing: accounts that strangers fail for, in this minute. stuffing: whether that is over its ceiling, now or in the
    minute before. failure_ms: when failures are answered. failure_floor_ms: what imported digests ask for; 0: nothing.
    granting: how long those took that were granted.
    """

    granted: U63
    refused: U63
    over_source: U63
    over_account: U63
    over_accounts: U63
    over_gate: U63
    over_network: U63
    delayed: U63
    failing: U32
    stuffing: bool
    episodes: U32
    failure_ms: U32
    failure_floor_ms: U32
    granting: Latencies = NOTHING
    rule_stops: U32 = 0  # networks that a rule stopped at a gate


class CountLogins(Request[LoginCounts], frozen=True, tag=33):
    """What `status` shows of logins; reads counters in memory and one row of an index."""


class CheckAuth(Request[RecordPage], frozen=True, tag=15):
    """Open up to `limit` records, in the order of their row keys, from `after` on (empty: the first)."""

    after: Cursor = b""
    limit: U16 = WALK_ROWS_MAX


class MatchAuth(Request[AccountRecords], frozen=True, tag=29):
    """Open every record of these accounts; answered with how their halves stand. Refused: `bad-account`."""

    accounts: AccountIds


class RotateKey(RotateKeyBase, frozen=True, tag=30):
    """Make the next K_auth and seal every record under it, while logins go on; or go on with that."""


class ReadRotation(ReadRotationBase, frozen=True, tag=31):
    """Where the rotation of K_auth stands, and which versions are retired."""


class DestroyKey(DestroyKeyBase, frozen=True, tag=32):
    """Destroy a retired K_auth, and seal the other keys under `root`; in the ledger before it takes effect."""


class BeginBackup(BeginBackupBase, frozen=True, tag=36):
    """Take a snapshot of `auth`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=37):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=38):
    """`auth`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=40):
    """An order of the tenant's officers, for `auth` to verify and to execute: logins, credentials, accounts."""


class InstallRoster(InstallRosterBase, frozen=True, tag=41):
    """The next roster, by which `auth` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=42):
    """The roster in force at `auth`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=44):
    """Begin to ship what `auth` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=45):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=46):
    """The standby's lease for `auth`."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=60):
    """`auth`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=61):
    """How many there are."""


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `auth`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `auth`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `auth` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `auth` is over."""

"""From the command line: accounts, counts and checks."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.fields import U63, AccountId, Done, Mutation, Reply, Request, Tag16, Text
from bulkhead.boundary.messages.latency import NOTHING, Latencies
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.support import CloseCaseBase, ListCasesBase, OpenCaseBase
from bulkhead.boundary.messages.surfaces import (
    LiftSurfacesBase,
    ReadSurfacesBase,
    StageAccountsBase,
    StopSurfacesBase,
)


class OpenAccount(Mutation[Done], frozen=True, tag=50):
    """Make an account's INBOX, or set its quota (octets, 0: no limit)."""

    account: AccountId
    quota_bytes: U63


class LimitAccount(Mutation[Done], frozen=True, tag=66):
    """Set the quota of an account that is there (octets, 0: no limit). Refused: `no-such-account`."""

    account: AccountId
    quota_bytes: U63


class DestroyAccount(Mutation[Done], frozen=True, tag=51):
    """Remove every row, page and part of an account."""

    leased: ClassVar[bool] = False
    account: AccountId


class StoreCounts(Reply, frozen=True):
    """What is stored. delivering: how long deliveries took until they were durable. fetching: reads of parts."""

    accounts: U63
    mailboxes: U63
    messages: U63
    bytes_stored: U63
    segments: U63
    reads: U63  # parts and pages read from segments since start
    syncs: U63  # fdatasync and commit syncs since start
    transactions: U63
    delivering: Latencies = NOTHING
    fetching: Latencies = NOTHING


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


class BeginBackup(BeginBackupBase, frozen=True, tag=54):
    """Take a snapshot of `store`'s database and segments, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=55):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=56):
    """`store`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=120):
    """An order of the tenant's officers, for `store` to verify and to execute: an account that ends."""


class InstallRoster(InstallRosterBase, frozen=True, tag=121):
    """The next roster, by which `store` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=122):
    """The roster in force at `store`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=46):
    """Begin to ship what `store` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=47):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=48):
    """The standby's lease for `store`."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=126):
    """`store`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=127):
    """How many there are."""


class StageAccounts(StageAccountsBase, frozen=True, tag=3):
    """Keep a set of accounts for a stop at `store` to name. Body: their ids, ascending."""


class StopSurfaces(StopSurfacesBase, frozen=True, tag=4):
    """Close what `store` guards of these surfaces, for that set or for everybody."""


class LiftSurfaces(LiftSurfacesBase, frozen=True, tag=5):
    """Open it again, once the ledger has it."""


class ReadSurfaces(ReadSurfacesBase, frozen=True, tag=6):
    """What is closed at `store`, and what a stop would reach there."""


class OpenCase(OpenCaseBase, frozen=True, tag=62):
    """Open a support case at `store`."""


class CloseCase(CloseCaseBase, frozen=True, tag=63):
    """Nothing more is shown or done at `store` in this case."""


class ListCases(ListCasesBase, frozen=True, tag=64):
    """Support cases of the last day at `store`."""


class UsageCard(Reply, frozen=True):
    """Octets used, and the quota that holds; 0: no limit."""

    used: U63
    quota_bytes: U63


class ShowUsage(Mutation[UsageCard], frozen=True, tag=65):
    """How full the account is that a case is about, once the ledger has the look. Refused: `no-case`, `look-cap`."""

    case: Tag16


class ReadUsage(Request[UsageCard], frozen=True, tag=67):
    """How full an account is, for staff that sees accounts. Refused: `no-such-account`."""

    account: AccountId


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=104):
    """A nonce by which a member of staff opens a session at `store`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=105):
    """Open a session of a member of staff at `store`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=106):
    """A request to `store` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=107):
    """The session at `store` is over."""

"""Checks, and what every holder is asked alike: backup, orders, standby, cases, sessions of staff, access records."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.fields import U8, U16, U63, AddressText, Millis, Mutation, Reply, Request, Tag16, Text
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
    ShowStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.support import CloseCaseBase, ListCasesBase, OpenCaseBase
from bulkhead.boundary.messages.to_directory.values import ClassName


class DirectoryReport(Reply, frozen=True):
    """What `fsck` found: problems in words, none when sound."""

    accounts: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=100)]


class CheckDirectory(Request[DirectoryReport], frozen=True, tag=17):
    """Check the database against its own rules."""


class BeginBackup(BeginBackupBase, frozen=True, tag=30):
    """Take a snapshot of `directory`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=31):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=32):
    """`directory`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=60):
    """An order of the tenant's officers, for `directory` to verify and to execute: an account's status."""


class InstallRoster(InstallRosterBase, frozen=True, tag=61):
    """The next roster, by which `directory` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=62):
    """The roster in force at `directory`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=70):
    """Begin to ship what `directory` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=71):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=72):
    """The standby's lease for `directory`."""


class OpenCase(OpenCaseBase, frozen=True, tag=110):
    """Open a support case at `directory`."""


class CloseCase(CloseCaseBase, frozen=True, tag=111):
    """Nothing more is shown or done at `directory` in this case."""


class ListCases(ListCasesBase, frozen=True, tag=112):
    """Support cases of the last day at `directory`."""


class SupportCard(Reply, frozen=True):
    """What the desk sees of an account. address: its own, masked unless it is what was typed. Others: counts."""

    address: AddressText
    status: U8
    closed: U8
    class_name: ClassName
    created: Millis
    quota_bytes: U63
    aliases: U16
    forwards: U16


class ShowCard(Mutation[SupportCard], frozen=True, tag=113):
    """The card of the account that a case is about, once the ledger has the look; within the officer's hour.

    address: as it was typed when the case was opened. Refused: `no-case`, `other-account`, `look-cap`.
    """

    case: Tag16
    address: AddressText


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `directory`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `directory`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `directory` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `directory` is over."""


class ShowStaffSession(ShowStaffSessionBase, frozen=True, tag=100):
    """Whose session it is."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=101):
    """`directory`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=102):
    """How many there are."""

"""Domains and accounts: made, listed, counted; their status."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import (
    U8,
    U16,
    U63,
    AddressText,
    DomainText,
    Done,
    Millis,
    Mutation,
    Reply,
    Request,
    Text,
)
from bulkhead.boundary.messages.to_directory.values import PAGE_MAX, SEARCH_MAX, AccountPage, AccountRow, BindingRow

STATUSES_MAX = 4096  # rows of one page of statuses
STATUS_BYTES = 25


class AddDomain(Mutation[Done], frozen=True, tag=10):
    """Host a domain."""

    domain: DomainText


class DomainRow(Reply, frozen=True):
    """One hosted domain."""

    domain: DomainText
    accounts: U63
    created: Millis


class DomainPage(Reply, frozen=True):
    """Domains in order of name, after `after`."""

    rows: Annotated[tuple[DomainRow, ...], Meta(max_length=PAGE_MAX)]


class ListDomains(Request[DomainPage], frozen=True, tag=11):
    """Domains in order of name after `after` (empty: from the first)."""

    after: DomainText = ""
    limit: U16 = PAGE_MAX


class AddAccount(Mutation[Done], frozen=True, tag=12):
    """Make an address reach a mailbox. Refused: `no-such-domain`, `address-taken`, `tombstone`.

    created: since when the subscriber has it, ms; 0 is now.
    """

    address: AddressText
    binding: BindingRow
    quota_bytes: U63
    created: Millis = 0


class ListAccounts(Request[AccountPage], frozen=True, tag=13):
    """Accounts in order of address after `after` (empty: from the first), of one domain or all."""

    domain: DomainText = ""
    after: AddressText = ""
    limit: U16 = PAGE_MAX


class ShowAccount(Request[AccountRow], frozen=True, tag=14):
    """One account by address. Refused (`no-such-address`)."""

    address: AddressText


class SetAccountStatus(Mutation[AccountRow], frozen=True, tag=15):
    """Move an account along its transition table. Refused: `no-such-address`, `no-such-transition`."""

    leased: ClassVar[bool] = False
    address: AddressText
    status: U8
    reason: Text


class StatusCount(Reply, frozen=True):
    """How many accounts of one status."""

    status: U8
    accounts: U63


class AccountCounts(Reply, frozen=True):
    """Accounts by status, and addresses and domains in all."""

    rows: Annotated[tuple[StatusCount, ...], Meta(max_length=16)]
    addresses: U63
    domains: U63


class CountAccounts(Request[AccountCounts], frozen=True, tag=16):
    """Counts for `status` and `exposure`."""


class StatusPage(Reply, frozen=True):
    """Statuses without addresses: number u64, id, status u8 of each account (25 bytes), ascending by number."""

    rows: Annotated[bytes, Meta(max_length=STATUS_BYTES * STATUSES_MAX)]


class ListStatuses(Request[StatusPage], frozen=True, tag=29):
    """Up to `limit` accounts after number `after`; fewer are the end."""

    after: U63 = 0
    limit: U16 = STATUSES_MAX


class SearchAccounts(Request[AccountPage], frozen=True, tag=54):
    """Accounts whose own address begins with `prefix`, in order after `after`; at most `limit`, 100 at most."""

    prefix: AddressText
    after: AddressText = ""
    limit: U16 = SEARCH_MAX


class RemoveDomain(Mutation[Done], frozen=True, tag=86):
    """Host a domain no more; no address is left in it. Refused: `no-such-domain`, `not-empty`."""

    leased: ClassVar[bool] = False
    domain: DomainText

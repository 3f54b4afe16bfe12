"""What several messages to `directory` carry: bindings, statuses, switches, rows of accounts, and their limits."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U63, AccountId, AddressText, Millis, Reply

BindingRecord = Annotated[bytes, Meta(min_length=1, max_length=512)]
PAGE_MAX = 1000  # rows of one listing
MEMBERS_MAX = 100  # accounts of a group: what one delivery takes
FORWARDS_MAX = 20  # addresses that one account forwards to
ALIASES_MAX = 200  # addresses of one account beside its own
SEARCH_MAX = 100  # rows of one search
ClassName = Annotated[str, Meta(max_length=32)]


class BindingRow(Reply, frozen=True):
    """The mailbox key of an account, a BINDING record as `keyring` signed it: believed only once verified."""

    account: AccountId
    record: BindingRecord


class AccountStatus:
    """Closed list; the transition table is directory's."""

    PROVISIONED = 1
    ACTIVE = 2
    SUSPENDED = 3
    DORMANT = 4
    CANCELLED = 5
    PURGED = 6


class Service:
    """Bits of what may be switched off by account."""

    LOGIN = 1
    RECEIVE = 2
    SEND = 4
    ALL = 7


class AccountRow(Reply, frozen=True):
    """One account as directory knows it. closed: bits of Service that are switched off.

    binding: with ShowAccount alone; empty where there is none any more.
    """

    account: AccountId
    address: AddressText
    status: U8
    quota_bytes: U63
    created: Millis
    closed: U8 = 0
    class_name: ClassName = ""
    binding: Annotated[bytes, Meta(max_length=1024)] = b""


class AccountPage(Reply, frozen=True):
    """Accounts in order of address, after `after`."""

    rows: Annotated[tuple[AccountRow, ...], Meta(max_length=PAGE_MAX)]

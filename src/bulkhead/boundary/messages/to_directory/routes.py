"""What leads to an account: aliases, groups, forwards."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U16, AddressText, Done, Millis, Mutation, Reply, Request
from bulkhead.boundary.messages.to_directory.values import ALIASES_MAX, FORWARDS_MAX, MEMBERS_MAX, PAGE_MAX

GROUPS_SHOWN = 100


class AddAlias(Mutation[Done], frozen=True, tag=40):
    """Another address of an account: mail reaches it, and it may send under it; nobody logs in by it.

    Refused: `no-such-address`, `no-such-domain`, `address-taken`, `tombstone`, `full`.
    """

    address: AddressText
    alias: AddressText


class RemoveAlias(Mutation[Done], frozen=True, tag=41):
    """The alias reaches nobody from now on, and stays reserved for its account. Refused: `no-such-address`."""

    alias: AddressText


class SetForward(Mutation[Done], frozen=True, tag=42):
    """Where an account's mail goes besides; none ends it. keep: whether the account has a copy, too.

    In the ledger before it takes effect. Addresses at other servers only from the command line or a signed file.
    Refused: `no-such-address`, `not-ours`, `full`, `not-staff`.
    """

    address: AddressText
    targets: Annotated[tuple[AddressText, ...], Meta(max_length=FORWARDS_MAX)]
    keep: bool = True


class AddGroup(Mutation[Done], frozen=True, tag=48):
    """An address that reaches several accounts, at first none.

    Refused: `no-such-domain`, `address-taken`, `tombstone`.
    """

    address: AddressText


class SetMember(Mutation[Done], frozen=True, tag=49):
    """Put an account into a group, or take it out. Refused: `no-such-group`, `no-such-address`, `full`."""

    group: AddressText
    address: AddressText
    member: bool = True


class RemoveGroup(Mutation[Done], frozen=True, tag=50):
    """The group is gone, and its address reserved for ever. Refused: `no-such-group`."""

    address: AddressText


class GroupRow(Reply, frozen=True):
    """A group, with how many accounts it reaches."""

    address: AddressText
    members: U16
    created: Millis


class GroupPage(Reply, frozen=True):
    """Groups in order of address."""

    rows: Annotated[tuple[GroupRow, ...], Meta(max_length=PAGE_MAX)]


class ListGroups(Request[GroupPage], frozen=True, tag=51):
    """Groups in order of address after `after`."""

    after: AddressText = ""
    limit: U16 = PAGE_MAX


class Members(Reply, frozen=True):
    """Addresses of a group's members, in order."""

    addresses: Annotated[tuple[AddressText, ...], Meta(max_length=MEMBERS_MAX)]


class ShowGroup(Request[Members], frozen=True, tag=52):
    """Who is in a group. Refused: `no-such-group`."""

    address: AddressText


class Routes(Reply, frozen=True):
    """Every way by which mail reaches an account, and where it goes on to. groups: the first ones by address."""

    aliases: Annotated[tuple[AddressText, ...], Meta(max_length=ALIASES_MAX)]
    retired: Annotated[tuple[AddressText, ...], Meta(max_length=ALIASES_MAX)]
    groups: Annotated[tuple[AddressText, ...], Meta(max_length=GROUPS_SHOWN)]
    forwards: Annotated[tuple[AddressText, ...], Meta(max_length=FORWARDS_MAX)]
    keep: bool


class ShowRoutes(Request[Routes], frozen=True, tag=53):
    """Aliases, groups and forwards of an account. Refused: `no-such-address`."""

    address: AddressText

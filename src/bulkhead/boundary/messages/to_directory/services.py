"""What an account may use: switches, quota, classes of service."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U63, AddressText, Done, Mutation, Reply, Request, Text
from bulkhead.boundary.messages.to_directory.values import ALIASES_MAX, FORWARDS_MAX, AccountRow, ClassName

CLASSES_MAX = 200


class SetServices(Mutation[AccountRow], frozen=True, tag=43):
    """Switch services of an account off and on. closed: bits of Service.

    Refused: `no-such-address`, `no-such-status`.
    """

    address: AddressText
    closed: U8
    reason: Text


class SetQuota(Mutation[AccountRow], frozen=True, tag=44):
    """An account's quota, octets; store has its own. Refused: `no-such-address`."""

    address: AddressText
    quota_bytes: U63


class ClassRow(Reply, frozen=True):
    """A class of service. closed: bits of Service that are off. aliases, forwards: how many at most.

    elsewhere: of the forwards, how many may lead to other servers; at most what the tenant's settings allow.
    """

    name: ClassName
    quota_bytes: U63
    closed: U8
    aliases: Annotated[int, Meta(ge=0, le=ALIASES_MAX)]
    forwards: Annotated[int, Meta(ge=0, le=FORWARDS_MAX)]
    accounts: U63 = 0
    elsewhere: Annotated[int, Meta(ge=0, le=FORWARDS_MAX)] = FORWARDS_MAX


class DefineClass(Mutation[Done], frozen=True, tag=45):
    """Make a class of service or change it. Accounts that have it follow when they are given it again."""

    row: ClassRow


class ClassList(Reply, frozen=True):
    """Classes by name."""

    rows: Annotated[tuple[ClassRow, ...], Meta(max_length=CLASSES_MAX)]


class ListClasses(Request[ClassList], frozen=True, tag=46):
    """Every class, with how many accounts have it."""


class SetClass(Mutation[AccountRow], frozen=True, tag=47):
    """Give an account a class of service: quota and switches follow. Refused: `no-such-address`, `no-such-class`."""

    address: AddressText
    class_name: ClassName

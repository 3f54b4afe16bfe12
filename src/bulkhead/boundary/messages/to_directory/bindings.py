"""The partner's own list of every address and binding."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U63, AccountId, AddressText, Digest32, Done, Mutation, Reply, Request
from bulkhead.boundary.messages.to_directory.values import FORWARDS_MAX, MEMBERS_MAX, PAGE_MAX


class BindingEntry(Reply, frozen=True):
    """One address and what it leads to. kind: of AddressKind, 4 a group. record: of an account's own address.

    members: accounts of a group. closed: bits of Service.
    """

    address: AddressText
    kind: U8
    account: Annotated[bytes, Meta(max_length=16)] = b""
    record: Annotated[bytes, Meta(max_length=512)] = b""
    forwards: Annotated[tuple[AddressText, ...], Meta(max_length=FORWARDS_MAX)] = ()
    keep: bool = True
    members: Annotated[tuple[AccountId, ...], Meta(max_length=MEMBERS_MAX)] = ()
    status: U8 = 0
    closed: U8 = 0


class BindingPage(Reply, frozen=True):
    """Entries in order of address."""

    rows: Annotated[tuple[BindingEntry, ...], Meta(max_length=PAGE_MAX)]


class ListBindings(Request[BindingPage], frozen=True, tag=84):
    """Every address after `after` with its account and binding; of groups instead, with their members."""

    after: AddressText = ""
    groups: bool = False


class NoteBindings(Mutation[Done], frozen=True, tag=85):
    """A list of all bindings is about to leave, sealed: in the ledger before it does. digest: of the sealed file."""

    digest: Digest32
    rows: U63

"""From `access`, by handle: summaries of arrived mail put into pages, and pages written anew."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U16, U32, Done, EmailId, Handle, Mutation, Reply, Request
from bulkhead.boundary.messages.to_keyring import Slot
from bulkhead.boundary.messages.to_store.reading import PageRow
from bulkhead.boundary.messages.to_store.values import PAGE_BYTES_MAX

SPARSE_MAX = 16  # half-dead pages named together


class FilingPlan(Reply, frozen=True):
    """Where arrived mail may be filed: the account's newest page (0: none yet) and the next free number."""

    newest: PageRow
    next_page: U32


class PlanFiling(Request[FilingPlan], frozen=True, tag=36):
    """Which page may be filled, and which number is free."""

    handle: Handle


class FiledEntry(Reply, frozen=True):
    """One message's place in the page and its slot; for one that is in the page already, the slot is empty."""

    email: EmailId
    index: U8
    slot: Slot


class FileMessages(Mutation[Done], frozen=True, tag=37):
    """Write a page and make these messages filed, in one transaction. The body is the sealed page.

    `replaces` is the version it replaces, 0 for a new page. Refused: `page-changed`, and nothing was written.
    """

    leased: ClassVar[bool] = False
    body_max: ClassVar[int] = PAGE_BYTES_MAX
    handle: Handle
    page: U32
    version: U32
    replaces: U32
    used: U16  # summaries in it, dead ones too
    entries: Annotated[tuple[FiledEntry, ...], Meta(min_length=1, max_length=256)]


class SparsePage(Reply, frozen=True):
    """A page of which at least half is dead. live: the indexes that messages name, ascending, one byte each."""

    page: U32
    version: U32
    used: U16
    live: Annotated[bytes, Meta(max_length=256)]


class SparsePages(Reply, frozen=True):
    """Pages worth writing anew; none: nothing to do."""

    pages: Annotated[tuple[SparsePage, ...], Meta(max_length=SPARSE_MAX)]


class ListSparsePages(Request[SparsePages], frozen=True, tag=70):
    """Some of the account's pages in which at least half of the summaries are of messages that are gone."""

    handle: Handle


class RewritePage(Mutation[Done], frozen=True, tag=71):
    """Write a page anew without dead summaries: their places stay, empty, so no message's index, UID or MODSEQ changes.

    The body is the sealed page; `replaces` the version it replaces; `kept` the indexes that are not empty in it,
    ascending. Refused: `page-changed` (another version, or a message names an index that would be empty), `bad-page`.
    """

    leased: ClassVar[bool] = False
    body_max: ClassVar[int] = PAGE_BYTES_MAX
    handle: Handle
    page: U32
    version: U32
    replaces: U32
    kept: Annotated[bytes, Meta(min_length=1, max_length=256)]


class OldPage(Reply, frozen=True):
    """A page under an older generation (0: there is none) and the messages in it, each with its index and its slot."""

    page: PageRow
    entries: Annotated[tuple[FiledEntry, ...], Meta(max_length=256)]


class FindOldPage(Request[OldPage], frozen=True, tag=72):
    """The first of the account's pages behind `after` that is sealed under a generation below this one."""

    handle: Handle
    below: U32
    after: U32 = 0

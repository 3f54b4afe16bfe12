"""Where the summaries of filed messages are: pages and indices, read packed for whole listings."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bulkhead.access.account import Account
from bulkhead.access.columns import unpack
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import PAGES_AT_ONCE
from bulkhead.boundary.messages.to_store import ReadPlaces

BATCH = 2000  # messages whose places are read together
STEP = 256  # messages handled between two pauses


class Filed(NamedTuple):
    """One filed message."""

    at: int  # its place in the view
    page: int
    entry: int  # index of its summary in the page


async def read_filed(account: Account, selected: Selected, batch: Sequence[range]) -> list[Filed]:
    """Those of the messages at these places (at most 4,096) that are filed and not gone, in order."""
    uids, pages, indices = array("I"), array("I"), bytearray()
    for ranges in selected.uid_ranges(batch):
        reply, body = await account.read(ReadPlaces(account.handle, selected.mailbox, ranges))
        count = reply.messages
        uids += unpack("I", body, 0, count)
        pages += unpack("I", body, 4 * count, count)
        indices += body[8 * count : 9 * count]
    places: Iterable[int | None] = [at for place in batch for at in place]
    if [selected.uids[at] for place in batch for at in place] != uids.tolist():  # some are gone
        places = map(selected.index, uids)
    return [
        Filed(at, page, index)
        for at, page, index in zip(places, pages, indices, strict=True)
        if at is not None and page
    ]


def groups_by_page(found: Sequence[Filed]) -> Iterator[Sequence[Filed]]:
    """The messages in order, in groups whose pages may be read together."""
    start, pages = 0, set[int]()
    for end, filed in enumerate(found):
        if filed.page not in pages and len(pages) == PAGES_AT_ONCE:
            yield found[start:end]
            start, pages = end, set()
        pages.add(filed.page)
    if start < len(found):
        yield found[start:]

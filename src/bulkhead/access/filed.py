"""Where the summaries of filed messages are: pages and indices, read packed for whole listings."""

from array import array
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import NamedTuple

from bulkhead.access.account import Account
from bulkhead.access.columns import unpack
from bulkhead.access.output import Output
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import PAGES_AT_ONCE, Summaries
from bulkhead.boundary.messages.to_store import ReadPlaces
from bulkhead.records.page import Page

BATCH = 2000  # messages whose places are read together
STEP = 256  # messages handled between two pauses


class _Filed(NamedTuple):
    """One filed message."""

    at: int  # its place in the view
    page: int
    entry: int  # index of its summary in the page


async def read_summaries(
    account: Account, selected: Selected, summaries: Summaries, output: Output, batch: Sequence[range]
) -> AsyncGenerator[list[tuple[int, bytes]], None]:
    """Place and encoded summary of the filed ones among these messages (at most 4,096), a step at a time, in order.

    A summary is empty where its page does not have it. Others get their turn between two steps.
    """
    found = await _read_filed(account, selected, batch)
    output.resumed()
    for group in _groups_by_page(found):
        opened = await summaries.pages_numbered({filed.page for filed in group})
        output.resumed()
        for start in range(0, len(group), STEP):
            yield [(filed.at, _entry(opened.get(filed.page), filed.entry)) for filed in group[start : start + STEP]]
            await output.breathe()


def _entry(page: Page | None, index: int) -> bytes:
    return page.entries[index] if page is not None and index < len(page.entries) else b""


async def _read_filed(account: Account, selected: Selected, batch: Sequence[range]) -> list[_Filed]:
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
        _Filed(at, page, index)
        for at, page, index in zip(places, pages, indices, strict=True)
        if at is not None and page
    ]


def _groups_by_page(found: Sequence[_Filed]) -> Iterator[Sequence[_Filed]]:
    """The messages in order, in groups whose pages may be read together."""
    start, pages = 0, set[int]()
    for end, filed in enumerate(found):
        if filed.page not in pages and len(pages) == PAGES_AT_ONCE:
            yield found[start:end]
            start, pages = end, set()
        pages.add(filed.page)
    if start < len(found):
        yield found[start:]

"""FETCH responses of a whole listing, made a page of messages at a time.

A listing asks the same few items of thousands of messages, and its price is what is done for each. So the line is one
template that is filled from columns: of the view (UIDs, flags, sizes, dates), and of the opened pages, of whose
summaries only the fields asked for are decoded. What does not fit the mould is left to the caller: messages that
are not filed yet, whose summary cannot be read here, or of which the client has news to be told.
"""

from array import array
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

from bulkhead.access.account import Account
from bulkhead.access.filed import read_summaries
from bulkhead.access.output import Output
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import Summaries
from bulkhead.wire.header import FieldCutter
from bulkhead.wire.imap.fetch import Attribute, BodySection, FetchItem, SectionText, item_label
from bulkhead.wire.imap.search_plan import Columns
from bulkhead.wire.imap.sources import SUMMARY_FIELDS
from bulkhead.wire.internet_date import internal_date
from bulkhead.wire.summary import Glance

_OF_VIEW: Final = frozenset(
    (Attribute.UID, Attribute.FLAGS, Attribute.RFC822_SIZE, Attribute.INTERNALDATE, Attribute.MODSEQ)
)
_OF_SUMMARY: Final = frozenset((Attribute.ENVELOPE, Attribute.BODY, Attribute.BODYSTRUCTURE))


_Column: TypeAlias = Sequence[bytes] | Sequence[int]


class ListingLines:
    """Answers those messages of one FETCH that a template can answer."""

    def __init__(
        self, account: Account, selected: Selected, summaries: Summaries, output: Output, items: Sequence[FetchItem]
    ) -> None:
        """items: such that `serves` is true of them."""
        self._account, self._selected, self._summaries, self._output = account, selected, summaries, output
        self._items = items
        self._of_view = all(item in _OF_VIEW for item in items)
        self._cut = [FieldCutter(item.section.fields) if isinstance(item, BodySection) else None for item in items]
        self._template = b"* %%d FETCH (%b)\r\n" % b" ".join(map(_slot, items))

    @staticmethod
    def serves(items: Sequence[FetchItem]) -> bool:
        """Whether a template has room for all of these items."""
        return all(item in _OF_VIEW or item in _OF_SUMMARY or _is_listed_fields(item) for item in items)

    async def send(self, batch: Sequence[range], columns: Columns | None) -> list[range]:
        """Send the lines of these places; those that are left to the caller, which may be gone."""
        if self._selected.untold:
            return list(batch)
        if self._of_view:
            for place in batch:
                self._put(place, columns, ())
                await self._output.breathe()
            return []
        left = {at for place in batch for at in place}
        steps = read_summaries(self._account, self._selected, self._summaries, self._output, batch)
        async with aclosing(steps):
            async for step in steps:
                left.difference_update(self._put_known(step, columns))
        return [range(at, at + 1) for at in sorted(left)]

    # --- lines ----------------------------------------------------------------------------------------------------

    def _put_known(self, step: Sequence[tuple[int, bytes]], columns: Columns | None) -> Sequence[int]:
        """Send what summaries can answer; the places that were answered."""
        places: list[int] = []
        glances: list[Glance] = []
        for at, entry in step:
            known = self._known(entry)
            if known is not None:
                places.append(at)
                glances.append(known)
        self._put(places, columns, glances)
        return places

    def _put(self, places: Sequence[int], columns: Columns | None, glances: Sequence[Glance]) -> None:
        filled: list[_Column] = [[at + 1 for at in places]]
        for item, cutter in zip(self._items, self._cut, strict=True):
            filled += self._columns(item, cutter, places, columns, glances)
        template = self._template
        self._output.send(b"".join([template % line for line in zip(*filled, strict=True)]))

    def _columns(
        self,
        item: FetchItem,
        cutter: "FieldCutter | None",
        places: Sequence[int],
        columns: Columns | None,
        glances: Sequence[Glance],
    ) -> list[_Column]:
        """What fills an item's slot: one value of each message, or a literal's size and octets."""
        selected = self._selected
        if cutter is not None:
            blocks = [cutter.cut(one.fields) for one in glances]
            return [[len(block) for block in blocks], blocks]
        match item:
            case Attribute.UID:
                return [_of(selected.uids, places)]
            case Attribute.FLAGS:
                return [selected.flag_lists(places)]
            case Attribute.MODSEQ:
                return [[selected.modseq_at(at) for at in places]]
            case Attribute.RFC822_SIZE if columns is not None:
                return [_of(columns.sizes, places)]
            case Attribute.INTERNALDATE if columns is not None:
                return [[internal_date(date) for date in _of(columns.dates, places)]]
            case Attribute.ENVELOPE:
                return [[one.envelope for one in glances]]
            case Attribute.BODY:
                return [[one.body for one in glances]]
            case Attribute.BODYSTRUCTURE:
                return [[one.bodystructure for one in glances]]
        raise ValueError("an item without its source")

    def _known(self, entry: bytes) -> Glance | None:
        """The summary where it can answer here; a caller that reads more finds out why not."""
        found = Glance.of(entry)
        return None if found is None or (any(self._cut) and not found.whole) else found

    # --- reading --------------------------------------------------------------------------------------------------


def _of(column: "array[int]", places: Sequence[int]) -> Sequence[int]:
    return column[places.start : places.stop] if isinstance(places, range) else [column[at] for at in places]


def _is_listed_fields(item: FetchItem) -> bool:
    """Whether it is a list of header fields that every new summary has."""
    return (
        isinstance(item, BodySection)
        and item.peek
        and item.partial is None
        and not item.section.part
        and item.section.text is SectionText.HEADER_FIELDS
        and set(item.section.fields) <= SUMMARY_FIELDS
    )


def _slot(item: FetchItem) -> bytes:
    """The item's place in the template."""
    if isinstance(item, BodySection):
        return item.label.replace(b"%", b"%%") + b" {%d}\r\n%b"
    if item in (Attribute.UID, Attribute.RFC822_SIZE):
        return item_label(item) + b" %d"
    return item_label(item) + (b" (%d)" if item is Attribute.MODSEQ else b" %b")

"""FETCH: each item from the cheapest place that has it; large sections are streamed (RFC 3501 section 6.4.5)."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from bulkhead.access.account import Account
from bulkhead.access.binary import content_of, decoded, measure
from bulkhead.access.columns import batches
from bulkhead.access.fetch_needs import Needs
from bulkhead.access.filed import BATCH as LISTED_TOGETHER
from bulkhead.access.listing_lines import ListingLines
from bulkhead.access.mail import (
    Message,
    header_size,
    in_batches,
    in_whole_batches,
    is_gone,
    open_messages,
    open_whole,
    read_headers,
    read_rows,
)  # fmt: skip
from bulkhead.access.outcome import log_fault
from bulkhead.access.output import Output
from bulkhead.access.preview import Previews
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import Summaries
from bulkhead.boundary.messages.to_store import FlagMode, MessageRow, StoreFlags
from bulkhead.errors import Error, IntegrityError, Refused
from bulkhead.gate.serve import ConnectionEnded
from bulkhead.identifiers import format_id
from bulkhead.wire.header import field_block
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.commands import Fetch
from bulkhead.wire.imap.fetch import (
    Attribute,
    BinarySection,
    BinarySize,
    BodySection,
    FetchItem,
    SectionText,
    item_label,
    sets_seen,
)  # fmt: skip
from bulkhead.wire.imap.flags import SystemFlag
from bulkhead.wire.imap.search_plan import Columns
from bulkhead.wire.imap.sequence import resolve_numbers, resolve_uids, within
from bulkhead.wire.imap.sources import Source
from bulkhead.wire.internet_date import internal_date
from bulkhead.wire.summary import Summary, section_range

BATCH = 500  # messages whose rows are read together
INLINE_MAX = 64 * 1024  # octets of a section that are sent within their line; larger ones are streamed
PART_HEADER_MAX = 1 << 20  # octets looked at of an attached message's header
_BY_EMAIL = frozenset((Attribute.EMAILID, Attribute.PREVIEW_LAZY))  # not in the arrays, but in the row
_FIELD_LISTS = (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT)


@dataclass(frozen=True, slots=True)
class _Large:
    """Octets that go out as they are read, behind `head`, which ends in the literal's size."""

    head: bytes
    pieces: Callable[[], AsyncGenerator[bytes, None]]


_Rendered = bytes | _Large


@dataclass(slots=True)
class Missed:
    """Messages that could not be answered."""

    gone: int = 0
    unreadable: int = 0
    encoded: int = 0  # in a way that we cannot undo


class Fetcher:
    """Answers one FETCH."""

    def __init__(
        self,
        account: Account,
        selected: Selected,
        summaries: Summaries,
        previews: Previews,
        output: Output,
        command: Fetch,
    ) -> None:
        self._account, self._selected, self._output = account, selected, output
        self._summaries, self._previews = summaries, previews
        self._items, self._uid, self._messages = command.items, command.uid, command.messages
        self._needs = Needs.of(command.items)
        self._columns: Columns | None = None
        self._since, self._window = command.changed_since, command.window
        self._missed = Missed()

    async def run(self) -> Missed:
        """Send a FETCH response for every message asked for. Raises CommandError for a number that is none."""
        selected = self._selected
        if self._uid:
            places = resolve_uids(self._messages, selected.uids)
        else:
            places = resolve_numbers(self._messages, len(selected.uids))
        if Attribute.RFC822_SIZE in self._items or Attribute.INTERNALDATE in self._items:
            self._columns = await selected.columns(self._output)
        if self._since is not None:
            places = await selected.changed_since(places, self._since, self._output)
        if self._window is not None:
            places = within(places, self._window)
        seen = sets_seen(self._items) and not selected.read_only
        if ListingLines.serves(self._items):
            places = await self._send_listed(places)
        for batch in batches(places, BATCH):
            if seen:
                await self._set_seen(batch)
            if self._needs.source is Source.ARRAYS and not _BY_EMAIL.intersection(self._items):
                await self._send_arrays(batch)
            else:
                await self._send_stored(batch)
        return self._missed

    async def _send_listed(self, places: list[range]) -> list[range]:
        """Answer what a template can; the places that are left."""
        lines = ListingLines(self._account, self._selected, self._summaries, self._output, self._items)
        left: list[range] = []
        for batch in batches(places, LISTED_TOGETHER):
            left += await lines.send(batch, self._columns)
        return left

    # --- without rows ---------------------------------------------------------------------------------------------

    async def _send_arrays(self, batch: Sequence[range]) -> None:
        for place in batch:
            for at in place:
                self._output.send(responses.fetch_line(at + 1, self._attributes(at, None, None)))
            await self._output.breathe()

    def _attributes(self, at: int, row: MessageRow | None, summary: Summary | None) -> list[bytes]:
        words: list[bytes] = []
        for item in self._items:
            if isinstance(item, Attribute):
                words += (item_label(item), self._attribute(item, at, row, summary))
        return words + self._news(at)

    def _news(self, at: int) -> list[bytes]:
        """The flags, where this very FETCH changed them and they were not asked for."""
        told = self._selected.take_flagged(self._selected.uids[at])
        if not told:
            return []
        news = [] if self._needs.flags else [b"FLAGS", self._selected.flag_list(at)]
        if self._selected.modseqs is not None and not self._needs.modseq:
            news += (b"MODSEQ", b"(%d)" % self._selected.modseq_at(at))
        if news and not self._needs.uid:  # RFC 7162 section 3.2.4: flags that were not asked for come with the UID
            news[:0] = (b"UID", b"%d" % self._selected.uids[at])
        return news

    def _attribute(self, item: Attribute, at: int, row: MessageRow | None, summary: Summary | None) -> bytes:
        if item is Attribute.FLAGS:
            return self._selected.flag_list(at)
        if item is Attribute.UID:
            return b"%d" % self._selected.uids[at]
        if item is Attribute.MODSEQ:
            return b"(%d)" % self._selected.modseq_at(at)
        if self._columns is not None and item is Attribute.RFC822_SIZE:
            return b"%d" % self._columns.sizes[at]
        if self._columns is not None and item is Attribute.INTERNALDATE:
            return internal_date(self._columns.dates[at])
        if item is Attribute.THREADID:  # RFC 8474 section 5.2: none is given
            return b"NIL"
        if row is not None and item is Attribute.PREVIEW_LAZY:
            return self._previews.kept(row.email) or b"NIL"
        if row is not None and item is Attribute.EMAILID:
            return b"(%s)" % format_id("eml", row.email).encode("ascii")
        if summary is None:
            raise ValueError("an item without its source")
        if item is Attribute.ENVELOPE:
            return summary.envelope
        return summary.body if item is Attribute.BODY else summary.bodystructure

    async def _set_seen(self, batch: Sequence[range]) -> None:
        selected = self._selected
        new = [at for place in batch for at in place if not selected.flags[at] & SystemFlag.SEEN]
        for uids in selected.uid_ranges(range(at, at + 1) for at in new):
            request = StoreFlags(
                self._account.stamp(), self._account.handle, selected.mailbox, uids, FlagMode.ADD, SystemFlag.SEEN
            )
            try:
                reply, body = await self._account.read(request)
            except Refused as error:
                if error.code != "contained":
                    raise
                return  # the mailbox is frozen: it is read as by EXAMINE
            await selected.stored(body, reply.changed, self._output)
        if new and selected.modseqs is not None:
            await selected.take_changes(self._output)

    # --- from rows ------------------------------------------------------------------------------------------------

    async def _send_stored(self, batch: Sequence[range]) -> None:
        selected = self._selected
        rows: list[MessageRow] = []
        for ranges in selected.uid_ranges(batch):
            rows += await read_rows(self._account, selected.mailbox, ranges)
        self._missed.gone += sum(map(len, batch)) - len(rows)
        self._output.resumed()
        if self._needs.source <= Source.SUMMARY and not self._needs.header:
            for group in Summaries.batches(rows):
                await self._send_group(group, None)
            return
        for group in in_whole_batches(rows) if self._needs.whole else in_batches(rows):
            if self._needs.whole:
                messages = await open_whole(self._account, group)
            else:
                messages = await open_messages(self._account, group)
                if self._needs.header:
                    await read_headers(self._account, messages)
            await self._send_group(group, messages)

    async def _send_group(self, rows: Sequence[MessageRow], messages: Sequence[Message] | None) -> None:
        for start, group in _numbered(Summaries.batches(rows) if self._needs.summary else [list(rows)]):
            summaries: Sequence[Summary | None] = [None] * len(group)
            if self._needs.summary:
                summaries = await self._read_summaries(group)
            self._output.resumed()
            for offset, (row, summary) in enumerate(zip(group, summaries, strict=True)):
                at = self._selected.index(row.uid)
                if at is None or (self._needs.summary and summary is None):
                    continue
                message = messages[start + offset] if messages is not None else None
                await self._send_message(at, row, summary, message)
                await self._output.breathe()

    async def _read_summaries(self, group: Sequence[MessageRow]) -> Sequence[Summary | None]:
        before = self._summaries.unreadable
        found = await self._summaries.of(group)
        unreadable = self._summaries.unreadable - before
        self._missed.unreadable += unreadable
        self._missed.gone += max(0, sum(summary is None for summary in found) - unreadable)
        return found

    async def _send_message(self, at: int, row: MessageRow, summary: Summary | None, message: Message | None) -> None:
        try:
            if message is None and summary is not None and self._lacks_fields(summary):
                (message,) = await open_messages(self._account, (row,))
            rendered = [await self._render(item, at, row, summary, message) for item in self._items]
            await self._send_rendered(at, rendered)
        except _UnknownEncodingError:
            self._missed.encoded += 1
        except IntegrityError as error:
            log_fault(error)
            self._missed.unreadable += 1
            return
        except Refused as error:
            if not is_gone(error):
                raise
            self._missed.gone += 1
            return

    def _lacks_fields(self, summary: Summary) -> bool:
        """Whether a field list asks for what this summary left out."""
        return any(
            isinstance(item, BodySection) and not item.section.part and not summary.holds_fields(item.section.fields)
            for item in self._items
        )

    async def _send_rendered(self, at: int, rendered: list[_Rendered]) -> None:
        """One response; before its first octet leaves, the first octets of its first large section are at hand."""
        news = self._news(at)
        if news:
            rendered.append(b" ".join(news))
        large = next((part for part in rendered if isinstance(part, _Large)), None)
        if large is None:
            parts = [part for part in rendered if isinstance(part, bytes)]
            self._output.send(b"* %d FETCH (%s)\r\n" % (at + 1, b" ".join(parts)))
            return
        async with aclosing(large.pieces()) as pieces:
            first = await anext(pieces)
            try:
                await self._stream(at, rendered, large, first, pieces)
            except Error as error:  # half a literal is out: nothing can be said any more
                raise ConnectionEnded("a message broke off while it was sent", detail=error.public) from error

    async def _stream(
        self,
        at: int,
        rendered: Sequence[_Rendered],
        large: _Large,
        first: bytes,
        rest: AsyncGenerator[bytes, None],
    ) -> None:
        output = self._output
        output.inside = True
        separator = b"* %d FETCH (" % (at + 1)
        for part in rendered:
            if isinstance(part, bytes):
                output.send(separator + part)
            else:
                output.send(separator + part.head)
                if part is large:
                    await self._send_piece(first)
                async with aclosing(rest if part is large else part.pieces()) as pieces:
                    async for piece in pieces:
                        await self._send_piece(piece)
            separator = b" "
        output.send(b")\r\n")
        output.inside = False

    async def _send_piece(self, piece: bytes) -> None:
        self._output.send(piece)
        await self._output.flush()
        await self._output.breathe()

    # --- items ----------------------------------------------------------------------------------------------------

    async def _render(
        self, item: FetchItem, at: int, row: MessageRow, summary: Summary | None, message: Message | None
    ) -> _Rendered:
        label = item_label(item)
        if item is Attribute.PREVIEW and message is not None and summary is not None:
            return label + b" " + await self._previews.of(message, summary)
        if isinstance(item, Attribute):
            return label + b" " + self._attribute(item, at, row, summary)
        if isinstance(item, BinarySection | BinarySize):
            if message is None:
                raise ValueError("content without its message")
            return await self._binary(item, row, summary, message)
        section = item.section
        if section.text in _FIELD_LISTS:
            block = await self._field_list(item, row, summary, message)
            if block is None:
                return label + b" NIL"
            window = item.partial.window(len(block)) if item.partial else range(len(block))
            return label + b" " + responses.literal(block[window.start : window.stop])
        found = _section(item, row, summary)
        if found is None:
            return label + b" NIL"
        start, stop = found
        if item.partial is not None:
            window = item.partial.window(stop - start)
            start, stop = start + window.start, start + window.stop
        if message is None:
            raise ValueError("a section without its message")
        if stop - start > INLINE_MAX:
            return _Large(responses.literal_start(label, stop - start), lambda: message.pieces(start, stop))
        return label + b" " + responses.literal(await message.octets(start, stop))

    async def _binary(
        self, item: BinarySection | BinarySize, row: MessageRow, summary: Summary | None, message: Message
    ) -> _Rendered:
        content = content_of(item.part, row.size, summary)
        if content is None:
            return item.label + (b" NIL" if isinstance(item, BinarySection) else b" 0")
        if not content.known:
            raise _UnknownEncodingError
        partial = item.partial if isinstance(item, BinarySection) else None
        measured = await measure(message, content, partial, self._output)
        if isinstance(item, BinarySize):
            return b"%s %d" % (item.label, measured.size)
        head = responses.literal_start(item.label, measured.size, binary=measured.nul)
        if measured.octets is not None:
            return head + measured.octets
        return _Large(head, lambda: decoded(message, content, partial))

    async def _field_list(
        self, item: BodySection, row: MessageRow, summary: Summary | None, message: Message | None
    ) -> bytes | None:
        section = item.section
        exclude = section.text is SectionText.HEADER_FIELDS_NOT
        if not section.part and not exclude and summary is not None and summary.holds_fields(section.fields):
            return field_block(summary.fields, section.fields)
        found = _section(item, row, summary)
        if found is None:
            return None
        if message is None:
            raise ValueError("a header without its message")
        start, stop = found
        header = await message.octets(start, min(stop, start + PART_HEADER_MAX) if section.part else stop)
        return field_block(header, section.fields, exclude)


class _UnknownEncodingError(Exception):
    """A part's transfer encoding is not one that we can undo."""


def _section(item: BodySection, row: MessageRow, summary: Summary | None) -> tuple[int, int] | None:
    """The octets that a section names; of the message's own header and text the row knows enough."""
    section = item.section
    if section.part:
        return section_range(summary, section.path) if summary is not None else None
    if section.text is SectionText.WHOLE:
        return 0, row.size
    if section.text is SectionText.TEXT:
        return header_size(row), row.size
    return 0, header_size(row)


def _numbered(groups: Sequence[list[MessageRow]]) -> Iterator[tuple[int, list[MessageRow]]]:
    start = 0
    for group in groups:
        yield start, group
        start += len(group)

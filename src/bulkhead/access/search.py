"""SEARCH: cheapest keys first; summaries, headers and bodies only of messages that are still undecided."""

import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from bulkhead.access.account import Account
from bulkhead.access.columns import batches, ranges_of
from bulkhead.access.filed import BATCH as FILED_TOGETHER
from bulkhead.access.filed import read_summaries
from bulkhead.access.mail import (
    Message,
    in_batches,
    is_gone,
    open_messages,
    read_headers,
    read_rows,
    read_whole,
    small_ones,
)  # fmt: skip
from bulkhead.access.outcome import log_fault
from bulkhead.access.output import Output
from bulkhead.access.search_text import ReadText, find_in_body, find_in_small_body, needles_of
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import Summaries
from bulkhead.boundary.messages.to_store import MessageRow
from bulkhead.errors import IntegrityError, Refused
from bulkhead.wire.imap.search import (
    Age,
    And,
    Dated,
    HasEmailId,
    HasField,
    InText,
    Larger,
    Not,
    Or,
    SearchKey,
    Smaller,
)  # fmt: skip
from bulkhead.wire.imap.search_plan import (
    Columns,
    Test,
    candidates,
    cheapest_first,
    compile_search,
    source_of_key,
)  # fmt: skip
from bulkhead.wire.imap.search_screen import screen_of
from bulkhead.wire.imap.sources import Source
from bulkhead.wire.summary import Glance, Summary

PAGED_MIN = 64  # undecided messages; fewer are read one by one
SLICE = 1000  # messages tested between two pauses
BATCH = 256  # undecided messages whose rows are read together


class Searcher:
    """Answers one SEARCH."""

    def __init__(
        self, account: Account, selected: Selected, summaries: Summaries, output: Output, key: SearchKey
    ) -> None:
        self._account, self._selected, self._summaries, self._output = account, selected, summaries, output
        self._key = cheapest_first(key)
        self._needles = needles_of(self._key)
        self._fields = {key.field for key in _leaves(self._key) if isinstance(key, HasField)}
        self._reads_bodies = source_of_key(self._key) is Source.BODY
        self._any_text = any(isinstance(key, InText) for key in _leaves(self._key))
        self._screen = screen_of(self._key)
        self._by_summary = source_of_key(self._key) is Source.SUMMARY and not any(
            isinstance(key, HasEmailId) for key in _leaves(self._key)
        )
        self._found: list[int] = []  # places
        self.unreadable = 0

    async def run(self) -> list[int]:
        """The places that match, ascending. Raises as the reads do."""
        columns = await self._columns()
        test = compile_search(self._key, columns)
        undecided: list[int] = []
        for place in candidates(self._key, columns):
            for start in range(place.start, place.stop, SLICE):
                for at in range(start, min(place.stop, start + SLICE)):
                    answer = test(at, Source.ARRAYS, None)
                    if answer is None:
                        undecided.append(at)
                    elif answer:
                        self._found.append(at)
                await self._output.breathe()
        undecided = await self._read_filed(undecided, test)
        for start in range(0, len(undecided), BATCH):
            await self._decide(undecided[start : start + BATCH], test)
        return sorted(self._found)

    async def _read_filed(self, undecided: list[int], test: Test) -> list[int]:
        """Decide what opened pages can decide; the places that are left."""
        if len(undecided) < PAGED_MIN or (self._screen is None and not self._by_summary):
            return undecided
        left: list[int] = []
        for batch in batches(ranges_of(undecided), FILED_TOGETHER):
            open_ = {at for place in batch for at in place}
            steps = read_summaries(self._account, self._selected, self._summaries, self._output, batch)
            async with aclosing(steps):
                async for step in steps:
                    open_.difference_update(self._decided(step, test))
            left += sorted(open_)
        return left

    def _decided(self, step: Sequence[tuple[int, bytes]], test: Test) -> Iterator[int]:
        """The places of those messages that are decided; the ones that match are found."""
        for at, entry in step:
            answer = self._by_entry(at, entry, test)
            if answer is not None:
                yield at
            if answer:
                self._found.append(at)

    def _by_entry(self, at: int, entry: bytes, test: Test) -> bool | None:
        glance = Glance.of(entry) if entry else None
        if glance is None or not glance.whole:
            return None
        if self._screen is not None and not self._screen(glance.fields):
            return False
        if not self._by_summary:
            return None
        try:
            return test(at, Source.SUMMARY, ReadText(b"", Summary.decode(entry)))
        except IntegrityError:
            return None  # the message's own parts tell, or say why not

    async def _columns(self) -> Columns:
        if any(isinstance(key, (Larger, Smaller, Dated, Age)) for key in _leaves(self._key)):
            return replace(await self._selected.columns(self._output), now=int(time.time()))
        selected = self._selected
        bit = selected.keywords.names.bit
        return Columns(
            selected.uids, selected.flags, selected.uids, selected.uids, bit, is_recent=selected.is_recent,
            modseqs=selected.modseqs,
        )  # fmt: skip

    async def _decide(self, places: Sequence[int], test: Test) -> None:
        rows: list[MessageRow] = []
        for ranges in self._selected.uid_ranges(range(at, at + 1) for at in places):
            rows += await read_rows(self._account, self._selected.mailbox, ranges)
        self._output.resumed()
        left: list[tuple[MessageRow, ReadText]] = []
        for group in Summaries.batches(rows):
            before = self._summaries.unreadable
            for row, summary in zip(group, await self._summaries.of(group), strict=True):
                if summary is None:
                    continue
                text = ReadText(row.email, summary)
                if self._undecided(row, test, Source.SUMMARY, text):
                    left.append((row, text))
                await self._output.breathe()
            self.unreadable += self._summaries.unreadable - before
        texts = {row.uid: text for row, text in left}
        for group in in_batches([row for row, _ in left]):
            messages = await open_messages(self._account, group)
            small = small_ones(messages) if self._reads_bodies else []
            for together in small:
                await read_whole(self._account, together)
                self._output.resumed()
                for message in together:
                    await self._read_on(message, texts[message.row.uid], test)
            done = {message.row.uid for together in small for message in together}
            rest = [message for message in messages if message.row.uid not in done]
            await read_headers(self._account, [one for one in rest if self._needs_header(texts[one.row.uid])])
            for message in rest:
                await self._read_on(message, texts[message.row.uid], test)

    def _needs_header(self, text: ReadText) -> bool:
        """Whether the header can tell what the summary could not."""
        return self._any_text or not text.summary.holds_fields(self._fields)

    def _undecided(self, row: MessageRow, test: Test, source: Source, text: ReadText) -> bool:
        at = self._selected.index(row.uid)
        if at is None:
            return False
        answer = test(at, source, text)
        if answer:
            self._found.append(at)
        return answer is None

    async def _read_on(self, message: Message, text: ReadText, test: Test) -> None:
        try:
            if self._needs_header(text):
                text.take_header(await message.header())
                if not self._undecided(message.row, test, Source.HEADER, text):
                    return
                await self._output.breathe()
            body = message.small_body()
            if body is None:
                text.take_body(await find_in_body(message, text.summary, self._needles, self._output))
            else:
                text.take_body(find_in_small_body(body, message.header_size, text.summary, self._needles))
            self._undecided(message.row, test, Source.BODY, text)
        except IntegrityError as error:
            log_fault(error)
            self.unreadable += 1
        except Refused as error:
            if not is_gone(error):
                raise
        finally:
            await self._output.breathe()


def _leaves(key: SearchKey) -> Iterator[SearchKey]:
    """Every key of the program that holds no other."""
    match key:
        case And(keys) | Or(keys):
            for item in keys:
                yield from _leaves(item)
        case Not(inner):
            yield from _leaves(inner)
        case _:
            yield key

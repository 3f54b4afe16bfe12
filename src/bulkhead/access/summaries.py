"""Summaries of messages: from pages where they are filed, from their own part where they have just arrived."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bulkhead.access.account import Account
from bulkhead.access.outcome import log_fault
from bulkhead.boundary.messages.to_keyring import BATCH_MAX
from bulkhead.boundary.messages.to_store import MessageRow, PageRow, Part, ReadPages, ReadParts
from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import EmailId
from bulkhead.records.message import open_summary
from bulkhead.records.page import Page
from bulkhead.wire.summary import Summary

PAGES_AT_ONCE = 16
PARTS_BYTES_MAX = 2 << 20  # octets of summaries read together
KEPT_BYTES_MAX = 4 << 20  # octets of opened pages that a session keeps
KEYS_KEPT = 256  # page keys of one session


@dataclass(frozen=True, slots=True)
class PageRead:
    """A page as it was read. generation: that it is sealed under."""

    version: int
    page: Page
    generation: int


class Summaries:
    """Opened summary pages of one session."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._bytes = 0
        self.unreadable = 0  # summaries that did not open or decode
        self._keys: OrderedDict[tuple[int, int], bytes] = OrderedDict()  # by page and generation

    @staticmethod
    def batches(rows: Sequence[MessageRow]) -> list[list[MessageRow]]:
        """The rows in order, in batches that may be asked for with `of`."""
        batches: list[list[MessageRow]] = []
        pages: set[int] = set()
        size = 0
        for row in rows:
            arrived = row.summary_size if row.page == 0 else 0
            full = len(pages) == PAGES_AT_ONCE and row.page not in pages
            if not batches or len(batches[-1]) >= BATCH_MAX or size + arrived > PARTS_BYTES_MAX or full:
                batches.append([])
                pages, size = set(), 0
            batches[-1].append(row)
            size += arrived
            if row.page:
                pages.add(row.page)
        return batches

    async def of(self, rows: Sequence[MessageRow]) -> list[Summary | None]:
        """Summaries of one batch, None where the message is gone or cannot be read."""
        pages = await self._pages_of(rows)
        encoded: list[bytes] = []
        for row in rows:
            page = pages.get(row.page)
            encoded.append(page.entries[row.index] if page is not None and row.index < len(page.entries) else b"")
        missing = [at for at, entry in enumerate(encoded) if not entry]
        if missing:
            for at, entry in zip(missing, await self._read_parts([rows[at] for at in missing]), strict=True):
                encoded[at] = entry
        return [self._decode(entry) if entry else None for entry in encoded]

    def _decode(self, entry: bytes) -> Summary | None:
        try:
            return Summary.decode(entry)
        except IntegrityError as error:
            self._take_note(error)
            return None

    def _take_note(self, error: IntegrityError) -> None:
        """One message that cannot be read must not hide the others."""
        self.unreadable += 1
        log_fault(error)

    async def _pages_of(self, rows: Sequence[MessageRow]) -> dict[int, Page]:
        """The pages of these rows, those that are kept and good enough, else read."""
        pages: dict[int, Page] = {}
        wanted: dict[int, None] = {}
        for row in rows:
            if row.page == 0 or row.page in wanted:
                continue
            kept = self._pages.get(row.page)
            if kept is None or row.index >= len(kept.entries) or not kept.entries[row.index]:
                wanted[row.page] = None
                pages.pop(row.page, None)
            else:
                self._pages.move_to_end(row.page)
                pages[row.page] = kept
        if wanted:
            pages.update(await self.read_pages(tuple(wanted)))
        return pages

    async def read_page_version(self, number: int, version: int) -> PageRead | None:
        """This version of a page, where the store still has it and it opens."""
        found = (await self._read_versions((number,))).get(number)
        return found if found is not None and found.version == version else None

    async def pages_numbered(self, numbers: Collection[int]) -> dict[int, Page]:
        """Pages (at most PAGES_AT_ONCE) as they are kept, else read; one that is gone or does not open is left out."""
        pages = {number: self._pages[number] for number in numbers if number in self._pages}
        for number in pages:
            self._pages.move_to_end(number)
        wanted = tuple(number for number in numbers if number not in pages)
        return {**pages, **await self.read_pages(wanted)} if wanted else pages

    async def read_pages(self, numbers: tuple[int, ...]) -> dict[int, Page]:
        """Pages as the store has them now, opened; one that is gone or does not open is left out."""
        return {number: found.page for number, found in (await self._read_versions(numbers)).items()}

    async def _read_versions(self, numbers: tuple[int, ...]) -> dict[int, PageRead]:
        account = self._account
        newest = account.generation
        (reply, body), _ = await asyncio.gather(
            account.read(ReadPages(account.handle, numbers)), self._need_keys(numbers, newest)
        )
        if sum(row.size for row in reply.pages) != len(body):
            raise IntegrityError("pages are not of the length that was said")
        pages: dict[int, PageRead] = {}
        await self._need_older_keys(reply.pages)
        view, at = memoryview(body), 0
        for row in reply.pages:
            record = bytes(view[at : at + row.size])
            at += row.size
            generation = row.generation or newest
            key = self._keys.get((row.page, generation))
            if row.size and key is not None:
                try:
                    page = Page.open(key, account.id, row.page, row.version, record)
                except IntegrityError as error:  # the messages' own parts still tell what it told
                    self._take_note(error)
                    continue
                pages[row.page] = PageRead(row.version, page, generation)
                self.keep(row.page, page)
                await asyncio.sleep(0)
        return pages

    async def page_key(self, number: int, generation: int) -> bytes:
        """The key of one page under a generation. Raises Refused (`no-such-generation`)."""
        await self._need_keys((number,), generation)
        return self._keys[number, generation]

    async def _need_older_keys(self, rows: Sequence[PageRow]) -> None:
        """Of pages that were not sealed since the mailbox key was renewed."""
        older: dict[int, list[int]] = {}
        for row in rows:
            if row.size and 0 < row.generation < self._account.generation:
                older.setdefault(row.generation, []).append(row.page)
        for generation, numbers in older.items():
            try:
                await self._need_keys(tuple(numbers), generation)
            except Refused as refused:
                if refused.code != "no-such-generation":
                    raise  # else the messages' own parts tell what the pages told

    async def _need_keys(self, numbers: tuple[int, ...], generation: int) -> None:
        wanted = [number for number in numbers if (number, generation) not in self._keys]
        if wanted:
            for number, key in zip(wanted, await self._account.page_keys(wanted, generation), strict=True):
                self._keys[number, generation] = key
        for number in numbers:
            if (number, generation) in self._keys:
                self._keys.move_to_end((number, generation))
        while len(self._keys) > KEYS_KEPT:
            self._keys.popitem(last=False)

    def keep(self, number: int, page: Page) -> None:
        """Remember an opened page, the least recently used making room."""
        old = self._pages.pop(number, None)
        if old is not None:
            self._bytes -= _octets(old)
        self._pages[number] = page
        self._bytes += _octets(page)
        while self._bytes > KEPT_BYTES_MAX and len(self._pages) > 1:
            self._bytes -= _octets(self._pages.popitem(last=False)[1])

    async def _read_parts(self, rows: Sequence[MessageRow]) -> list[bytes]:
        """Encoded summaries from the messages' own parts, empty where one is gone."""
        account = self._account
        emails = tuple(row.email for row in rows)
        (reply, body), keys = await asyncio.gather(
            account.read(ReadParts(account.handle, Part.SUMMARY, emails)), account.message_keys(rows)
        )
        if len(reply.sizes) != len(rows) or sum(reply.sizes) != len(body):
            raise IntegrityError("summaries are not of the length that was said")
        found: list[bytes] = []
        view, at = memoryview(body), 0
        for row, key, size in zip(rows, keys, reply.sizes, strict=True):
            if not size:
                found.append(b"")
                continue
            record = view[at : at + size]
            at += size
            try:
                if key is None:
                    raise IntegrityError("a message key does not open")
                found.append(open_summary(key, account.id, EmailId(row.email), record))
            except IntegrityError as error:
                self._take_note(error)
                found.append(b"")
            if len(found) % 64 == 0:
                await asyncio.sleep(0)
        return found


def _octets(page: Page) -> int:
    return sum(map(len, page.entries)) + 64 * len(page.entries)

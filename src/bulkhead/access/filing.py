"""Filing: arrived mail gets slots, and its summaries go into pages, so that lists open one record for 256 messages.

Runs in the background of a session that has a mailbox selected, from the oldest arrived message on, so that arrived
mail is always at the mailbox's end. The plan is asked for before the rows: another session that files meanwhile
changes the page that the plan names, the store refuses ours (`page-changed`), and the next round sees its work.

Afterwards pages that an older mailbox key sealed are sealed anew, and those of which half is dead are written anew
without what is dead.
"""

import asyncio

from bulkhead.access.account import Account
from bulkhead.access.mail import read_rows
from bulkhead.access.outcome import log_fault
from bulkhead.access.resealing import reseal_pages
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import Summaries
from bulkhead.boundary.messages.to_store import (
    FiledEntry,
    FileMessages,
    FilingPlan,
    ListSparsePages,
    MessageRow,
    Part,
    PlanFiling,
    ReadParts,
    ReadRows,
    RewritePage,
    SparsePage,
)  # fmt: skip
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import EmailId, MailboxId
from bulkhead.records.message import open_summary
from bulkhead.records.page import PAGE_ENTRIES_MAX, Page

BLOCK = 256  # rows looked at, and filed, together
PAGE_BYTES_OPEN = 64 * 1024  # a page of this size takes no more
BATCH_BYTES_MAX = 1 << 20  # octets of summaries filed together
SETTLE_SECONDS = 10.0  # how long mail that comes during a session waits for more
SPARSE_ROUNDS_MAX = 256  # lists of half-dead pages that one session writes anew
ROUNDS_MAX = 20  # refused rounds in a row, after which the next session tries


class Filing:
    """Files the arrived mail of one session's mailboxes, one mailbox at a time."""

    def __init__(self, account: Account, summaries: Summaries) -> None:
        self._account, self._summaries = account, summaries
        self._task: asyncio.Task[None] | None = None
        self._unreadable: set[bytes] = set()  # messages that do not open: filed by nobody, read by nobody

    def begin(self, selected: Selected, *, at_once: bool) -> None:
        """File what arrived in the selected mailbox: at once, or when more may have come."""
        if self.running:
            return
        selected.arrived = False
        if selected.uids:
            self._task = asyncio.get_running_loop().create_task(self._run(selected, at_once))

    @property
    def running(self) -> bool:
        """Whether mail is being filed, or waits to be."""
        return self._task is not None and not self._task.done()

    def stop(self) -> None:
        """Leave the rest to the next session."""
        if self._task is not None:
            self._task.cancel()

    async def wait(self) -> None:
        """Until nothing is being filed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, selected: Selected, at_once: bool) -> None:
        try:
            if not at_once:
                await asyncio.sleep(SETTLE_SECONDS)
                selected.arrived = False
            first = await self._first_arrived(selected)
            refused = 0
            while first is not None and refused < ROUNDS_MAX:
                try:
                    first = await self._file_batch(selected.mailbox, first)
                    refused = 0
                except Refused as error:
                    if error.code != "page-changed":
                        raise
                    refused += 1
            await reseal_pages(self._account, self._summaries)
            await self._rewrite_sparse()
        except TemporaryFailure:
            selected.arrived = True  # the session's next command begins again
        except Refused:
            pass  # the mailbox is gone, or the session
        except Exception as error:  # in the background: the session goes on, and reads what is not filed
            log_fault(error)

    async def _first_arrived(self, selected: Selected) -> int | None:
        """The UID of the oldest arrived message, looking back from the newest until a whole block is filed."""
        first: int | None = None
        uids = selected.uids
        for stop in range(len(uids), 0, -BLOCK):
            ranges = ((uids[max(0, stop - BLOCK)], uids[stop - 1]),)
            rows = await read_rows(self._account, selected.mailbox, ranges)
            arrived = [row.uid for row in rows if self._wanted(row)]
            if not arrived:
                break
            first = arrived[0]
        return first

    def _wanted(self, row: MessageRow) -> bool:
        return row.page == 0 and row.email not in self._unreadable

    async def _file_batch(self, mailbox: MailboxId, first: int) -> int | None:
        """File the next batch of messages with UIDs from `first`; where to go on, or None at the end.

        Raises Refused (`page-changed`) where another session filed meanwhile.
        """
        account = self._account
        plan = await account.ask(PlanFiling(account.handle))
        rows = await _rows_from(account, mailbox, first)
        if not rows:
            return None
        page = await self._open_page(plan)
        batch = self._pick(rows, PAGE_ENTRIES_MAX - len(page.entries))
        following = (batch[-1].uid if batch else rows[-1].uid) + 1
        if batch:
            await self._write(plan, page, batch)
        return following

    async def _open_page(self, plan: FilingPlan) -> Page:
        """What the newest page holds, where it takes more; else an empty page."""
        newest = plan.newest
        if not newest.page or newest.size >= PAGE_BYTES_OPEN or newest.used >= PAGE_ENTRIES_MAX:
            return Page(())
        if newest.generation != self._account.generation:
            return Page(())  # a page is as new as the oldest slot of what is in it
        page = (await self._summaries.read_pages((newest.page,))).get(newest.page)
        if page is None or len(page.entries) != newest.used:
            raise Refused("the page is another by now", code="page-changed")
        return page

    def _pick(self, rows: list[MessageRow], room: int) -> list[MessageRow]:
        batch: list[MessageRow] = []
        seen: set[bytes] = set()
        size = 0
        for row in rows:
            if not self._wanted(row) or row.email in seen:
                continue
            size += row.summary_size
            if batch and (len(batch) >= room or size > BATCH_BYTES_MAX):
                break
            seen.add(row.email)
            batch.append(row)
        return batch

    async def _write(self, plan: FilingPlan, page: Page, batch: list[MessageRow]) -> None:
        account = self._account
        (reply, body), opened = await asyncio.gather(
            account.read(ReadParts(account.handle, Part.SUMMARY, tuple(row.email for row in batch))),
            account.open_arrived(batch),
        )
        if len(reply.sizes) != len(batch) or sum(reply.sizes) != len(body):
            raise IntegrityError("summaries are not of the length that was said")
        entries, filed = list(page.entries), list[FiledEntry]()
        view, at = memoryview(body), 0
        for row, key, size in zip(batch, opened, reply.sizes, strict=True):
            record = view[at : at + size]
            at += size
            if not size:
                continue  # gone meanwhile
            try:
                if key is None:
                    raise IntegrityError("the key box does not open")
                summary = open_summary(key.key, account.id, EmailId(row.email), record)
            except IntegrityError as error:
                log_fault(error)
                self._unreadable.add(row.email)
                continue
            filed.append(FiledEntry(row.email, len(entries), key.slot))
            entries.append(summary)
            if len(entries) % 64 == 0:
                await asyncio.sleep(0)
        if filed:
            await self._replace(plan, page, Page(tuple(entries)), tuple(filed))

    async def _rewrite_sparse(self) -> None:
        """Write pages anew of which half is dead. Another session that did it first is as good."""
        account = self._account
        for _ in range(SPARSE_ROUNDS_MAX):
            pages = (await account.ask(ListSparsePages(account.handle))).pages
            for page in pages:
                try:
                    await self._rewrite(page)
                except Refused as error:
                    if error.code != "page-changed":
                        raise
                    return
            if not pages:
                return

    async def _rewrite(self, sparse: SparsePage) -> None:
        account = self._account
        found = await self._summaries.read_page_version(sparse.page, sparse.version)
        if found is None or len(found.page.entries) != sparse.used:
            raise Refused("the page is another by now", code="page-changed")
        live = set(sparse.live)
        entries = tuple(entry if at in live else b"" for at, entry in enumerate(found.page.entries))
        key, version = await self._summaries.page_key(sparse.page, found.generation), sparse.version + 1
        page = Page(entries)
        record = page.seal(key, found.generation, account.id, sparse.page, version)  # its slots are as old as it is
        await account.ask(
            RewritePage(account.stamp(), account.handle, sparse.page, version, sparse.version, sparse.live), record
        )
        self._summaries.keep(sparse.page, page)

    async def _replace(self, plan: FilingPlan, old: Page, new: Page, filed: tuple[FiledEntry, ...]) -> None:
        account = self._account
        replaces = plan.newest.version if old.entries else 0
        number = plan.newest.page if old.entries else plan.next_page
        version = replaces + 1
        key = await self._summaries.page_key(number, account.generation)
        record = new.seal(key, account.generation, account.id, number, version)
        request = FileMessages(account.stamp(), account.handle, number, version, replaces, len(new.entries), filed)
        await account.ask(request, record)
        self._summaries.keep(number, new)


async def _rows_from(account: Account, mailbox: MailboxId, first: int) -> list[MessageRow]:
    """At most a block of rows with UIDs from `first` on."""
    page = await account.ask(ReadRows(account.handle, mailbox, ((first, 0xFFFFFFFF),), BLOCK))
    return list(page.rows)

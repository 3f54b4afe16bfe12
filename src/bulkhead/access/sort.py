"""SORT and THREAD: keys made from opened summaries, ordered in slices so that nobody waits (RFC 5256; RFC 5957).

Of each message only its key is kept, so memory is the number of messages found times the length of a key.
"""

import heapq
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from bulkhead.access.account import Account
from bulkhead.access.columns import ranges_of
from bulkhead.access.mail import in_batches, is_gone, open_messages, read_headers, read_rows
from bulkhead.access.outcome import log_fault
from bulkhead.access.output import Output
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import Summaries
from bulkhead.boundary.messages.to_store import MessageRow
from bulkhead.errors import IntegrityError, Refused
from bulkhead.wire.address_list import parse_address_list
from bulkhead.wire.header import scan_fields, unfold
from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.imap.responses import Code
from bulkhead.wire.imap.sort import IN_ARRAYS, TEXT_MAX, SortField, SortKey, base_subject, order_key, place_of
from bulkhead.wire.imap.thread import Threaded, message_ids, references_of
from bulkhead.wire.search_text import collate, header_text
from bulkhead.wire.summary import Summary

BATCH = 256  # messages whose rows are read together
KEYS_BYTES_MAX = 256 << 20  # octets of the keys of one SORT
REFERENCES_MAX = 1 << 20  # ids that the messages of one THREAD refer to, all together; past it each one's parent counts
RUN = 2000  # keys sorted in one step; runs are then merged
SLICE = 500  # merged keys between two pauses
_FIELDS = {
    SortField.CC: b"cc",
    SortField.FROM: b"from",
    SortField.TO: b"to",
    SortField.DISPLAYFROM: b"from",
    SortField.DISPLAYTO: b"to",
    SortField.SUBJECT: b"subject",
}
_THREAD_FIELDS = frozenset((b"subject", b"message-id", b"references", b"in-reply-to"))


class OpenedFields:
    """The fields of one message that sorting and threading ask for (`wire.imap.sort.Sortable`)."""

    def __init__(self, summary: Summary | None, header: bytes, arrived: int, size: int) -> None:
        self._summary, self._arrived, self._size = summary, arrived, size
        self._values: dict[bytes, bytes] = {}
        for name, _, value, end in scan_fields(header, 0, len(header)):
            self._values.setdefault(name, header[value:end])

    def arrived(self) -> int:
        """When it was stored."""
        return self._arrived

    def size(self) -> int:
        """RFC822.SIZE."""
        return self._size

    def sent(self) -> int:
        """Its Date, or when it was stored."""
        date = self._summary.date if self._summary is not None else None
        return self._arrived if date is None else date

    def subject(self) -> str:
        """Its Subject."""
        return header_text(self._values.get(b"subject", b""))

    def first_mailbox(self, field: bytes) -> str:
        """The local part of the field's first address."""
        found = parse_address_list(unfold(self._values.get(field, b"")), 1)
        return (found[0][2] or b"").decode("utf-8", "replace") if found else ""

    def display_name(self, field: bytes) -> str:
        """The name of the field's first address, or the address."""
        found = parse_address_list(unfold(self._values.get(field, b"")), 1)
        if not found:
            return ""
        name, _, local, domain = found[0]
        if name:
            return header_text(name)
        address = (local or b"") + (b"@" + domain if domain else b"")
        return address.decode("utf-8", "replace")

    def threaded(self, number: int) -> Threaded:
        """What threading asks for."""
        subject, is_reply = base_subject(self.subject())
        identifiers = message_ids(unfold(self._values.get(b"message-id", b"")))
        return Threaded(
            number,
            collate(subject[:TEXT_MAX]),
            is_reply,
            self.sent(),
            identifiers[0] if identifiers else b"",
            references_of(unfold(self._values.get(b"references", b"")), unfold(self._values.get(b"in-reply-to", b""))),
        )


class FieldReader:
    """Opens what SORT and THREAD compare."""

    def __init__(self, account: Account, selected: Selected, summaries: Summaries, output: Output) -> None:
        self._account, self._selected, self._summaries, self._output = account, selected, summaries, output
        self.unreadable = 0

    async def sorted(self, places: Sequence[int], keys: Sequence[SortKey]) -> list[int]:
        """The places in the order of `keys`. Raises CommandError (NO) where the keys would fill the memory."""
        output, octets = self._output, 0
        runs: list[list[bytes]] = [[]]
        async with aclosing(self._opened(places, frozenset(map(_field_of, keys)) - {b""}, keys)) as opened:
            async for at, fields in opened:
                key = order_key(keys, fields, at)
                octets += len(key)
                if octets > KEYS_BYTES_MAX:
                    raise CommandError("too much to sort", condition=Condition.NO, response_code=Code.LIMIT.value)
                runs[-1].append(key)
                if len(runs[-1]) == RUN:
                    runs[-1].sort()
                    runs.append([])
                await output.breathe()
        runs[-1].sort()
        found: list[int] = []
        for merged in heapq.merge(*runs):
            found.append(place_of(merged))
            if len(found) % SLICE == 0:
                await output.breathe()
        return found

    async def threaded(self, places: Sequence[int]) -> list[Threaded]:
        """What threading asks of the messages at these places."""
        found: list[Threaded] = []
        left = REFERENCES_MAX
        async with aclosing(self._opened(places, _THREAD_FIELDS, None)) as opened:
            async for at, fields in opened:
                message = fields.threaded(at)
                if len(message.references) > left:
                    message = replace(message, references=message.references[-1:])
                left -= len(message.references)
                found.append(message)
                await self._output.breathe()
        return found

    async def _opened(
        self, places: Sequence[int], names: frozenset[bytes], keys: Sequence[SortKey] | None
    ) -> AsyncGenerator[tuple[int, OpenedFields], None]:
        """Each place once and what is known of its message: nothing of one that is gone or cannot be read."""
        columns = await self._selected.columns(self._output)
        sizes, dates = columns.sizes, columns.dates
        in_arrays = keys is not None and all(key.field in IN_ARRAYS for key in keys)
        for start in range(0, len(places), BATCH):
            batch = places[start : start + BATCH]
            summaries: dict[int, Summary] = {}
            headers: dict[int, bytes] = {}
            if not in_arrays:
                await self._open(batch, names, summaries, headers)
            for at in batch:
                summary = summaries.get(at)
                header = headers.get(at, summary.fields if summary is not None else b"")
                yield at, OpenedFields(summary, header, dates[at], sizes[at])

    async def _open(
        self, places: Sequence[int], names: frozenset[bytes], summaries: dict[int, Summary], headers: dict[int, bytes]
    ) -> None:
        selected = self._selected
        rows: list[MessageRow] = []
        for ranges in selected.uid_ranges(ranges_of(places)):
            rows += await read_rows(self._account, selected.mailbox, ranges)
        self._output.resumed()
        long: list[MessageRow] = []  # their summaries left out a field that is asked for
        for group in Summaries.batches(rows):
            before = self._summaries.unreadable
            for row, summary in zip(group, await self._summaries.of(group), strict=True):
                at = selected.index(row.uid)
                if at is None or summary is None:
                    continue
                summaries[at] = summary
                if not summary.holds_fields(names):
                    long.append(row)
                await self._output.breathe()
            self.unreadable += self._summaries.unreadable - before
        for group in in_batches(long):
            messages = await open_messages(self._account, group)
            await read_headers(self._account, messages)
            for message in messages:
                at = selected.index(message.row.uid)
                if at is None:
                    continue
                try:
                    headers[at] = await message.header()
                except IntegrityError as error:
                    log_fault(error)
                    self.unreadable += 1
                except Refused as error:
                    if not is_gone(error):
                        raise


def _field_of(key: SortKey) -> bytes:
    return _FIELDS.get(key.field, b"")

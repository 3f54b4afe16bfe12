"""Reading messages: rows in batches, headers, and ranges of bodies, opening no more than what was asked for.

Positions are octets of the message. Where header and body meet follows from the row, so nothing is read to know it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from bulkhead.access.account import RESTARTING, Account
from bulkhead.boundary.messages.to_store import (
    MessageRow,
    Part,
    ReadMessages,
    ReadPart,
    ReadParts,
    ReadRows,
    SizedParts,
    UidRange,
)  # fmt: skip
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, EmailId, MailboxId
from bulkhead.records.chunks import CHUNK_BYTES, SEALED_CHUNK_BYTES
from bulkhead.records.message import open_body_range, open_header, sealed_range
from bulkhead.records.record import HEADER_BYTES, TAG_BYTES

ROWS_AT_ONCE = 500
HEADERS_BYTES_MAX = 1 << 20  # octets of headers read together
WHOLE_AT_ONCE = 64  # messages read whole together
WHOLE_BYTES_MAX = 512 * 1024  # octets of them; one that is larger is read as it is sent
_RESUMES = 3


def header_size(row: MessageRow) -> int:
    """Octets of the header with its empty line."""
    return row.header_size - HEADER_BYTES - TAG_BYTES


async def read_rows(
    account: Account, mailbox: MailboxId, ranges: Sequence[UidRange], limit: int = ROWS_AT_ONCE
) -> list[MessageRow]:
    """Rows of these UIDs in UID order; those that are gone are left out. The caller asks for at most some hundreds."""
    rows: list[MessageRow] = []
    left = list(ranges)
    while left:
        page = await account.ask(ReadRows(account.handle, mailbox, tuple(left), limit))
        rows += page.rows
        if not page.more or not page.rows:
            break
        last = page.rows[-1].uid
        left = [(max(first, last + 1), stop) for first, stop in left if stop > last]
    return rows


class Message:
    """One message, its key at hand. Nothing is read before it is asked for, and the header only once."""

    def __init__(self, account: Account, row: MessageRow, key: bytes | None) -> None:
        self._account, self.row = account, row
        self._maybe_key = key
        self._header: bytes | None = None
        self._sealed_body: bytes | None = None

    @property
    def _key(self) -> bytes:
        """Raises IntegrityError where keyring could not open it."""
        if self._maybe_key is None:
            raise IntegrityError("a message key does not open")
        return self._maybe_key

    @property
    def header_size(self) -> int:
        """Octets of the header."""
        return header_size(self.row)

    async def header(self) -> bytes:
        """The complete header. Raises IntegrityError, Refused (`no-such-message`)."""
        if self._header is None:
            _, sealed = await self._account.read(ReadPart(self._account.handle, self.row.email, Part.HEADER))
            self._header = open_header(self._key, self._account_id, self._email, sealed)
        return self._header

    def take_header(self, sealed: bytes) -> None:
        """The header's record, read together with others; one that does not open says so when it is asked for."""
        try:
            self._header = open_header(self._key, self._account_id, self._email, sealed)
        except IntegrityError:
            self._header = None

    def take_whole(self, sealed: bytes) -> None:
        """Header and body as they lie in the store, read together with others."""
        self.take_header(sealed[: self.row.header_size])
        self._sealed_body = sealed[self.row.header_size :]

    def small_body(self) -> bytes | None:
        """The whole body, where it is at hand and has but one chunk. Raises IntegrityError."""
        plain_size = self.row.size - self.header_size
        if self._sealed_body is None or plain_size > CHUNK_BYTES:
            return None
        offset, length, _ = sealed_range(0, plain_size, plain_size)
        if not length:
            return b""
        return self._open_chunk(self._sealed_body[offset : offset + length], 0, 0, plain_size, plain_size)

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Octets [start, end) of the message in pieces of at most 64 KiB or the header. Reads only what holds them."""
        split = self.header_size
        if start < min(end, split):
            header = await self.header()
            yield header[start : min(end, split)]
        if end > split and start < end:
            async with aclosing(self._body(max(0, start - split), end - split)) as body:
                async for piece in body:
                    yield piece

    async def octets(self, start: int, end: int) -> bytes:
        """Octets [start, end), which the caller has bounded."""
        return b"".join([piece async for piece in self.pieces(start, end)])

    async def _body(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Octets of the body; goes on where it was when the store restarts."""
        failures = 0
        while start < end:
            try:
                async with aclosing(self._body_once(start, end)) as body:
                    async for piece in body:
                        yield piece
                        start += len(piece)
                if start < end:
                    raise IntegrityError("the body is shorter than its row says")
            except TemporaryFailure as failure:
                failures += 1
                if failure.code not in RESTARTING or failures > _RESUMES:
                    raise

    async def _body_once(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        plain_size = self.row.size - self.header_size
        offset, length, first = sealed_range(start, end - start, plain_size)
        if not length:
            return
        if self._sealed_body is not None:
            ends = offset + length
            for number, at in enumerate(range(offset, ends, SEALED_CHUNK_BYTES), first):
                chunk = self._sealed_body[at : min(at + SEALED_CHUNK_BYTES, ends)]
                yield self._open_chunk(chunk, number, start, end, plain_size)
            return
        _, reader = await self._account.open(ReadPart(self._account.handle, self.row.email, Part.BODY, offset, length))
        try:
            kept = bytearray()
            number = first
            taken = 0
            async for data in reader:
                kept += data
                taken += len(data)
                while len(kept) >= SEALED_CHUNK_BYTES or (kept and taken == length):
                    chunk = bytes(kept[:SEALED_CHUNK_BYTES])
                    del kept[:SEALED_CHUNK_BYTES]
                    yield self._open_chunk(chunk, number, start, end, plain_size)
                    number += 1
            if taken != length:
                raise IntegrityError("a part is shorter than its row says")
        finally:
            reader.close()

    def _open_chunk(self, sealed: bytes, number: int, start: int, end: int, plain_size: int) -> bytes:
        first = max(start, number * CHUNK_BYTES)
        stop = min(end, (number + 1) * CHUNK_BYTES)
        return open_body_range(
            self._key, self._account_id, self._email, sealed, offset=first, length=stop - first, plain_size=plain_size
        )

    @property
    def _account_id(self) -> AccountId:
        return self._account.id

    @property
    def _email(self) -> EmailId:
        return EmailId(self.row.email)


async def open_messages(account: Account, rows: Sequence[MessageRow]) -> list[Message]:
    """Messages with their keys, opened together."""
    keys = await account.message_keys(rows)
    return [Message(account, row, key) for row, key in zip(rows, keys, strict=True)]


async def read_headers(account: Account, messages: Sequence[Message]) -> None:
    """Read the headers of many messages (at most 256 and 1 MiB) in one request, where there are many.

    One that is gone stays unread, and says so when it is asked for.
    """
    if len(messages) < 2:
        return
    emails = tuple(message.row.email for message in messages)
    reply, body = await account.read(ReadParts(account.handle, Part.HEADER, emails))
    if len(reply.sizes) != len(emails) or sum(reply.sizes) != len(body):
        raise IntegrityError("headers are not of the length that was said")
    at = 0
    for message, size in zip(messages, reply.sizes, strict=True):
        if size:
            message.take_header(body[at : at + size])
        at += size


async def read_whole(account: Account, messages: Sequence[Message]) -> None:
    """Read header and body of several messages (at most 64 and 4 MiB) in one request.

    One that is gone stays unread, and says so when it is asked for.
    """
    _take_whole(messages, *await _ask_whole(account, [message.row for message in messages]))


async def open_whole(account: Account, rows: Sequence[MessageRow]) -> list[Message]:
    """Messages with their keys, and header and body of each, the two asked for at once. For a batch of whole ones."""
    if sum(map(sealed_size, rows)) > WHOLE_BYTES_MAX:
        return await open_messages(account, rows)
    messages, (reply, sealed) = await asyncio.gather(open_messages(account, rows), _ask_whole(account, rows))
    _take_whole(messages, reply, sealed)
    return messages


async def _ask_whole(account: Account, rows: Sequence[MessageRow]) -> tuple[SizedParts, bytes]:
    return await account.read(ReadMessages(account.handle, tuple(row.email for row in rows)))


def _take_whole(messages: Sequence[Message], reply: SizedParts, sealed: bytes) -> None:
    if len(reply.sizes) != len(messages) or sum(reply.sizes) != len(sealed):
        raise IntegrityError("messages are not of the length that was said")
    at = 0
    for message, size in zip(messages, reply.sizes, strict=True):
        if size:
            if size != sealed_size(message.row):
                raise IntegrityError("a message is not of the length that its row says")
            message.take_whole(sealed[at : at + size])
        at += size


def small_ones(messages: Sequence[Message]) -> list[list[Message]]:
    """Those whose bodies have but one chunk and whose headers are not long, in batches that may be read whole."""
    batches: list[list[Message]] = []
    size = 0
    for message in messages:
        row = message.row
        if row.size - header_size(row) > CHUNK_BYTES or sealed_size(row) > WHOLE_BYTES_MAX:
            continue
        if not batches or len(batches[-1]) >= WHOLE_AT_ONCE or size + sealed_size(row) > WHOLE_BYTES_MAX:
            batches.append([])
            size = 0
        batches[-1].append(message)
        size += sealed_size(row)
    return batches


def sealed_size(row: MessageRow) -> int:
    """Bytes of header and body as they lie in the store."""
    return row.header_size + row.body_size


def in_batches(rows: Sequence[MessageRow]) -> list[list[MessageRow]]:
    """Rows in batches whose headers may be read together."""
    return _batched(rows, 256, HEADERS_BYTES_MAX, lambda row: row.header_size)


def in_whole_batches(rows: Sequence[MessageRow]) -> list[list[MessageRow]]:
    """Rows in batches whose messages may be read together; one that is too large for that is alone in its batch."""
    return _batched(rows, WHOLE_AT_ONCE, WHOLE_BYTES_MAX, sealed_size)


def _batched(
    rows: Sequence[MessageRow], count_max: int, bytes_max: int, size_of: Callable[[MessageRow], int]
) -> list[list[MessageRow]]:
    batches: list[list[MessageRow]] = []
    size = 0
    for row in rows:
        if not batches or len(batches[-1]) >= count_max or size + size_of(row) > bytes_max:
            batches.append([])
            size = 0
        batches[-1].append(row)
        size += size_of(row)
    return batches


def is_gone(error: Exception) -> bool:
    """Whether this error says that the message was expunged meanwhile."""
    return isinstance(error, Refused) and error.code == "no-such-message"

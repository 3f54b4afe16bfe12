"""Reading a maildrop ahead of a client that fetches one message after another.

The first message is read alone. While each asked for follows the one before, twice as many are read in one request as
the time before, the next ones while the client takes these; any other order ends that. Read ahead is what a RETR of
each would read, sealed as it lies in the store, and nothing of a message that is larger than what is read at once.
"""

import asyncio
from array import array
from collections.abc import Sequence

from bulkhead.access.account import Account
from bulkhead.access.mail import Message, open_messages, read_headers, read_rows, read_whole
from bulkhead.errors import Error
from bulkhead.identifiers import MailboxId

MESSAGES_MAX = 32  # read in one request
BYTES_MAX = 512 * 1024  # octets of them
SEALED_EXTRA = 512  # octets that a message's seals may add to its size, to be on the safe side


class ReadAhead:
    """Messages of one maildrop by place. At most two batches are in memory."""

    def __init__(self, account: Account, mailbox: MailboxId, uids: "array[int]", sizes: "array[int]") -> None:
        self._account, self._mailbox, self._uids, self._sizes = account, mailbox, uids, sizes
        self._ready: dict[int, Message] = {}
        self._next = -1  # the place that would follow
        self._count = 1
        self._whole = True
        self._until = 0  # the first place that was not read ahead
        self._task: asyncio.Task[None] | None = None

    async def message(self, at: int, *, whole: bool) -> Message | None:
        """The message at this place, its key opened, None where it is gone."""
        if at != self._next or whole is not self._whole:
            await self._begin_anew(whole)
        self._next = at + 1
        if at not in self._ready and self._task is not None:
            await self._task
            self._task = None
        if at not in self._ready:
            await self._read(at)
        message = self._ready.pop(at, None)
        if self._task is not None and self._task.done():
            self._task = None
        first = max(self._until, at + 1)
        if self._count > 1 and self._task is None and 2 * len(self._ready) < self._count and first < len(self._uids):
            self._task = asyncio.get_running_loop().create_task(self._read_quietly(first))
        self._count = min(2 * self._count, MESSAGES_MAX)
        return message

    async def close(self) -> None:
        """Read nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._ready.clear()

    async def _begin_anew(self, whole: bool) -> None:
        await self.close()
        self._count, self._whole = 1, whole

    async def _read_quietly(self, first: int) -> None:
        """Ahead of the client; what goes wrong is told to whoever asks for the message."""
        try:
            await self._read(first)
        except Error:
            pass

    async def _read(self, first: int) -> None:
        """Read this message and the next ones. Raises as the requests do."""
        last = self._last(first)
        wanted: Sequence[tuple[int, int]] = ((self._uids[first], self._uids[last]),)
        rows = await read_rows(self._account, self._mailbox, wanted)
        messages = await open_messages(self._account, rows)
        self._until = last + 1
        if len(messages) > 1 and self._whole:
            await read_whole(self._account, messages)
        elif not self._whole:
            await read_headers(self._account, messages)
        places = {self._uids[at]: at for at in range(first, last + 1)}
        self._ready.update((places[message.row.uid], message) for message in messages)

    def _last(self, first: int) -> int:
        """The last place of a batch that begins here."""
        octets, last = self._sizes[first], first
        while last + 1 < len(self._uids) and last + 1 - first < self._count:
            octets += self._sizes[last + 1] + SEALED_EXTRA
            if octets > BYTES_MAX:
                break
            last += 1
        return last

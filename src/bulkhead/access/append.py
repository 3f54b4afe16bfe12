"""APPEND: each message comes into memory within a budget, is summarised and sealed; then all are stored.

What is appended is *arrived* mail like any other (RFC 3501 section 6.3.11; APPENDUID of RFC 4315 section 3). Several
messages of one command go in together or not at all (RFC 3502 section 6.3.11).
"""

import itertools
import time

from bulkhead.access.account import Account
from bulkhead.access.worker import Worker
from bulkhead.boundary.exchange import CALL_SECONDS
from bulkhead.boundary.messages.to_store import AppendedMessages, AppendMessage, AppendMessages, ReadQuota
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.gate.delivery import SealedCopy
from bulkhead.gate.lease import require_time
from bulkhead.gate.message import MessageText, run_aside
from bulkhead.identifiers import MailboxId
from bulkhead.wire.imap.commands import Append
from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.nul import GROWTH, ROOM, without_nul

OCTETS_A_SECOND = 10_000_000  # what the store can be expected to write
TOGETHER_MAX = 128 << 20  # octets of all messages of one command


class Incoming:
    """The messages of one APPEND on their way in. `release` gives their memory back, whatever came of them."""

    def __init__(self, worker: Worker, account: Account, mailbox: MailboxId) -> None:
        self.appends: list[Append] = []
        self._worker, self._account, self._mailbox = worker, account, mailbox
        self._held = 0
        self._text = MessageText()
        self._nul = False
        self._copies: list[SealedCopy] = []

    async def begin(self, append: Append) -> None:
        """Another message will come; the one before is whole. Takes memory for the announced size.

        Raises Refused (`over-quota`), CommandError where it is empty or there are too many octets, TemporaryFailure
        where the worker has no memory to spare.
        """
        if not append.size:  # the client takes all of it back (RFC 3502 section 6.3.11)
            raise CommandError("An empty message cancels the APPEND", condition=Condition.NO)
        if self._held + append.size > TOGETHER_MAX:
            raise CommandError("The messages are too large together", condition=Condition.NO, response_code=b"TOOBIG")
        await self._seal()
        await self._require_room(append.size)
        self._take_memory(append.size)
        self.appends.append(append)

    async def _require_room(self, octets: int) -> None:
        """Raises Refused (`over-quota`) where the messages cannot fit, before the client sends this one."""
        quota = await self._account.ask(ReadQuota(self._account.handle))
        if quota.allowed and quota.used + self._held + octets > quota.allowed:
            raise Refused("the mailbox is full", code="over-quota")

    def take(self, data: bytes) -> None:
        """The next octets."""
        self._nul = self._nul or b"\0" in data
        self._text.add(data)

    async def _seal(self) -> None:
        """The message that is whole now, if there is one. Raises Refused (`header-too-large`, `unknown-cte`)."""
        if len(self._copies) == len(self.appends):
            return
        text, self._text = self._text, MessageText()
        text.header()  # refused before anything is sealed where it is too large
        message = await text.join(b"")
        if self._nul:
            message, self._nul = await self._encode(message), False
        sealer = self._worker.sealer
        summary = await sealer.summarize(message)
        date = self.appends[-1].internal_date
        date = int(time.time()) if date is None else date
        self._copies.append(sealer.seal_copy(self._account.binding, message, summary, date))

    async def _encode(self, message: bytes) -> bytes:
        """The message in octets that FETCH may send. Raises Refused (`unknown-cte`), TemporaryFailure (`busy`)."""
        more = len(message) * GROWTH[0] // GROWTH[1] + ROOM
        self._take_memory(more)
        return await run_aside(len(message), lambda: without_nul(message))

    def _take_memory(self, octets: int) -> None:
        if not self._worker.budget.take(octets):
            raise TemporaryFailure("too many messages under way", code="busy")
        self._held += octets

    async def store(self, flags: list[int]) -> AppendedMessages:
        """Store all, durable on return. flags: of each. Raises Refused (`over-quota`, `unknown-cte`, ...)."""
        await self._seal()
        copies, account = self._copies, self._account
        seconds = CALL_SECONDS + self._held / OCTETS_A_SECOND
        if len(copies) == 1:
            single = AppendMessage(account.stamp(seconds), account.handle, self._mailbox, copies[0].row, flags[0])
            stored = await account.ask(single, copies[0].pieces, seconds=seconds)
            require_time(stored.until)
            return AppendedMessages(stored.uid_validity, stored.uid, stored.modseq)
        rows = tuple(copy.row for copy in copies)
        request = AppendMessages(account.stamp(seconds), account.handle, self._mailbox, rows, tuple(flags))
        several = await account.ask(
            request, lambda: itertools.chain.from_iterable(copy.pieces() for copy in copies), seconds=seconds
        )
        require_time(several.until)
        return several

    def release(self) -> None:
        """Their memory is free again."""
        self._worker.budget.give(self._held)
        self._held = 0
        self._text = MessageText()
        self._copies = []

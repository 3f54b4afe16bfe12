"""APPEND: the message comes into memory within a budget, is summarised, sealed to the account's own key, and stored.

Its message is *arrived* mail like any other (RFC 3501 section 6.3.11; APPENDUID of RFC 4315 section 3).
"""

import time

from bulkhead.access.account import Account
from bulkhead.access.worker import Worker
from bulkhead.boundary.exchange import CALL_SECONDS
from bulkhead.boundary.messages.to_store import Appended, AppendMessage, MailboxRow, ReadQuota
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.gate.message import MessageText
from bulkhead.identifiers import MailboxId
from bulkhead.wire.imap.commands import Append

OCTETS_A_SECOND = 10_000_000  # what the store can be expected to write


class Incoming:
    """One message on its way in. `release` gives its memory back, whatever came of it."""

    def __init__(self, worker: Worker, account: Account, command: Append, mailbox: MailboxRow) -> None:
        """Takes memory for the announced size. Raises TemporaryFailure where the worker has none to spare."""
        if not worker.budget.take(command.size):
            raise TemporaryFailure("too many messages under way", code="busy")
        self.command, self.mailbox = command, MailboxId(mailbox.mailbox)
        self._worker, self._account = worker, account
        self._held = command.size
        self._text = MessageText()

    @staticmethod
    async def require_room(account: Account, octets: int) -> None:
        """Raises Refused (`over-quota`) where the message cannot fit, before the client sends it."""
        quota = await account.ask(ReadQuota(account.handle))
        if quota.allowed and quota.used + octets > quota.allowed:
            raise Refused("the mailbox is full", code="over-quota")

    def take(self, data: bytes) -> None:
        """The next octets."""
        self._text.add(data)

    async def store(self, flags: int) -> Appended:
        """Seal and store it; durable on return. Raises Refused (`over-quota`, `header-too-large`, ...)."""
        self._text.header()  # refused before anything is sealed where it is too large
        message = await self._text.join(b"")
        sealer = self._worker.sealer
        summary = await sealer.summarize(message)
        date = self.command.internal_date
        copy = sealer.seal_copy(self._account.binding, message, summary, int(time.time()) if date is None else date)
        seconds = CALL_SECONDS + len(message) / OCTETS_A_SECOND
        request = AppendMessage(self._account.stamp(seconds), self._account.handle, self.mailbox, copy.row, flags)
        return await self._account.ask(request, copy.pieces, seconds=seconds)

    def release(self) -> None:
        """Its memory is free again."""
        self._worker.budget.give(self._held)
        self._held = 0
        self._text = MessageText()

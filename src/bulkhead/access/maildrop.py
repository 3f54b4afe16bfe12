"""A maildrop: INBOX as it was at a POP3 login, and what the client did with it (RFC 1939 sections 4 to 6)."""

from array import array

from bulkhead.access.account import Account
from bulkhead.access.columns import unpack
from bulkhead.access.mail import Message, open_messages, read_rows
from bulkhead.boundary.messages.to_store import (
    RANGES_MAX,
    Column,
    Expunge,
    FlagMode,
    ListMailboxes,
    ReadColumns,
    Role,
    StoreFlags,
    UidRange,
)  # fmt: skip
from bulkhead.errors import Error, TemporaryFailure
from bulkhead.identifiers import MailboxId
from bulkhead.wire.imap.flags import SystemFlag
from bulkhead.wire.pop3_responses import Code


class No(Error):
    """The answer is -ERR, and the session goes on."""

    code = "no"

    def __init__(self, text: str, code: Code | None = None) -> None:
        super().__init__(text)
        self.response_code = code


class Maildrop:
    """INBOX as it was at login, and what the client did with it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.mailbox = MailboxId(b"")
        self.uid_validity = 0
        self.uids, self.sizes = array("I"), array("I")
        self.deleted: set[int] = set()  # places
        self.read: set[int] = set()

    async def load(self) -> None:
        """Read UIDs and sizes; no part of any message."""
        account = self.account
        page = await account.ask(ListMailboxes(account.handle))
        inbox = next((row for row in page.rows if row.role == Role.INBOX), None)
        if inbox is None:
            raise TemporaryFailure("the account has no INBOX", code="no-inbox")
        self.mailbox = MailboxId(inbox.mailbox)
        reply, body = await account.read(ReadColumns(account.handle, self.mailbox, Column.UID | Column.SIZE))
        self.uid_validity = reply.uid_validity
        self.uids = unpack("I", body, 0, reply.messages)
        self.sizes = unpack("I", body, 4 * reply.messages, reply.messages)

    def place(self, number: int) -> int:
        """The place of a message number. Raises No where there is none, or it is marked as deleted."""
        if not 0 < number <= len(self.uids):
            raise No("No such message")
        if number - 1 in self.deleted:
            raise No("Message is deleted")
        return number - 1

    def present(self) -> list[int]:
        """Places that are not marked as deleted."""
        return [at for at in range(len(self.uids)) if at not in self.deleted]

    def unique_id(self, at: int) -> str:
        """What UIDL shows."""
        return f"{self.uid_validity:08x}{self.uids[at]:08x}"

    async def message(self, at: int) -> Message:
        """One message, its key opened. Raises No where it is gone."""
        uid = self.uids[at]
        rows = await read_rows(self.account, self.mailbox, ((uid, uid),))
        if not rows:
            raise No("Message is gone")
        (message,) = await open_messages(self.account, rows)
        return message

    async def update(self) -> None:
        """Remove what was deleted, and flag what was read (RFC 1939 section 6)."""
        account = self.account
        for uids in self._uid_ranges(self.read - self.deleted):
            await account.read(
                StoreFlags(account.stamp(), account.handle, self.mailbox, uids, FlagMode.ADD, SystemFlag.SEEN)
            )
        for uids in self._uid_ranges(self.deleted):
            await account.read(Expunge(account.stamp(), account.handle, self.mailbox, uids, deleted_only=False))

    def _uid_ranges(self, places: set[int]) -> list[tuple[UidRange, ...]]:
        ranges = [(self.uids[at], self.uids[at]) for at in sorted(places)]
        return [tuple(ranges[start : start + RANGES_MAX]) for start in range(0, len(ranges), RANGES_MAX)]

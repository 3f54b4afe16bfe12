"""A maildrop: INBOX as it was at a POP3 login, and what the client did with it (RFC 1939 sections 4 to 6)."""

from array import array

from bulkhead.access.account import Account
from bulkhead.access.columns import unpack
from bulkhead.access.mail import Message
from bulkhead.access.read_ahead import ReadAhead
from bulkhead.boundary.messages.to_store import (
    RANGES_MAX,
    Column,
    FlagMode,
    ListMailboxes,
    LockMaildrop,
    ReadColumns,
    ReadUidls,
    Role,
    StoreFlags,
    UidRange,
    UnlockMaildrop,
    UpdateMaildrop,
)  # fmt: skip
from bulkhead.errors import Error, Refused, TemporaryFailure
from bulkhead.identifiers import MailboxId
from bulkhead.wire.imap.flags import SystemFlag
from bulkhead.wire.pop3_responses import Code

UNLOCK_SECONDS = 2.0


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
        self._imported: dict[int, str] | None = None  # UIDLs by UID; None: not asked for yet
        self._ahead: ReadAhead | None = None

    # --- the lock -------------------------------------------------------------------------------------------------

    async def lock(self) -> None:
        """Hold it, or go on holding it after a restart of the store. Raises Refused (`in-use`), TemporaryFailure."""
        await self.account.ask(LockMaildrop(self.account.handle))

    async def leave(self) -> None:
        """Hold it no longer, and read nothing ahead any more. Raises nothing."""
        if self._ahead is not None:
            await self._ahead.close()
        try:
            await self.account.ask(UnlockMaildrop(self.account.handle), seconds=UNLOCK_SECONDS)
        except Error:
            pass  # the hold ends with the handle

    # --- what is in it --------------------------------------------------------------------------------------------

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
        self._ahead = ReadAhead(account, self.mailbox, self.uids, self.sizes)

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

    async def know_unique_ids(self) -> None:
        """Before unique_id: ask which messages brought one from a former system."""
        if self._imported is not None:
            return
        imported: dict[int, str] = {}
        first, more = 1, True
        while more:
            page = await self.account.ask(ReadUidls(self.account.handle, self.mailbox, first))
            imported.update((row.uid, row.uidl) for row in page.rows)
            more = page.more and bool(page.rows)
            first = page.rows[-1].uid + 1 if page.rows else first
        self._imported = imported

    def unique_id(self, at: int) -> str:
        """What UIDL shows: what the message brought along, or UIDVALIDITY and UID, which no other message ever had."""
        uid = self.uids[at]
        return (self._imported or {}).get(uid) or f"{self.uid_validity:08x}{uid:08x}"

    async def message(self, at: int, *, whole: bool) -> Message:
        """One message, its key opened. whole: for RETR. Raises No where it is gone."""
        if self._ahead is None:
            raise ValueError("the maildrop was not loaded")
        message = await self._ahead.message(at, whole=whole)
        if message is None:
            raise No("Message is gone")
        return message

    # --- UPDATE state ---------------------------------------------------------------------------------------------

    async def update(self) -> None:
        """Flag what was read, and remove what was deleted: all of it, or none (RFC 1939 section 6)."""
        account = self.account
        seen = self._runs(self.read - self.deleted)
        for start in range(0, len(seen), RANGES_MAX):
            uids = tuple(seen[start : start + RANGES_MAX])
            request = StoreFlags(account.stamp(), account.handle, self.mailbox, uids, FlagMode.ADD, SystemFlag.SEEN)
            try:
                await account.read(request)
            except Refused as error:
                if error.code != "contained":  # a frozen mailbox is read, and stays as it is
                    raise
        if not self.deleted:
            return
        update = UpdateMaildrop(account.stamp(), account.handle, self.mailbox)
        runs = b"".join(uid.to_bytes(4, "little") for run in self._runs(self.deleted) for uid in run)
        try:
            await account.ask(update, runs)
        except Refused as error:
            if error.code != "not-locked":
                raise
            await self.lock()  # the store restarted just now: hold it again, unless another session does
            await account.ask(update, runs)

    def _runs(self, places: set[int]) -> list[UidRange]:
        """The UIDs of these places as runs. A UID between two neighbours is no message's, and never will be."""
        runs: list[UidRange] = []
        last = -2
        for at in sorted(places):
            uid = self.uids[at]
            if at == last + 1:
                runs[-1] = (runs[-1][0], uid)
            else:
                runs.append((uid, uid))
            last = at
        return runs

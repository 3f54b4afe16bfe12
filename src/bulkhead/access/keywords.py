"""The account's keywords: sealed names at the store, bits in every mask, names on the wire."""

from bulkhead.access.account import Account
from bulkhead.access.resealing import reseal_names
from bulkhead.boundary.messages.to_store import AddKeyword, ListKeywords, NamedRow
from bulkhead.errors import IntegrityError
from bulkhead.records.name import NameKind, SealedName, open_name, seal_name
from bulkhead.wire.imap.flags import FIRST_KEYWORD_BIT, FlagNames, Flags, check_keyword
from bulkhead.wire.imap.grammar import CommandError

_SYSTEM_MASK = (1 << FIRST_KEYWORD_BIT) - 1


class Keywords:
    """Names by bit. A bit is given once and for ever, so names only ever grow."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.names = FlagNames()
        self._known = _SYSTEM_MASK
        self.news = False  # there are names that the client has not been told

    def knows(self, mask: int) -> bool:
        """Whether every bit of the mask has a name here."""
        return not mask & ~self._known

    @property
    def room(self) -> bool:
        """Whether a client may make one more."""
        return self._known >> 63 == 0

    async def load(self) -> None:
        """Read the names."""
        before = self._known
        account = self._account
        rows = (await account.ask(ListKeywords(account.handle))).rows
        if await reseal_names(account, NameKind.KEYWORD, (row.sealed_name for row in rows)):
            rows = (await account.ask(ListKeywords(account.handle))).rows
        self._take(rows)
        self.news = self.news or self._known != before

    async def mask(self, flags: Flags) -> int:
        """The mask of the flags, new keywords made at the store. Raises Refused (`too-many-keywords`)."""
        new = self.names.unknown(flags)
        for name in new:
            sealed = self._seal(name)
            await self._account.ask(AddKeyword(self._account.stamp(), self._account.handle, sealed.tag, sealed.record))
        if new:
            await self.load()
            if self.names.unknown(flags):
                raise IntegrityError("a keyword does not open")
        return self.names.mask(flags)

    def _seal(self, name: bytes) -> SealedName:
        account = self._account
        return seal_name(account.metadata_key, account.generation, account.id, NameKind.KEYWORD, name.decode("ascii"))

    def _take(self, rows: tuple[NamedRow, ...]) -> None:
        by_bit = {row.bit: row for row in rows}
        names = FlagNames()
        known = _SYSTEM_MASK
        for bit in range(FIRST_KEYWORD_BIT, max(by_bit, default=FIRST_KEYWORD_BIT - 1) + 1):
            name = self._name(by_bit.get(bit))
            if not name or names.bit(name):  # a name that cannot be read keeps its place
                name = b"$unnamed%d" % bit
            names.add(name)
            known |= 1 << bit
        self.names, self._known = names, known

    def _name(self, row: NamedRow | None) -> bytes:
        if row is None:
            return b""
        account = self._account
        try:
            name = open_name(account.metadata_key, account.id, NameKind.KEYWORD, SealedName(row.tag, row.sealed_name))
            return check_keyword(name.encode("ascii", "replace"))
        except (IntegrityError, CommandError):
            return b""

"""The account's mailboxes by name. The store knows ids, tags and sealed names; names are opened only here.

What the store keeps as a mailbox's sealed name is the tag and then the record, since the record opens only under its
tag. Names are in Unicode form NFC, so that one name has one tag.
"""

import asyncio
import unicodedata
from collections.abc import Sequence

from bulkhead.access.account import Account
from bulkhead.boundary.messages.to_store import (
    CopyMessages,
    CreateMailbox,
    DeleteMailbox,
    ListMailboxes,
    ListSubscriptions,
    MailboxRow,
    NameChange,
    RenameMailboxes,
    Role,
    SetSubscription,
)  # fmt: skip
from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import MailboxId, new_id
from bulkhead.records.name import TAG_BYTES, NameKind, SealedName, name_tag, open_name, seal_name
from bulkhead.wire.imap.mailbox_name import DELIMITER, INBOX, ListPattern

DEFAULTS = {
    "Drafts": Role.DRAFTS, "Sent": Role.SENT, "Junk": Role.JUNK, "Trash": Role.TRASH, "Archive": Role.ARCHIVE,
}  # fmt: skip
SPECIAL_USE = {
    Role.DRAFTS: b"\\Drafts", Role.SENT: b"\\Sent", Role.JUNK: b"\\Junk", Role.TRASH: b"\\Trash",
    Role.ARCHIVE: b"\\Archive",
}  # fmt: skip
"""Attributes of RFC 6154 section 2."""

EVERYTHING = ((1, 0xFFFFFFFF),)
Listed = tuple[str, tuple[bytes, ...]]


def canonical(name: str) -> str:
    """The one form of a name."""
    return unicodedata.normalize("NFC", name)


class Folders:
    """Mailboxes and subscriptions of one account, asked anew each time; opened names are kept."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._opened: dict[bytes, str] = {}

    # --- finding --------------------------------------------------------------------------------------------------

    async def rows(self) -> dict[str, MailboxRow]:
        """Every mailbox by name. One whose name does not open is shown under a name made of its id."""
        page = await self._account.ask(ListMailboxes(self._account.handle))
        opened: dict[bytes, str] = {}
        rows: dict[str, MailboxRow] = {}
        for row in page.rows:
            name = INBOX if row.role == Role.INBOX else self._open(row.sealed_name)
            if name is None or name in rows:
                name = f"unreadable-{row.mailbox.hex()}"
            elif row.role != Role.INBOX:
                opened[row.sealed_name] = name
            rows[name] = row
        self._opened = opened
        return rows

    async def find(self, name: str) -> MailboxRow:
        """The mailbox of that name. Raises Refused (`no-such-mailbox`)."""
        row = (await self.rows()).get(canonical(name))
        if row is None:
            raise Refused("no such mailbox", code="no-such-mailbox")
        return row

    async def list_names(self, reference: str, pattern: str) -> list[Listed]:
        """LIST: names that match, with attributes, in order. A parent that is no mailbox is \\Noselect."""
        rows = await self.rows()
        parents = _parents(rows)
        matching = ListPattern(canonical(reference + pattern))
        listed: list[Listed] = []
        for name in sorted({*rows, *parents}, key=_inbox_first):
            if not matching.matches(name):
                continue
            row = rows.get(name)
            attributes = [] if row is not None else [b"\\Noselect"]
            attributes.append(b"\\HasChildren" if name in parents else b"\\HasNoChildren")
            if row is not None and row.role in SPECIAL_USE:
                attributes.append(SPECIAL_USE[row.role])
            listed.append((name, tuple(attributes)))
        return listed

    async def list_subscriptions(self, reference: str, pattern: str) -> list[Listed]:
        """LSUB: subscribed names that match. With `%`, a parent of a subscribed name too (RFC 3501 section 6.3.9)."""
        answer = await self._account.ask(ListSubscriptions(self._account.handle))
        account = self._account
        names: set[str] = set()
        for row in answer.rows:
            try:
                sealed = SealedName(row.tag, row.sealed_name)
                names.add(open_name(account.metadata_key, account.id, NameKind.FOLDER, sealed))
            except IntegrityError:
                continue  # not one that this account wrote: nothing to show
        rows = await self.rows()
        shown = names | _parents(names) if "%" in pattern else names
        matching = ListPattern(canonical(reference + pattern))
        return [
            (name, () if name in names and name in rows else (b"\\Noselect",))
            for name in sorted(shown, key=_inbox_first)
            if matching.matches(name)
        ]

    # --- changing -------------------------------------------------------------------------------------------------

    async def create(self, name: str, role: int = Role.NONE) -> MailboxRow:
        """A new mailbox. Raises Refused (`mailbox-exists`, `too-many-mailboxes`)."""
        name = canonical(name)
        if name == INBOX:
            raise Refused("INBOX exists", code="mailbox-exists")
        sealed = self._seal(name)
        account = self._account
        mailbox = MailboxId(new_id())
        return await account.ask(
            CreateMailbox(account.stamp(), account.handle, mailbox, sealed.tag + sealed.record, sealed.tag, role)
        )

    async def delete(self, name: str) -> MailboxRow:
        """Delete it and what is in it; its children stay. Raises Refused (`is-inbox`, `no-such-mailbox`)."""
        row = await self.find(name)
        await self._account.ask(DeleteMailbox(self._account.stamp(), self._account.handle, row.mailbox))
        return row

    async def rename(self, source: str, target: str) -> None:
        """A new name for it and its children; of INBOX, its messages go to a new mailbox (RFC 3501 section 6.3.5).

        Raises Refused (`mailbox-exists`, `no-such-mailbox`, `bad-name`).
        """
        source, target = canonical(source), canonical(target)
        rows = await self.rows()
        if target in rows:
            raise Refused("there is such a mailbox", code="mailbox-exists")
        if source == INBOX:
            await self._move_inbox(rows[INBOX], target)
            return
        moved = {name: row for name, row in rows.items() if name == source or name.startswith(source + DELIMITER)}
        if not moved:
            raise Refused("no such mailbox", code="no-such-mailbox")
        if target.startswith(source + DELIMITER):
            raise Refused("a mailbox cannot be its own child", code="bad-name")
        changes = []
        for name, row in moved.items():
            sealed = self._seal(target + name[len(source) :])
            changes.append(NameChange(row.mailbox, sealed.tag + sealed.record, sealed.tag))
        await self._account.ask(RenameMailboxes(self._account.stamp(), self._account.handle, tuple(changes)))

    async def _move_inbox(self, inbox: MailboxRow, target: str) -> None:
        created = await self.create(target)
        account = self._account
        await account.read(
            CopyMessages(account.stamp(), account.handle, inbox.mailbox, EVERYTHING, created.mailbox, move=True)
        )

    async def subscribe(self, name: str, *, on: bool) -> None:
        """Subscribe to a name, or not any more."""
        sealed = self._seal(canonical(name))
        account = self._account
        await account.ask(SetSubscription(account.stamp(), account.handle, sealed.tag, sealed.record, on))

    async def make_defaults(self) -> None:
        """At the first login: the mailboxes that clients look for, subscribed."""
        if len(await self.rows()) > 1:
            return
        await asyncio.gather(*(self._make_default(name, role) for name, role in DEFAULTS.items()))
        await self.subscribe(INBOX, on=True)

    async def _make_default(self, name: str, role: int) -> None:
        try:
            await self.create(name, role)
        except Refused as refused:  # another session of the same moment was first
            if refused.code != "mailbox-exists":
                raise
        await self.subscribe(name, on=True)

    # --- names ----------------------------------------------------------------------------------------------------

    def _seal(self, name: str) -> SealedName:
        """Raises Refused (`bad-name`) for a name over 1,024 octets of UTF-8."""
        account = self._account
        try:
            return seal_name(account.metadata_key, account.generation, account.id, NameKind.FOLDER, name)
        except ValueError:
            raise Refused("the name is too long", code="bad-name") from None

    def _open(self, stored: bytes) -> str | None:
        known = self._opened.get(stored)
        if known is not None:
            return known
        sealed = SealedName(stored[:TAG_BYTES], stored[TAG_BYTES:])
        try:
            name = open_name(self._account.metadata_key, self._account.id, NameKind.FOLDER, sealed)
            matches = name_tag(self._account.metadata_key, self._account.id, NameKind.FOLDER, name) == sealed.tag
        except (IntegrityError, ValueError):
            return None
        return name if matches else None


def _parents(names: Sequence[str] | set[str] | dict[str, MailboxRow]) -> set[str]:
    parents: set[str] = set()
    for name in names:
        at = name.rfind(DELIMITER)
        while at > 0 and name[:at] not in parents:
            parents.add(name[:at])
            at = name.rfind(DELIMITER, 0, at)
    return parents


def _inbox_first(name: str) -> tuple[bool, str]:
    return name != INBOX, name

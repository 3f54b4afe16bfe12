"""The account's mailboxes by name. The store knows ids, tags and sealed names; names are opened only here.

What the store keeps as a mailbox's sealed name is the tag and then the record, since the record opens only under its
tag. Names are in Unicode form NFC, so that one name has one tag.
"""

import asyncio
import unicodedata

from bulkhead.access.account import Account
from bulkhead.access.resealing import reseal_names
from bulkhead.boundary.messages.to_store import (
    CreateMailbox,
    DeleteMailbox,
    ListMailboxes,
    ListSubscriptions,
    MailboxPage,
    MailboxRow,
    NameChange,
    RenameInbox,
    RenameMailboxes,
    Role,
    SetSubscription,
)  # fmt: skip
from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import MailboxId, new_id
from bulkhead.records.name import TAG_BYTES, NameKind, SealedName, name_tag, open_name, seal_name
from bulkhead.wire.imap.mailbox_name import DELIMITER, INBOX, is_usable, names_above

DEFAULTS = {
    "Drafts": Role.DRAFTS, "Sent": Role.SENT, "Junk": Role.JUNK, "Trash": Role.TRASH, "Archive": Role.ARCHIVE,
}  # fmt: skip


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
        page = await self._listed()
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

    async def subscriptions(self) -> set[str]:
        """The names that the subscriber subscribed to, whether or not they exist."""
        account = self._account
        answer = await account.ask(ListSubscriptions(account.handle))
        if await reseal_names(account, NameKind.FOLDER, (row.sealed_name for row in answer.rows)):
            answer = await account.ask(ListSubscriptions(account.handle))
        names: set[str] = set()
        for row in answer.rows:
            try:
                sealed = SealedName(row.tag, row.sealed_name)
                names.add(open_name(account.metadata_key, account.id, NameKind.FOLDER, sealed))
            except IntegrityError:
                continue  # not one that this account wrote: nothing to show
        return names

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
        """Delete it and what is in it; its children stay, and its name above them (RFC 3501 section 6.3.4).

        Raises Refused (`is-inbox`, `no-such-mailbox`, `has-children` where it is only a name above others).
        """
        name, rows = canonical(name), await self.rows()
        row = rows.get(name)
        if row is None:
            if name in names_above(rows):
                raise Refused("the name has children", code="has-children")
            raise Refused("no such mailbox", code="no-such-mailbox")
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
            await self._move_inbox(target)
            return
        moved = {name: row for name, row in rows.items() if name == source or name.startswith(source + DELIMITER)}
        if not moved:
            raise Refused("no such mailbox", code="no-such-mailbox")
        if target.startswith(source + DELIMITER):
            raise Refused("a mailbox cannot be its own child", code="bad-name")
        changes = []
        for name, row in moved.items():
            renamed = target + name[len(source) :]
            if not is_usable(renamed):
                raise Refused("a child's name would be too long or too deep", code="bad-name")
            sealed = self._seal(renamed)
            changes.append(NameChange(row.mailbox, sealed.tag + sealed.record, sealed.tag))
        await self._account.ask(RenameMailboxes(self._account.stamp(), self._account.handle, tuple(changes)))

    async def _move_inbox(self, target: str) -> None:
        """What is below INBOX stays there."""
        sealed, account = self._seal(target), self._account
        mailbox = MailboxId(new_id())
        await account.ask(RenameInbox(account.stamp(), account.handle, mailbox, sealed.tag + sealed.record, sealed.tag))

    async def subscribe(self, name: str, *, on: bool) -> None:
        """Subscribe to a name, or not any more."""
        sealed = self._seal(canonical(name))
        account = self._account
        await account.ask(SetSubscription(account.stamp(), account.handle, sealed.tag, sealed.record, on))

    async def make_defaults(self) -> None:
        """At the first login: the mailboxes that clients look for, subscribed."""
        if len((await self._listed()).rows) > 1:
            return  # no name was opened for that: most logins of a program that polls need none
        await self.subscriptions()  # where an older mailbox key sealed them, they are sealed anew before one comes
        await asyncio.gather(*(self._make_default(name, role) for name, role in DEFAULTS.items()))
        await self.subscribe(INBOX, on=True)

    async def _make_default(self, name: str, role: int) -> None:
        try:
            await self.create(name, role)
        except Refused as refused:  # another session of the same moment was first
            if refused.code != "mailbox-exists":
                raise
        await self.subscribe(name, on=True)

    async def _listed(self) -> MailboxPage:
        """Every mailbox, its name under the newest mailbox key."""
        account = self._account
        page = await account.ask(ListMailboxes(account.handle))
        if await reseal_names(account, NameKind.FOLDER, (row.sealed_name[TAG_BYTES:] for row in page.rows)):
            page = await account.ask(ListMailboxes(account.handle))
        return page

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

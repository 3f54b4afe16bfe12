"""From the command line: mailboxes, names and sealed messages of another server's files."""

import sqlite3

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    IMPORTED_UID_MAX,
    ImportedMessages,
    ImportMailbox,
    ImportMessages,
    ImportName,
    MailboxRow,
    NamedRow,
    Role,
)  # fmt: skip
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.store.changes import Effects
from bulkhead.store.handle_delivery import commit_copies
from bulkhead.store.handle_mailbox import give_bit, insert_mailbox, mailbox_row, require_space
from bulkhead.store.intake import Parcels
from bulkhead.store.maildrops import keep_uidl
from bulkhead.store.rows import (
    MailboxHead,
    find_mailbox,
    insert_message,
    require_keywords,
    reserve_room,
    take_modseq,
    take_uid_validity,
)
from bulkhead.store.state import State


def _account(connection: sqlite3.Connection, account: bytes) -> int:
    row = connection.execute("SELECT seq FROM account WHERE account = ?", (account,)).fetchone()
    if row is None:
        raise Refused("there is no such account", code="no-such-account")
    return int(row[0])


async def import_mailbox(state: State, _: Channel, request: ImportMailbox, __: BodyReader | None) -> MailboxRow:
    """A mailbox with the UIDVALIDITY it had elsewhere; a later one of the account is above it."""

    def work(connection: sqlite3.Connection, effects: Effects) -> MailboxRow:
        account = _account(connection, request.account)
        validity = _free_validity(connection, account, request)
        if request.tag:
            _make(connection, effects, account, request, validity)
        elif request.uid_validity:
            changed = connection.execute(
                "UPDATE mailbox SET uid_validity = ?, modseq = ? WHERE account = ? AND mailbox = ? AND uid_next = 1",
                (validity, take_modseq(connection, effects, account), account, request.mailbox),
            ).rowcount
            if not changed:
                find_mailbox(connection, account, request.mailbox)
                raise Refused("the mailbox has or had messages: its UIDVALIDITY stays", code="not-empty")
        connection.execute(
            "UPDATE account SET uid_validity = max(uid_validity, ?) WHERE seq = ?", (request.uid_validity, account)
        )
        connection.execute(
            "UPDATE mailbox SET uid_next = max(uid_next, ?) WHERE account = ? AND mailbox = ?",
            (min(request.uid_next, IMPORTED_UID_MAX), account, request.mailbox),
        )
        return mailbox_row(connection, account, request.mailbox)

    return await state.commit(request, work)


def _free_validity(connection: sqlite3.Connection, account: int, request: ImportMailbox) -> int:
    """The UIDVALIDITY asked for, or the account's next where another mailbox of it has that one; 0 where none was."""
    wanted = "SELECT 1 FROM mailbox WHERE account = ? AND uid_validity = ? AND mailbox <> ?"
    values = (account, request.uid_validity, request.mailbox)
    if request.uid_validity and connection.execute(wanted, values).fetchone() is not None:
        return take_uid_validity(connection, account)
    return request.uid_validity


def _make(
    connection: sqlite3.Connection, effects: Effects, account: int, request: ImportMailbox, validity: int
) -> None:
    if not Role.NONE <= request.role <= Role.ARCHIVE or request.role == Role.INBOX:
        raise Refused("a mailbox cannot be made with this role", code="bad-role")
    require_space(connection, "mailbox", account, request.sealed_name, "too-many-mailboxes")
    validity = validity or take_uid_validity(connection, account)
    modseq = take_modseq(connection, effects, account)
    try:
        insert_mailbox(
            connection, account, request.mailbox, request.role, request.sealed_name, request.tag, validity, modseq
        )
    except sqlite3.IntegrityError:
        raise Refused("there is such a mailbox", code="mailbox-exists") from None


async def import_name(state: State, _: Channel, request: ImportName, __: BodyReader | None) -> NamedRow:
    """A keyword's bit; a subscription has none."""

    def work(connection: sqlite3.Connection, effects: Effects) -> NamedRow:
        account = _account(connection, request.account)
        if not request.subscription:
            return give_bit(connection, effects, account, request.tag, request.sealed_name)
        require_space(connection, "subscription", account, request.sealed_name, "too-many-subscriptions")
        connection.execute(
            "INSERT OR REPLACE INTO subscription VALUES (?, ?, ?)", (account, request.tag, request.sealed_name)
        )
        effects.accounts.add(account)
        return NamedRow(0, request.tag, request.sealed_name)

    return await state.commit(request, work)


async def import_messages(
    state: State, _: Channel, request: ImportMessages, body: BodyReader | None
) -> ImportedMessages:
    """Rows with the UIDs they had, where those are above what the mailbox gave out; else the next."""
    count = len(request.copies)
    if any(copy.account != request.account for copy in request.copies) or not (
        len(request.flags) == len(request.uids) == len(request.uidls) == count
    ):
        raise Refused("each copy is of the account and has its flags, UID and unique-id", code="bad-copies")

    def work(connection: sqlite3.Connection, effects: Effects, parcels: Parcels) -> ImportedMessages:
        account = _account(connection, request.account)
        added = renumbered = renamed = 0
        for index, copy in enumerate(request.copies):
            known = "SELECT 1 FROM email WHERE account = ? AND email = ?"
            if connection.execute(known, (account, copy.email)).fetchone() is not None:
                continue
            mailbox = find_mailbox(connection, account, request.mailbox)
            renumbered += _give_uid(connection, mailbox, request.uids[index])
            room = reserve_room(connection, effects, request.account, copy.size, state.messages_max)
            require_keywords(request.flags[index], room.keywords)
            uid, _ = insert_message(
                connection, effects, room, mailbox.seq, copy, request.flags[index], parcels.place(index)
            )
            added += 1
            renamed += _name(connection, room.inbox, mailbox, uid, request.uidls[index])
        return ImportedMessages(added, renumbered, renamed)

    return await commit_copies(state, request, request.copies, body, work)


def _give_uid(connection: sqlite3.Connection, mailbox: MailboxHead, uid: int) -> bool:
    """Have the next message get that UID; whether it cannot."""
    if not uid:
        return False
    if not mailbox.uid_next <= uid <= IMPORTED_UID_MAX:
        return True
    connection.execute("UPDATE mailbox SET uid_next = ? WHERE seq = ?", (uid, mailbox.seq))
    return False


def _name(connection: sqlite3.Connection, inbox: int, mailbox: MailboxHead, uid: int, uidl: str) -> bool:
    """Keep a unique-id, but for the one that it has anyway; whether it cannot be kept."""
    if not uidl or uidl == f"{mailbox.uid_validity:08x}{uid:08x}":
        return False
    try:
        keep_uidl(connection, inbox, mailbox, uid, uidl)
    except Refused:
        return True
    return False

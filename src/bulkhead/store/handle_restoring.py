"""From the command line: FindMessages, RestoreMailbox, RestoreMessages. Mail of a backup comes back into its account.

A message that is in no mailbox of its account gets all its rows in one transaction, so one that has a row is done:
nothing is doubled, however often it is asked for. One that is kept for undelete comes back as it lies here. A filed one
comes back as if it had just arrived, with its slot in the place of the key box: its page is the backup's, and a session
files it anew.
"""

import sqlite3

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    Copy,
    FindMessages,
    Found,
    FoundMessages,
    MessagesRestored,
    RestoredMailbox,
    RestoredRow,
    RestoreMailbox,
    RestoreMessages,
    Role,
)  # fmt: skip
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.handle_delivery import commit_copies
from bulkhead.store.handle_exporting import account_seq
from bulkhead.store.handle_mailbox import insert_mailbox, require_space
from bulkhead.store.handle_message import put_rows, reference_again
from bulkhead.store.handle_undeleting import RENEWED, no_account
from bulkhead.store.intake import Parcels
from bulkhead.store.maildrops import OWN_FORM
from bulkhead.store.retention import forget_mailboxes
from bulkhead.store.rows import (
    SYSTEM_FLAGS,
    MailboxHead,
    Row,
    find_mailbox,
    generation_of,
    insert_message,
    reserve_room,
    signed,
    take_modseq,
    take_uid_validity,
    unsigned,
)
from bulkhead.store.state import State

_STATE = (
    "SELECT e.refs > (SELECT count(*) FROM deleted d WHERE d.email = e.seq) FROM email e"
    " WHERE e.account = ? AND e.email = ?"
)


def find_messages(state: State, _: Channel, request: FindMessages, __: BodyReader | None) -> FoundMessages:
    """By EmailId."""
    account = account_seq(state, request.account)
    found: dict[bytes, int] = {}
    for email in request.emails:
        row = state.database.first(_STATE, (account, email))
        found[email] = Found.NOWHERE if row is None else Found.MAILBOX if row[0] else Found.DELETED
    return FoundMessages(bytes(found[email] for email in request.emails))


async def restore_mailbox(state: State, _: Channel, request: RestoreMailbox, __: BodyReader | None) -> RestoredMailbox:
    """The mailbox that is there, or was made."""

    def work(connection: sqlite3.Connection, effects: Effects) -> RestoredMailbox:
        account, inbox = _account(connection, request.account)
        where = "SELECT mailbox FROM mailbox WHERE account = ?"
        row = connection.execute(f"{where} AND mailbox = ?", (account, request.mailbox)).fetchone()
        if row is None and request.tag:
            row = connection.execute(f"{where} AND tag = ?", (account, request.tag)).fetchone()
        if row is None and (
            not request.tag or connection.execute(RENEWED, (account, request.sealed_name)).fetchone() is not None
        ):
            row = connection.execute(f"{where} AND seq = ?", (account, inbox)).fetchone()
        if row is not None:
            return RestoredMailbox(row[0], made=False)
        require_space(connection, "mailbox", account, request.sealed_name, "too-many-mailboxes")
        taken = connection.execute("SELECT 1 FROM mailbox WHERE account = ? AND role = ?", (account, request.role))
        role = Role.NONE if taken.fetchone() else request.role
        validity, modseq = take_uid_validity(connection, account), take_modseq(connection, effects, account)
        insert_mailbox(connection, account, request.mailbox, role, request.sealed_name, request.tag, validity, modseq)
        return RestoredMailbox(request.mailbox, made=True)

    return await state.commit(request, work)


async def restore_messages(
    state: State, _: Channel, request: RestoreMessages, body: BodyReader | None
) -> MessagesRestored:
    """What is in no mailbox comes back."""
    rows: list[list[RestoredRow]] = [[] for _ in request.copies]
    for row in request.rows:
        if row.copy >= len(rows):
            raise Refused("a row is of no message", code="bad-rows")
        rows[row.copy].append(row)
    if not all(rows):
        raise Refused("a message has no row", code="bad-rows")

    def work(connection: sqlite3.Connection, effects: Effects, parcels: Parcels) -> MessagesRestored:
        counts = [0, 0, 0]
        for index, copy in enumerate(request.copies):
            account = _account(connection, copy.account)
            back = _Returning(connection, effects, account, copy, rows[index], state.messages_max)
            counts[back.bring(parcels, index)] += 1
        return MessagesRestored(*counts)

    return await commit_copies(state, request, request.copies, body, work)


_RESTORED, _PRESENT, _CLOSED = range(3)


class _Returning:
    """One message on its way back."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        effects: Effects,
        account: tuple[int, int],
        copy: Copy,
        rows: list[RestoredRow],
        messages_max: int,
    ) -> None:
        self._connection, self._effects = connection, effects
        self._account, self._inbox = account
        self._copy, self._rows, self._messages_max = copy, rows, messages_max

    def bring(self, parcels: Parcels, index: int) -> int:
        """What became of it. Raises Refused."""
        copy, connection = self._copy, self._connection
        known = connection.execute(
            "SELECT seq, size, refs, (SELECT count(*) FROM deleted d WHERE d.email = e.seq) FROM email e"
            " WHERE account = ? AND email = ?",
            (self._account, copy.email),
        ).fetchone()
        if known is not None and known[2] > known[3]:
            return _PRESENT
        generation, keywords = connection.execute(
            "SELECT generation, keywords FROM account WHERE seq = ?", (self._account,)
        ).fetchone()
        allowed = SYSTEM_FLAGS | unsigned(keywords)
        if known is not None:
            self._undelete(*known[:2], kept=known[3], allowed=allowed)
            return _RESTORED
        if generation_of(copy.box) < generation:
            return _CLOSED
        room = reserve_room(connection, self._effects, copy.account, copy.size, self._messages_max)
        first = find_mailbox(connection, self._account, self._rows[0].mailbox)
        flags = self._rows[0].flags & allowed
        uid, _ = insert_message(connection, self._effects, room, first.seq, copy, flags, parcels.place(index))
        self._keep_uidl(first, uid, self._rows[0].uidl)
        (seq,) = connection.execute(
            "SELECT seq FROM email WHERE account = ? AND email = ?", (self._account, copy.email)
        ).fetchone()
        for row in self._rows[1:]:
            self._put(seq, row, allowed)
        return _RESTORED

    def _undelete(self, seq: int, size: int, *, kept: int, allowed: int) -> None:
        for row in self._rows:
            self._put(seq, row, allowed)
        connection = self._connection
        gone = connection.execute("DELETE FROM deleted WHERE email = ? RETURNING mailbox", (seq,)).fetchall()
        connection.execute("UPDATE email SET refs = refs - ? WHERE seq = ?", (kept, seq))
        connection.execute("UPDATE account SET kept = kept - ? WHERE seq = ?", (kept * size, self._account))
        forget_mailboxes(connection, sorted({mailbox for (mailbox,) in gone}))

    def _put(self, seq: int, row: RestoredRow, allowed: int) -> None:
        """One row more for a message that is here."""
        connection, copy = self._connection, self._copy
        target = find_mailbox(connection, self._account, row.mailbox)
        placed = Row(0, seq, signed(row.flags & allowed), 0, copy.size, copy.date, copy.email.hex())
        reference_again(connection, self._account, [placed], self._messages_max)
        modseq = take_modseq(connection, self._effects, self._account)
        change = MailboxChange(target.seq, modseq)
        put_rows(connection, target, [placed], modseq, change)
        self._effects.changes.append(change)
        self._keep_uidl(target, change.added[0].uid, row.uidl)

    def _keep_uidl(self, mailbox: MailboxHead, uid: int, uidl: str) -> None:
        """The unique-id that clients knew it by, in INBOX; one of ours where its UID was given out, as never again."""
        if mailbox.seq != self._inbox or not uidl:
            return
        ours = [f"{mailbox.uid_validity:08x}{number:08x}" for number in (1, mailbox.uid_next)]
        if not OWN_FORM.fullmatch(uidl) or uidl[:8] != ours[0][:8] or ours[0] <= uidl < ours[1]:
            self._connection.execute("INSERT OR IGNORE INTO uidl VALUES (?, ?, ?)", (mailbox.seq, uid, uidl))


def _account(connection: sqlite3.Connection, account: bytes) -> tuple[int, int]:
    """Its number, and its INBOX's. Raises Refused."""
    row = connection.execute("SELECT seq, inbox FROM account WHERE account = ?", (account,)).fetchone()
    if row is None:
        raise no_account()
    return int(row[0]), int(row[1])

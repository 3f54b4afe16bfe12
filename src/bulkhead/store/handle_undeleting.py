"""From the command line: ListDeleted, UndeleteMessages."""

import sqlite3

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    MAILBOXES_MAX,
    DeletedGroup,
    DeletedGroups,
    ListDeleted,
    Undeleted,
    UndeleteMessages,
)  # fmt: skip
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.handle_mailbox import insert_mailbox, require_space
from bulkhead.store.handle_message import put_rows
from bulkhead.store.retention import forget_mailboxes
from bulkhead.store.rows import MailboxHead, Row, number_list, over_quota, take_modseq, take_uid_validity
from bulkhead.store.state import State
from bulkhead.store.sweep import STEP_ROWS

_GROUPS = (
    "SELECT coalesce(b.mailbox, g.ident), coalesce(b.role, g.role), b.seq IS NULL, count(*), sum(e.size), min(d.at),"
    " max(d.at) FROM deleted d JOIN account a ON a.seq = d.account CROSS JOIN email e"
    " LEFT JOIN mailbox b ON b.seq = d.mailbox LEFT JOIN deleted_mailbox g ON g.mailbox = d.mailbox"
    " WHERE a.account = ? AND d.at >= ? AND e.seq = d.email AND coalesce(b.mailbox, g.ident) IS NOT NULL"
    " GROUP BY d.mailbox ORDER BY max(d.at) DESC LIMIT ?"
)
RENEWED = (  # a name's record begins behind its tag of 16 octets, and has the generation in its octets 3 to 6
    "SELECT 1 FROM mailbox WHERE account = ?1 AND tag IS NOT NULL AND substr(sealed_name, 20, 4) > substr(?2, 20, 4)"
)
_ROWS = (
    "SELECT d.number, d.email, d.flags, e.size, e.date, hex(e.email) FROM deleted d CROSS JOIN email e"
    " WHERE d.account = ? AND d.mailbox = ? AND d.at >= ? AND e.seq = d.email ORDER BY d.number LIMIT ?"
)


def list_deleted(state: State, _: Channel, request: ListDeleted, __: BodyReader | None) -> DeletedGroups:
    """By mailbox, the newest deletions first."""
    if state.database.first("SELECT 1 FROM account WHERE account = ?", (request.account,)) is None:
        raise no_account()
    rows = state.database.read(_GROUPS, (request.account, request.since, MAILBOXES_MAX))
    return DeletedGroups(tuple(DeletedGroup(row[0], row[1], bool(row[2]), *row[3:]) for row in rows))


async def undelete_messages(state: State, _: Channel, request: UndeleteMessages, __: BodyReader | None) -> Undeleted:
    """Rows again, in one transaction."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Undeleted:
        row = connection.execute("SELECT seq FROM account WHERE account = ?", (request.account,)).fetchone()
        if row is None:
            raise no_account()
        account = int(row[0])
        source = _source(connection, account, request.mailbox)
        found = connection.execute(_ROWS, (account, source, request.since, STEP_ROWS)).fetchall()
        if not found:
            return Undeleted(0, more=False)
        rows = [Row(0, email, flags, 0, size, date, text) for _, email, flags, size, date, text in found]
        _take_room(connection, account, sum(row.size for row in rows), len(rows), state.messages_max)
        modseq = take_modseq(connection, effects, account)
        target = _target(connection, account, source, modseq)
        change = MailboxChange(target.seq, modseq)
        put_rows(connection, target, rows, modseq, change)
        effects.changes.append(change)
        connection.execute(
            "DELETE FROM deleted WHERE number IN (SELECT value FROM json_each(?))", (number_list(r[0] for r in found),)
        )
        left = connection.execute(
            "SELECT 1 FROM deleted WHERE account = ? AND mailbox = ? AND at >= ? LIMIT 1",
            (account, source, request.since),
        ).fetchone()
        forget_mailboxes(connection, [source])
        return Undeleted(len(rows), more=left is not None)

    return await state.commit(request, work)


def no_account() -> Refused:
    """The answer where it is not here."""
    return Refused("there is no such account", code="no-such-account")


def _source(connection: sqlite3.Connection, account: int, mailbox: bytes) -> int:
    """The number under which rows of that mailbox are kept. Raises Refused (`no-such-mailbox`)."""
    row = connection.execute(
        "SELECT seq FROM mailbox WHERE account = ?1 AND mailbox = ?2"
        " UNION ALL SELECT mailbox FROM deleted_mailbox WHERE account = ?1 AND ident = ?2 LIMIT 1",
        (account, mailbox),
    ).fetchone()
    if row is None:
        raise Refused("nothing of such a mailbox is kept", code="no-such-mailbox")
    return int(row[0])


def _take_room(connection: sqlite3.Connection, account: int, octets: int, messages: int, messages_max: int) -> None:
    taken = connection.execute(
        "UPDATE account SET used = used + ?1, messages = messages + ?2, kept = kept - ?1"
        " WHERE seq = ?3 AND messages + ?2 <= ?4 AND (quota = 0 OR used + ?1 <= quota)",
        (octets, messages, account, messages_max),
    ).rowcount
    if not taken:
        raise over_quota()


def _target(connection: sqlite3.Connection, account: int, source: int, modseq: int) -> MailboxHead:
    """The mailbox itself; the one that has its name now; or the mailbox made again, under a new UIDVALIDITY.

    INBOX where the name is sealed to a mailbox key that was renewed since: it may open no more, or be another's by now.
    """
    head = "SELECT seq, uid_validity, uid_next, deleted, recent_from FROM mailbox WHERE"
    row = connection.execute(f"{head} seq = ?", (source,)).fetchone()
    if row is None:
        role, sealed_name, tag = connection.execute(
            "SELECT role, sealed_name, tag FROM deleted_mailbox WHERE mailbox = ?", (source,)
        ).fetchone()
        row = connection.execute(f"{head} account = ? AND tag = ?", (account, tag)).fetchone()
    if row is None and connection.execute(RENEWED, (account, sealed_name)).fetchone() is not None:
        (inbox,) = connection.execute("SELECT inbox FROM account WHERE seq = ?", (account,)).fetchone()
        row = connection.execute(f"{head} seq = ?", (inbox,)).fetchone()
    if row is None:
        require_space(connection, "mailbox", account, sealed_name, "too-many-mailboxes")
        validity = take_uid_validity(connection, account)
        made = insert_mailbox(connection, account, new_id(), role, sealed_name, tag, validity, modseq)
        row = connection.execute(f"{head} seq = ?", (made,)).fetchone()
    return MailboxHead(*row)

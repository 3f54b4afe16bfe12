"""Mailboxes, keywords, subscriptions and quota of the session's account. Names are sealed; store sees tags and ids."""

import sqlite3

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_store import (
    MAILBOXES_MAX,
    AddKeyword,
    CreateMailbox,
    DeleteMailbox,
    ListKeywords,
    ListMailboxes,
    ListSubscriptions,
    MailboxPage,
    MailboxRow,
    NamedRow,
    NamedRows,
    NameTable,
    Quota,
    ReadQuota,
    RenameInbox,
    RenameMailboxes,
    ReplaceNames,
    Role,
    SetSubscription,
)  # fmt: skip
from bulkhead.errors import Refused
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.grants import READ, WRITE, Session
from bulkhead.store.retention import keep_mailbox, release_emails
from bulkhead.store.rows import (
    find_mailbox,
    row_slices,
    signed,
    take_modseq,
    take_uid_validity,
)
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State

NAMES_BYTES_MAX = 96 * 1024  # sealed names of one list: with 1,000 rows of numbers it fits one message
KEYWORD_BITS = range(5, 64)

_ROW = (
    "SELECT mailbox, role, sealed_name, uid_validity, uid_next, messages, unseen, deleted, recent, size, modseq,"
    " deleted_size FROM mailbox WHERE account = ?"
)


@by_handle(READ)
def list_mailboxes(state: State, session: Session, request: ListMailboxes, body: BodyReader | None) -> MailboxPage:
    """Every mailbox with counts, oldest first."""
    return mailbox_rows(state, session.account_seq)


def mailbox_rows(state: State, account: int) -> MailboxPage:
    """The mailboxes of the account of this number."""
    rows = state.database.read(_ROW + " ORDER BY seq", (account,))
    return MailboxPage(tuple(MailboxRow(*row) for row in rows))


def mailbox_row(connection: sqlite3.Connection, account: int, mailbox: bytes) -> MailboxRow:
    """One of them. Raises Refused (`no-such-mailbox`)."""
    row = connection.execute(_ROW + " AND mailbox = ?", (account, mailbox)).fetchone()
    if row is None:
        raise Refused("there is no such mailbox", code="no-such-mailbox")
    return MailboxRow(*row)


@by_handle(WRITE, changes=True)
async def create_mailbox(state: State, session: Session, request: CreateMailbox, body: BodyReader | None) -> MailboxRow:
    """A new mailbox under the account's next UIDVALIDITY."""
    if not Role.NONE <= request.role <= Role.ARCHIVE or request.role == Role.INBOX:
        raise Refused("a mailbox cannot be made with this role", code="bad-role")

    def work(connection: sqlite3.Connection, effects: Effects) -> MailboxRow:
        return make_mailbox(connection, effects, session.account_seq, request, request.role)

    return await state.commit(request, work)


def make_mailbox(
    connection: sqlite3.Connection, effects: Effects, account: int, request: CreateMailbox | RenameInbox, role: int
) -> MailboxRow:
    """An empty mailbox as it was asked for. Raises Refused (`mailbox-exists`, `too-many-mailboxes`)."""
    require_space(connection, "mailbox", account, request.sealed_name, "too-many-mailboxes")
    uid_validity = take_uid_validity(connection, account)
    modseq = take_modseq(connection, effects, account)
    try:
        insert_mailbox(
            connection, account, request.mailbox, role, request.sealed_name, request.tag, uid_validity, modseq
        )
    except sqlite3.IntegrityError:
        raise Refused("there is such a mailbox", code="mailbox-exists") from None
    return MailboxRow(request.mailbox, role, request.sealed_name, uid_validity, 1, 0, 0, 0, 0, 0, modseq)


def insert_mailbox(
    connection: sqlite3.Connection,
    account: int,
    mailbox: bytes,
    role: int,
    sealed_name: bytes,
    tag: bytes | None,
    uid_validity: int,
    modseq: int,
) -> int:
    """An empty mailbox's row; its number. Raises sqlite3.IntegrityError where id or tag exists."""
    cursor = connection.execute(
        "INSERT INTO mailbox (account, mailbox, role, sealed_name, tag, uid_validity, uid_next, messages, unseen,"
        " deleted, recent, recent_from, size, modseq, logged, log_floor)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, 0, 0, 0, 0, 1, 0, ?, 0, 0)",
        (account, mailbox, role, sealed_name, tag, uid_validity, modseq),
    )
    return cursor.lastrowid or 0


@by_handle(WRITE, changes=True)
async def rename_mailboxes(state: State, session: Session, request: RenameMailboxes, body: BodyReader | None) -> Done:
    """New names, all or none; two may change places."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        found = [find_mailbox(connection, session.account_seq, change.mailbox).seq for change in request.changes]
        inbox = _inbox(connection, session)
        if inbox in found:
            raise Refused("INBOX keeps its name", code="is-inbox")
        connection.executemany("UPDATE mailbox SET tag = NULL WHERE seq = ?", ((seq,) for seq in found))
        try:
            connection.executemany(
                "UPDATE mailbox SET sealed_name = ?, tag = ? WHERE seq = ?",
                [(change.sealed_name, change.tag, seq) for change, seq in zip(request.changes, found, strict=True)],
            )
        except sqlite3.IntegrityError:
            raise Refused("there is such a mailbox", code="mailbox-exists") from None
        require_space(connection, "mailbox", session.account_seq, b"", "too-many-mailboxes", added=0)
        take_modseq(connection, effects, session.account_seq)
        return Done()

    return await state.commit(request, work)


@by_handle(WRITE, changes=True)
async def delete_mailbox(state: State, session: Session, request: DeleteMailbox, body: BodyReader | None) -> Done:
    """The mailbox, its rows, and the parts that nothing else names."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        mailbox = find_mailbox(connection, session.account_seq, request.mailbox)
        if mailbox.seq == _inbox(connection, session):
            raise Refused("INBOX cannot be deleted", code="is-inbox")
        modseq = take_modseq(connection, effects, session.account_seq)
        for rows in filter(None, row_slices(connection, mailbox.seq)):  # memory is that of one slice
            connection.execute("DELETE FROM message WHERE mailbox = ? AND uid <= ?", (mailbox.seq, rows[-1].uid))
            release_emails(connection, effects, session.account_seq, mailbox.seq, rows)
        keep_mailbox(connection, effects, mailbox.seq)
        connection.execute("DELETE FROM expunged WHERE mailbox = ?", (mailbox.seq,))
        connection.execute("DELETE FROM mailbox WHERE seq = ?", (mailbox.seq,))
        effects.changes.append(MailboxChange(mailbox.seq, modseq, dropped=True))
        return Done()

    return await state.commit(request, work)


def _inbox(connection: sqlite3.Connection, session: Session) -> int:
    (inbox,) = connection.execute("SELECT inbox FROM account WHERE seq = ?", (session.account_seq,)).fetchone()
    return int(inbox)


def require_space(
    connection: sqlite3.Connection, table: str, account: int, sealed_name: bytes, code: str, *, added: int = 1
) -> None:
    """Raises Refused where the account's list would no longer fit one message."""
    count, octets = connection.execute(
        f"SELECT count(*), coalesce(sum(length(sealed_name)), 0) FROM {table} WHERE account = ?",  # noqa: S608 - ours
        (account,),
    ).fetchone()
    if count + added > MAILBOXES_MAX or octets + len(sealed_name) > NAMES_BYTES_MAX:
        raise Refused("the account has too many names", code=code)


# --- keywords --------------------------------------------------------------------------------------------------------


@by_handle(READ)
def list_keywords(state: State, session: Session, request: ListKeywords, body: BodyReader | None) -> NamedRows:
    """The account's keywords by bit."""
    rows = state.database.read(
        "SELECT bit, tag, sealed_name FROM keyword WHERE account = ? ORDER BY bit", (session.account_seq,)
    )
    return NamedRows(tuple(NamedRow(*row) for row in rows))


@by_handle(WRITE, changes=True)
async def add_keyword(state: State, session: Session, request: AddKeyword, body: BodyReader | None) -> NamedRow:
    """The keyword's bit; the lowest free one where it is new. A bit once given is never given to another keyword."""

    def work(connection: sqlite3.Connection, effects: Effects) -> NamedRow:
        return give_bit(connection, effects, session.account_seq, request.tag, request.sealed_name)

    return await state.commit(request, work)


def give_bit(
    connection: sqlite3.Connection, effects: Effects, account: int, tag: bytes, sealed_name: bytes
) -> NamedRow:
    """As add_keyword. Raises Refused (`too-many-keywords`)."""
    rows = connection.execute("SELECT bit, tag, sealed_name FROM keyword WHERE account = ?", (account,)).fetchall()
    for row in rows:
        if row[1] == tag:
            return NamedRow(*row)
    taken = {row[0] for row in rows}
    bit = next((bit for bit in KEYWORD_BITS if bit not in taken), None)
    if bit is None or sum(len(row[2]) for row in rows) + len(sealed_name) > NAMES_BYTES_MAX:
        raise Refused("the account has too many keywords", code="too-many-keywords")
    connection.execute("INSERT INTO keyword VALUES (?, ?, ?, ?)", (account, tag, bit, sealed_name))
    connection.execute("UPDATE account SET keywords = keywords | ? WHERE seq = ?", (signed(1 << bit), account))
    effects.accounts.add(account)
    return NamedRow(bit, tag, sealed_name)


# --- subscriptions and quota -----------------------------------------------------------------------------------------


@by_handle(READ)
def list_subscriptions(
    state: State, session: Session, request: ListSubscriptions, body: BodyReader | None
) -> NamedRows:
    """The names subscribed to."""
    rows = state.database.read("SELECT 0, tag, sealed_name FROM subscription WHERE account = ?", (session.account_seq,))
    return NamedRows(tuple(NamedRow(*row) for row in rows))


@by_handle(WRITE, changes=True)
async def set_subscription(state: State, session: Session, request: SetSubscription, body: BodyReader | None) -> Done:
    """Subscribe or unsubscribe."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        connection.execute("DELETE FROM subscription WHERE account = ? AND tag = ?", (session.account_seq, request.tag))
        if request.subscribed:
            require_space(
                connection, "subscription", session.account_seq, request.sealed_name, "too-many-subscriptions"
            )
            connection.execute(
                "INSERT INTO subscription VALUES (?, ?, ?)", (session.account_seq, request.tag, request.sealed_name)
            )
        effects.accounts.add(session.account_seq)
        return Done()

    return await state.commit(request, work)


@by_handle(WRITE)
async def replace_names(state: State, session: Session, request: ReplaceNames, body: BodyReader | None) -> Done:
    """The same names under other tags. A name whose old tag is gone was replaced, or given up, meanwhile."""
    if request.table not in (NameTable.MAILBOX, NameTable.KEYWORD, NameTable.SUBSCRIPTION):
        raise Refused("there are no such names", code="bad-table")
    table = {NameTable.MAILBOX: "mailbox", NameTable.KEYWORD: "keyword"}.get(request.table, "subscription")

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        or_else = "OR REPLACE" if request.table == NameTable.SUBSCRIPTION else ""  # subscribed to once more: the same
        change = f"UPDATE {or_else} {table} SET tag = ?, sealed_name = ? WHERE account = ? AND tag = ?"  # noqa: S608 - ours
        try:
            connection.executemany(
                change, [(name.tag, name.sealed_name, session.account_seq, name.old) for name in request.names]
            )
        except sqlite3.IntegrityError:
            raise Refused("there is such a name", code="mailbox-exists") from None
        require_space(connection, table, session.account_seq, b"", "too-many-mailboxes", added=0)
        effects.accounts.add(session.account_seq)
        return Done()

    return await state.commit(request, work)


@by_handle(READ)
def read_quota(state: State, session: Session, request: ReadQuota, body: BodyReader | None) -> Quota:
    """Used and allowed octets and messages."""
    row = state.database.first("SELECT used, quota, messages FROM account WHERE seq = ?", (session.account_seq,))
    if row is None:
        raise Refused("there is no such account", code="no-such-account")
    used, allowed, messages = row
    return Quota(used, allowed, messages, state.messages_max)

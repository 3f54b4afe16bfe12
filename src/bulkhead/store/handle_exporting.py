"""From the command line: an account's mailboxes, rows and sealed parts. Nothing here opens any of them."""

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    MESSAGES_BYTES_MAX,
    ROWS_MAX,
    ExportedRow,
    ExportedRows,
    ExportMailboxes,
    ExportNames,
    ExportParts,
    ExportRows,
    MailboxPage,
    NamedRow,
    NamedRows,
    SizedParts,
)  # fmt: skip
from bulkhead.boundary.terms import Answer, Channel
from bulkhead.errors import Refused
from bulkhead.store.handle_mailbox import mailbox_rows
from bulkhead.store.handle_read import ROWS_BYTES_MAX, joined
from bulkhead.store.rows import unsigned
from bulkhead.store.segment import HEADER_BYTES
from bulkhead.store.state import State

_ROW_BYTES = 200  # of one row without its sealed key, encoded
# What is filed has a slot for its key, and so has what came back from a backup and is not filed yet (kind 20: x'14').
_ROWS = (
    "SELECT m.uid, m.flags, m.modseq, coalesce(u.uidl, ''), e.email, e.size, e.date,"
    " substr(e.sealed_key, 1, 1) = x'14', e.sealed_key, e.header_size, e.body_size"
    " FROM message m CROSS JOIN email e ON e.seq = m.email"
    " LEFT JOIN uidl u ON u.mailbox = m.mailbox AND u.uid = m.uid"
    " WHERE m.mailbox = ? AND m.uid >= ? ORDER BY m.uid LIMIT ?"
)
_PARTS = "SELECT segment, offset, summary_size, header_size + body_size FROM email WHERE account = ? AND email = ?"
_NAMES = {
    False: "SELECT bit, tag, sealed_name FROM keyword WHERE account = ? ORDER BY bit",
    True: "SELECT 0, tag, sealed_name FROM subscription WHERE account = ? ORDER BY tag",
}


def account_seq(state: State, account: bytes) -> int:
    """Its number. Raises Refused (`no-such-account`)."""
    row = state.database.first("SELECT seq FROM account WHERE account = ?", (account,))
    if row is None:
        raise Refused("there is no such account", code="no-such-account")
    return int(row[0])


def export_mailboxes(state: State, _: Channel, request: ExportMailboxes, __: BodyReader | None) -> MailboxPage:
    """Every mailbox with counts, oldest first."""
    return mailbox_rows(state, account_seq(state, request.account))


def export_names(state: State, _: Channel, request: ExportNames, __: BodyReader | None) -> NamedRows:
    """Keywords or subscriptions."""
    rows = state.database.read(_NAMES[request.subscriptions], (account_seq(state, request.account),))
    return NamedRows(tuple(NamedRow(*row) for row in rows))


def export_rows(state: State, _: Channel, request: ExportRows, __: BodyReader | None) -> ExportedRows:
    """Rows in UID order, as many as fit one message."""
    account = account_seq(state, request.account)
    mailbox = state.database.first(
        "SELECT seq FROM mailbox WHERE account = ? AND mailbox = ?", (account, request.mailbox)
    )
    if mailbox is None:
        raise Refused("there is no such mailbox", code="no-such-mailbox")
    found = state.database.read(_ROWS, (mailbox[0], request.first_uid, ROWS_MAX + 1))
    rows: list[ExportedRow] = []
    octets = 0
    for uid, flags, modseq, uidl, email, size, date, filed, key, header, body in found[:ROWS_MAX]:
        octets += _ROW_BYTES + len(key)
        if octets > ROWS_BYTES_MAX:
            break
        rows.append(ExportedRow(uid, unsigned(flags), modseq, uidl, email, size, date, bool(filed), key, header, body))
    return ExportedRows(tuple(rows), more=len(found) > len(rows))


def export_parts(state: State, _: Channel, request: ExportParts, __: BodyReader | None) -> Answer:
    """Header and body of each, which lie side by side in their record."""
    account = account_seq(state, request.account)
    sizes: list[int] = []
    wanted: list[tuple[int, int, int]] = []
    for email in request.emails:
        row = state.database.first(_PARTS, (account, email))
        if row is None:
            sizes.append(0)
            continue
        segment, offset, summary, size = row
        if wanted and sum(sizes) + size > MESSAGES_BYTES_MAX:
            break
        sizes.append(size)
        wanted.append((segment, offset + HEADER_BYTES + summary, size))
    state.segments.reads += len(wanted)
    return Answer(SizedParts(tuple(sizes)), joined(state, wanted))

"""RENAME of INBOX, whose messages go to a new mailbox while it stays (RFC 3501 section 6.3.5)."""

import sqlite3

from msgspec import structs

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import MailboxRow, RenameInbox, Role
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.grants import WRITE, Session
from bulkhead.store.handle_mailbox import make_mailbox
from bulkhead.store.handle_message import move_rows
from bulkhead.store.rows import find_mailbox, row_slices
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State
from bulkhead.store.sweep import add_up


@by_handle(WRITE, changes=True)
async def rename_inbox(state: State, session: Session, request: RenameInbox, body: BodyReader | None) -> MailboxRow:
    """The new mailbox with everything that was in INBOX; mailboxes below INBOX stay where they are."""

    def work(connection: sqlite3.Connection, effects: Effects) -> MailboxRow:
        account = session.account_seq
        made = make_mailbox(connection, effects, account, request, Role.NONE)
        (inbox,) = connection.execute(
            "SELECT b.mailbox FROM mailbox b JOIN account a ON a.inbox = b.seq WHERE a.seq = ?", (account,)
        ).fetchone()
        source = find_mailbox(connection, account, inbox)
        seq = find_mailbox(connection, account, request.mailbox).seq
        left, come = MailboxChange(source.seq, made.modseq), MailboxChange(seq, made.modseq)
        for rows in filter(None, row_slices(connection, source.seq)):  # memory is that of one slice
            target = find_mailbox(connection, account, request.mailbox)
            part = Effects()
            move_rows(connection, part, source, target, rows, made.modseq)
            for whole, change in zip((left, come), part.changes, strict=True):
                add_up(whole, change)
        effects.changes += [change for change in (left, come) if len(change)]
        return structs.replace(made, uid_next=len(come) + 1, messages=len(come))

    return await state.commit(request, work)

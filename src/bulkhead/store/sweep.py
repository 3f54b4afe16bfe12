"""Changes to very many messages: 8,000 rows a step, each step a transaction of its own where IMAP lets it be.

A mailbox of a million is flagged or emptied in seconds; in one transaction nobody else's mail would be durable
meanwhile, and its rows would fill the memory. So what a step did is durable and visible before the next begins, and
others commit between. A crash leaves the first steps done: STORE, EXPUNGE and MOVE promise nothing across messages
(RFC 6851 section 3.3 for MOVE), and doing the request again does the rest. COPY is all or none (RFC 3501 section
6.4.7): its steps share one transaction, and it alone can make others wait.
"""

import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import Protocol, TypeVar

from bulkhead.boundary.messages.fields import Mutation, Reply
from bulkhead.boundary.messages.to_store import UidRange
from bulkhead.boundary.terms import Answer
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.columns import CHANGE_MAX
from bulkhead.store.grants import Session
from bulkhead.store.retention import release_emails
from bulkhead.store.rows import (
    SLICE,
    MailboxHead,
    Row,
    after,
    merged,
    row_slices,
    take_rows,
)  # fmt: skip
from bulkhead.store.state import State

STEP_SLICES = 4
STEP_ROWS = STEP_SLICES * SLICE  # of one step; at most columns.CHANGE_MAX, so that columns follow and are not reloaded

R = TypeVar("R", bound=Reply)
R_co = TypeVar("R_co", bound=Reply, covariant=True)


class Sweep(Protocol[R_co]):
    """One request's work, in steps."""

    def step(self, connection: sqlite3.Connection, effects: Effects) -> bool:
        """Do the next rows; whether there may be more."""

    def finish(self, connection: sqlite3.Connection, effects: Effects) -> R_co:
        """The reply, once no more are left; its body goes to the effects."""


async def sweep(
    state: State, session: Session, request: Mutation[R], work: Sweep[R], *, mailbox: bytes, uids: Sequence[UidRange],
    whole: bool = False,
) -> Answer:  # fmt: skip
    """The answer, durable. In several transactions where it may be more than one step, but for `whole`."""

    def at_once(connection: sqlite3.Connection, effects: Effects) -> R:
        while work.step(connection, effects):
            pass
        return work.finish(connection, effects)

    if whole or not _is_large(state, session, mailbox, uids):
        return await state.commit_with_body(request, at_once)
    if await state.database.answered(request) is None:
        async with state.sweeping.of(session.channel):
            while await state.commit_step(work.step):
                state.require_session(session.channel, session.handle)
    return await state.commit_with_body(request, work.finish)


def _is_large(state: State, session: Session, mailbox: bytes, uids: Sequence[UidRange]) -> bool:
    row = state.database.first(
        "SELECT messages, uid_next FROM mailbox WHERE account = ? AND mailbox = ?", (session.account_seq, mailbox)
    )
    if row is None or row[0] <= STEP_ROWS:
        return False
    spread: int = sum(max(0, min(last, row[1]) - first + 1) for first, last in merged(uids))
    return spread > STEP_ROWS


class Rest:
    """The UIDs that a sweep has still to look at."""

    def __init__(self, uids: Sequence[UidRange]) -> None:
        self.ranges = merged(uids)

    def cut(self, last: int) -> None:
        """Nothing above this UID: what the sweep itself adds is not its own work."""
        self.ranges = [(first, min(end, last)) for first, end in self.ranges if first <= last]

    def take(self, connection: sqlite3.Connection, mailbox: int, flags: int = 0) -> list[Row]:
        """The rows of the next step, those that have all of `flags`; none: nothing is left."""
        rows = [
            row for part in islice(row_slices(connection, mailbox, self.ranges, flags), STEP_SLICES) for row in part
        ]
        self.passed(rows[-1].uid if len(rows) == STEP_ROWS else None)
        return rows

    def passed(self, uid: int | None) -> None:
        """Everything up to this UID is done; None: everything."""
        self.ranges = [] if uid is None else after(self.ranges, uid)


def remove_all(
    connection: sqlite3.Connection,
    effects: Effects,
    account: int,
    mailbox: MailboxHead,
    ranges: Sequence[UidRange],
    modseq: int,
) -> MailboxChange:
    """Take the messages of these UIDs out for good, all in this transaction; memory is that of one slice."""
    removed = MailboxChange(mailbox.seq, modseq)
    for rows in filter(None, row_slices(connection, mailbox.seq, ranges)):
        change = MailboxChange(mailbox.seq, modseq)
        take_rows(connection, mailbox, rows, modseq, change)
        release_emails(connection, effects, account, mailbox.seq, rows)
        add_up(removed, change)
    return removed


def add_up(whole: MailboxChange, part: MailboxChange) -> None:
    """Count a slice's change in; of more than columns follow only their number is kept."""
    if len(whole) + len(part) > CHANGE_MAX:
        whole.unlisted = len(whole) + len(part)
        whole.added, whole.expunged = [], []
    else:
        whole.added += part.added
        whole.expunged += part.expunged

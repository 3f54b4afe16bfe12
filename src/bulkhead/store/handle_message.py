"""A session changes messages: StoreFlags, Expunge, CopyMessages. Each is one transaction under one MODSEQ."""

import json
import sqlite3
from array import array
from collections.abc import Sequence

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    Copied,
    CopyMessages,
    Expunge,
    Expunged,
    FlagMode,
    FlagsStored,
    StoreFlags,
)  # fmt: skip
from bulkhead.boundary.terms import Answer
from bulkhead.errors import Refused
from bulkhead.store.changes import AddedRow, Effects, MailboxChange
from bulkhead.store.columns import packed
from bulkhead.store.grants import WRITE, Session
from bulkhead.store.rows import (
    ALL_UIDS,
    DELETED,
    SEEN,
    MailboxHead,
    Row,
    by_count,
    find_mailbox,
    number_list,
    over_quota,
    release_emails,
    require_keywords,
    select_rows,
    signed,
    take_modseq,
    take_rows,
    unsigned,
)  # fmt: skip
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State


@by_handle(WRITE)
async def store_flags(state: State, session: Session, request: StoreFlags, body: BodyReader | None) -> Answer:
    """New flags; a message that has them already keeps its MODSEQ."""
    if request.mode not in (FlagMode.REPLACE, FlagMode.ADD, FlagMode.REMOVE):
        raise Refused("there is no such way to combine flags", code="bad-mode")

    def work(connection: sqlite3.Connection, effects: Effects) -> FlagsStored:
        mailbox = find_mailbox(connection, session.account_seq, request.mailbox)
        keywords, modseq = connection.execute(
            "SELECT keywords, modseq FROM account WHERE seq = ?", (session.account_seq,)
        ).fetchone()
        if request.mode != FlagMode.REMOVE:
            require_keywords(request.flags, keywords)
        rows = select_rows(connection, mailbox.seq, request.uids)
        limit = request.unchanged_since
        refused = [row.uid for row in rows if limit and row.modseq > limit]
        listed = [(row, _combined(row.flags, request)) for row in rows if not limit or row.modseq <= limit]
        changed = [(row, flags) for row, flags in listed if flags != row.flags]
        if changed:
            modseq = take_modseq(connection, effects, session.account_seq)
            effects.changes.append(_write_flags(connection, mailbox, changed, modseq))
        effects.body = b"".join(
            packed(column)
            for column in (
                array("I", [row.uid for row, _ in listed]),
                array("q", [flags for _, flags in listed]),
                array("I", refused),
            )
        )
        return FlagsStored(modseq, len(listed), len(refused))

    return await state.commit_with_body(request, work)


def _combined(old: int, request: StoreFlags) -> int:
    flags = request.flags
    if request.mode == FlagMode.ADD:
        flags |= unsigned(old)
    elif request.mode == FlagMode.REMOVE:
        flags = unsigned(old) & ~flags
    return signed(flags)


def _write_flags(
    connection: sqlite3.Connection, mailbox: MailboxHead, changed: Sequence[tuple[Row, int]], modseq: int
) -> MailboxChange:
    by_flags: dict[int, list[int]] = {}
    for row, flags in changed:
        by_flags.setdefault(flags, []).append(row.uid)
    for flags, uids in by_flags.items():
        connection.execute(
            "UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid IN (SELECT value FROM json_each(?))",
            (flags, modseq, mailbox.seq, number_list(uids)),
        )
    unseen = sum((row.flags & SEEN) - (flags & SEEN) for row, flags in changed)
    deleted = sum((flags & DELETED) - (row.flags & DELETED) for row, flags in changed) // DELETED
    deleted_size = sum(((flags & DELETED) - (row.flags & DELETED)) * row.size for row, flags in changed) // DELETED
    connection.execute(
        "UPDATE mailbox SET unseen = unseen + ?, deleted = deleted + ?, deleted_size = deleted_size + ?, modseq = ?"
        " WHERE seq = ?",
        (unseen, deleted, deleted_size, modseq, mailbox.seq),
    )
    return MailboxChange(mailbox.seq, modseq, flagged=[(row.uid, flags) for row, flags in changed])


@by_handle(WRITE)
async def expunge(state: State, session: Session, request: Expunge, body: BodyReader | None) -> Answer:
    """Removed UIDs. Without `deleted_only` only UIDs that were named go: no UIDs then means none."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Expunged:
        mailbox = find_mailbox(connection, session.account_seq, request.mailbox)
        rows = _rows_to_expunge(connection, mailbox, request)
        if not rows:
            effects.body = b""
            (modseq,) = connection.execute(
                "SELECT modseq FROM account WHERE seq = ?", (session.account_seq,)
            ).fetchone()
            return Expunged(modseq, 0)
        modseq = take_modseq(connection, effects, session.account_seq)
        change = MailboxChange(mailbox.seq, modseq)
        take_rows(connection, mailbox, rows, modseq, change)
        release_emails(connection, effects, session.account_seq, rows)
        effects.changes.append(change)
        effects.body = packed(array("I", change.expunged))
        return Expunged(modseq, len(rows))

    return await state.commit_with_body(request, work)


def _rows_to_expunge(connection: sqlite3.Connection, mailbox: MailboxHead, request: Expunge) -> list[Row]:
    if request.deleted_only and not mailbox.deleted:
        return []
    if request.uids:
        rows = select_rows(connection, mailbox.seq, request.uids)
    else:
        rows = select_rows(connection, mailbox.seq, ALL_UIDS) if request.deleted_only else []
    return [row for row in rows if row.flags & DELETED] if request.deleted_only else rows


@by_handle(WRITE)
async def copy_messages(state: State, session: Session, request: CopyMessages, body: BodyReader | None) -> Answer:
    """Source UIDs and their target UIDs. The rows are copied, never the bytes; a move takes the source rows away."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Copied:
        source = find_mailbox(connection, session.account_seq, request.mailbox)
        target = find_mailbox(connection, session.account_seq, request.target)
        rows = select_rows(connection, source.seq, request.uids)
        if not rows:
            effects.body = b""
            (modseq,) = connection.execute(
                "SELECT modseq FROM account WHERE seq = ?", (session.account_seq,)
            ).fetchone()
            return Copied(target.uid_validity, modseq, 0)
        modseq = take_modseq(connection, effects, session.account_seq)
        if request.move:
            change = move_rows(connection, effects, source, target, rows, modseq)
        else:
            change = MailboxChange(target.seq, modseq)
            _reference_again(connection, session.account_seq, rows, state.messages_max)
            _put_rows(connection, target, rows, modseq, change)
            effects.changes.append(change)
        effects.body = packed(array("I", [row.uid for row in rows])) + packed(
            array("I", [row.uid for row in change.added])
        )
        return Copied(target.uid_validity, modseq, len(rows))

    return await state.commit_with_body(request, work)


def move_rows(
    connection: sqlite3.Connection,
    effects: Effects,
    source: MailboxHead,
    target: MailboxHead,
    rows: Sequence[Row],
    modseq: int,
) -> MailboxChange:
    """The rows out of one mailbox and into another, or the same; what that did to the target."""
    change = MailboxChange(target.seq, modseq)
    left = change if source.seq == target.seq else MailboxChange(source.seq, modseq)
    take_rows(connection, source, rows, modseq, left)
    if left is not change:
        effects.changes.append(left)
    _put_rows(connection, target, rows, modseq, change)
    effects.changes.append(change)
    return change


def _reference_again(connection: sqlite3.Connection, account: int, rows: Sequence[Row], messages_max: int) -> None:
    """One reference more to each row's email, within the quota. Raises Refused (`over-quota`)."""
    octets = sum(row.size for row in rows)
    taken = connection.execute(
        "UPDATE account SET used = used + ?1, messages = messages + ?2"
        " WHERE seq = ?3 AND messages + ?2 <= ?4 AND (quota = 0 OR used + ?1 <= quota)",
        (octets, len(rows), account, messages_max),
    ).rowcount
    if not taken:
        raise over_quota()
    for count, some in by_count(row.email_seq for row in rows):
        connection.execute(
            "UPDATE email SET refs = refs + ? WHERE seq IN (SELECT value FROM json_each(?))", (count, number_list(some))
        )


def _put_rows(
    connection: sqlite3.Connection, target: MailboxHead, rows: Sequence[Row], modseq: int, change: MailboxChange
) -> None:
    """The rows under the target's next UIDs, in the source's order, with their flags."""
    change.added.extend(
        AddedRow(target.uid_next + at, row.flags, row.size, row.date, bytes.fromhex(row.email))
        for at, row in enumerate(rows)
    )
    triples = [(new.uid, row.email_seq, row.flags) for new, row in zip(change.added, rows, strict=True)]
    connection.execute(
        "INSERT INTO message SELECT ?, json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]'), ? FROM json_each(?)",
        (target.seq, modseq, json.dumps(triples)),
    )
    connection.execute(
        "UPDATE mailbox SET uid_next = uid_next + ?, messages = messages + ?, unseen = unseen + ?,"
        " deleted = deleted + ?, recent = recent + ?, size = size + ?, deleted_size = deleted_size + ?, modseq = ?"
        " WHERE seq = ?",
        (
            len(rows), len(rows), sum(not row.flags & SEEN for row in rows),
            sum(bool(row.flags & DELETED) for row in rows), len(rows), sum(row.size for row in rows),
            sum(row.size for row in rows if row.flags & DELETED), modseq, target.seq,
        ),
    )  # fmt: skip

"""A session changes messages: StoreFlags, Expunge, CopyMessages. Up to 8,000 rows are one transaction and one MODSEQ.

More are swept (sweep.py): a transaction and a MODSEQ for each 8,000, a COPY in one transaction.
"""

import json
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    Copied,
    CopyMessages,
    Expunge,
    Expunged,
    FlagMode,
    FlagsStored,
    StoreFlags,
    UidRange,
)  # fmt: skip
from bulkhead.boundary.terms import Answer
from bulkhead.errors import Refused
from bulkhead.store.changes import AddedRow, Effects, MailboxChange
from bulkhead.store.columns import CHANGE_MAX, packed
from bulkhead.store.grants import WRITE, Session
from bulkhead.store.retention import release_emails
from bulkhead.store.rows import (
    ALL_UIDS,
    DELETED,
    SEEN,
    MailboxHead,
    Row,
    by_count,
    find_mailbox,
    flag_rows,
    number_list,
    over_quota,
    require_keywords,
    signed,
    take_modseq,
    take_rows,
    unsigned,
)  # fmt: skip
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State
from bulkhead.store.sweep import STEP_ROWS, Rest, sweep


@by_handle(WRITE, changes=True)
async def store_flags(state: State, session: Session, request: StoreFlags, body: BodyReader | None) -> Answer:
    """New flags; a message that has them already keeps its MODSEQ."""
    if request.mode not in (FlagMode.REPLACE, FlagMode.ADD, FlagMode.REMOVE):
        raise Refused("there is no such way to combine flags", code="bad-mode")
    work = _Flagging(session.account_seq, request)
    return await sweep(state, session, request, work, mailbox=request.mailbox, uids=request.uids)


class _Flagging:
    """The work of StoreFlags."""

    def __init__(self, account: int, request: StoreFlags) -> None:
        self._account, self._request, self._rest = account, request, Rest(request.uids)
        self._listed, self._flags, self._refused = array("I"), array("q"), array("I")
        self._modseq = 0

    def step(self, connection: sqlite3.Connection, effects: Effects) -> bool:
        mailbox = find_mailbox(connection, self._account, self._request.mailbox)
        keywords, modseq = connection.execute(
            "SELECT keywords, modseq FROM account WHERE seq = ?", (self._account,)
        ).fetchone()
        self._modseq = max(self._modseq, modseq)
        if self._request.mode != FlagMode.REMOVE:
            require_keywords(self._request.flags, keywords)
        ranges = self._rest.ranges
        uids, flags, modseqs = flag_rows(connection, mailbox.seq, ranges, STEP_ROWS)
        more = len(uids) == STEP_ROWS
        self._rest.passed(uids[-1] if more else None)
        limit = self._request.unchanged_since
        if limit:
            self._refused.extend([uid for uid, modseq in zip(uids, modseqs, strict=True) if modseq > limit])
            fits = [modseq <= limit for modseq in modseqs]
            uids, flags = list(compress(uids, fits)), list(compress(flags, fits))
        new = {old: _combined(old, self._request) for old in set(flags)}
        self._listed.extend(uids)
        self._flags.extend(map(new.__getitem__, flags))
        changed = [(uid, old) for uid, old in zip(uids, flags, strict=True) if new[old] != old]
        if changed:
            self._modseq = take_modseq(connection, effects, self._account)
            whole = len(ranges) == 1 and not limit
            effects.changes.append(_write_flags(connection, mailbox, changed, new, self._modseq, whole=whole))
        return more

    def finish(self, connection: sqlite3.Connection, effects: Effects) -> FlagsStored:
        effects.body = b"".join(map(packed, (self._listed, self._flags, self._refused)))
        return FlagsStored(self._modseq, len(self._listed), len(self._refused))


def _combined(old: int, request: StoreFlags) -> int:
    flags = request.flags
    if request.mode == FlagMode.ADD:
        flags |= unsigned(old)
    elif request.mode == FlagMode.REMOVE:
        flags = unsigned(old) & ~flags
    return signed(flags)


def _write_flags(
    connection: sqlite3.Connection,
    mailbox: MailboxHead,
    changed: Sequence[tuple[int, int]],
    new: Mapping[int, int],
    modseq: int,
    *,
    whole: bool,
) -> MailboxChange:
    """New flags for (UID, old flags). `whole`: all with such flags between the first and the last are among them."""
    counts = Counter(old for _, old in changed)
    for old in counts:
        if whole:
            connection.execute(
                "UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid BETWEEN ? AND ? AND flags = ?",
                (new[old], modseq, mailbox.seq, changed[0][0], changed[-1][0], old),
            )
            continue
        connection.execute(
            "UPDATE message SET flags = ?, modseq = ? WHERE mailbox = ? AND uid IN (SELECT value FROM json_each(?))",
            (new[old], modseq, mailbox.seq, number_list(uid for uid, flags in changed if flags == old)),
        )
    unseen = sum(((old & SEEN) - (new[old] & SEEN)) * count for old, count in counts.items())
    deleted = sum(((new[old] & DELETED) - (old & DELETED)) * count for old, count in counts.items()) // DELETED
    turned = [uid for uid, old in changed if (old ^ new[old]) & DELETED]
    deleted_size = _size_of(connection, mailbox.seq, turned) * (1 if deleted >= 0 else -1) if turned else 0
    connection.execute(
        "UPDATE mailbox SET unseen = unseen + ?, deleted = deleted + ?, deleted_size = deleted_size + ?, modseq = ?"
        " WHERE seq = ?",
        (unseen, deleted, deleted_size, modseq, mailbox.seq),
    )
    return MailboxChange(mailbox.seq, modseq, flagged=[(uid, new[old]) for uid, old in changed])


def _size_of(connection: sqlite3.Connection, mailbox: int, uids: Iterable[int]) -> int:
    """RFC822.SIZE of these messages together."""
    (size,) = connection.execute(
        "SELECT coalesce(sum(e.size), 0) FROM message m CROSS JOIN email e"
        " WHERE m.mailbox = ? AND m.uid IN (SELECT value FROM json_each(?)) AND e.seq = m.email",
        (mailbox, number_list(uids)),
    ).fetchone()
    return int(size)


@by_handle(WRITE, changes=True)
async def expunge(state: State, session: Session, request: Expunge, body: BodyReader | None) -> Answer:
    """Removed UIDs. Without `deleted_only` only UIDs that were named go: no UIDs then means none."""
    uids = request.uids or (ALL_UIDS if request.deleted_only else ())
    work = _Expunging(session.account_seq, request, uids)
    return await sweep(state, session, request, work, mailbox=request.mailbox, uids=uids)


class _Expunging:
    """The work of Expunge."""

    def __init__(self, account: int, request: Expunge, uids: Sequence[UidRange]) -> None:
        self._account, self._request, self._rest = account, request, Rest(uids)
        self._gone = array("I")
        self._modseq = 0

    def step(self, connection: sqlite3.Connection, effects: Effects) -> bool:
        mailbox = find_mailbox(connection, self._account, self._request.mailbox)
        rows: list[Row] = []
        if mailbox.deleted or not self._request.deleted_only:
            flags = DELETED if self._request.deleted_only else 0
            rows = self._rest.take(connection, mailbox.seq, flags)
        if not rows:
            return False
        self._modseq = take_modseq(connection, effects, self._account)
        change = MailboxChange(mailbox.seq, self._modseq)
        take_rows(connection, mailbox, rows, self._modseq, change)
        release_emails(connection, effects, self._account, mailbox.seq, rows)
        effects.changes.append(change)
        self._gone.extend(change.expunged)
        return bool(self._rest.ranges)

    def finish(self, connection: sqlite3.Connection, effects: Effects) -> Expunged:
        effects.body = packed(self._gone)
        return Expunged(self._modseq or _modseq_of(connection, self._account), len(self._gone))


def _modseq_of(connection: sqlite3.Connection, account: int) -> int:
    (modseq,) = connection.execute("SELECT modseq FROM account WHERE seq = ?", (account,)).fetchone()
    return int(modseq)


@by_handle(WRITE, changes=True)
async def copy_messages(state: State, session: Session, request: CopyMessages, body: BodyReader | None) -> Answer:
    """Source UIDs and their target UIDs. The rows are copied, never the bytes; a move takes the source rows away."""
    work = _Copying(session.account_seq, request, state.messages_max)
    return await sweep(
        state, session, request, work, mailbox=request.mailbox, uids=request.uids, whole=not request.move
    )


class _Copying:
    """The work of CopyMessages."""

    def __init__(self, account: int, request: CopyMessages, messages_max: int) -> None:
        self._account, self._request, self._messages_max = account, request, messages_max
        self._rest: Rest | None = None
        self._from, self._to = array("I"), array("I")
        self._modseq = 0

    def step(self, connection: sqlite3.Connection, effects: Effects) -> bool:
        source = find_mailbox(connection, self._account, self._request.mailbox)
        target = find_mailbox(connection, self._account, self._request.target)
        if self._rest is None:
            self._rest = Rest(self._request.uids)
            self._rest.cut(source.uid_next - 1)
        rows = self._rest.take(connection, source.seq)
        if not rows:
            return False
        self._modseq = take_modseq(connection, effects, self._account)
        if self._request.move:
            change = move_rows(connection, effects, source, target, rows, self._modseq)
        else:
            change = MailboxChange(target.seq, self._modseq)
            reference_again(connection, self._account, rows, self._messages_max)
            put_rows(connection, target, rows, self._modseq, change)
            effects.changes.append(change)
        self._from.extend([row.uid for row in rows])
        self._to.extend([row.uid for row in change.added])
        if len(self._from) > CHANGE_MAX and not self._request.move:  # one transaction: a list of it all is too much
            effects.changes = [MailboxChange(target.seq, self._modseq, unlisted=len(self._from))]
        return bool(self._rest.ranges)

    def finish(self, connection: sqlite3.Connection, effects: Effects) -> Copied:
        target = find_mailbox(connection, self._account, self._request.target)
        effects.body = packed(self._from) + packed(self._to)
        modseq = self._modseq or _modseq_of(connection, self._account)
        return Copied(target.uid_validity, modseq, len(self._from))


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
    put_rows(connection, target, rows, modseq, change)
    effects.changes.append(change)
    return change


def reference_again(connection: sqlite3.Connection, account: int, rows: Sequence[Row], messages_max: int) -> None:
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


def put_rows(
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

"""A POP3 session: LockMaildrop, UnlockMaildrop, UpdateMaildrop, ReadUidls, ReadMessages."""

import asyncio
import sqlite3
from array import array
from collections.abc import Iterator, Sequence

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_store import (
    MESSAGES_BYTES_MAX,
    RANGES_MAX,
    UIDLS_MAX,
    LockMaildrop,
    MaildropUpdated,
    Part,
    ReadMessages,
    ReadUidls,
    SizedParts,
    UidlRow,
    UidlRows,
    UidRange,
    UnlockMaildrop,
    UpdateMaildrop,
)  # fmt: skip
from bulkhead.boundary.terms import Answer
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.columns import unpacked
from bulkhead.store.grants import READ, WRITE, Session
from bulkhead.store.handle_read import joined, part_of, place_of
from bulkhead.store.rows import find_mailbox, merged, take_modseq
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State, now_ms
from bulkhead.store.sweep import add_up, remove_all

BODY_SECONDS = 30.0  # the runs must have arrived by then


@by_handle(WRITE)
def lock_maildrop(state: State, session: Session, request: LockMaildrop, body: BodyReader | None) -> Done:
    """The session holds the maildrop."""
    state.maildrops.lock(session, now_ms())
    return Done()


@by_handle(READ)
def unlock_maildrop(state: State, session: Session, request: UnlockMaildrop, body: BodyReader | None) -> Done:
    """It does not."""
    state.maildrops.unlock(session)
    return Done()


@by_handle(WRITE, changes=True)
async def update_maildrop(
    state: State, session: Session, request: UpdateMaildrop, body: BodyReader | None
) -> MaildropUpdated:
    """What the client deleted goes, all or none; what went meanwhile is no fault. The maildrop is held until then."""

    def work(connection: sqlite3.Connection, effects: Effects) -> MaildropUpdated:
        state.maildrops.require(session, now_ms())
        account = session.account_seq
        mailbox = find_mailbox(connection, account, request.mailbox)
        modseq = take_modseq(connection, effects, account)
        change = MailboxChange(mailbox.seq, modseq)
        for start in range(0, len(runs), RANGES_MAX):
            part = runs[start : start + RANGES_MAX]
            add_up(change, remove_all(connection, effects, account, mailbox, part, modseq))
        if len(change):
            effects.changes.append(change)
        return MaildropUpdated(len(change))

    async with state.filing.of(session.channel):
        runs = await _read_runs(state, body)
        with state.maildrops.updating(session):
            return await state.commit(request, work)


async def _read_runs(state: State, body: BodyReader | None) -> Sequence[UidRange]:
    """The runs, ascending and apart. Raises Refused (`bad-runs`), TemporaryFailure where they do not come in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await body.read_all() if body is not None else b""
    except TimeoutError:
        raise TemporaryFailure("the runs did not arrive in time", code="timeout") from None
    if len(data) % 8:
        raise Refused("those are no runs of UIDs", code="bad-runs")
    return await asyncio.get_running_loop().run_in_executor(state.executor, _merged_runs, data)


def _merged_runs(data: bytes) -> Sequence[UidRange]:
    """In a thread: half a million runs take a third of a second."""
    numbers: array[int] = unpacked("I", data)
    return merged(list(zip(numbers[::2], numbers[1::2], strict=True)))


@by_handle(READ)
def read_uidls(state: State, session: Session, request: ReadUidls, body: BodyReader | None) -> UidlRows:
    """Imported unique-ids by UID."""
    mailbox = state.mailbox_seq(session, request.mailbox)
    rows = state.database.read(
        "SELECT uid, uidl FROM uidl WHERE mailbox = ? AND uid >= ? ORDER BY uid LIMIT ?",
        (mailbox, request.first_uid, UIDLS_MAX + 1),
    )
    return UidlRows(tuple(UidlRow(*row) for row in rows[:UIDLS_MAX]), more=len(rows) > UIDLS_MAX)


@by_handle(READ)
def read_messages(state: State, session: Session, request: ReadMessages, body: BodyReader | None) -> Answer:
    """Header and body of each, which lie side by side in their record; size 0 where the message is gone."""
    places = []
    for email in request.emails:
        row = place_of(state, session, email)
        if row is None:
            places.append((0, 0, 0))
            continue
        segment, offset, *sizes = row
        start, header = part_of(offset, sizes, Part.HEADER)
        places.append((segment, start, header + sizes[Part.BODY - 1]))
    if sum(size for _, _, size in places) > MESSAGES_BYTES_MAX:
        raise Refused("those messages are too much at once", code="too-large")
    wanted = [place for place in places if place[2]]
    state.segments.reads += len(wanted)
    pieces: Iterator[bytes] = joined(state, wanted)
    return Answer(SizedParts(tuple(size for _, _, size in places)), pieces)

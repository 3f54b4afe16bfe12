"""A session reads: columns, changes, rows, parts, pages."""

import asyncio
import sqlite3
from array import array
from collections.abc import Iterator, Sequence

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.to_store import (
    PLACES_MAX,
    ROWS_MAX,
    Changes,
    Columns,
    MessageRow,
    MessageRows,
    PageRow,
    PagesSent,
    Part,
    PartSent,
    Places,
    ReadChanges,
    ReadColumns,
    ReadPages,
    ReadPart,
    ReadParts,
    ReadPlaces,
    ReadRows,
    Rights,
    SizedParts,
)  # fmt: skip
from bulkhead.boundary.terms import Answer
from bulkhead.errors import Refused
from bulkhead.store.columns import INLINE_MAX, MailboxColumns, packed, places_above
from bulkhead.store.grants import READ, Session
from bulkhead.store.loans import Loan
from bulkhead.store.rows import SELECT_PLACES, SELECT_STORED, range_list
from bulkhead.store.segment import HEADER_BYTES, READ_BYTES, Hold
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State

SLICE = 8192  # changed messages packed at once
ROWS_BYTES_MAX = 192 * 1024  # of one MessageRows
_ROW_BYTES = 80  # of one row without its sealed key, encoded


@by_handle(READ)
async def read_columns(state: State, session: Session, request: ReadColumns, body: BodyReader | None) -> Answer:
    """The mailbox as it is now, after the claim on its recent messages where one is made."""
    mailbox = state.mailbox_seq(session, request.mailbox)
    recent = await _recent(state, session, mailbox, request.claim_recent)
    columns, loan = await _columns(state, session, mailbox)
    if request.watch:
        state.watchers.watch(session.handle, session.channel, session.account_seq)
    messages, loan.parts = columns.packed(request.columns, request.first_uid)
    return Answer(Columns(columns.uid_validity, columns.uid_next, columns.modseq, messages, *recent), loan)


async def _columns(state: State, session: Session, mailbox: int) -> tuple[MailboxColumns, Loan]:
    """The mailbox as it is now, with room for a listing of it. Raises Refused where session or mailbox is gone."""
    columns = await state.columns.load(mailbox)
    loan = await state.loans.take(session.channel, columns.bytes_used)
    columns = await state.columns.load(mailbox)  # of now: it may have changed while others were read
    state.require_session(session.channel, session.handle)
    return columns, loan


@by_handle(READ)
async def read_changes(state: State, session: Session, request: ReadChanges, body: BodyReader | None) -> Answer:
    """UIDs expunged, then UIDs, flags and MODSEQs of what was added or flagged, after `since`."""
    mailbox = state.mailbox_seq(session, request.mailbox)
    recent = await _recent(state, session, mailbox, request.claim_recent)
    columns, loan = await _columns(state, session, mailbox)
    (floor,) = state.database.first("SELECT log_floor FROM mailbox WHERE seq = ?", (mailbox,)) or (columns.modseq,)
    expunged: list[int] = []
    if columns.modseq > request.since >= floor:
        rows = state.database.read(
            "SELECT uid FROM expunged WHERE mailbox = ? AND modseq > ? AND modseq <= ?",
            (mailbox, request.since, columns.modseq),
        )
        expunged = sorted(uid for (uid,) in rows)
    uid_next, modseq = columns.uid_next, columns.modseq
    now = columns.uids[:], columns.flags[:], columns.modseqs[:]
    if len(columns.uids) <= INLINE_MAX or columns.remembers(request.since):
        places = columns.changed_since(request.since)
    else:  # in a thread, of the columns as they are now: others are answered meanwhile
        loop = asyncio.get_running_loop()
        places = await loop.run_in_executor(state.executor, places_above, now[2], request.since)
        state.require_session(session.channel, session.handle)
    reply = Changes(
        uid_next, modseq, len(now[0]), len(expunged), len(places), recent[0], request.since >= floor, recent[1]
    )  # fmt: skip
    return Answer(reply, _changed(expunged, places, now, loan))


def _changed(
    expunged: list[int], places: list[int], columns: "tuple[array[int], array[int], array[int]]", loan: Loan
) -> Loan:
    """The body of Changes, packed in slices while it leaves. columns: UIDs, flags and MODSEQs of one moment."""

    def slices() -> Iterator[bytes]:
        yield packed(array("I", expunged))
        for column in columns:
            for start in range(0, len(places), SLICE):
                yield packed(array(column.typecode, [column[at] for at in places[start : start + SLICE]]))

    loan.parts = slices()
    return loan


async def _recent(state: State, session: Session, mailbox: int, claim: bool) -> tuple[int, int]:
    """The first UID that is \\Recent for this session, and the one after the last; claimed where it may write.

    What comes after the claim is another's, also where the session is told of it in the same answer.
    """
    row = state.database.first("SELECT recent_from, uid_next FROM mailbox WHERE seq = ?", (mailbox,))
    if row is None:
        raise Refused("there is no such mailbox", code="no-such-mailbox")
    if not claim or row[0] == row[1] or not session.rights & Rights.WRITE:
        return row[0], row[1]

    def work(connection: sqlite3.Connection) -> tuple[int, int]:
        found = connection.execute("SELECT recent_from, uid_next FROM mailbox WHERE seq = ?", (mailbox,)).fetchone()
        if found is None:
            raise Refused("there is no such mailbox", code="no-such-mailbox")
        connection.execute("UPDATE mailbox SET recent_from = uid_next, recent = 0 WHERE seq = ?", (mailbox,))
        return found[0], found[1]

    return await state.database.write(work)


@by_handle(READ)
def read_rows(state: State, session: Session, request: ReadRows, body: BodyReader | None) -> MessageRows:
    """Rows in UID order, as many as fit one message."""
    mailbox = state.mailbox_seq(session, request.mailbox)
    limit = max(1, min(request.limit, ROWS_MAX))
    found = state.database.read(SELECT_STORED, (range_list(request.uids), mailbox, limit + 1))
    rows: list[MessageRow] = []
    size = 0
    for uid, octets, date, email, page, index, key, summary, header, sealed_body in found[:limit]:
        size += _ROW_BYTES + len(key)
        if size > ROWS_BYTES_MAX:
            break
        rows.append(MessageRow(uid, email, octets, date, page, index, key, summary, header, sealed_body))
    return MessageRows(tuple(rows), more=len(found) > len(rows))


@by_handle(READ)
def read_places(state: State, session: Session, request: ReadPlaces, body: BodyReader | None) -> Answer:
    """UIDs, pages and indices, packed: a listing needs no more of a row."""
    mailbox = state.mailbox_seq(session, request.mailbox)
    found = state.database.read(SELECT_PLACES, (range_list(request.uids), mailbox, PLACES_MAX))
    uids, pages, indices = zip(*found, strict=True) if found else ((), (), ())
    return Answer(Places(len(found)), packed(array("I", uids)) + packed(array("I", pages)) + bytes(indices))


_PLACE = "SELECT segment, offset, summary_size, header_size, body_size FROM email WHERE account = ? AND email = ?"


def place_of(state: State, session: Session, email: bytes) -> tuple[int, ...] | None:
    """Segment, offset of the record and sealed sizes of the parts; None where the message is gone."""
    found: tuple[int, ...] | None = state.database.first(_PLACE, (session.account_seq, email))
    return found


@by_handle(READ)
def read_part(state: State, session: Session, request: ReadPart, body: BodyReader | None) -> Answer:
    """A range of one part's sealed bytes, cut at its end."""
    row = place_of(state, session, request.email)
    if row is None:
        raise Refused("there is no such message", code="no-such-message")
    segment, offset, *sizes = row
    start, size = part_of(offset, sizes, request.part)
    state.segments.reads += 1
    left = max(0, size - request.offset)
    length = min(request.length or left, left)
    if length <= READ_BYTES:
        return Answer(PartSent(size), state.segments.read(segment, start + request.offset, length) if length else b"")
    return Answer(PartSent(size), state.segments.pieces(segment, start + request.offset, length))


@by_handle(READ)
def read_parts(state: State, session: Session, request: ReadParts, body: BodyReader | None) -> Answer:
    """Summaries or headers of many messages; a body of them would be too much and is refused."""
    if request.part not in (Part.SUMMARY, Part.HEADER):
        raise Refused("only summaries and headers are read together", code="bad-part")
    places: list[tuple[int, int, int]] = []
    for email in request.emails:
        row = place_of(state, session, email)
        places.append((0, 0, 0) if row is None else (row[0], *part_of(row[1], row[2:], request.part)))
    wanted = [place for place in places if place[2]]
    state.segments.reads += len(wanted)
    return Answer(SizedParts(tuple(size for _, _, size in places)), joined(state, wanted))


@by_handle(READ)
def read_pages(state: State, session: Session, request: ReadPages, body: BodyReader | None) -> Answer:
    """Sealed summary pages."""
    rows: list[PageRow] = []
    wanted: list[tuple[int, int, int]] = []
    for page in request.pages:
        row = state.database.first(
            "SELECT version, live, used, size, generation, segment, offset FROM page WHERE account = ? AND page = ?",
            (session.account_seq, page),
        )
        if row is None:
            rows.append(PageRow(page, 0, 0, 0, 0))
            continue
        version, live, used, size, generation, segment, offset = row
        rows.append(PageRow(page, version, live, used, size, generation))
        wanted.append((segment, offset + HEADER_BYTES, size))
    state.segments.reads += len(wanted)
    return Answer(PagesSent(tuple(rows)), joined(state, wanted))


def part_of(offset: int, sizes: Sequence[int], part: int) -> tuple[int, int]:
    """Where a part begins in its segment, and its size. Raises Refused (`bad-part`)."""
    if part not in (Part.SUMMARY, Part.HEADER, Part.BODY):
        raise Refused("there is no such part", code="bad-part")
    return offset + HEADER_BYTES + sum(sizes[: part - 1]), sizes[part - 1]


def joined(state: State, wanted: list[tuple[int, int, int]]) -> Iterator[bytes]:
    """The bytes of these (segment, offset, length), small ones joined, each read as it leaves.

    Compaction may give the records other places meanwhile: these stay readable until the last byte has left.
    """
    return _read_joined(state, wanted, state.segments.hold(segment for segment, _, _ in wanted))


def _read_joined(state: State, wanted: list[tuple[int, int, int]], hold: Hold) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for place in wanted:
        for piece in state.segments.pieces(*place):
            if size + len(piece) > READ_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
            parts.append(piece)
            size += len(piece)
    yield b"".join(parts)
    del hold

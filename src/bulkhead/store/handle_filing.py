"""Filing: PlanFiling and FileMessages. Arrived mail gets a slot and a place in a page; no UID and no MODSEQ changes.

ListSparsePages and RewritePage: a page of which half is dead is written anew without what is dead. Places stay, so a
session that has the older version open still finds every live message where its row says.
"""

import asyncio
import sqlite3
from typing import NamedTuple

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_store import (
    SPARSE_MAX,
    FiledEntry,
    FileMessages,
    FilingPlan,
    FindOldPage,
    ListSparsePages,
    OldPage,
    PageRow,
    PlanFiling,
    RewritePage,
    SparsePage,
    SparsePages,
)  # fmt: skip
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.store.changes import Effects
from bulkhead.store.grants import READ, WRITE, Session
from bulkhead.store.rows import forget_records, generation_of, name_record, release_page
from bulkhead.store.segment import HEADER_BYTES, Place, RecordKind, page_ident
from bulkhead.store.sessions import by_handle
from bulkhead.store.state import State

BODY_SECONDS = 30.0  # a page must have arrived by then
PAGE_SLOTS = 256


@by_handle(READ)
def plan_filing(state: State, session: Session, request: PlanFiling, body: BodyReader | None) -> FilingPlan:
    """The newest page and the next free number."""
    account = state.database.first("SELECT next_page FROM account WHERE seq = ?", (session.account_seq,))
    if account is None:
        raise Refused("there is no such account", code="no-such-account")
    row = state.database.first(
        "SELECT page, version, live, used, size, generation FROM page WHERE account = ? ORDER BY page DESC LIMIT 1",
        (session.account_seq,),
    )
    return FilingPlan(PageRow(0, 0, 0, 0, 0) if row is None else PageRow(*row), account[0])


@by_handle(WRITE)
async def file_messages(state: State, session: Session, request: FileMessages, body: BodyReader | None) -> Done:
    """The page and its messages' slots in one transaction. Messages expunged meanwhile are left out."""
    if request.used > PAGE_SLOTS or not request.page or request.version <= request.replaces:
        raise Refused("that is no page", code="bad-page")
    if any(entry.index >= request.used for entry in request.entries):
        raise Refused("a message lies outside its page", code="bad-page")

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        old = _old_page(connection, session.account_seq, request)
        filed = _file_entries(connection, effects, session.account_seq, request)
        live = filed + (old.live if old else 0)
        if live > request.used:  # so that what names a page is never more than a page holds
            raise Refused("more messages than summaries", code="bad-page")
        if old:
            forget_records(connection, effects, [(old.segment, 1, HEADER_BYTES + old.size)])
        if not live:  # all were expunged meanwhile, and there was no page: nothing to keep
            return Done()
        place = state.segments.put(
            RecordKind.PAGE, session.account, page_ident(request.page, request.version), (len(data), 0, 0), data
        )
        name_record(connection, place)
        held = old.held + request.used - old.used if old else request.used
        _write_page(connection, session.account_seq, request, request.used, live, held, data, place)
        return Done()

    async with state.filing.of(session.channel):
        data = await _page_of(body)
        return await state.commit(request, work, with_segments=True)


async def _page_of(body: BodyReader | None) -> bytes:
    """The sealed page. Raises TemporaryFailure after 30 s, Refused (`bad-page`) where there is none."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await body.read_all() if body is not None else b""
    except TimeoutError:
        raise TemporaryFailure("the page did not arrive in time", code="timeout") from None
    if not data:
        raise Refused("that is no page", code="bad-page")
    return data


@by_handle(READ)
def list_sparse_pages(state: State, session: Session, request: ListSparsePages, body: BodyReader | None) -> SparsePages:
    """Pages of which at least half is dead, the oldest first."""
    rows = state.database.read(
        "SELECT page, version, used FROM page WHERE account = ? AND live * 2 <= held ORDER BY page LIMIT ?",
        (session.account_seq, SPARSE_MAX),
    )
    return SparsePages(
        tuple(
            SparsePage(page, version, used, bytes(sorted(place for (place,) in _places(state, session, page))))
            for page, version, used in rows
        )
    )


@by_handle(READ)
def find_old_page(state: State, session: Session, request: FindOldPage, body: BodyReader | None) -> OldPage:
    """The first page behind a place that is under an older generation, with what is in it."""
    row = state.database.first(
        "SELECT page, version, live, used, size, generation FROM page"
        " WHERE account = ? AND page > ? AND generation < ? ORDER BY page LIMIT 1",
        (session.account_seq, request.after, request.below),
    )
    if row is None:
        return OldPage(PageRow(0, 0, 0, 0, 0), ())
    entries = state.database.read(
        "SELECT email, place, sealed_key FROM email WHERE account = ? AND page = ? AND page != 0",
        (session.account_seq, row[0]),
    )
    return OldPage(PageRow(*row), tuple(FiledEntry(*entry) for entry in entries))


def _places(state: State, session: Session, page: int) -> list[tuple[int]]:
    return state.database.read(_PLACES, (session.account_seq, page))


@by_handle(WRITE)
async def rewrite_page(state: State, session: Session, request: RewritePage, body: BodyReader | None) -> Done:
    """The page without what is dead, where the version is the one that it was made from."""
    if request.version <= request.replaces:
        raise Refused("that is no page", code="bad-page")

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        old = _find_page(connection, session.account_seq, request.page)
        if old is None or old.version != request.replaces:
            raise page_changed()
        if max(request.kept) >= old.used or len(set(request.kept)) != len(request.kept):
            raise Refused("that is no page", code="bad-page")
        places = connection.execute(_PLACES, (session.account_seq, request.page)).fetchall()
        if not {place for (place,) in places} <= set(request.kept):
            raise page_changed()
        forget_records(connection, effects, [(old.segment, 1, HEADER_BYTES + old.size)])
        place = state.segments.put(
            RecordKind.PAGE, session.account, page_ident(request.page, request.version), (len(data), 0, 0), data
        )
        name_record(connection, place)
        _write_page(connection, session.account_seq, request, old.used, old.live, len(request.kept), data, place)
        return Done()

    async with state.filing.of(session.channel):
        data = await _page_of(body)
        return await state.commit(request, work, with_segments=True)


_PLACES = "SELECT place FROM email WHERE account = ? AND page = ? AND page != 0"


class _OldPage(NamedTuple):
    version: int
    live: int
    segment: int
    size: int
    used: int
    held: int


def _find_page(connection: sqlite3.Connection, account: int, page: int) -> _OldPage | None:
    row = connection.execute(
        "SELECT version, live, segment, size, used, held FROM page WHERE account = ? AND page = ?", (account, page)
    ).fetchone()
    return None if row is None else _OldPage(*row)


def _old_page(connection: sqlite3.Connection, account: int, request: FileMessages) -> _OldPage | None:
    """The page that is replaced, or None for a new one. Raises Refused (`page-changed`)."""
    old = _find_page(connection, account, request.page)
    (next_page,) = connection.execute("SELECT next_page FROM account WHERE seq = ?", (account,)).fetchone()
    if old is None and not request.replaces and request.page == next_page:
        connection.execute("UPDATE account SET next_page = next_page + 1 WHERE seq = ?", (account,))
        return None
    if old is None or old.version != request.replaces:
        raise page_changed()
    if request.used < old.used:
        raise Refused("a page does not become shorter", code="bad-page")
    return old


def _file_entries(connection: sqlite3.Connection, effects: Effects, account: int, request: FileMessages) -> int:
    """Give each message its place and slot; how many of them were not in this page before."""
    filed = 0
    for entry in request.entries:
        row = connection.execute(
            "SELECT seq, page FROM email WHERE account = ? AND email = ?", (account, entry.email)
        ).fetchone()
        if row is None:
            continue
        seq, page = row
        if not entry.slot:
            if page != request.page:
                raise page_changed()
            connection.execute("UPDATE email SET place = ? WHERE seq = ?", (entry.index, seq))
            continue
        connection.execute(
            "UPDATE email SET page = ?, place = ?, sealed_key = ? WHERE seq = ?",
            (request.page, entry.index, entry.slot, seq),
        )
        if page != request.page:
            filed += 1
            if page:  # two sessions filed it at once: the later page is where it is
                release_page(connection, effects, account, page, 1)
    return filed


def _write_page(
    connection: sqlite3.Connection,
    account: int,
    request: FileMessages | RewritePage,
    used: int,
    live: int,
    held: int,
    data: bytes,
    place: Place,
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO page (account, page, version, used, live, held, size, segment, offset, generation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account, request.page, request.version, used, live, held, len(data), place.segment, place.offset,
            generation_of(data),
        ),
    )  # fmt: skip


def page_changed() -> Refused:
    """The answer to a page made from an old view."""
    return Refused("the page has changed", code="page-changed")

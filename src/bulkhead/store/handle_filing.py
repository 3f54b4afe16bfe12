"""Filing: PlanFiling and FileMessages. Arrived mail gets a slot and a place in a page; no UID and no MODSEQ changes."""

import asyncio
import sqlite3

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_store import FileMessages, FilingPlan, PageRow, PlanFiling
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.store.changes import Effects
from bulkhead.store.grants import READ, WRITE, Session
from bulkhead.store.rows import forget_records, name_record, release_page
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
        "SELECT page, version, live, used, size FROM page WHERE account = ? ORDER BY page DESC LIMIT 1",
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
        live = filed + (old[0] if old else 0)
        if old:
            forget_records(connection, effects, [(old[1], 1, HEADER_BYTES + old[2])])
        if not live:  # all were expunged meanwhile, and there was no page: nothing to keep
            return Done()
        place = state.segments.put(
            RecordKind.PAGE, session.account, page_ident(request.page, request.version), (len(data), 0, 0), data
        )
        name_record(connection, place)
        _write_page(connection, session.account_seq, request, live, len(data), place)
        return Done()

    async with state.filing:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                data = await body.read_all() if body is not None else b""
        except TimeoutError:
            raise TemporaryFailure("the page did not arrive in time", code="timeout") from None
        if not data:
            raise Refused("that is no page", code="bad-page")
        return await state.commit(request, work, with_segments=True)


def _old_page(connection: sqlite3.Connection, account: int, request: FileMessages) -> tuple[int, int, int] | None:
    """(live, segment, size) of the page that is replaced, or None for a new one. Raises Refused (`page-changed`)."""
    row = connection.execute(
        "SELECT version, live, segment, size, used FROM page WHERE account = ? AND page = ?", (account, request.page)
    ).fetchone()
    (next_page,) = connection.execute("SELECT next_page FROM account WHERE seq = ?", (account,)).fetchone()
    if row is None and not request.replaces and request.page == next_page:
        connection.execute("UPDATE account SET next_page = next_page + 1 WHERE seq = ?", (account,))
        return None
    if row is None or row[0] != request.replaces:
        raise page_changed()
    return row[1], row[2], row[3]


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
    connection: sqlite3.Connection, account: int, request: FileMessages, live: int, size: int, place: Place
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO page (account, page, version, used, live, size, segment, offset)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (account, request.page, request.version, request.used, live, size, place.segment, place.offset),
    )


def page_changed() -> Refused:
    """The answer to a page made from an old view."""
    return Refused("the page has changed", code="page-changed")

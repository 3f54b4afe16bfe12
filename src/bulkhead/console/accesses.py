"""Access records by the API: what each holder recorded, asked of it under the session."""

import asyncio
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.messages.accesses import ACTS_ALL, ROW_BYTES, AccessCounts, AccessPage, Cursor
from bulkhead.boundary.messages.registry import RECEIVERS, name_of
from bulkhead.boundary.processes import GATES
from bulkhead.boundary.staff import RECORDERS
from bulkhead.console import answers as a
from bulkhead.console.staffed import Staffed
from bulkhead.errors import Error, IntegrityError, Refused
from bulkhead.records.access import (
    NOBODY,
    Act,
    act_text,
    actor_octets,
    actor_text,
    outcome_text,
    source_prefix,
    source_text,
    unpack_rows,
)

DAY_MS = 86_400_000
_GATES = {number: name for name, number in GATES.items()}


async def list_accesses(staff: Staffed, _: Mapping[str, str], query: a.AccessesQuery, __: None) -> a.AccessesAnswer:
    """A page of one holder's."""
    cursor = Cursor(*(int(part, 16) for part in query.after.split("-"))) if query.after else Cursor()
    request = RECEIVERS[query.holder].SearchAccesses(**_window(staff, query), cursor=cursor, limit=query.limit)
    page: AccessPage = await staff.ask(query.holder, request)
    items = [
        a.AccessItem(
            one.at, act_text(one.act), outcome_text(one.outcome), _GATES.get(one.gate, ""), one.number,
            "" if one.account == NOBODY else one.account.hex(), source_text(one), actor_text(one),
            name_of(query.holder, one.number) if one.act == Act.STAFF else "",
        )
        for one in unpack_rows(page.rows)
    ]  # fmt: skip
    if len(page.rows) > query.limit * ROW_BYTES:
        raise IntegrityError(f"{query.holder} sent more than was asked for")
    at = page.cursor
    return a.AccessesAnswer(items, f"{at.day:08x}-{at.offset:016x}-{at.index:08x}" if page.more else "", page.damaged)


async def count_accesses(staff: Staffed, _: Mapping[str, str], query: a.AccessQuery, __: None) -> a.AccessCountsAnswer:
    """Each holder's own counts."""
    window = _window(staff, query)

    async def ask(holder: str) -> AccessCounts | None:
        try:
            found: AccessCounts = await staff.ask(holder, RECEIVERS[holder].CountAccesses(**window))
        except Error as error:
            if isinstance(error, Refused):
                raise
            return None
        return found

    counts = dict(zip(RECORDERS, await asyncio.gather(*map(ask, RECORDERS)), strict=True))
    items = [
        a.AccessHolder(
            holder, one.records, one.accounts, one.damaged, one.oldest * DAY_MS,
            [a.AccessTally(act_text(row.act), outcome_text(row.outcome), row.records) for row in one.rows],
        )
        for holder, one in counts.items() if one is not None
    ]  # fmt: skip
    return a.AccessCountsAnswer(items, [holder for holder, one in counts.items() if one is None])


def _window(staff: Staffed, query: a.AccessQuery) -> dict[str, Any]:
    source, act = _source(query.source), query.act
    if query.officer:
        if source or act not in ("", "staff"):
            raise Refused("officer goes with no source, and with the act staff alone", code="bad-search")
        source, act = actor_octets(staff.tenant, query.officer), "staff"
    return {
        "since": query.since, "until": query.until, "account": bytes.fromhex(query.account), "source": source,
        "acts": 1 << Act[act.upper()] if act else ACTS_ALL,
    }  # fmt: skip


def _source(text: str) -> bytes:
    """The first octets of a network. Raises Refused (`bad-search`)."""
    try:
        return source_prefix(text)
    except ValueError as error:
        raise Refused(f"source is {error}", code="bad-search") from None

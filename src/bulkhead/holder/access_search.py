"""Finds access records: by window, account, source, act and gate. Runs in a thread, over files that only grow.

A block is skipped by its clear head when its times are outside; else it is decrypted, and whoever is looked for is
looked for in one column of it with one search of octets. Only what matches is taken apart.
"""

import os
import struct
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.accesses import (
    ACTS_ALL,
    AccessCount,
    AccessCounts,
    AccessPage,
    CountAccessesBase,
    Cursor,
    SearchAccessesBase,
)
from bulkhead.boundary.messages.fields import Request
from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.accesses import DAY_MS, Accesses, Frame, frames
from bulkhead.records.access import HEAD, Block

SEARCH_SECONDS = 0.5  # of one request; the next goes on
ACCOUNT_BYTES = 16
Asked = SearchAccessesBase | CountAccessesBase


@dataclass(slots=True)
class Found:
    """What a search has come to."""

    rows: list[bytes] = field(default_factory=list)
    damaged: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    more: bool = False


def search(accesses: Accesses, asked: SearchAccessesBase) -> Found:
    """Up to `limit` records, for half a second at most. Raises Refused (`bad-search`)."""
    _check(asked)
    found, ends, limit = Found(cursor=asked.cursor), time.monotonic() + SEARCH_SECONDS, asked.limit
    for day, frame, block in _blocks(accesses, asked, found):
        skip = asked.cursor.index if (day, frame.offset) == (asked.cursor.day, asked.cursor.offset) else 0
        for index in matches(block, asked):
            if index < skip:
                continue
            if len(found.rows) >= limit:
                found.cursor, found.more = Cursor(day, frame.offset, index), True
                return found
            found.rows.append(block.row(index))
        if time.monotonic() > ends:
            found.cursor, found.more = Cursor(day, frame.end, 0), True
            return found
    return found


def count(accesses: Accesses, asked: CountAccessesBase) -> AccessCounts:
    """The whole window. Raises Refused (`bad-search`).

    Accounts are told apart by the first half of their random ids: of 14 million, two are alike once in 200,000 counts.
    """
    _check(asked)
    found, counts, people = Found(), Counter[tuple[int, int]](), set[int]()
    for _, _, block in _blocks(accesses, asked, found):
        whole = _inside(block, asked) and not (asked.account or asked.source or asked.gate or asked.acts != ACTS_ALL)
        if whole:
            counts.update(_tally(block))
            people.update(array("Q", block.accounts)[::2])
            continue
        for index in matches(block, asked):
            counts[block.acts[index], block.outcomes[index]] += 1
            people.update(array("Q", block.accounts[16 * index : 16 * index + 8]))
    people.discard(0)
    rows = tuple(AccessCount(act, outcome, many) for (act, outcome), many in sorted(counts.items())[:256])
    oldest = min(accesses.days(), default=0)
    return AccessCounts(rows, sum(counts.values()), len(people), found.damaged, oldest)


def _tally(block: Block) -> dict[tuple[int, int], int]:
    """Records by act and outcome, without a step for each: both are below 16 and fit one octet together."""
    both = int.from_bytes(block.acts) << 4 | int.from_bytes(block.outcomes)
    octets = both.to_bytes(block.count + 1)
    if max(block.acts) > 15 or max(block.outcomes) > 15:
        return Counter(zip(block.acts, block.outcomes, strict=True))
    return {(octet >> 4, octet & 15): octets.count(octet, 1) for octet in set(octets[1:])}


def matches(block: Block, asked: Asked) -> Iterator[int]:
    """Indexes of records that are asked for, ascending."""
    inside = _inside(block, asked)
    times = () if inside else struct.unpack(f">{block.count}Q", block.times)
    for index in _of_someone(block, asked):
        if not inside and not asked.since <= times[index] < asked.until:
            continue
        if not asked.acts >> block.acts[index] & 1 or (asked.gate and block.gates[index] != asked.gate):
            continue
        if asked.source and not block.sources.startswith(asked.source, 16 * index):
            continue
        yield index


def _of_someone(block: Block, asked: Asked) -> Iterator[int]:
    column, wanted = (block.accounts, asked.account) if asked.account else (block.sources, asked.source)
    if not wanted:
        yield from range(block.count)
        return
    at = column.find(wanted)
    while at >= 0:
        if at % 16 == 0:
            yield at // 16
            at = column.find(wanted, at + 16)
        else:
            at = column.find(wanted, at + 1)


def _inside(block: Block, asked: Asked) -> bool:
    first, last = block.span()
    return asked.since <= first and last < asked.until


def _blocks(accesses: Accesses, asked: Asked, found: Found) -> Iterator[tuple[int, Frame, Block]]:
    """Blocks that may hold something, oldest first, from the cursor on."""
    begin = asked.cursor if isinstance(asked, SearchAccessesBase) else Cursor()
    for day in accesses.days():
        if day < begin.day or (day + 2) * DAY_MS <= asked.since or (day - 1) * DAY_MS > asked.until:
            continue  # a day to either side, as a clock may have been set while a block was gathered
        try:
            key = accesses.day_key(day)
            descriptor = os.open(accesses.root / str(day), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except IntegrityError:
            found.damaged += 1
            continue
        try:
            for frame in frames(descriptor):
                if day == begin.day and frame.offset < begin.offset:
                    continue
                first, last, _ = HEAD.unpack(frame.head)
                if last < asked.since or first >= asked.until:
                    continue
                try:
                    place = accesses.place(day, frame.number)
                    yield day, frame, place.open(key, frame.head, os.pread(descriptor, frame.length, frame.at))
                except IntegrityError:
                    found.damaged += 1
        finally:
            os.close(descriptor)


def _check(asked: Asked) -> None:
    if asked.since >= asked.until:
        raise Refused("the window is empty: `since` lies before `until`", code="bad-search")
    if len(asked.account) not in {0, ACCOUNT_BYTES}:
        raise Refused("an account id has 16 octets", code="bad-search")


def handlers(
    search_: type[SearchAccessesBase], count_: type[CountAccessesBase]
) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `accesses`."""
    return {search_: _search, count_: _count}


async def _search(state: Any, _: Channel, request: SearchAccessesBase, __: BodyReader | None) -> AccessPage:
    """Records of a window."""
    accesses = _of(state)
    waiting, found = await accesses.aside(partial(_search_aside, accesses, request))
    return AccessPage(b"".join(found.rows), found.cursor, found.more, found.damaged, waiting)


def _search_aside(accesses: Accesses, request: SearchAccessesBase) -> tuple[int, Found]:
    """What waits is looked at first: what is written from then on may be missed, and is told as waiting."""
    return accesses.waiting_since, search(accesses, request)


async def _count(state: Any, _: Channel, request: CountAccessesBase, __: BodyReader | None) -> AccessCounts:
    """How many there are."""
    accesses = _of(state)
    return await accesses.aside(partial(count, accesses, request))


def _of(state: Any) -> Accesses:
    accesses: Accesses | None = state.accesses
    if accesses is None:
        raise Refused("no access is recorded here: the key file is missing", code="no-key")
    return accesses

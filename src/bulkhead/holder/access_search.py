"""Finds access records: by window, account, source, act and gate. Runs in a thread, over files that only grow.

A block is skipped by its clear head when its times are outside; else it is decrypted, and whoever is looked for is
looked for in one column of it with one search of octets. Only what matches is taken apart. The head is bound: a block
whose head was changed does not open.
"""

import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import compress
from operator import and_
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
from bulkhead.holder.access_counts import Tally
from bulkhead.holder.access_frames import Frame
from bulkhead.holder.accesses import DAY_MS, Accesses
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


class Selector:
    """Which records of a block are asked for, column by column and without a step for each."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._acts = bytes(asked.acts >> act & 1 for act in range(256)) if asked.acts != ACTS_ALL else b""
        self._gates = _only(asked.gate) if asked.gate else b""
        self._account, self._source = _each(asked.account), _each(asked.source)

    def of(self, block: Block, frame: Frame) -> bytes | None:
        """An octet each, 1 or 0; None for all of them."""
        asked, parts = self._asked, list[int]()
        first, last, _ = HEAD.unpack(frame.head)
        if first < asked.since or last >= asked.until:
            times = struct.unpack(f">{block.count}Q", block.times)
            parts.append(int.from_bytes(bytes([asked.since <= at < asked.until for at in times])))
        if self._account:
            parts.append(_alike(block.accounts, asked.account, self._account))
        if self._source:
            parts.append(_alike(block.sources, asked.source, self._source))
        if self._acts:
            parts.append(int.from_bytes(block.acts.translate(self._acts)))
        if self._gates:
            parts.append(int.from_bytes(block.gates.translate(self._gates)))
        return reduce(and_, parts).to_bytes(block.count) if parts else None


def search(accesses: Accesses, asked: SearchAccessesBase) -> Found:
    """Up to `limit` records, for half a second at most. Raises Refused (`bad-search`)."""
    _check(asked)
    found, ends, limit = Found(cursor=asked.cursor), time.monotonic() + SEARCH_SECONDS, asked.limit
    selector = Selector(asked)
    for day, frame, block in _blocks(accesses, asked, found):
        skip = asked.cursor.index if (day, frame.offset) == (asked.cursor.day, asked.cursor.offset) else 0
        wanted = selector.of(block, frame)
        for index in range(block.count) if wanted is None else compress(range(block.count), wanted):
            if index < skip:
                continue
            if len(found.rows) >= limit:
                found.cursor, found.more = Cursor(day, frame.offset, index), True
                accesses.left_off(day, frame)
                return found
            found.rows.append(block.row(index))
        if time.monotonic() > ends:
            found.cursor, found.more = Cursor(day, frame.end, 0), True
            accesses.left_off(day, frame)
            return found
    return found


def count(accesses: Accesses, asked: CountAccessesBase) -> AccessCounts:
    """The whole window. Raises Refused (`bad-search`)."""
    _check(asked)
    found, tally, selector = Found(), Tally(), Selector(asked)
    for _, frame, block in _blocks(accesses, asked, found):
        tally.add(block, selector.of(block, frame))
    pairs = tally.pairs()
    rows = tuple(AccessCount(*row) for row in pairs[:256])
    oldest = min(accesses.days(), default=0)
    return AccessCounts(rows, sum(many for _, _, many in pairs), tally.accounts(), found.damaged, oldest)


def _only(octet: int) -> bytes:
    return bytes(number == octet for number in range(256))


def _each(prefix: bytes) -> tuple[bytes, ...]:
    return tuple(map(_only, prefix))


def _alike(column: bytes, prefix: bytes, tables: tuple[bytes, ...]) -> int:
    """An octet, 1 or 0, for each 16 octets of a column: whether they begin so. One search first: most have none."""
    if prefix not in column:
        return 0
    return reduce(and_, (int.from_bytes(column[at::16].translate(table)) for at, table in enumerate(tables)))


def _blocks(accesses: Accesses, asked: Asked, found: Found) -> Iterator[tuple[int, Frame, Block]]:
    """Blocks that may hold something, oldest first, from the cursor on."""
    begin = asked.cursor if isinstance(asked, SearchAccessesBase) else Cursor()
    for day in accesses.days():
        if day < begin.day or (day + 2) * DAY_MS <= asked.since or (day - 1) * DAY_MS > asked.until:
            continue  # a day to either side, as a clock may have been set while a block was gathered
        try:
            opener = accesses.opener(day)
            descriptor = os.open(accesses.root / str(day), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except IntegrityError:
            found.damaged += 1
            continue
        try:
            for frame in accesses.frames(descriptor, day, begin.offset if day == begin.day else 0):
                first, last, _ = HEAD.unpack(frame.head)
                if last < asked.since or first >= asked.until:
                    continue
                try:
                    yield day, frame, opener.open(frame.number, frame.head, frame.record(descriptor))
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

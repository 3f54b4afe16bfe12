"""QRESYNC: what a client that was away is told of what vanished and changed (RFC 7162 sections 3.2.5 and 3.2.6).

Expunged UIDs come from the store's log; where that does not reach back, every UID that the client may know and that is
not here has vanished. A message that this session still counts is never told as vanished EARLIER.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

from bulkhead.access.account import Account
from bulkhead.access.columns import unpack
from bulkhead.access.output import Output
from bulkhead.access.selected import SLICE, Selected
from bulkhead.boundary.messages.to_store import ReadChanges
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.commands import Resync
from bulkhead.wire.imap.sequence import ALL, STAR, SequenceSet, run_end, runs

Spans = list[tuple[int, int]]  # first and last UID, ascending, apart


async def resync(account: Account, selected: Selected, known: Resync, output: Output) -> None:
    """Answer the QRESYNC parameter of SELECT; nothing where the UIDs that the client knows are of another mailbox."""
    if known.uid_validity != selected.uid_validity:
        return
    wanted = known.known or ALL
    certain = last_match(known.numbers, known.uids, selected.uids) if known.numbers and known.uids else 0
    changed = await tell_vanished(account, selected, wanted, known.modseq, output, above=certain)
    spans = _spans(wanted, 1, selected.uid_next - 1)
    for start in range(0, len(changed), SLICE):
        for uid in changed[start : start + SLICE]:
            at = selected.index(uid)
            if at is not None and _holds(spans, uid):
                output.send(responses.fetch_line(at + 1, selected.news(at, flags=True)))
        await output.breathe()


async def tell_vanished(
    account: Account, selected: Selected, wanted: SequenceSet, since: int, output: Output, *, above: int = 0
) -> "array[int]":
    """Send VANISHED (EARLIER) for the UIDs of `wanted` over `above` expunged since; the UIDs that changed since."""
    reply, body = await account.read(ReadChanges(account.handle, selected.mailbox, since))
    output.resumed()
    spans = _spans(wanted, above + 1, selected.uid_next - 1)
    if reply.complete:
        expunged = unpack("I", body, 0, reply.expunged)
        gone: list[int] = []
        for start in range(0, len(expunged), SLICE):
            part = expunged[start : start + SLICE]
            gone += [uid for uid in part if _holds(spans, uid) and selected.index(uid) is None]
            await output.breathe()
        await _send(runs(gone), output)
    else:
        await _send((gap for first, last in spans for gap in _gaps(selected.uids, first, last)), output)
    return unpack("I", body, 4 * reply.expunged, reply.changed)


async def _send(gone: Iterator[tuple[int, int]], output: Output) -> None:
    """In lines of at most 1,000 ranges."""
    while ranges := tuple(islice(gone, SLICE)):
        output.send(responses.vanished(ranges, earlier=True))
        await output.breathe()


def last_match(numbers: SequenceSet, uids: SequenceSet, present: "array[int]") -> int:
    """The highest UID of the client's pairs that still has its message number, 0 for none.

    Numbers only fall, by what is expunged below them: nothing up to that UID has vanished. O(ranges + log n).
    """
    pieces = list(_pairs(numbers, uids))

    def matches(number: int, uid: int) -> bool:
        return number <= len(present) and present[number - 1] == uid

    at = bisect_left(pieces, 1, key=lambda piece: 0 if matches(piece[0], piece[1]) else 1) - 1
    if at < 0:
        return 0
    number, uid, size = pieces[at]
    good = bisect_left(range(size), 1, key=lambda step: 0 if matches(number + step, uid + step) else 1)
    return uid + good - 1


def _pairs(numbers: SequenceSet, uids: SequenceSet) -> Iterator[tuple[int, int, int]]:
    """Pieces of both sets in which both go up by one: first number, first UID, length."""
    others = iter(uids.ranges)
    uid, last_uid = next(others)
    for first, last in numbers.ranges:
        number = first
        while number <= last:
            if uid > last_uid:
                uid, last_uid = next(others)
            size = min(last - number, last_uid - uid) + 1
            yield number, uid, size
            number, uid = number + size, uid + size


def _spans(wanted: SequenceSet, low: int, high: int) -> Spans:
    """The UIDs of a set between two, in order and merged; `*` is the highest that there has been."""
    spans: Spans = []
    cut = ((max(low, min(first, high) if last == STAR else first), min(last, high)) for first, last in wanted.ranges)
    for first, last in sorted(cut):
        if spans and first <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        elif first <= last:
            spans.append((first, last))
    return spans


def _holds(spans: Spans, uid: int) -> bool:
    at = bisect_right(spans, uid, key=lambda span: span[0])
    return at > 0 and uid <= spans[at - 1][1]


def _gaps(uids: "array[int]", first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ranges from first to last that hold none of `uids`."""
    at = bisect_left(uids, first)
    while first <= last:
        if at == len(uids) or uids[at] > last:
            yield first, last
            return
        if uids[at] > first:
            yield first, uids[at] - 1
        at = run_end(uids, at)
        first = uids[at - 1] + 1

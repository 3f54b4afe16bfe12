"""Counts access records by act and outcome, and how many different accounts they are about.

Ten million records of a million accounts took 2.7 s where one set held them all: each look-up waits for memory twice.
Here ids are dealt out to 256 arrays first, by one octet of theirs, and each is made a set alone, which the
processor's cache holds: 0.9 s, and 8 octets a record for the time being where a set takes 100 an account.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from itertools import compress

from bulkhead.records.access import Block

BATCH_RECORDS = 4096  # small blocks are counted together
IDS_MAX = 4 << 20  # that are kept before those that came twice are dropped: 32 MiB
_ONES = b"\1" * 4096
_LOW = bytes(range(16))
_HIGH = bytes(number << 4 & 255 for number in range(256))


class Tally:
    """What was counted. Accounts are told apart by the first half of their random ids: of 14 million, two are alike
    once in 200,000 counts."""

    def __init__(self) -> None:
        self._pairs = Counter[tuple[int, int]]()
        self._ids = [array("Q") for _ in range(256)]
        self._kept, self._keep = 0, IDS_MAX
        self._batch: list[tuple[Block, bytes | None]] = []
        self._batched = 0

    def add(self, block: Block, wanted: bytes | None) -> None:
        """Count a block's records. wanted: an octet each, 1 or 0; None: all."""
        if wanted is not None and 1 not in wanted:
            return
        self._batch.append((block, wanted))
        self._batched += block.count
        if self._batched >= BATCH_RECORDS:
            self._count_batch()

    def pairs(self) -> list[tuple[int, int, int]]:
        """Act, outcome, records; in their order."""
        self._count_batch()
        return [(act, outcome, many) for (act, outcome), many in sorted(self._pairs.items())]

    def accounts(self) -> int:
        """Different accounts, nobody not among them."""
        self._count_batch()
        return sum(len(set(ids)) for ids in self._ids) - (0 in self._ids[0])

    def _count_batch(self) -> None:
        batch, self._batch, self._batched = self._batch, [], 0
        acts = b"".join(block.acts for block, _ in batch)
        outcomes = b"".join(block.outcomes for block, _ in batch)
        ids = array("Q", b"".join(block.accounts for block, _ in batch))[::2]
        chosen = b"".join(_ONES[: block.count] if wanted is None else wanted for block, wanted in batch)
        if 0 in chosen:
            acts, outcomes = bytes(compress(acts, chosen)), bytes(compress(outcomes, chosen))
            ids = array("Q", compress(ids, chosen))
        self._pairs.update(_pairs(acts, outcomes))
        dealt = map(self._ids.__getitem__, ids.tobytes()[4::8])  # low octets would crowd a set's slots
        deque(map(array.append, dealt, ids), maxlen=0)
        self._kept += len(ids)
        if self._kept > self._keep:
            self._ids = [array("Q", set(some)) for some in self._ids]
            self._kept = sum(map(len, self._ids))
            self._keep = max(IDS_MAX, 2 * self._kept)


def _pairs(acts: bytes, outcomes: bytes) -> dict[tuple[int, int], int]:
    """Records by act and outcome, without a step for each: both are below 16 and fit one octet together."""
    if acts.translate(None, _LOW) or outcomes.translate(None, _LOW):
        return Counter(zip(acts, outcomes, strict=True))
    both = int.from_bytes(acts.translate(_HIGH)) | int.from_bytes(outcomes)
    return {(octet >> 4, octet & 15): many for octet, many in _octets(both.to_bytes(len(acts)))}


def _octets(column: bytes) -> Iterator[tuple[int, int]]:
    while column:
        rest = column.translate(None, column[:1])
        yield column[0], len(column) - len(rest)
        column = rest

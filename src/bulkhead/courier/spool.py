"""A queued message's text, opened into memory for one attempt, within a budget that all attempts share."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_keyring import OpenQueued
from bulkhead.boundary.messages.to_queue import ReadQueued, Work
from bulkhead.errors import IntegrityError
from bulkhead.records.queued import QueuedEnvelope, open_queue_header, queue_body_opener

BUDGET_OCTETS = 256 << 20


class Budget:
    """Octets of text that may be in memory at once. First come, first served."""

    def __init__(self, octets: int = BUDGET_OCTETS) -> None:
        self._all = self._left = octets
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, octets: int) -> int:
        """Wait for that much, or for all there is where it is more; give back what this returns."""
        octets = min(octets, self._all)
        if self._waiting or octets > self._left:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((octets, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give(octets)
                raise
        else:
            self._left -= octets
        return octets

    def give(self, octets: int) -> None:
        """The text is gone."""
        self._left += octets
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._left):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._left -= wanted
                turn.set_result(None)


@dataclass(frozen=True, slots=True)
class Text:
    """A message: its header with the empty line, and its body in pieces."""

    header: bytes
    body: tuple[bytes, ...]
    eight_bit: bool
    envelope: QueuedEnvelope

    def pieces(self) -> Iterator[bytes]:
        """The whole message in order."""
        yield self.header
        yield from self.body


async def load(exchange: Exchange, work: Work) -> Text:
    """Open the message. Raises IntegrityError, also where queue names other recipients than it was submitted for;
    Refused, TemporaryFailure.
    """
    opened = await exchange.to("keyring").call(OpenQueued(work.queue_id, work.box))
    reply, reader = await exchange.to("queue").open(ReadQueued(work.queue_id))
    try:
        if reply.size != work.header_size + work.body_size:
            raise IntegrityError("the queued text has another size than its envelope says")
        opener = queue_body_opener(opened.key, work.queue_id)
        sealed_header = bytearray()
        body: list[bytes] = []
        async for chunk in reader:
            missing = work.header_size - len(sealed_header)
            sealed_header += chunk[:missing]
            body += opener.update(chunk[missing:]) if missing < len(chunk) else ()
        envelope, header = QueuedEnvelope.split(open_queue_header(opened.key, work.queue_id, sealed_header))
        envelope.require(work.reverse_path, ((recipient.number, recipient.address) for recipient in work.recipients))
        body.append(opener.finish())
    finally:
        reader.close()
    if len(header) + sum(map(len, body)) != work.size:
        raise IntegrityError("the queued text has another size than its envelope says")
    return Text(header, tuple(body), not (header.isascii() and all(map(bytes.isascii, body))), envelope)

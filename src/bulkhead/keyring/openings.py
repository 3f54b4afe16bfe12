"""Message keys for live sessions, counted, in slices so that the loop is never held long.

A slice of 64 HPKE openings takes about 3 ms. Between slices others run, and the session may have been ended: the rest
is then refused.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bulkhead.boundary.messages.to_keyring import ArrivedKey, OpenedKey, SlottedKey
from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.rules import WorkerRate
from bulkhead.identifiers import EmailId, TenantId
from bulkhead.keyring.sessions import Session, Sessions
from bulkhead.records.message import open_key_box
from bulkhead.records.page import PAGE_ENTRIES_MAX
from bulkhead.records.record import Kind, read_header
from bulkhead.records.seed import MailboxSeed, OpenSeed
from bulkhead.records.slot import SLOT_BYTES, open_slot, seal_slot

SLICE = 64
Item = TypeVar("Item")
Key = TypeVar("Key")
Previous = Callable[[MailboxSeed], MailboxSeed | None]


@dataclass(slots=True)
class Opened:
    """How much was opened since the start. failed: boxes and slots that did not open.

    old_boxes: of arrived mail that was sealed to an older binding; old_pages: page keys of an older generation.
    """

    messages: int = 0
    pages: int = 0
    queued: int = 0
    failed: int = 0
    old_boxes: int = 0
    old_pages: int = 0


class Openings:
    """Opens keys with the seeds of live sessions."""

    def __init__(self, tenant: TenantId, sessions: Sessions, previous: Previous, rate: WorkerRate) -> None:
        """previous: the seed of the generation before, which the newer one opens. rate: what is usual for a process."""
        self._tenant, self._sessions, self._previous, self.rate = tenant, sessions, previous, rate
        self.opened = Opened()

    async def arrived(self, session: Session, items: Sequence[ArrivedKey]) -> tuple[OpenedKey | None, ...]:
        """Keys of boxes, each with its slot; None where a box does not open."""
        newest, account = _newest(session), session.account

        def open_one(item: ArrivedKey) -> OpenedKey:
            kind = Kind.SLOT if len(item.box) == SLOT_BYTES else Kind.KEY_BOX  # a slot: it came from a backup
            key = self._open(session, kind, item.email, item.box)
            self.opened.old_boxes += read_header(item.box, kind).key_version != newest.seed.generation
            return OpenedKey(key, seal_slot(newest.slot_key, newest.seed.generation, account, item.email, key))

        return await self._each(session, items, open_one)

    async def slots(self, session: Session, items: Sequence[SlottedKey]) -> tuple[bytes | None, ...]:
        """Keys in slots; None where a slot does not open."""
        _newest(session)
        return await self._each(session, items, lambda item: self._open(session, Kind.SLOT, item.email, item.slot))

    async def resealed(self, session: Session, items: Sequence[SlottedKey]) -> tuple[bytes | None, ...]:
        """Slots under the newest seed in the place of older ones; None where one does not open."""
        newest, account = _newest(session), session.account

        def reseal(item: SlottedKey) -> bytes:
            key = self._open(session, Kind.SLOT, item.email, item.slot)
            return seal_slot(newest.slot_key, newest.seed.generation, account, item.email, key)

        return await self._each(session, items, reseal)

    def name_key(self, session: Session, generation: int) -> bytes:
        """The metadata key of a generation. Raises Refused (`no-session`, `no-such-generation`)."""
        _newest(session)
        return self._asked(session, generation).seed.metadata_key()

    async def pages(self, session: Session, pages: Sequence[int], generation: int) -> tuple[bytes, ...]:
        """Page keys of a generation (0: the newest); each counts as a page full of messages.

        Raises Refused (`no-session`, `no-such-generation`).
        """
        newest = _newest(session)
        by = self._asked(session, generation or newest.seed.generation)
        seed, keys = by.seed, list[bytes]()
        for start in range(0, len(pages), SLICE):
            part = pages[start : start + SLICE]
            keys += [seed.page_key(page) for page in part]
            self.opened.pages += len(part)
            self.opened.old_pages += len(part) * (by is not newest)
            await self._pause(session, len(part) * PAGE_ENTRIES_MAX)
        return tuple(keys)

    def _open(self, session: Session, kind: Kind, email: EmailId, record: bytes) -> bytes:
        by = self._at(session, read_header(record, kind).key_version)
        if kind is Kind.SLOT:
            return open_slot(by.slot_key, session.account, email, record)
        return open_key_box(record, by.private_key, self._tenant, session.account, email)

    def _asked(self, session: Session, generation: int) -> OpenSeed:
        try:
            return self._at(session, generation)
        except IntegrityError as error:
            raise Refused(error.public, code="no-such-generation") from None

    def _at(self, session: Session, generation: int) -> OpenSeed:
        """The keys of a generation. Raises IntegrityError for one that never was, or was dropped."""
        opened = session.opened
        while 0 < generation < opened[-1].seed.generation:
            previous = self._previous(opened[-1].seed)
            if previous is None:
                break
            opened.append(OpenSeed.of(previous))
        for by in opened:
            if by.seed.generation == generation:
                return by
        raise IntegrityError("it is under another generation")

    async def _each(
        self, session: Session, items: Sequence[Item], open_one: Callable[[Item], Key]
    ) -> tuple[Key | None, ...]:
        keys: list[Key | None] = []
        for start in range(0, len(items), SLICE):
            part = [self._try(open_one, item) for item in items[start : start + SLICE]]
            self.opened.messages += len(part) - part.count(None)
            keys += part
            await self._pause(session, len(part) - part.count(None))
        return tuple(keys)

    def _try(self, open_one: Callable[[Item], Key], item: Item) -> Key | None:
        try:
            return open_one(item)
        except IntegrityError:
            self.opened.failed += 1
            return None

    async def _pause(self, session: Session, opened: int) -> None:
        session.keys += opened
        self.rate.add(session.channel, session.account, opened)
        await asyncio.sleep(0)
        if not self._sessions.is_live(session):
            raise Refused("the session has ended", code="no-session")


def _newest(session: Session) -> OpenSeed:
    if not session.opened:
        raise Refused("this session opens no message", code="no-session")
    return session.opened[0]

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
from bulkhead.identifiers import TenantId
from bulkhead.keyring.sessions import Session, Sessions
from bulkhead.records.message import open_key_box
from bulkhead.records.record import Kind, read_header
from bulkhead.records.seed import MailboxSeed
from bulkhead.records.slot import open_slot, seal_slot

SLICE = 64
Item = TypeVar("Item")
Key = TypeVar("Key")


@dataclass(slots=True)
class Opened:
    """How much was opened since the start. failed: boxes and slots that did not open."""

    messages: int = 0
    pages: int = 0
    queued: int = 0
    failed: int = 0


class Openings:
    """Opens keys with the seeds of live sessions."""

    def __init__(self, tenant: TenantId, sessions: Sessions) -> None:
        self._tenant, self._sessions = tenant, sessions
        self.opened = Opened()

    async def arrived(self, session: Session, items: Sequence[ArrivedKey]) -> tuple[OpenedKey | None, ...]:
        """Keys of boxes, each with its slot; None where a box does not open."""
        seed, account = _seed(session), session.account

        def open_one(item: ArrivedKey) -> OpenedKey:
            if session.private_key is None or read_header(item.box, Kind.KEY_BOX).key_version != seed.generation:
                raise IntegrityError("the box is for another generation")
            key = open_key_box(item.box, session.private_key, self._tenant, account, item.email)
            return OpenedKey(key, seal_slot(session.slot_key, seed.generation, account, item.email, key))

        return await self._each(session, items, open_one)

    async def slots(self, session: Session, items: Sequence[SlottedKey]) -> tuple[bytes | None, ...]:
        """Keys in slots; None where a slot does not open."""
        _seed(session)
        return await self._each(
            session, items, lambda item: open_slot(session.slot_key, session.account, item.email, item.slot)
        )

    async def pages(self, session: Session, pages: Sequence[int]) -> tuple[bytes, ...]:
        """Page keys; each counts as a page full of messages."""
        seed = _seed(session)
        keys: list[bytes] = []
        for start in range(0, len(pages), SLICE):
            part = pages[start : start + SLICE]
            keys += [seed.page_key(page) for page in part]
            self.opened.pages += len(part)
            await self._pause(session)
        return tuple(keys)

    async def _each(
        self, session: Session, items: Sequence[Item], open_one: Callable[[Item], Key]
    ) -> tuple[Key | None, ...]:
        keys: list[Key | None] = []
        for start in range(0, len(items), SLICE):
            part = [self._try(open_one, item) for item in items[start : start + SLICE]]
            self.opened.messages += len(part) - part.count(None)
            keys += part
            await self._pause(session)
        return tuple(keys)

    def _try(self, open_one: Callable[[Item], Key], item: Item) -> Key | None:
        try:
            return open_one(item)
        except IntegrityError:
            self.opened.failed += 1
            return None

    async def _pause(self, session: Session) -> None:
        await asyncio.sleep(0)
        if not self._sessions.is_live(session):
            raise Refused("the session has ended", code="no-session")


def _seed(session: Session) -> MailboxSeed:
    if session.seed is None:
        raise Refused("this session opens no message", code="no-session")
    return session.seed

"""One login: its handle, its keys, and its calls to store and keyring, retried under one id where an edge ended."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from bulkhead.boundary.body import BodyReader, BodySource
from bulkhead.boundary.exchange import CALL_SECONDS, Exchange
from bulkhead.boundary.messages.fields import Reply, Request, Stamp
from bulkhead.boundary.messages.to_keyring import (
    BATCH_MAX,
    ArrivedKey,
    EndSession,
    OpenArrived,
    OpenedKey,
    OpenNames,
    OpenPages,
    OpenSlots,
    ResealSlots,
    Session,
    SlottedKey,
)  # fmt: skip
from bulkhead.boundary.messages.to_store import FiledEntry, MessageRow
from bulkhead.errors import Error, IntegrityError, TemporaryFailure
from bulkhead.identifiers import AccountId
from bulkhead.records.mailbox import VerifiedBinding

R = TypeVar("R", bound=Reply)
KEYS_KEPT = 256  # message keys of one session
AGAIN_SECONDS = 5.0  # for so long a request that met a restart is sent again, under its own id
RESTARTING = ("edge-ended", "aborted")


class Account:
    """What one login may use. Lives as long as its connection."""

    def __init__(self, exchange: Exchange, account: AccountId, session: Session, binding: VerifiedBinding) -> None:
        self.id = account
        self.handle = session.handle
        self.metadata_key = session.metadata_key
        self.binding = binding
        self.names_resealed = False  # what an older mailbox key had sealed
        self._exchange = exchange
        self._store, self._keyring = exchange.to("store"), exchange.to("keyring")
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()

    @property
    def generation(self) -> int:
        """Of the mailbox key: what names, keywords and pages are sealed under."""
        return self.binding.generation

    @staticmethod
    def stamp(seconds: float = CALL_SECONDS) -> Stamp:
        """For a new mutation; it keeps its id when it is sent again."""
        return Stamp.fresh("access", seconds)

    async def ask(
        self,
        request: Request[R],
        body: BodySource | Callable[[], BodySource] | None = None,
        *,
        seconds: float = CALL_SECONDS,
    ) -> R:
        """The store's reply. Raises as Caller.call."""
        return await self._store.call(request, body, timeout=seconds)

    async def open(self, request: Request[R]) -> tuple[R, BodyReader]:
        """The store's reply and its body as it comes; sent again where the store restarts before it answers."""
        ends = time.monotonic() + AGAIN_SECONDS
        while True:
            try:
                return await self._store.open(request)
            except TemporaryFailure as failure:
                _raise_unless_restarting(failure, ends)

    async def read(self, request: Request[R]) -> tuple[R, bytes]:
        """The store's reply and its whole body; sent again where the store restarts meanwhile."""
        ends = time.monotonic() + AGAIN_SECONDS
        while True:
            try:
                reply, reader = await self._store.open(request)
                return reply, await reader.read_all()
            except TemporaryFailure as failure:
                _raise_unless_restarting(failure, ends)

    # --- keys -----------------------------------------------------------------------------------------------------

    async def open_arrived(self, rows: Sequence[MessageRow]) -> list[OpenedKey | None]:
        """Keys and slots of arrived messages (at most 256), None where a box does not open."""
        items = tuple(ArrivedKey(row.email, row.sealed_key) for row in rows)
        keys = (await self._keyring.call(OpenArrived(self.handle, items))).keys
        for row, key in zip(rows, keys, strict=True):
            if key is not None:
                self._keep(row.email, key.key)
        return list(keys)

    async def message_keys(self, rows: Sequence[MessageRow]) -> list[bytes | None]:
        """Keys of messages, arrived or filed, in their order, None where one does not open."""
        found: dict[bytes, bytes] = {}
        for row in rows:
            known = self._keys.get(row.email)
            if known is not None:
                found[row.email] = known
        arrived = [row for row in rows if row.email not in found and row.page == 0]
        filed = [row for row in rows if row.email not in found and row.page != 0]
        for start in range(0, len(arrived), BATCH_MAX):
            batch = arrived[start : start + BATCH_MAX]
            for row, opened in zip(batch, await self.open_arrived(batch), strict=True):
                if opened is not None:
                    found[row.email] = opened.key
        for start in range(0, len(filed), BATCH_MAX):
            batch = filed[start : start + BATCH_MAX]
            items = tuple(SlottedKey(row.email, row.sealed_key) for row in batch)
            for row, key in zip(batch, (await self._keyring.call(OpenSlots(self.handle, items))).keys, strict=True):
                if key is not None:
                    found[row.email] = key
                    self._keep(row.email, key)
        return [found.get(row.email) for row in rows]

    async def resealed_slots(self, entries: Sequence[FiledEntry]) -> list[bytes | None]:
        """Slots under the newest mailbox key for older ones (at most 256), None where one does not open."""
        items = tuple(SlottedKey(entry.email, entry.slot) for entry in entries)
        return list((await self._keyring.call(ResealSlots(self.handle, items))).slots)

    async def metadata_key_of(self, generation: int) -> bytes:
        """What names are under that an older generation sealed. Raises Refused (`no-such-generation`)."""
        if generation == self.generation:
            return self.metadata_key
        return (await self._keyring.call(OpenNames(self.handle, generation))).key

    async def page_keys(self, pages: Sequence[int], generation: int) -> list[bytes]:
        """Keys of summary pages under a generation, in their order. Raises Refused (`no-such-generation`)."""
        keys = (await self._keyring.call(OpenPages(self.handle, tuple(pages), generation))).keys
        if len(keys) != len(pages):
            raise IntegrityError("page keys are missing")
        return list(keys)

    def _keep(self, email: bytes, key: bytes) -> None:
        self._keys[email] = key
        self._keys.move_to_end(email)
        if len(self._keys) > KEYS_KEPT:
            self._keys.popitem(last=False)

    async def leave(self) -> None:
        """Tell keyring that the subscriber left, and forget the keys. Raises nothing."""
        self._keys.clear()
        try:
            await self._keyring.call(EndSession(self.handle), timeout=2.0)
        except Error:
            pass  # it knows by the channel, or by the session's end


def _raise_unless_restarting(failure: TemporaryFailure, ends: float) -> None:
    if failure.code not in RESTARTING or time.monotonic() > ends:
        raise failure

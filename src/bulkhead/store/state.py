"""What the store's handlers share: database, segments, grants, columns, watchers, and the one way to commit."""

import asyncio
import logging
import sqlite3
import time
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Mutation, Reply
from bulkhead.boundary.terms import Answer, Channel
from bulkhead.errors import Refused
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.backup import Backups
from bulkhead.holder.database import RECEIPT_SECONDS, Database, receipt_key
from bulkhead.holder.latency import Latency
from bulkhead.holder.lease import Lease
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.roster import NOBODY, Pinned
from bulkhead.holder.surfaces import Surfaces
from bulkhead.store.changes import Effects, Watchers
from bulkhead.store.columns import ColumnCache
from bulkhead.store.compaction import Compactor, Policy
from bulkhead.store.disk import Disk
from bulkhead.store.grants import ABSENT_SECONDS, Grants, Session, no_session
from bulkhead.store.loans import Loans
from bulkhead.store.maildrops import Maildrops
from bulkhead.store.retention import Keeper, Retention
from bulkhead.store.rows import MESSAGES_MAX
from bulkhead.store.segment import Segments
from bulkhead.store.turns import Turns

PACKED_MIN = 1 << 16  # octets of a kept body from which on it is packed

R = TypeVar("R", bound=Reply)
_log = logging.getLogger("bulkhead.store")


def now_ms() -> int:
    """Milliseconds since 1970-01-01T00:00Z."""
    return int(time.time() * 1000)


def _kept_body(body: bytes) -> tuple[bytes, int]:
    """A body as it is kept for retries, and whether it is packed: numbers by the place of their octets, then deflated.

    Else each answer about a million messages would be 12 MB for 10 minutes.
    """
    if len(body) < PACKED_MIN or len(body) % 4:
        return body, 0
    return zlib.compress(b"".join(body[place::4] for place in range(4)), 1), 1


def _restored_body(kept: bytes, packed: int) -> bytes:
    if not packed:
        return kept
    data = zlib.decompress(kept)
    body, quarter = bytearray(len(data)), len(data) // 4
    for place in range(4):
        body[place::4] = data[place * quarter : (place + 1) * quarter]
    return bytes(body)


class State:
    """One store. Handlers run on the loop's thread; what they give to `commit` runs on the database's writer thread."""

    def __init__(
        self,
        exchange: Exchange,
        database: Database,
        segments: Segments,
        disk: Disk,
        path: Path,
        policy: Policy,
        messages_max: int = MESSAGES_MAX,
        retention: Retention | None = None,
        pinned: Pinned = NOBODY,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._exchange, self._loop = exchange, loop
        self.database, self.segments, self.disk, self.path = database, segments, disk, path
        self.executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="reader")
        self.grants = Grants()
        self.columns = ColumnCache(database, path, self.executor, self.settle)
        self.watchers = Watchers(exchange.tell, loop)
        self.loans = Loans()
        self.maildrops = Maildrops(self.grants)
        self.messages_max = messages_max  # message rows of one account
        self.compactor = Compactor(self, policy)
        self.keeper = Keeper(self, retention or Retention())
        self.sweeping = Turns(2)  # changes to very many messages that go on side by side
        self.filing = Turns(4)  # pages and runs on their way in, each whole in memory
        self.buffered = 0  # bytes of small deliveries in memory
        self.backups: Backups | None = None
        self.lease: Lease | None = None  # of the standby, where the tenant has one
        self.accesses: Accesses | None = None
        self.outbox = Outbox(database, exchange)
        self.surfaces = Surfaces(database, self.outbox, exchange)
        self.orders = Orders(pinned, database, self.outbox, exchange)
        self.delivering, self.fetching = Latency(), Latency()
        self.checking = 0  # running checks, during which no segment is removed
        self._committed: deque[Effects] = deque()
        self._emptied = False
        self._unnamed: list[int] = []  # segments whose row is gone and whose file is not yet
        self._reaping: asyncio.Task[None] | None = None

    # --- sessions ----------------------------------------------------------------------------------------------------

    def session(self, peer: Channel, handle: bytes, right: int) -> Session:
        """The session that this handle is on this channel. Raises Refused (`no-session`, `no-right`)."""
        session = self.grants.check(peer, handle, right, now_ms())
        if not session.account_seq:
            row = self.database.first("SELECT seq FROM account WHERE account = ?", (session.account,))
            if row is None:
                raise Refused("there is no such account", code="no-such-account")
            session.account_seq = row[0]
        return session

    def depart(self, channel: Channel) -> None:
        """An edge has ended: what lives and dies with it goes, grants a while later unless the process comes back."""
        handles = self.grants.depart(channel)
        self.sweeping.forget(channel)
        self.filing.forget(channel)
        for handle in handles:
            self.watchers.unwatch(handle)
        if handles:
            self._loop.call_later(ABSENT_SECONDS, self._drop_absent, channel)

    def _drop_absent(self, channel: Channel) -> None:
        if all(edge.peer != channel for edge in self._exchange.edges()):
            self.grants.drop_channel(channel)

    def mailbox_seq(self, session: Session, mailbox: bytes) -> int:
        """The mailbox's number. Raises Refused (`no-such-mailbox`)."""
        row = self.database.first(
            "SELECT seq FROM mailbox WHERE account = ? AND mailbox = ?", (session.account_seq, mailbox)
        )
        if row is None:
            raise Refused("there is no such mailbox", code="no-such-mailbox")
        return int(row[0])

    def require_session(self, peer: Channel, handle: bytes) -> None:
        """Still served? Asked again after a wait. Raises Refused (`no-session`)."""
        if not self.grants.ready:
            raise no_session()
        self.grants.check(peer, handle, 0xFF, now_ms())

    # --- commits -----------------------------------------------------------------------------------------------------

    async def commit(
        self, request: Mutation[R], work: Callable[[sqlite3.Connection, Effects], R], *, with_segments: bool = False
    ) -> R:
        """The reply of `work`, durable, with caches and watchers brought to it. A retry is answered, not repeated."""
        effects = self._effects()
        reply = await self.database.mutate(
            request,
            lambda connection: work(connection, effects),
            before=self.segments.sync if with_segments else None,
            after=lambda _: self._take_note(effects),
        )
        self.settle()
        return reply

    async def commit_with_body(self, request: Mutation[R], work: Callable[[sqlite3.Connection, Effects], R]) -> Answer:
        """As commit, for a reply with a body: `work` leaves it in its effects, and it is kept for retries."""
        effects, receipt = self._effects(), receipt_key(request)

        def run(connection: sqlite3.Connection) -> R:
            reply = work(connection, effects)
            kept = int(time.time())
            connection.execute("DELETE FROM answer_body WHERE kept < ?", (kept - RECEIPT_SECONDS,))
            connection.execute(
                "INSERT OR REPLACE INTO answer_body (request_id, kept, body, packed) VALUES (?, ?, ?, ?)",
                (receipt, kept, *_kept_body(effects.body or b"")),
            )
            return reply

        reply = await self.database.mutate(request, run, after=lambda _: self._take_note(effects))
        self.settle()
        if effects.body is None:
            row = self.database.first("SELECT body, packed FROM answer_body WHERE request_id = ?", (receipt,))
            effects.body = b"" if row is None else _restored_body(*row)
        return Answer(reply, effects.body)

    def _effects(self) -> Effects:
        retention = self.keeper.retention
        return Effects(keep_octets=retention.octets if retention.seconds else 0)

    async def commit_step(self, step: Callable[[sqlite3.Connection, Effects], bool]) -> bool:
        """What `step` says, durable, with caches and watchers brought to it. Without a receipt: no reply of its own."""
        effects = self._effects()
        more = await self.database.write(
            lambda connection: step(connection, effects), after=lambda _: self._take_note(effects)
        )
        self.settle()
        return more

    def _take_note(self, effects: Effects) -> None:
        """On the writer thread, right after the commit and in its order."""
        if effects.emails:
            self.segments.witness = effects.emails
        if effects.accounts or effects.emptied:
            self._committed.append(effects)

    def settle(self) -> None:
        """Bring caches to what is committed and tell the watchers; on the loop's thread."""
        while self._committed:
            effects = self._committed.popleft()
            for change in effects.changes:
                self.columns.apply(change)
            for account in effects.accounts:
                self.watchers.changed(account)
            if effects.emptied:
                self.reap()

    # --- segments that nothing names any more ------------------------------------------------------------------------

    def reap(self) -> None:
        """Remove segments whose every record is dead, soon."""
        self._emptied = True
        if self._reaping is None or self._reaping.done():
            self._reaping = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        while self._emptied and not self.checking:  # a check reaps when it ends
            self._emptied = False
            self._unnamed += await self.database.write(self._take_empty)
            if not self.checking:  # one that began meanwhile may read a snapshot that still names them
                while self._unnamed:
                    self.segments.remove(self._unnamed.pop())

    def _take_empty(self, connection: sqlite3.Connection) -> list[int]:
        """Delete the rows of empty segments: earlier mutations of the batch are seen, later ones write elsewhere."""
        rows = connection.execute("SELECT number FROM segment WHERE live = 0").fetchall()
        empty = [number for (number,) in rows if self.segments.close_if_empty(number)]
        if empty:
            connection.executemany("DELETE FROM segment WHERE number = ?", ((number,) for number in empty))
            connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'reaped'", (max(empty),))
        return empty

    async def close(self) -> None:
        """Write what waits, then let go of everything."""
        self.watchers.close()
        await self.compactor.stop()
        await self.keeper.stop()
        if self.backups is not None:
            await self.backups.stop()
        if self.accesses is not None:
            await self.accesses.close()
        self.orders.stop()
        self.surfaces.end()
        self.outbox.stop()
        if self._reaping is not None:
            await asyncio.wait([self._reaping], timeout=1.0)
        await self.database.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.segments.close()

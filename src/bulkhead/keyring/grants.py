"""What store knows of sessions: told before a gate may use one, taken back when it ends, repeated to a new store.

After a start store serves nothing until it has every live grant, the last batch marked complete. So a grant of a new
session waits for that; a revocation does not: on one edge they keep their order.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bulkhead.boundary.edge import Channel, Edge
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_store import Grant, GrantSessions, RevokeSessions, Rights
from bulkhead.errors import Error, TemporaryFailure
from bulkhead.keyring.sessions import Session, Sessions

BATCH = 1000
GRANT_SECONDS = 10.0
CALL_SECONDS = 5.0
RETRY_SECONDS = 1.0
_log = logging.getLogger("bulkhead.keyring")


class Grants:
    """The keyring's side of the edge to store. epoch: of the newest stop that ended sessions; store drops all older."""

    def __init__(self, exchange: Exchange, epoch: Callable[[], int]) -> None:
        self._exchange, self._epoch = exchange, epoch
        self.sessions = Sessions(exchange, self._revoke_later)
        self._repeated = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        exchange.on_departure(self._on_departure)
        exchange.on_arrival("store", self._on_arrival)

    async def grant(self, session: Session) -> None:
        """Returns once store serves this session. Raises TemporaryFailure; the session is then over."""
        deadline = time.monotonic() + GRANT_SECONDS
        try:
            while not await self._granted(session, deadline):
                pass
        except BaseException:
            self.sessions.end([session], "")
            raise
        if not self.sessions.is_live(session):
            await self.revoke([session.handle])  # it may have overtaken the first
            raise TemporaryFailure("the session ended while it was granted", code="session-ended")

    async def revoke(self, handles: Sequence[bytes], *, everything: bool = False) -> None:
        """Returns once store serves these no more; at once where store is away: then it knows no session.

        Raises TemporaryFailure where store is there and does not answer.
        """
        for start in range(0, max(len(handles), 1), BATCH):
            edge = self._exchange.edge_to("store")
            if edge is None:
                return
            try:
                await _ask(edge, RevokeSessions(tuple(handles[start : start + BATCH]), everything, self._epoch()))
            except TemporaryFailure as failure:
                if failure.code != "edge-ended":
                    raise

    def stop(self) -> None:
        """Tell store nothing more."""
        for task in self._tasks:
            task.cancel()

    async def _granted(self, session: Session, deadline: float) -> bool:
        """Whether store has it; False where store went away meanwhile."""
        try:
            await asyncio.wait_for(self._repeated.wait(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise TemporaryFailure("store is not there", code="unavailable") from None
        edge = self._exchange.edge_to("store")
        if edge is None or not self.sessions.is_live(session):
            return edge is not None
        try:
            await _ask(edge, GrantSessions((_grant(session),), False, self._epoch()))
        except TemporaryFailure as failure:
            if failure.code != "edge-ended":
                raise
            return False
        return True

    def _on_arrival(self, _: Channel) -> None:
        self._repeated.clear()
        edge = self._exchange.edge_to("store")
        if edge is not None:
            self._spawn(self._repeat(edge))

    def _on_departure(self, channel: Channel) -> None:
        if channel.compartment == "store" and self._exchange.edge_to("store") is None:
            self._repeated.clear()

    async def _repeat(self, edge: Edge) -> None:
        """Every live grant, in batches, until this store has them or is gone."""
        while edge.alive:
            try:
                waiting = [session for session in self.sessions.all() if session.seed is not None]
                while True:
                    batch, waiting = waiting[:BATCH], waiting[BATCH:]
                    grants = tuple(_grant(session) for session in batch if self.sessions.is_live(session))
                    await _ask(edge, GrantSessions(grants, not waiting, self._epoch()))
                    if not waiting:
                        break
            except Error as error:
                _log.warning("store takes no grants now: %s", error.public)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if self._exchange.edge_to("store") is edge:
                self._repeated.set()
            return

    def _revoke_later(self, handles: list[bytes]) -> None:
        self._spawn(self._revoke_logged(handles))

    async def _revoke_logged(self, handles: list[bytes]) -> None:
        try:
            await self.revoke(handles)
        except Error as error:
            _log.error("store did not confirm the end of %d sessions: %s", len(handles), error.public)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _ask(edge: Edge, request: Request[Any]) -> None:
    await edge.call(request, None, CALL_SECONDS)


def _grant(session: Session) -> Grant:
    channel = session.channel
    return Grant(
        session.handle,
        session.account,
        Rights.ALL,
        channel.compartment,
        channel.worker,
        channel.incarnation,
        session.expires,
    )

"""The guard before every handler that works by handle."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.terms import Channel, Served
from bulkhead.store.grants import Session
from bulkhead.store.state import State


class ByHandle(Protocol):
    """A request that names its session."""

    @property
    def handle(self) -> bytes: ...


Q = TypeVar("Q", bound=ByHandle)
Work = Callable[[State, Session, Q, BodyReader | None], Served | Awaitable[Served]]
Handler = Callable[[State, Channel, Q, BodyReader | None], Served | Awaitable[Served]]


def by_handle(right: int, *, changes: bool = False) -> Callable[[Work[Q]], Handler[Q]]:
    """Runs the work with the session that the handle is on the caller's own channel, where it has this right.

    changes: refused (`contained`) where the account is frozen.
    Raises Refused (`no-session`, `no-right`, `no-such-account`), TemporaryFailure where keyring has not said for 5 s
    which sessions exist.
    """

    def guard(work: Work[Q]) -> Handler[Q]:
        def admitted(state: State, peer: Channel, request: Q) -> Session:
            session = state.session(peer, request.handle, right)
            if changes:
                state.surfaces.require_open(Surface.CHANGES, session.account)
            return session

        async def later(state: State, peer: Channel, request: Q, body: BodyReader | None) -> Served:
            await state.grants.wait_ready()
            served = work(state, admitted(state, peer, request), request, body)
            return await served if isinstance(served, Awaitable) else served

        def handler(state: State, peer: Channel, request: Q, body: BodyReader | None) -> Served | Awaitable[Served]:
            if not state.grants.ready:
                return later(state, peer, request, body)
            return work(state, admitted(state, peer, request), request, body)

        handler.__name__, handler.__doc__ = work.__name__, work.__doc__
        return handler

    return guard

"""Which handle may be used by which channel, for which account, until when: as keyring said, and nothing else."""

import asyncio
from dataclasses import dataclass

from bulkhead.boundary.messages.to_store import Grant, Rights
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused, TemporaryFailure

GRANTS_MAX = 100_000
ABSENT_SECONDS = 30.0  # how long a channel's grants outlive its edge, for another edge of the same process
READY_SECONDS = 5.0  # how long a request waits for keyring to repeat its grants


@dataclass(slots=True)
class Session:
    """A granted session. account_seq is filled in at its first use."""

    handle: bytes
    account: bytes
    rights: int
    channel: Channel
    expires: int  # ms
    account_seq: int = 0


def no_session() -> Refused:
    """The one answer to every handle that is not served here: it tells nothing about why."""
    return Refused("there is no such session", code="no-session")


class Grants:
    """The live grants. Nothing is served before `complete`; a keyring that departs takes all its grants along."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}
        self._by_channel: dict[Channel, set[bytes]] = {}
        self._giver: Channel | None = None
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def ready(self) -> bool:
        """Whether keyring has said which sessions exist."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return once ready. Raises TemporaryFailure after 5 s."""
        try:
            await asyncio.wait_for(self._ready.wait(), READY_SECONDS)
        except TimeoutError:
            raise TemporaryFailure("sessions are not known yet", code="starting") from None

    def give(self, giver: Channel, grants: tuple[Grant, ...], complete: bool, now_ms: int) -> None:
        """Serve these. Raises Refused over 100,000 live grants. Another giver than before: the old one's are gone."""
        if giver != self._giver:
            self.drop_all()
            self._ready.clear()
            self._giver = giver
        if len(self._sessions) + len(grants) > GRANTS_MAX:
            for session in [s for s in self._sessions.values() if s.expires <= now_ms]:
                self.revoke(session.handle)
            if len(self._sessions) + len(grants) > GRANTS_MAX:
                raise Refused("too many sessions", code="too-many-sessions")
        for grant in grants:
            self.revoke(grant.handle)
            channel = Channel(grant.compartment, grant.worker, grant.incarnation)
            self._sessions[grant.handle] = Session(grant.handle, grant.account, grant.rights, channel, grant.expires)
            self._by_channel.setdefault(channel, set()).add(grant.handle)
        if complete:
            self._ready.set()

    def check(self, channel: Channel, handle: bytes, right: int, now_ms: int) -> Session:
        """The session, where this channel may use it for that. Raises Refused (`no-session`, `no-right`)."""
        session = self._sessions.get(handle)
        if session is None or session.channel != channel:
            raise no_session()
        if session.expires <= now_ms:
            self.revoke(handle)
            raise no_session()
        if not session.rights & right:
            raise Refused("this session may not do that", code="no-right")
        return session

    def is_live(self, handle: bytes, now_ms: int) -> bool:
        """Whether the handle is served."""
        session = self._sessions.get(handle)
        return session is not None and session.expires > now_ms

    def revoke(self, handle: bytes) -> None:
        """Serve it no more."""
        session = self._sessions.pop(handle, None)
        if session is not None:
            others = self._by_channel[session.channel]
            others.discard(handle)
            if not others:
                del self._by_channel[session.channel]

    def drop_account(self, account: bytes) -> list[bytes]:
        """Revoke every session of one account; the handles that were live."""
        handles = [session.handle for session in self._sessions.values() if session.account == account]
        for handle in handles:
            self.revoke(handle)
        return handles

    def drop_all(self) -> list[bytes]:
        """Revoke everything; the handles that were live."""
        handles = list(self._sessions)
        self._sessions.clear()
        self._by_channel.clear()
        return handles

    def depart(self, channel: Channel) -> list[bytes]:
        """An edge has ended: the handles that nobody can use now. Those of a gate stay granted for a while.

        Its process may live and get another edge; only that process can use them, and keyring revokes what has died.
        """
        if channel == self._giver:
            self._giver = None
            self._ready.clear()
            return self.drop_all()
        return list(self._by_channel.get(channel, ()))

    def drop_channel(self, channel: Channel) -> None:
        """Its process is taken for dead."""
        for handle in list(self._by_channel.get(channel, ())):
            self.revoke(handle)


READ, WRITE = Rights.READ, Rights.WRITE

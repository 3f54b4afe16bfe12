"""Live sessions: a handle is bound to one channel, account and scope, and dies with the channel.

Seeds of live sessions are in memory here and nowhere else; a restart ends every session.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import SessionEnded
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId
from bulkhead.keyring.logins import Checked
from bulkhead.records.credential import MAIN_PASSWORD
from bulkhead.records.seed import MailboxSeed, OpenSeed

PER_CHANNEL_MAX = 8192


@dataclass(slots=True)
class Session:
    """One session. expires: ms since 1970. seed is None for submit, which opens nothing."""

    handle: bytes = field(repr=False)
    channel: Channel
    account: AccountId
    scope: int
    expires: int
    seed: MailboxSeed | None = field(repr=False)
    cred: int = MAIN_PASSWORD
    keys: int = 0  # message keys opened since that was last recorded
    opened: list[OpenSeed] = field(default_factory=list, repr=False)  # newest first; older ones as they are needed

    def __post_init__(self) -> None:
        if self.seed is not None:
            self.opened.append(OpenSeed.of(self.seed))


class Sessions:
    """Every live session. revoke: told the handles that store must serve no more."""

    def __init__(self, exchange: Exchange, revoke: Callable[[list[bytes]], None]) -> None:
        self._exchange, self._revoke = exchange, revoke
        self._sessions: dict[bytes, Session] = {}
        self._by_channel: dict[Channel, set[bytes]] = {}
        self.ended: Callable[[Session, str], None] = lambda _, __: None
        exchange.on_departure(self._end_channel)

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        """Every live session, oldest first."""
        return list(self._sessions.values())

    def is_live(self, session: Session) -> bool:
        """Whether it was not ended meanwhile."""
        return self._sessions.get(session.handle) is session

    def begin(self, channel: Channel, checked: Checked, seconds: float) -> Session:
        """A new session of this channel. Raises TemporaryFailure where the channel has too many."""
        handles = self._by_channel.setdefault(channel, set())
        if len(handles) >= PER_CHANNEL_MAX:
            raise TemporaryFailure("too many sessions on this channel", code="busy")
        expires = int((time.time() + seconds) * 1000)
        session = Session(
            secrets.token_bytes(16), channel, checked.account, checked.scope, expires, checked.seed, checked.cred
        )
        handles.add(session.handle)
        self._sessions[session.handle] = session
        return session

    def find(self, handle: bytes, channel: Channel) -> Session:
        """The session of this handle on this very channel, that may open keys. Raises Refused (`no-session`)."""
        session = self._sessions.get(handle)
        if session is None or session.channel != channel or session.expires <= time.time() * 1000:
            raise Refused("no such session", code="no-session")
        return session

    def end(self, sessions: Iterable[Session], reason: str) -> int:
        """End these at once: here, at their gate, at store. reason: empty where the gate itself asked."""
        ended = [session for session in sessions if self._drop(session)]
        for session in ended:
            self.ended(session, reason)
            if reason:
                self._exchange.tell(session.channel, SessionEnded(session.handle, reason))
        granted = [session.handle for session in ended if session.seed is not None]
        if granted:
            self._revoke(granted)
        return len(ended)

    def end_account(self, account: AccountId, reason: str, cred: int | None = None) -> int:
        """End every session of an account, or those that one credential of it opened."""
        of_account = [s for s in self._sessions.values() if s.account == account]
        return self.end([s for s in of_account if cred in (None, s.cred)], reason)

    def end_expired(self) -> int:
        """End those whose time is over."""
        now = time.time() * 1000
        return self.end([s for s in self._sessions.values() if s.expires <= now], "expired")

    def _end_channel(self, channel: Channel) -> None:
        self.end([self._sessions[handle] for handle in self._by_channel.pop(channel, ())], "")

    def _drop(self, session: Session) -> bool:
        if self._sessions.pop(session.handle, None) is None:
            return False
        handles = self._by_channel.get(session.channel)
        if handles is not None:
            handles.discard(session.handle)
            if not handles:
                del self._by_channel[session.channel]
        return True

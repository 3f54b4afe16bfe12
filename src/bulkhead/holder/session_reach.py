"""Which sessions and logins a stop of surfaces concerns, by scope and credential, where sessions are kept."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.messages.surfaces import WORKERS_MAX, Surface, WorkerSessions
from bulkhead.boundary.terms import Channel
from bulkhead.records.credential import MAIN_PASSWORD


def kind_surface(cred: int) -> int:
    """The surface that a credential logs in by, whatever for."""
    return Surface.MAIN_PASSWORD if cred == MAIN_PASSWORD else Surface.APP_PASSWORD


def reset_surface(cred: int) -> int:
    """The surface that a credential logs in by as long as none was set since."""
    return Surface.RESET_MAIN if cred == MAIN_PASSWORD else Surface.RESET_APP


def concerns(surfaces: int, scope: int, cred: int) -> bool:
    """Whether a stop of these surfaces ends a session for that scope, by that credential."""
    return bool(surfaces & (scope | kind_surface(cred) | reset_surface(cred) | Surface.SESSIONS))


@dataclass(frozen=True, slots=True)
class SessionReach:
    """What a stop reaches at who keeps sessions. void: drops the logins that wait to become one, by what is true."""

    sessions: Any
    void: Callable[[Callable[[Any], bool]], None]

    def __call__(self, surfaces: int, member: Callable[[bytes], bool], act: bool) -> tuple[int, int]:
        """Sessions that it concerns, ended where `act`."""
        found = [one for one in self.sessions.all() if concerns(surfaces, one.scope, one.cred) and member(one.account)]
        if not act:
            return len(found), 0
        self.void(lambda one: concerns(surfaces, one.scope, one.cred) and member(one.account))
        return self.sessions.end(found, "stopped"), 0

    def end_channel(self, channel: Channel) -> int:
        """End every session of one process."""
        ended: int = self.sessions.end([one for one in self.sessions.all() if one.channel == channel], "stopped")
        return ended

    def workers(self, surfaces: int, member: Callable[[bytes], bool]) -> tuple[WorkerSessions, ...]:
        """Processes that have sessions that it concerns, the most first."""
        found, all_of = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
        for one in self.sessions.all() if surfaces else ():
            at = (one.channel.compartment, one.channel.worker)
            all_of[at] += 1
            found[at] += concerns(surfaces, one.scope, one.cred) and member(one.account)
        rows = found.most_common(WORKERS_MAX)
        return tuple(WorkerSessions(*at, mine, all_of[at] - mine) for at, mine in rows if mine)

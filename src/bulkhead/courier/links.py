"""Sessions with other servers, used for one message after the other, and how many go to one host at once.

A link that has carried a message waits a few seconds for the next to the same address. A server may end it meanwhile
without a word: then the message is given a new link, and nothing is lost, for none of its recipients had an outcome.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bulkhead.courier.session import Link
from bulkhead.identifiers import DomainName

MESSAGES_MAX = 100  # on one link
IDLE_SECONDS = 5.0
IDLE_MAX = 64  # links that wait, one an address

Place = tuple[DomainName, str]  # a host's name and one of its addresses


@dataclass(slots=True)
class _Waiting:
    link: Link
    timer: asyncio.TimerHandle


class Links:
    """The links that wait for their next message."""

    def __init__(self) -> None:
        self._waiting: dict[Place, _Waiting] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, place: Place) -> Link | None:
        """A link to that address on which nothing was said since, or None."""
        waiting = self._waiting.pop(place, None)
        if waiting is None:
            return None
        waiting.timer.cancel()
        if waiting.link.usable:
            return waiting.link
        waiting.link.close()
        return None

    def give(self, place: Place, link: Link) -> None:
        """Keep a link for the next message, or take leave of it."""
        if not link.usable:
            link.close()
        elif place in self._waiting or len(self._waiting) >= IDLE_MAX or link.carried >= MESSAGES_MAX:
            self._leave(link)
        else:
            timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._time_out, place)
            self._waiting[place] = _Waiting(link, timer)

    def close(self) -> None:
        """Close all at once."""
        for waiting in self._waiting.values():
            waiting.timer.cancel()
            waiting.link.close()
        self._waiting.clear()
        for task in self._leaving:
            task.cancel()

    def _time_out(self, place: Place) -> None:
        waiting = self._waiting.pop(place, None)
        if waiting is not None:
            self._leave(waiting.link)

    def _leave(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(link.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class HostSlots:
    """How many sessions go to one host at once."""

    def __init__(self, sessions_max: int) -> None:
        self._max = sessions_max
        self._hosts: dict[DomainName, tuple[asyncio.Semaphore, int]] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    @asynccontextmanager
    async def slot(self, host: DomainName) -> AsyncIterator[None]:
        """Wait for a turn. Memory: the hosts that have sessions or are waited for."""
        semaphore, users = self._hosts.get(host) or (asyncio.Semaphore(self._max), 0)
        self._hosts[host] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            users = self._hosts[host][1] - 1
            if users:
                self._hosts[host] = semaphore, users
            else:
                del self._hosts[host]

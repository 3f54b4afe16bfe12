"""One name, one type: from the zone text, the cache, or name servers; aliases followed; equal questions asked once."""

import asyncio
from collections.abc import Callable

from bulkhead.errors import PeerError
from bulkhead.resolver.cache import Cache
from bulkhead.resolver.name_servers import NameServers
from bulkhead.resolver.response import ALIASES_MAX, FAILED, Answer, Type, Verdict, name_of
from bulkhead.resolver.zone import Zone

NOT_IN_ZONE = Answer(Verdict.NO_NAME)


class Lookup:
    """clock: seconds, monotonic."""

    def __init__(self, zone: Zone, servers: NameServers, entries_max: int, clock: Callable[[], float]) -> None:
        self._zone, self._servers, self._clock = zone, servers, clock
        self._cache = Cache(entries_max)
        self._asking: dict[tuple[str, Type], asyncio.Task[Answer]] = {}

    async def find(self, name: str, wanted: Type) -> Answer:
        """The answer at the end of at most 8 aliases; FAILED where there are more."""
        ttl = None
        for _ in range(ALIASES_MAX + 1):
            answer = await self._find_one(name, wanted)
            ttl = answer.ttl if ttl is None else min(ttl, answer.ttl)
            if not answer.alias:
                return Answer(answer.verdict, answer.records, ttl)
            name = answer.alias
        return FAILED

    async def _find_one(self, name: str, wanted: Type) -> Answer:
        """Of one name, without following where it points."""
        held = self._zone.answer(name, wanted)
        if held is not None:
            return held
        if not self._servers:
            return NOT_IN_ZONE if self._zone else FAILED
        key = (name, wanted)
        kept = self._cache.get(key, self._clock())
        if kept is not None:
            return kept
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(name, wanted))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    async def _ask(self, name: str, wanted: Type) -> Answer:
        try:
            answer = await self._servers.ask(name_of(name), wanted)
        except PeerError:
            return Answer(Verdict.NO_NAME)
        self._cache.put((name, wanted), answer, self._clock())
        return answer

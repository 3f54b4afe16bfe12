"""Work in a few threads, and before them a bounded queue for each asker and class, which take turns.

Of eight turns the second class has two, and what nobody waits for one, where all wait. Within a class the askers take
turns, so that one who is hostile, or whom the world storms, keeps no work of another waiting behind its own.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TypeVar, TypeVarTuple

from bulkhead.errors import TemporaryFailure

TURNS = 8
T = TypeVar("T")
Args = TypeVarTuple("Args")
_Queues = OrderedDict[str, deque[asyncio.Future[None]]]


class Class(Enum):
    """Whose work it is: behind is what nobody waits for."""

    FIRST = 1
    SECOND = 2
    BEHIND = 3


class Turns:
    """threads: at work at once; fixed at start. queue_max: of one asker and class that may wait."""

    def __init__(self, threads: int, queue_max: int, name: str) -> None:
        self._idle = threads
        self._executor = ThreadPoolExecutor(threads, name)
        self.queue_max = queue_max
        self._queues = {which: _Queues() for which in Class}  # whose turn it is comes first
        self._turn = 0

    async def run(self, work: Callable[[*Args], T], asker: str, which: Class, *arguments: *Args) -> T:
        """What `work` gives, in a thread, when it is the asker's turn.

        Raises TemporaryFailure (`busy`) where too many of his wait.
        """
        await self._take_thread(asker, self._queues[which])
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        finally:
            self._give_thread()

    async def wait_without(self, asker: str) -> None:
        """Wait as long as work of the second class that came now, with none after it: as if it had been done.

        Raises TemporaryFailure (`busy`) where that would be one too many.
        """
        own = self._queues[Class.SECOND].get(asker)
        if own:
            self._check_room(own)
            await asyncio.wait({own[-1]})

    def stop(self) -> None:
        """Take no more; what runs is finished by its thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _check_room(self, own: deque[asyncio.Future[None]]) -> None:
        if len(own) >= self.queue_max:
            raise TemporaryFailure("too many logins are under way", code="busy")

    async def _take_thread(self, asker: str, queues: _Queues) -> None:
        if self._idle:
            self._idle -= 1
            return
        own = queues.setdefault(asker, deque())
        self._check_room(own)
        turn = asyncio.get_running_loop().create_future()
        own.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_thread()
            elif turn in own:
                own.remove(turn)
            raise

    def _give_thread(self) -> None:
        """To the next who waits, or to nobody."""
        self._turn = (self._turn + 1) % TURNS
        order = [Class.SECOND, Class.FIRST] if self._turn % 4 == 1 else [Class.FIRST, Class.SECOND]
        order.insert(2 if self._turn else 0, Class.BEHIND)
        if not any(_wake(self._queues[which]) for which in order):  # up to the first that has somebody
            self._idle += 1


def _wake(queues: _Queues) -> bool:
    """Whether one of this class had waited: one asker after the other."""
    while queues:
        asker, own = queues.popitem(last=False)
        while own and own[0].done():  # cancelled in this very turn of the loop
            own.popleft()
        if not own:
            continue
        own.popleft().set_result(None)
        if own:
            queues[asker] = own  # behind the others
        return True
    return False

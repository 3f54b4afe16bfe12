"""Argon2id off the loop: a few threads, and before them a bounded queue for each gate and class, which take turns.

Known sources (known.py) come first, with one turn in four for new ones. Within a class the gates take turns, so that a
gate that is compromised, or that the world guesses at, keeps no login of another gate waiting behind its own. What
nobody waits for, a half made anew behind its login, comes last, with one turn in eight: after a migration everybody's
first login asks for one.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor

from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.records.credential import Stretched, StretchParameters
from bulkhead.records.halves import Legacy
from bulkhead.records.legacy import Recipe
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.stretch import stretch
from bulkhead.wipe import wipe

THREADS_MAX = 6  # of the 8 that PROCESSES allows auth; the database and its closing take two
TURNS = 8  # of which new sources have two, and what is behind has one, where all classes wait
BEHIND = "behind"  # who asks for what nobody waits for
_Queues = OrderedDict[str, deque[asyncio.Future[None]]]
_log = logging.getLogger("bulkhead.auth")


class Stretching:
    """threads: hashes at once, each of 19 MiB; fixed at start. queue_max: of one gate and class that may wait."""

    def __init__(self, threads: int, queue_max: int) -> None:
        if threads > THREADS_MAX:
            _log.warning("auth.argon2_threads = %d: %d are used, the lock allows no more", threads, THREADS_MAX)
        self._idle = min(threads, THREADS_MAX)
        self._executor = ThreadPoolExecutor(self._idle, "argon2")
        self.queue_max = queue_max
        self._known, self._new, self._behind = _Queues(), _Queues(), _Queues()  # whose turn it is comes first
        self._turn = 0

    async def stretch(
        self,
        password: bytes,
        salt: bytes,
        parameters: StretchParameters,
        asker: str = "",
        legacy: Legacy | None = None,
        *,
        known: bool = True,
    ) -> Stretched:
        """Both outputs of a password. asker, known: who waits. Raises TemporaryFailure (`busy`) where too many do.

        legacy: what makes the digest that plays the password. Raises IntegrityError where it is none of ours.
        """
        await self._take_thread(asker, self._behind if asker == BEHIND else self._known if known else self._new)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, _stretch, password, salt, parameters, legacy)
        finally:
            self._give_thread()

    async def wait_without(self, asker: str) -> None:
        """Wait as long as a new source's login that came now, with no hash after it: what was not tried takes as long.

        Raises TemporaryFailure (`busy`) where that would.
        """
        own = self._new.get(asker)
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
        first, second = (self._new, self._known) if self._turn % 4 == 1 else (self._known, self._new)
        order = (first, second, self._behind) if self._turn else (self._behind, first, second)
        if not any(map(_wake, order)):  # in this order, up to the first that has somebody
            self._idle += 1


def _wake(queues: _Queues) -> bool:
    """Whether one of this class had waited: one gate after the other."""
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


def _stretch(password: bytes, salt: bytes, parameters: StretchParameters, legacy: Legacy | None) -> Stretched:
    """In a thread: the digest first, where the password was imported as one."""
    try:
        if legacy is None:
            return stretch(password, salt, parameters)
        try:
            recipe = Recipe.of(legacy)
        except ValueError as error:
            raise IntegrityError(f"AUTH_HALF record: {error}") from None
        digest = legacy_digest(recipe, password)
        try:
            return stretch(digest, salt, parameters)
        finally:
            wipe(digest)
    except MemoryError:
        raise TemporaryFailure("no memory for a password hash", code="busy") from None

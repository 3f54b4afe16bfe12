"""Argon2id off the loop: a few threads, and before them a bounded queue for each gate, which take turns.

So a gate that is compromised, or that the world guesses at, keeps no login of another gate waiting behind its own.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor

from bulkhead.boundary.wipe import wipe
from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.records.credential import Stretched, StretchParameters, stretch
from bulkhead.records.halves import Legacy
from bulkhead.records.legacy import Recipe
from bulkhead.records.legacy_digest import legacy_digest

THREADS_MAX = 6  # of the 8 that PROCESSES allows auth; the database and its closing take two
_log = logging.getLogger("bulkhead.auth")


class Stretching:
    """threads: hashes at once, each of 19 MiB; fixed at start. queue_max: logins of one gate that may wait for one."""

    def __init__(self, threads: int, queue_max: int) -> None:
        if threads > THREADS_MAX:
            _log.warning("auth.argon2_threads = %d: %d are used, the lock allows no more", threads, THREADS_MAX)
        self._idle = min(threads, THREADS_MAX)
        self._executor = ThreadPoolExecutor(self._idle, "argon2")
        self.queue_max = queue_max
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # whose turn it is comes first

    async def stretch(
        self,
        password: bytes,
        salt: bytes,
        parameters: StretchParameters,
        asker: str = "",
        legacy: Legacy | None = None,
    ) -> Stretched:
        """Both outputs of a password. asker: which gate waits. Raises TemporaryFailure (`busy`) where too many do.

        legacy: what makes the digest that plays the password. Raises IntegrityError where it is none of ours.
        """
        await self._take_thread(asker)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, _stretch, password, salt, parameters, legacy)
        finally:
            self._give_thread()

    def stop(self) -> None:
        """Take no more; what runs is finished by its thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _take_thread(self, asker: str) -> None:
        if self._idle:
            self._idle -= 1
            return
        own = self._waiting.setdefault(asker, deque())
        if len(own) >= self.queue_max:
            raise TemporaryFailure("too many logins are under way", code="busy")
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
        """To the next who waits, one gate after the other; or to nobody."""
        while self._waiting:
            asker, own = self._waiting.popitem(last=False)
            while own and own[0].done():  # cancelled in this very turn of the loop
                own.popleft()
            if not own:
                continue
            own.popleft().set_result(None)
            if own:
                self._waiting[asker] = own  # behind the others
            return
        self._idle += 1


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

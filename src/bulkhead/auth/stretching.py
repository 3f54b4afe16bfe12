"""Argon2id off the loop: a few threads, and a queue that is bounded before it."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from bulkhead.errors import TemporaryFailure
from bulkhead.records.credential import Stretched, StretchParameters, stretch

THREADS_MAX = 6  # of the 8 that PROCESSES allows auth; the database and its closing take two
_log = logging.getLogger("bulkhead.auth")


class Stretching:
    """threads: hashes at once, each of 19 MiB; fixed at start. queue_max: logins that may wait for one."""

    def __init__(self, threads: int, queue_max: int) -> None:
        if threads > THREADS_MAX:
            _log.warning("auth.argon2_threads = %d: %d are used, the lock allows no more", threads, THREADS_MAX)
        self._threads = min(threads, THREADS_MAX)
        self._executor = ThreadPoolExecutor(self._threads, "argon2")
        self.queue_max = queue_max
        self._under_way = 0

    async def stretch(self, password: bytes, salt: bytes, parameters: StretchParameters) -> Stretched:
        """Both outputs of a password. Raises TemporaryFailure (`busy`) where too many wait."""
        if self._under_way >= self._threads + self.queue_max:
            raise TemporaryFailure("too many logins are under way", code="busy")
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, stretch, password, salt, parameters)
        finally:
            self._under_way -= 1

    def stop(self) -> None:
        """Take no more; what runs is finished by its thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

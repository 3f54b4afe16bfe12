"""Argon2id off the loop, in three classes, and the gates in turns (holder/turns.py).

Known sources (known.py) come first, new ones next. What nobody waits for, a half made anew behind its login, comes
last: after a migration everybody's first login asks for one.
"""

import logging

from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.holder.turns import Class, Turns
from bulkhead.records.credential import Stretched, StretchParameters
from bulkhead.records.halves import Legacy
from bulkhead.records.legacy import Recipe
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.stretch import stretch
from bulkhead.wipe import wipe

THREADS_MAX = 6  # of the 8 that PROCESSES allows auth; the database and its closing take two
BEHIND = "behind"  # who asks for what nobody waits for
_log = logging.getLogger("bulkhead.auth")


class Stretching(Turns):
    """threads: hashes at once, each of 19 MiB; fixed at start. queue_max: of one gate and class that may wait."""

    def __init__(self, threads: int, queue_max: int) -> None:
        if threads > THREADS_MAX:
            _log.warning("auth.argon2_threads = %d: %d are used, the lock allows no more", threads, THREADS_MAX)
        super().__init__(min(threads, THREADS_MAX), queue_max, "argon2")

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
        which = Class.BEHIND if asker == BEHIND else Class.FIRST if known else Class.SECOND
        return await self.run(_stretch, asker, which, password, salt, parameters, legacy)


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

"""What a standby promised: that it does not take over before a moment of its own clock; and whether it took over.

The promise is durable before it is given, and is given under the lock that a promotion takes. CLOCK_BOOTTIME begins
anew with each start of the machine: after one, the whole time is waited for again.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.errors import IntegrityError, Refused
from bulkhead.records.lease import LeaseAsk, grant_lease
from bulkhead.standby.place import make_folder, put

DRIFT = 0.01  # by which two clocks may differ in speed; a quartz is a hundred times better
MARGIN = 0.5  # seconds


@dataclass(slots=True)
class _Promise:
    boot: str = ""
    until: float = 0.0  # CLOCK_BOOTTIME
    seconds: float = 0.0  # the longest that was promised in this boot
    term: int = 0
    promoted: bool = False
    released: bool = False  # the primary laid its lease down behind all that was granted


class Promises:
    """The promises of one tenant's standby, in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self._file, self._lock = folder / "promise", folder / "promise.lock"
        make_folder(folder)

    def grant(self, key: Ed25519PrivateKey, octets: bytes) -> bytes:
        """Promise what is asked for. Raises Refused (`promoted`), IntegrityError."""
        ask = LeaseAsk.decode(octets)
        with self._held():
            promise = self._load()
            if promise.promoted or ask.term < promise.term:
                raise Refused("the standby took over: no lease is granted", code="promoted")
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            until = now + ask.seconds * (1 + DRIFT) + MARGIN
            before = promise.until  # of another boot it says nothing; what was promised in that may be counted from now
            if promise.boot != boot_id():
                before = now + promise.seconds * (1 + DRIFT) + MARGIN if promise.seconds else 0.0
            promise = _Promise(boot_id(), max(until, before), max(ask.seconds, promise.seconds), ask.term)
            self._save(promise)
            return grant_lease(key, octets)

    def promote(self, term: int) -> float:
        """Grant nothing from now on; seconds until everything that was granted has surely ended."""
        with self._held():
            promise = self._load()
            promise.promoted, promise.term = True, max(term, promise.term)
            if promise.boot != boot_id() and promise.seconds:
                now = time.clock_gettime(time.CLOCK_BOOTTIME)
                promise.boot, promise.until = boot_id(), now + promise.seconds * (1 + DRIFT) + MARGIN
            self._save(promise)
            return max(0.0, promise.until - time.clock_gettime(time.CLOCK_BOOTTIME))

    def release(self) -> None:
        """The primary answers no change any more: it said so in every stream. A later grant takes that back."""
        if not self._load().released:
            with self._held():
                promise = self._load()
                promise.released = True
                self._save(promise)

    @property
    def released(self) -> bool:
        """Whether the primary laid its lease down, and took none since."""
        return self._load().released

    @property
    def term(self) -> int:
        """The newest that is known."""
        return self._load().term

    @property
    def promoted(self) -> bool:
        """Whether this standby took over, or began to."""
        return self._load().promoted

    def _load(self) -> _Promise:
        try:
            return _Promise(**json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return _Promise()
        except (ValueError, TypeError):
            raise IntegrityError(
                f"{self._file} is damaged: nobody knows what was promised; wait 310 s, remove it"
            ) from None

    def _save(self, promise: _Promise) -> None:
        put(self._file, json.dumps(asdict(promise), sort_keys=True).encode("ascii"))

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def boot_id() -> str:
    """Which start of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

"""A holder's own access records: taken on the loop, written in blocks, gone with the key of their day.

    accesses/DAY        blocks: access_frames.py                                             appended, synced
    accesses/DAY.key    the day's key, sealed under the key `access` of the key file         written before the day's
                        first block; overwritten, synced and unlinked when the day has expired; then DAY is unlinked

States after a cut: a key without blocks is a day on which nothing was written; a torn block at the end of a file is cut
off before the next is written; a file without its key opens no more, and is unlinked. What was taken in the last
second before a kill is not there: the ledger's counts, which the acts themselves make, say how many those were.

The ledger hears each minute the number of blocks and the root of a chain over their tags, so that a block that is
changed, cut or left out later does not lead to it: chain = SHA-256(chain | head | last 16 octets of the record).
"""

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from bulkhead.boundary.host import Host
from bulkhead.boundary.processes import PROCESSES
from bulkhead.boundary.terms import Channel
from bulkhead.durable import sync_folder
from bulkhead.errors import Error, IntegrityError, Refused, TemporaryFailure
from bulkhead.holder.access_frames import LEAD, Frame, frames
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KEY_FILE, KeyFile, open_key_file
from bulkhead.identifiers import AccountId
from bulkhead.records.access import (
    BLOCK_RECORDS_MAX,
    NO_SOURCE,
    NOBODY,
    Access,
    Act,
    Block,
    DayOpener,
    Outcome,
    Place,
    open_day_key,
    seal_day_key,
    source_octets,
)
from bulkhead.records.record import TAG_BYTES

FOLDER = Path("accesses")
KEY = "access"
DAY_MS = 86_400_000
FLUSH_SECONDS = 1.0
WAITING_MAX = 65_536  # records not written yet; what comes beyond is counted
KEEP_DAYS = 180
EXPIRE_SECONDS = 3600.0
JUMP_SECONDS = 3600.0  # that the clock goes ahead of, or behind, one that nobody sets
SEARCHES_MAX = 8  # that wait
LEFT_OFF_MAX = 256
T = TypeVar("T")
_log = logging.getLogger("bulkhead.accesses")


def steady() -> float:
    """Seconds of a clock that nobody sets."""
    return time.monotonic()


class Accesses:
    """The open records of one compartment. dropped: records that found no room."""

    def __init__(self, tenant: str, compartment: str, database: Database, keys: KeyFile, root: Path = FOLDER) -> None:
        self.tenant, self.compartment, self.root = tenant, compartment, root.absolute()
        self._database, self._keys = database, keys
        self.keep_days = KEEP_DAYS
        self.dropped = 0
        self._waiting: list[Access] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._searcher: ThreadPoolExecutor | None = None
        self._searches = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._day, self._key, self._number = -1, b"", 0
        self._left_off: dict[tuple[int, int], int] = {}  # numbers of blocks at which searches left off, by day, offset
        self._chain, self._blocks, self._noted = bytes(32), 0, 0
        self._set_at = steady()
        self._ahead = time.time_ns() / 1e9 - self._set_at
        self.root.mkdir(mode=0o700, exist_ok=True)
        if not keys.versions(KEY):
            keys.add(KEY, 1)
        self._expiring = asyncio.get_running_loop().create_task(self._expire_forever())

    @classmethod
    def of(cls, host: Host, database: Database, keys: KeyFile | None = None) -> "Accesses":
        """Those of a started compartment, in its directory."""
        accesses = cls(host.tenant, host.channel.compartment, database, keys or open_key_file(host))
        accesses.configure(host.settings)
        return accesses

    @classmethod
    def where_keyed(cls, host: Host, database: Database) -> "Accesses | None":
        """Those of a compartment that has no other key; none, and a line in its log, where its key file is missing."""
        if KEY_FILE.exists():
            return cls.of(host, database)
        _log.error("there is no %s: no access is recorded; restore it from a backup", KEY_FILE)
        return None

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take `accesses.keep_days`."""
        self.keep_days = int(settings.get("accesses", {}).get("keep_days", KEEP_DAYS))

    def note(
        self,
        act: Act,
        account: AccountId = NOBODY,
        outcome: Outcome = Outcome.DONE,
        *,
        gate: int = 0,
        number: int = 0,
        source: bytes = NO_SOURCE,
    ) -> None:
        """Take a record. It never waits and never fails: what finds no room is counted."""
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            return
        self._waiting.append(Access(time.time_ns() // 1_000_000, act, outcome, gate, number, account, source))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_later)

    @contextmanager
    def noting(self, act: Act, account: AccountId, channel: Channel, number: int, source: str) -> Iterator[None]:
        """Take a record of what is done within, or refused. What fails for the time being is no record."""
        outcome: Outcome | None = Outcome.DONE
        try:
            yield
        except Refused:
            outcome = Outcome.REFUSED
            raise
        except BaseException:
            outcome = None
            raise
        finally:
            if outcome is not None:
                gate = PROCESSES[channel.compartment].slot
                self.note(act, account, outcome, gate=gate, number=number, source=source_octets(source))

    def of_session(
        self, act: Act, account: AccountId, channel: Channel, number: int, outcome: Outcome = Outcome.DONE
    ) -> None:
        """Take a record of a gate's session."""
        self.note(act, account, outcome, gate=PROCESSES[channel.compartment].slot, number=number)

    async def flush(self) -> None:
        """Write what waits, durably."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._writing:
            while self._waiting:
                day = self._waiting[0].at // DAY_MS
                batch = list(takewhile(lambda one: one.at // DAY_MS == day, self._waiting[:BLOCK_RECORDS_MAX]))  # noqa: B023  # used at once
                await self._database.write(lambda _, day=day, batch=batch: self._append(day, batch))  # type: ignore[misc]  # the loop's values of now
                del self._waiting[: len(batch)]

    @property
    def waiting_since(self) -> int:
        """When the oldest record was taken that is not written yet, in ms since 1970; 0 where all are."""
        return min((one.at for one in tuple(self._waiting)), default=0)  # a copy: the loop goes on taking records

    def root_details(self) -> dict[str, str | int | bool | None]:
        """For the ledger's count of the minute: blocks since the last time, and the root over all since the start."""
        blocks, self._noted = self._blocks - self._noted, self._blocks
        return {"blocks": blocks, "blocks_root": self._chain.hex()} if blocks else {}

    def dated(self) -> bool:
        """Whether days may be destroyed by today's date: a day of running bears it out, or records of two to four days
        ago, as many as only a clock that has gone on for a whole day since has behind it.

        A clock that was set far ahead by mistake would destroy every day at once. Yesterday's records say nothing: they
        may be minutes old, from before a midnight of that very clock.
        """
        now, today = steady(), time.time_ns() // 1_000_000 // DAY_MS
        ahead = time.time_ns() / 1e9 - now
        if abs(ahead - self._ahead) > JUMP_SECONDS:
            self._set_at, self._ahead = now, ahead
        return now - self._set_at > DAY_MS / 1000 or any(today - 4 <= day <= today - 2 for day in self.days())

    async def expire(self) -> int:
        """Destroy what is older than keep_days; how many days that were."""
        oldest = time.time_ns() // 1_000_000 // DAY_MS - self.keep_days
        aside = {int(path.name.partition(".")[0]) for path in self.root.glob("*.damaged")}
        gone = [day for day in sorted({*self.days(), *aside}) if day < oldest]
        if gone:
            await self._database.write(lambda _: self._destroy(gone))
        return len(gone)

    async def aside(self, work: Callable[[], T]) -> T:
        """What `work` gives, in a thread, one at a time. Raises TemporaryFailure (`busy`) where too many wait."""
        if self._searches >= SEARCHES_MAX:
            raise TemporaryFailure("other searches go on; ask again in some seconds", code="busy")
        if self._searcher is None:
            self._searcher = ThreadPoolExecutor(1, "accesses")
        self._searches += 1
        try:
            try:
                await self.flush()
            except (Error, OSError) as error:  # a full disk keeps nobody from what is written
                _log.error("access records wait for the disk: %s", error)
            return await asyncio.get_running_loop().run_in_executor(self._searcher, work)
        finally:
            self._searches -= 1

    async def close(self) -> None:
        """Write what waits."""
        self._expiring.cancel()
        await asyncio.wait([self._expiring])
        try:
            await self.flush()
        except (Error, OSError) as error:
            _log.error("%d access records were not written: %s", len(self._waiting), error)
        if self._searcher is not None:
            self._searcher.shutdown(wait=False)

    def days(self) -> list[int]:
        """Days whose key is there, oldest first."""
        return sorted(int(path.stem) for path in self.root.glob("*.key") if path.stem.isdecimal())

    def day_key(self, day: int) -> bytes:
        """Raises IntegrityError."""
        record = (self.root / f"{day}.key").read_bytes()
        version = int.from_bytes(record[3:7], "big")
        try:
            by = self._keys.get(KEY, version)
        except Refused:
            raise IntegrityError(f"accesses of day {day}: their key is gone") from None
        return open_day_key(record, by, self.tenant, self.compartment, day)

    def opener(self, day: int) -> DayOpener:
        """Opens that day's blocks. Raises IntegrityError."""
        return DayOpener(self.tenant, self.compartment, day, self.day_key(day))

    def left_off(self, day: int, frame: Frame) -> None:
        """Note that a search goes on behind this block, or in it: it need not be looked for from the day's begin."""
        if len(self._left_off) >= LEFT_OFF_MAX:
            self._left_off.clear()
        self._left_off |= {(day, frame.offset): frame.number, (day, frame.end): frame.number + 1}

    def frames(self, descriptor: int, day: int, offset: int) -> Iterator[Frame]:
        """Those of a day that begin at `offset` or behind it."""
        if (number := self._left_off.get((day, offset))) is not None:
            return frames(descriptor, number=number, offset=offset)
        return (frame for frame in frames(descriptor) if frame.offset >= offset)

    # --- on the writer's thread --------------------------------------------------------------------------------------

    def _append(self, day: int, records: list[Access]) -> None:
        if day != self._day:
            self._open_day(day)
        place = Place(self.tenant, self.compartment, day, self._number)
        head, record = place.seal(self._key, Block.of(records))
        descriptor = os.open(self.root / str(day), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            frame = LEAD.pack(len(record), head) + record
            begin = os.fstat(descriptor).st_size
            try:
                _write_whole(descriptor, frame)
                os.fdatasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, begin)
                raise
        finally:
            os.close(descriptor)
        self._number += 1
        self._blocks += 1
        self._chain = hashlib.sha256(self._chain + head + record[-TAG_BYTES:]).digest()

    def _open_day(self, day: int) -> None:
        path, key = self.root / str(day), self.root / f"{day}.key"
        opened = self._opened(day)
        if not opened:
            path.unlink(missing_ok=True)
            version, by = self._keys.current(KEY)
            record = seal_day_key(secrets.token_bytes(32), version, by, self.tenant, self.compartment, day)
            _write_new(key, record)
            opened = self.day_key(day)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            number, end = 0, 0
            for frame in frames(descriptor):
                number, end = frame.number + 1, frame.end
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self.root)
        self._key, self._number, self._day = opened, number, day
        self._left_off.clear()  # the file may be another one

    def _opened(self, day: int) -> bytes:
        """The day's key; empty where there is none. One that does not open is laid aside with what is under it."""
        try:
            return self.day_key(day)
        except FileNotFoundError:
            return b""
        except IntegrityError as error:
            _log.error("%s; its file and its records are laid aside as *.damaged", error.public)
            for path in (self.root / f"{day}.key", self.root / str(day)):
                if path.exists():
                    path.rename(path.with_name(f"{path.name}.damaged"))
            return b""

    def _destroy(self, days: list[int]) -> None:
        for day in days:
            if (self.root / f"{day}.key").exists():
                self._destroy_day(day)
            for path in self.root.glob(f"{day}.*damaged"):
                path.unlink()

    def _destroy_day(self, day: int) -> None:
        if day == self._day:
            self._day = -1  # the clock was set: what comes with that day again has a new key
        key = self.root / f"{day}.key"
        descriptor = os.open(key, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _write_whole(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        key.unlink()
        sync_folder(self.root)
        (self.root / str(day)).unlink(missing_ok=True)

    async def _expire_forever(self) -> None:
        while True:
            try:
                if self.dated():
                    await self.expire()
            except (Error, OSError) as error:
                _log.error("old access records are not destroyed yet: %s", error)
            await asyncio.sleep(EXPIRE_SECONDS)

    def _flush_later(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self._flush_quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except (Error, OSError) as error:
            _log.error("access records wait for the disk: %s", error)
            self._timer = asyncio.get_running_loop().call_later(5.0, self._flush_later)


def _write_new(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_whole(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)
    sync_folder(path.parent)


def _write_whole(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]

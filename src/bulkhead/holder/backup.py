"""A holder's part in a backup: a snapshot on demand, then one stream that only both recovery keys open.

`BeginBackup` fixes what is in it, and the copy begins at once; `ReadBackup` hands it out, sealed piece by piece in a
thread. No more than one snapshot lies here; it goes with its reader, or after WAIT_SECONDS without one. While one is
read no other is begun: its copy would be made where that lies.
"""

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bulkhead import __version__
from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.backup import (
    BackupBegun,
    BackupStream,
    BeginBackupBase,
    EscrowKeysBase,
    ReadBackupBase,
    SealedKeys,
)
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.terms import Answer, Channel
from bulkhead.errors import Error, IntegrityError, Refused, TemporaryFailure
from bulkhead.holder.blocks import Changed, compare, keep_list, read_list, remove_torn
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.snapshot import COPY, Snapshot, remove_copy
from bulkhead.records.backup import KEYS, STREAM, Head, Recipients, StreamSealer
from bulkhead.records.blocks import SUFFIX
from bulkhead.records.hpke import load_public_key
from bulkhead.records.keyfile import KeySet
from bulkhead.records.mailbox import RecoveryKey

WAIT_SECONDS = 60.0  # between the snapshot and its reader, or the last word that there will be one
READ_WAIT_SECONDS = 10.0  # for a snapshot that is being read
BODY_BYTES = 1 << 18  # of one step to the thread
RECOVERY_VERSION = 1
_log = logging.getLogger("bulkhead.holder")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a stream. size: known before its pieces are read."""

    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]


class Source(Protocol):
    """What a compartment gives into a backup, fixed at one moment."""

    @property
    def notes(self) -> Mapping[str, int]:
        """Numbers for the stream's head."""

    @property
    def begun(self) -> BackupBegun:
        """What the asker is told."""

    def prepare(self) -> None:
        """Copy what must be copied. In a thread; blocks."""

    def parts(self) -> Iterator[Part]:
        """The files, after `prepare`. In a thread; blocks."""

    def prepared(self) -> None:
        """On the loop, right after `prepare`."""

    def compare(self) -> str:
        """The backup since which changed blocks are carried; empty: all of it. After `prepare`, in a thread; blocks."""

    def close(self) -> None:
        """Let go of everything."""


class Shipper(Protocol):
    """What ships a compartment's changes beside its backups (holder/standby.py)."""

    async def stop(self) -> None:
        """Ship no more."""


class DatabaseSource:
    """A database, whole or its changed blocks, and files that never change beside it."""

    notes: Mapping[str, int]

    def __init__(self, database: Database, request: BeginBackupBase, copy: Path = COPY) -> None:
        self.notes = {}
        self.snapshot = Snapshot(database, copy)
        self._name, self._request = database.path.name, request
        self._changed: Changed | None = None
        self.begun = BackupBegun(self.snapshot.octets)

    def prepare(self) -> None:
        """Source.prepare."""
        self.snapshot.copy()

    def prepared(self) -> None:
        """Source.prepared."""
        self.snapshot.release()

    def compare(self) -> str:
        """Source.compare: where most of it changed, it is carried whole, so that no more are to be put on another."""
        descriptor, size = self.snapshot.descriptor, self.snapshot.octets
        known = None if self._request.whole else read_list(self._request.parent)
        found = compare(descriptor, size, known)
        hashes = found.hashes
        if known is not None and found.octets * 2 <= size:
            self._changed = found
        else:
            hashes = replace(hashes, links=0)
        keep_list(self._request.backup, hashes, self._request.parent)
        return self._request.parent if self._changed else ""

    def parts(self) -> Iterator[Part]:
        """Source.parts."""
        changed = self._changed
        if changed is None:
            yield Part(self._name, self.snapshot.octets, self.snapshot.pieces)
        else:
            yield Part(self._name + SUFFIX, changed.octets, partial(changed.pieces, self.snapshot.descriptor))

    def close(self) -> None:
        """Source.close."""
        self.snapshot.close()


@dataclass(slots=True)
class _Waiting:
    """A snapshot and the making of its copy."""

    head: Head
    source: Source
    copying: "asyncio.Task[str]"
    release: Callable[[], bool]
    timer: asyncio.TimerHandle = field(repr=False)


def no_barrier() -> Callable[[], bool]:
    """Nothing was held, and so it was held long enough."""
    return lambda: True


async def no_wait() -> Callable[[], bool]:
    """A barrier that nothing stands behind."""
    return no_barrier()


class Backups:
    """The snapshots of one compartment. take: fixes what is in one; for store, `have` says what it may leave out.

    keys: the key file, where it has keys. barrier: awaited before the snapshot; gives what ends it, which says whether
    it held until then.
    """

    def __init__(
        self,
        host: Host,
        take: Callable[[BeginBackupBase], Awaitable[Source]],
        keys: KeyFile | None = None,
        needs: Callable[[], Mapping[str, tuple[int, ...]]] = dict,
        barrier: Callable[[], Awaitable[Callable[[], bool]]] = no_wait,
    ) -> None:
        self._tenant, self._compartment = host.tenant, host.channel.compartment
        self._pinned: Mapping[str, Any] = host.settings.get("pinned", {})
        self._take, self._keys, self._needs, self._barrier = take, keys, needs, barrier
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backup")
        self._waiting: _Waiting | None = None
        self._beginning = asyncio.Lock()
        self._unread = asyncio.Event()  # no snapshot is being read
        self._unread.set()
        self.standby: Shipper | None = None
        remove_copy()
        remove_torn()

    async def begin(self, request: BeginBackupBase) -> BackupBegun:
        """Fix what is in it, or let it wait on.

        Raises Refused (`no-recovery-key`, `no-snapshot`), TemporaryFailure (`busy`: another one is read).
        """
        if request.keep:
            return self._keep(request.backup)
        self.recipients()
        async with self._beginning:
            await self._drop()
            await self._wait_for_reader()
            release = await self._barrier()
            try:
                source = await self._take(request)
            except BaseException:
                release()
                raise
            head = self.head(request.backup, STREAM, source.notes)
            loop = asyncio.get_running_loop()
            copying = loop.create_task(self._copy(source))
            timer = loop.call_later(WAIT_SECONDS, self._expire, request.backup)
            self._waiting = _Waiting(head, source, copying, release, timer)
            return source.begun

    async def read(self, request: ReadBackupBase) -> Answer:
        """The stream. Raises Refused (`no-snapshot`), TemporaryFailure (`barrier`, `storage`)."""
        waiting = self._waiting
        if waiting is None or waiting.head.backup != request.backup:
            raise _no_snapshot()
        self._waiting = None
        self._unread.clear()
        waiting.timer.cancel()
        try:
            if not waiting.release():
                raise TemporaryFailure("changes of credentials were held too long: begin again", code="barrier")
            waiting.head = replace(waiting.head, parent=await waiting.copying)
        except BaseException:
            await self._close(waiting)
            raise
        return Answer(BackupStream(), self._body(waiting))

    def escrow(self, name: str) -> SealedKeys:
        """The key set, for whoever has both recovery keys. Raises Refused (`no-recovery-key`)."""
        keys = KeySet() if self._keys is None else self._keys.keys
        sealer = StreamSealer(self.head(name, KEYS, {}), self.recipients())
        octets = msgspec.msgpack.encode(keys)
        pieces = [sealer.begin(), *sealer.file("keys", len(octets)), *sealer.update(octets), *sealer.end()]
        return SealedKeys(b"".join(pieces))

    async def stop(self) -> None:
        """Drop what waits. A reader finds its stream cut short."""
        await self._drop()
        if self.standby is not None:
            await self.standby.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def head(self, backup: str, content: str, notes: Mapping[str, int]) -> Head:
        """What stands in clear before a stream of this compartment."""
        created = int(time.time() * 1000)
        return Head(self._tenant, self._compartment, backup, content, created, __version__, self._needs(), notes)

    def recipients(self) -> Recipients:
        """Both recovery keys. Raises Refused (`no-recovery-key`)."""
        found = []
        for name in ("recovery_partner", "recovery_operator"):
            text = str(self._pinned.get(name, ""))
            if not text:
                why = f"pinned.{name} is empty: put the party's public recovery key there"
                raise Refused(why, code="no-recovery-key")
            found.append(RecoveryKey(RECOVERY_VERSION, load_public_key(base64.b64decode(text))))
        return Recipients(*found)

    async def _copy(self, source: Source) -> str:
        loop = asyncio.get_running_loop()
        try:
            try:
                await loop.run_in_executor(self._worker, source.prepare)
            finally:
                source.prepared()
            return await loop.run_in_executor(self._worker, source.compare)
        except Error:
            raise
        except Exception as error:
            _log.error("a snapshot could not be copied: %s", error)
            raise TemporaryFailure("the snapshot could not be copied", code="storage") from None

    async def _body(self, waiting: _Waiting) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        pieces = _sealed(waiting.head, self.recipients(), waiting.source)
        try:
            while step := await loop.run_in_executor(self._worker, _some, pieces):
                yield step
        except (OSError, IntegrityError) as error:
            _log.error("a backup's stream ends early: %s", error)
            raise TemporaryFailure("what is stored could not be read", code="storage") from None
        finally:
            await self._close(waiting)

    async def _close(self, waiting: _Waiting) -> None:
        waiting.timer.cancel()
        waiting.release()
        await asyncio.wait([waiting.copying])
        if not waiting.copying.cancelled():
            waiting.copying.exception()  # fetched: whoever reads it was told
        waiting.source.close()
        self._unread.set()  # who waits and who is read are never two

    async def _wait_for_reader(self) -> None:
        try:
            async with asyncio.timeout(READ_WAIT_SECONDS):
                await self._unread.wait()
        except TimeoutError:
            raise TemporaryFailure("a backup or an export is being read: try again after it", code="busy") from None

    async def _drop(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await self._close(waiting)

    def _keep(self, backup: str) -> BackupBegun:
        """Another holder's stream is long: what waits here is still wanted."""
        waiting = self._waiting
        if waiting is None or waiting.head.backup != backup:
            raise _no_snapshot()
        waiting.timer.cancel()
        waiting.timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._expire, backup)
        return waiting.source.begun

    def _expire(self, backup: str) -> None:
        if self._waiting is not None and self._waiting.head.backup == backup:
            _log.warning("nobody read the snapshot of backup %s", backup)
            task = asyncio.get_running_loop().create_task(self._drop())
            task.add_done_callback(lambda done: done.exception())


def _no_snapshot() -> Refused:
    return Refused("no snapshot of that backup waits here: begin again", code="no-snapshot")


def of_database(
    host: Host,
    database: Database,
    keys: KeyFile | None = None,
    needs: Callable[[], Mapping[str, tuple[int, ...]]] = dict,
    barrier: Callable[[], Awaitable[Callable[[], bool]]] = no_wait,
) -> Backups:
    """The backups of a compartment that has a database and nothing beside it."""

    async def take(request: BeginBackupBase) -> Source:
        return DatabaseSource(database, request)

    return Backups(host, take, keys, needs, barrier)


def _sealed(head: Head, recipients: Recipients, source: Source) -> Iterator[bytes]:
    sealer = StreamSealer(head, recipients)
    yield sealer.begin()
    for part in source.parts():
        yield from sealer.file(part.name, part.size)
        left = part.size
        for piece in part.pieces():
            left -= len(piece)
            yield from sealer.update(piece)
        if left:
            raise IntegrityError(f"{part.name} changed while it was read")
    yield from sealer.end()


def _some(pieces: Iterator[bytes]) -> bytes:
    """The next pieces as one; empty at the end."""
    taken, size = [], 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size >= BODY_BYTES:
            break
    return b"".join(taken)


def handlers(
    begin: type[BeginBackupBase], read: type[ReadBackupBase], escrow: type[EscrowKeysBase]
) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `backups`."""

    async def begin_backup(state: Any, _: Channel, request: BeginBackupBase, __: BodyReader | None) -> BackupBegun:
        """Fix what is in it."""
        begun: BackupBegun = await state.backups.begin(request)
        return begun

    async def read_backup(state: Any, _: Channel, request: ReadBackupBase, __: BodyReader | None) -> Answer:
        """Hand it out, sealed."""
        answer: Answer = await state.backups.read(request)
        return answer

    def escrow_keys(state: Any, _: Channel, request: EscrowKeysBase, __: BodyReader | None) -> SealedKeys:
        """The key set, sealed."""
        sealed: SealedKeys = state.backups.escrow(request.name)
        return sealed

    return {begin: begin_backup, read: read_backup, escrow: escrow_keys}

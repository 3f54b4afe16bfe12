"""What store ships to a standby: octets as they are written to segments, then the pages that name them.

The base is a backup's, but that segments which are still written to are carried as long as they are: what the snapshot
does not name yet is named by changes that follow.
"""

import os
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.boundary.messages.standby import BeginStandbyBase
from bulkhead.holder.backup import Backups, Source
from bulkhead.holder.shipping import Shipping
from bulkhead.holder.standby import COPY, Standby, attach, settle, start
from bulkhead.records.standby import Keep, Op, Remove
from bulkhead.store.backup import StoreSource, closed_segments
from bulkhead.store.disk import Disk
from bulkhead.store.segment import path_of
from bulkhead.store.state import State

LINEAGE = "standby.lineage"


class ShippedDisk(Disk):
    """A disk whose writes are shipped. Only segments are made on it."""

    def __init__(self, shipping: Shipping) -> None:
        self._shipping, self._paths = shipping, dict[int, str]()

    def create(self, path: str) -> int:
        """Disk.create."""
        fd = super().create(path)
        self._paths[fd] = path
        return fd

    def close(self, fd: int) -> None:
        """Disk.close."""
        self._paths.pop(fd, None)
        super().close(fd)

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """Disk.pwrite."""
        super().pwrite(fd, data, offset)
        self._shipping.wrote(self._paths[fd], offset, len(data), fd)

    def unlink(self, path: str) -> None:
        """Disk.unlink."""
        super().unlink(path)
        self._shipping.change(Remove(path))


class StandbySource(StoreSource):
    """The base: a backup's files, the growing segments whole."""

    copy = COPY

    def _have(self, request: BeginBackupBase) -> set[int]:
        return set(request.have)

    def _size(self, number: int) -> int:
        return self._disk.size(path_of(number))


def _kept(source: Source) -> Iterator[Op]:
    if isinstance(source, StandbySource):
        for number in set(source.begun.segments) - set(source.begun.carried):
            yield Keep(path_of(number))


def _lineage(state: State) -> int:
    """A number for what this directory's segments are: made once, and not in what is shipped or restored."""
    if not state.disk.size(LINEAGE):
        fd = Disk().create(LINEAGE)
        try:
            os.write(fd, secrets.token_bytes(7))
            os.fsync(fd)
        finally:
            os.close(fd)
        state.disk.fsync_directory(".")
    return int.from_bytes(Path(LINEAGE).read_bytes(), "big")


async def _take(state: State, shipping: Shipping, request: BeginStandbyBase) -> Source:
    await start(state.database, shipping)
    state.checking += 1  # no file goes before it is held
    try:
        lineage = _lineage(state)
        have = request.have if request.lineage == lineage else ()
        source = StandbySource(state, await closed_segments(state), BeginBackupBase(request.stream, have))
        source.notes = {**source.notes, "lineage": lineage}
    finally:
        state.checking -= 1
        state.reap()
    await settle(state.database)
    return source


def ship(host: Host, state: State, backups: Backups, shipping: Shipping) -> None:
    """Have this store ship what it changes."""
    standby = Standby(host, backups, shipping, partial(_take, state, shipping), kept=_kept)
    state.lease = standby.lease
    attach(standby, backups, state.database)

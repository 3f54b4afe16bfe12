"""What store gives into a backup: its database at one moment, and every segment that it names.

Segments are closed for that first: on the writer's thread, behind the sync that what was put needs, so that a segment
that is *final* never changes again, and the next backup may leave it out. One into which an upload is still streaming
is none; nor is the one opened since: both are carried up to the end of the last record that the snapshot names, and
anew by the next backup. The bound matters: a record behind it knows of later commits than the snapshot, and a store
that finds one refuses to start. No segment's file goes while its stream is being read.
"""

import os
from collections.abc import Iterator
from functools import partial

from bulkhead.boundary.messages.backup import SEGMENTS_MAX, BackupBegun, BeginBackupBase
from bulkhead.errors import TemporaryFailure
from bulkhead.holder.backup import DatabaseSource, Part
from bulkhead.holder.blocks import made_here
from bulkhead.holder.snapshot import COPY
from bulkhead.store.segment import HEADER_BYTES, Hold, path_of
from bulkhead.store.state import State

PIECE = 1 << 18
_ENDS = (
    "SELECT max(end) FROM (SELECT max(offset + {header} + summary_size + header_size + body_size) AS end FROM email"
    " WHERE segment = {number} UNION ALL SELECT max(offset + {header} + size) FROM page WHERE segment = {number})"
)


class StoreSource(DatabaseSource):
    """The snapshot with its segments, held until `close`. copy: where the database's lies meanwhile."""

    copy = COPY

    def __init__(self, state: State, final: set[int], request: BeginBackupBase) -> None:
        super().__init__(state.database, request, self.copy)
        self._hold: Hold | None = None
        self._disk, self._final = state.disk, final
        self._sizes: dict[int, int] = {}
        try:
            named = [number for (number,) in self.snapshot.rows("SELECT number FROM segment WHERE live > 0")]
            if len(named) > SEGMENTS_MAX:
                raise TemporaryFailure(f"a backup takes {SEGMENTS_MAX} segments at most", code="too-many-segments")
            have = self._have(request)
            self._carried = [number for number in named if number not in have or number not in final]
            ((octets,),) = self.snapshot.rows("SELECT coalesce(sum(bytes), 0) FROM segment")
        except BaseException:
            self.close()
            raise
        self._hold = state.segments.hold(named)
        self.notes = {"segments": len(named)}
        lasting = tuple(number for number in named if number in final)
        self.begun = BackupBegun(self.snapshot.octets + octets, tuple(named), tuple(self._carried), lasting)

    def _have(self, request: BeginBackupBase) -> set[int]:
        """Segments to leave out."""
        return set(request.have) if made_here(request.parent) else set()

    def prepare(self) -> None:
        """Source.prepare."""
        self._sizes = {number: self._size(number) for number in self._carried}
        super().prepare()

    def _size(self, number: int) -> int:
        if number in self._final:
            return self._disk.size(path_of(number))
        ((end,),) = self.snapshot.rows(_ENDS.format(header=HEADER_BYTES, number=int(number)))
        return end or 0

    def parts(self) -> Iterator[Part]:
        """Source.parts."""
        yield from super().parts()
        for number in self._carried:
            yield Part(path_of(number), self._sizes[number], partial(self._pieces, number))

    def _pieces(self, number: int) -> Iterator[bytes]:
        descriptor, end = self._disk.open(path_of(number)), self._sizes[number]
        try:
            for offset in range(0, end, PIECE):
                yield os.pread(descriptor, min(PIECE, end - offset), offset)
        finally:
            self._disk.close(descriptor)

    def close(self) -> None:
        """Source.close."""
        super().close()
        self._hold = None


async def take(state: State, request: BeginBackupBase) -> StoreSource:
    """The snapshot of this moment."""
    state.checking += 1  # no file goes before it is held
    try:
        return StoreSource(state, await closed_segments(state), request)
    finally:
        state.checking -= 1
        state.reap()


async def closed_segments(state: State) -> set[int]:
    """Close the segments that nobody streams into; those that never change from here on."""
    numbers = [number for (number,) in state.database.read("SELECT number FROM segment")]
    return await state.database.write(
        lambda _: {number for number in numbers if state.segments.retire(number)}, before=state.segments.sync
    )

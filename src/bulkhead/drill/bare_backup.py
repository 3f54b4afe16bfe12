"""A bare cell backed up and restored as a live one is: the same holders' streams, the same restore, without a road."""

import contextlib
import io
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bulkhead.boundary.messages.fields import Request
from bulkhead.cli.backup_store import MANIFEST, Manifest, Shelf, Stream
from bulkhead.cli.backup_target import DirectoryTarget
from bulkhead.cli.escrow import escrow_file
from bulkhead.cli.escrow_keys import MESSAGES
from bulkhead.cli.restore import Restoring
from bulkhead.cli.restore_files import Source, make_home, write_compartment, write_keys
from bulkhead.drill.bare_cell import HOLDERS, SECONDS, BareCell
from bulkhead.holder.keys import KEY_FILE, KeyFile
from bulkhead.ledger.create import LOG
from bulkhead.records.backup import LEAD_MAX, PrivateKeys, read_lead
from bulkhead.supervisor.layout import Layout

BACKUP = "20260101T000000Z-00000000"


class BareRoad:
    """What the command line's steps ask of a road, over the bare cell's own edges."""

    def __init__(self, cell: BareCell) -> None:
        self._cell = cell
        self.layout = Layout(cell.root, cell.tenant)
        self.tenant = SimpleNamespace(id=cell.tenant, settings=SimpleNamespace(text=lambda _: ""))  # no file: defaults

    async def ask(self, compartment: str, request: Request[Any], *, timeout: float = SECONDS) -> Any:
        """Road.ask."""
        return await self._cell.exchanges["cli"].to(compartment).call(request, timeout=timeout)

    async def open(self, compartment: str, request: Request[Any], *, timeout: float = SECONDS) -> Any:
        """Road.open."""
        return await self._cell.exchanges["cli"].to(compartment).open(request, timeout=timeout)


@dataclass(frozen=True, slots=True)
class BareBackup:
    """A backup of the cell, in a directory of its own. road: for whatever is done afterwards."""

    cell: BareCell
    place: Path
    road: Any

    async def escrow(self) -> None:
        """The keys of this moment into the escrow, instead of those that are there."""
        for name in MESSAGES:
            sealed = await self.road.ask(name, MESSAGES[name].EscrowKeys("now"))
            path = escrow_file(self.place, name)
            path.unlink(missing_ok=True)
            path.write_bytes(sealed.stream)

    def restoring(self, layout: Layout) -> Restoring:
        """The restore of it, with both recovery keys and the escrow that is there."""
        return Restoring(layout, self.road.tenant, self._source(), self.place)

    def streams(self, layout: Layout, names: tuple[str, ...]) -> Mapping[str, KeyFile]:
        """What a thief with both recovery keys opens: these compartments' streams, and their keys of the escrow."""
        sets = self.restoring(layout).sets
        for name in names:
            write_compartment(self._source(), name, make_home(layout, name))
        return write_keys(layout, {name: sets[name] for name in names})

    async def restore(self) -> None:
        """The cell made anew from it, with the log that it has now, and started."""
        cell, layout = self.cell, Layout(self.place / secrets.token_hex(4), self.cell.tenant)
        for name in HOLDERS[::-1]:
            await cell.stop(name)
        layout.cell.mkdir(parents=True)
        work = self.restoring(layout)
        log = self.place / f"{layout.directory.name}-log"
        shutil.copytree(cell.root / "ledger" / LOG, log)
        with contextlib.redirect_stderr(io.StringIO()):
            await work.run([log], history_intact=False)
        for name, keys in work.sets.items():
            path = layout.home(name) / KEY_FILE
            path.write_bytes(keys.seal(cell.tenant, name, 1, cell._root_key))
        cell.root = layout.cell
        os.chdir(cell.root / "store")
        for name in HOLDERS:
            await cell.start(name)

    def _source(self) -> Source:
        shelf = Shelf(DirectoryTarget(self.place), self.cell.tenant)
        return Source(shelf, shelf.manifest(BACKUP), PrivateKeys(*self.cell.recovery))


async def back_up(cell: BareCell, place: Path | None = None) -> BareBackup:
    """A whole backup of it, and the escrow, in a new directory.

    Nothing changes meanwhile, so no barrier is needed between the holders. A holder's snapshot lies in its
    working directory, which one process has for all of them: one after another.
    """
    place = place or cell.root.parent / secrets.token_hex(4)
    place.mkdir()
    road = BareRoad(cell)
    made, shelf = BareBackup(cell, place, road), Shelf(DirectoryTarget(place), cell.tenant)
    streams, segments = [], dict[int, tuple[str, bool]]()
    for name, module in MESSAGES.items():
        os.chdir(cell.root / name)
        try:
            begun = await road.ask(name, module.BeginBackup(BACKUP))
            _, body = await road.open(name, module.ReadBackup(BACKUP))
            file = shelf.create(BACKUP, f"{name}.stream")
            async for piece in body:
                file.write(piece)
            octets, digest = file.octets, file.done()
        finally:
            os.chdir(cell.root / "store")
        head = read_lead(shelf.read(BACKUP, f"{name}.stream", LEAD_MAX)).head
        streams.append(Stream(name, octets, digest, dict(head.needs)))
        segments |= dict.fromkeys(begun.segments, (BACKUP, False))
    await made.escrow()
    shelf.write(BACKUP, MANIFEST, Manifest(cell.tenant, BACKUP, 1, "drill", tuple(streams), segments).encode())
    return made

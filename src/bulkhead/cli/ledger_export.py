"""`ledger TENANT export DIR`: what is new of the live log, as C2SP tlog-tiles, checked before it takes its name."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bulkhead.boundary.messages.to_ledger import ProveConsistency
from bulkhead.cli.ledger import ledger_key, read_checkpoint, read_entries
from bulkhead.cli.ledger_offline import telling
from bulkhead.cli.output import print_json
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.errors import IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.export import ExportedFile, Growing, write_export
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import CHECKPOINT
from bulkhead.ledger.merkle import verify_consistency
from bulkhead.ledger.note import NOTE_MAX, Checkpoint
from bulkhead.ledger.tiles import partial_tiles
from bulkhead.ledger.verify import check_not_smaller, forked, parse_signed, verify_signed

FILES_AT_ONCE = 64


def export(options: argparse.Namespace) -> int:
    """Bring an export up to the newest checkpoint."""
    road = open_road(options.directory, options.tenant)
    target = Path(options.to)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = DirectoryFiles(str(target))
    try:
        files.lock()
        with telling(argparse.Namespace(json=False), {}):
            made = wait_for(_Export(road, files).run())
    finally:
        files.close()
    _remove_partial(target, made.before, made.checkpoint.size)
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant, "origin": made.checkpoint.origin, "size": made.checkpoint.size,
            "root": made.checkpoint.root.hex(), "key": str(ledger_key(road.tenant)), "before": made.before,
            "files": made.files, "octets": made.octets, "cosigned": made.cosigned,
        })  # fmt: skip
        return 0
    print(f"{target}: {made.checkpoint.size} entries, {made.checkpoint.size - made.before} of them new")
    print(f"check it anywhere: bulkhead ledger verify {target} --key {ledger_key(road.tenant)}")
    return 0


class _Export:
    """One run. before: entries that the directory had."""

    def __init__(self, road: Road, files: DirectoryFiles) -> None:
        self._road, self._files = road, files
        self.before = self.files = self.octets = 0
        self.cosigned = False
        self.checkpoint = Checkpoint("", 0, b"")

    async def run(self) -> "_Export":
        """Write what is new; raises IntegrityError with the alarm's code, and leaves the old checkpoint in place."""
        earlier = self._earlier()
        self.before = earlier.size if earlier else 0
        async with self._road as road:
            self.checkpoint, text = await read_checkpoint(road)
            if earlier:
                check_not_smaller(earlier, self.checkpoint)
            growing = Growing(self._files, self.before)
            waiting: list[ExportedFile] = []
            async for _, entry in read_entries(road, growing.begin, self.checkpoint.size):
                waiting += growing.take(entry)
                if len(waiting) >= FILES_AT_ONCE:
                    write_export(self._counted(waiting), self._files)
                    waiting = []
            if growing.root() != self.checkpoint.root:
                raise await self._fault(road, earlier)
        waiting += [*growing.partial(), ExportedFile(CHECKPOINT, text.encode())]
        write_export(self._counted(waiting), self._files)
        self.cosigned = text.count("\n\u2014 ") > 1
        return self

    def _earlier(self) -> Checkpoint | None:
        key = ledger_key(self._road.tenant)
        try:
            data = self._files.read(CHECKPOINT, limit=NOTE_MAX)
        except FileNotFoundError:
            return None
        return verify_signed(parse_signed(data, CHECKPOINT, key), CHECKPOINT, key.name, key)

    async def _fault(self, road: Road, earlier: Checkpoint | None) -> IntegrityError:
        """Why entries and earlier tiles do not lead to the root."""
        if earlier is not None and 0 < earlier.size < self.checkpoint.size:
            proof = (await road.ask("ledger", ProveConsistency(earlier.size, self.checkpoint.size))).hashes
            try:
                verify_consistency(earlier.size, self.checkpoint.size, proof, earlier.root, self.checkpoint.root)
            except IntegrityError:
                return forked(earlier)
        return IntegrityError(
            "entries and the tiles of the earlier export do not lead to the signed root; verify the directory",
            code=Alarm.DAMAGED.value,
        )

    def _counted(self, exported: list[ExportedFile]) -> Iterator[ExportedFile]:
        for one in exported:
            self.files, self.octets = self.files + 1, self.octets + len(one.data)
            yield one


def _remove_partial(target: Path, before: int, size: int) -> None:
    """Partial tiles of the earlier checkpoint, which nothing needs any more (tlog-tiles, partial tiles)."""
    kept = {tile.path for tile in partial_tiles(size)}
    for tile in partial_tiles(before):
        if tile.path not in kept:
            (target / tile.path).unlink(missing_ok=True)

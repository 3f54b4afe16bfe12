"""`ledger TENANT cosign|watch|attach`: the partner's witness, of a live log over the road or of an export.

One look: read the newest checkpoint, read every entry behind what was cosigned last, see that they lead to its root,
cosign it durably, hand the line to the live log, then say what is late. Anything that the bytes prove ends it.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bulkhead.boundary.messages.to_ledger import AddCosignature, ProveConsistency, ReadCheckpoint
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger import ledger_key, read_entries
from bulkhead.cli.ledger_keys import read_witness_key
from bulkhead.cli.ledger_offline import alarm_of, named, public_key
from bulkhead.cli.output import print_json, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, IntegrityError, Refused, TemporaryFailure
from bulkhead.ledger.alarm import ALARMS, Alarm
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.merkle import verify_consistency
from bulkhead.ledger.note import NOTE_MAX, Checkpoint, Note, SignatureType, VerifierKey
from bulkhead.ledger.span import read_tile
from bulkhead.ledger.tiles import BUNDLE_MAX, TILE_WIDTH, Tile, parse_bundle
from bulkhead.ledger.tree import read_file
from bulkhead.ledger.verify import verify_export
from bulkhead.ledger.witness import Reading, Witness

AHEAD_MS = 300_000  # how far two clocks may differ


@dataclass(slots=True)
class Look:
    """What one look found. alarms: (alarm, what was seen), none of them a proof."""

    checkpoint: Checkpoint
    before: int
    newest: int
    note: Note
    cosigned: int
    carried: bool = False
    alarms: list[tuple[Alarm, str]] = field(default_factory=list)


class Source(Protocol):
    """Where a log is read from."""

    name: str
    key: VerifierKey

    async def checkpoint(self) -> bytes:
        """The newest signed checkpoint."""

    async def read(self, reading: Reading, checkpoint: Checkpoint) -> None:
        """Give every entry behind the reading's frontier to it."""

    async def fault(self, witness: Witness, note: Note, checkpoint: Checkpoint) -> IntegrityError:
        """What is wrong where the entries do not lead to the root."""

    async def carry(self, note: Note) -> bool:
        """Hand the cosigned checkpoint back; whether the log carries it."""


class Live:
    """A live log, over the road."""

    def __init__(self, road: Road) -> None:
        self._road, self.name, self.key = road, str(road.tenant.id), ledger_key(road.tenant)

    async def checkpoint(self) -> bytes:
        """Source.checkpoint."""
        return (await self._road.ask("ledger", ReadCheckpoint())).text.encode()

    async def read(self, reading: Reading, checkpoint: Checkpoint) -> None:
        """Source.read."""
        async for _, entry in read_entries(self._road, reading.frontier.size, checkpoint.size):
            reading.take(entry)

    async def fault(self, witness: Witness, note: Note, checkpoint: Checkpoint) -> IntegrityError:
        """Source.fault: a fork where not even the log's own proof leads from what was seen to its root."""
        seen = witness.seen.checkpoint if witness.seen else None
        if seen is not None and 0 < seen.size < checkpoint.size:
            proof = (await self._road.ask("ledger", ProveConsistency(seen.size, checkpoint.size))).hashes
            try:
                verify_consistency(seen.size, checkpoint.size, proof, seen.root, checkpoint.root)
            except IntegrityError:
                return witness.forked(note)
        return IntegrityError(
            f"checkpoint: the entries that the ledger gives do not lead to its root of size {checkpoint.size}",
            code=Alarm.DAMAGED.value,
        )

    async def carry(self, note: Note) -> bool:
        """Source.carry."""
        await self._road.ask("ledger", AddCosignature(stamp(), note.encode().decode()))
        return True


class Exported:
    """An export in a directory."""

    def __init__(self, directory: str, key: VerifierKey) -> None:
        self.name, self.key, self._files = directory, key, DirectoryFiles(directory)

    async def checkpoint(self) -> bytes:
        """Source.checkpoint."""
        return read_file(self._files, "checkpoint", limit=NOTE_MAX)

    async def read(self, reading: Reading, checkpoint: Checkpoint) -> None:
        """Source.read."""
        start = reading.frontier.size
        while start < checkpoint.size:
            number = start // TILE_WIDTH
            bundle = Tile(None, number, min(TILE_WIDTH, checkpoint.size - number * TILE_WIDTH))
            for entry in read_tile(self._files, bundle, BUNDLE_MAX, parse_bundle)[start % TILE_WIDTH :]:
                reading.take(entry)
            start = reading.frontier.size

    async def fault(self, witness: Witness, note: Note, checkpoint: Checkpoint) -> IntegrityError:
        """Source.fault: the whole export tells which file it is."""
        seen = witness.seen.checkpoint if witness.seen else None
        try:
            verify_export(self._files, self.key.name, self.key, previous=seen)
        except IntegrityError as error:
            return witness.forked(note) if error.code == Alarm.FORK.value else error
        return IntegrityError("checkpoint: the export changed while it was read; look again", code=Alarm.DAMAGED.value)

    async def carry(self, note: Note) -> bool:
        """Source.carry: an export is not written to; `attach` does."""
        return False


def cosign(options: argparse.Namespace) -> int:
    """One look."""
    options.every = 0
    return watch(options)


def watch(options: argparse.Namespace) -> int:
    """One look, or one every so many seconds."""
    if options.every < 0 or options.late < 0:
        raise ConfigError("--every and --late are not negative")
    signer = read_witness_key(Path(options.witness_key))
    state = Path(options.state or f"{options.witness_key}.state")
    make_private_folder(state)
    road = None if options.key else open_road(options.directory, options.tenant)
    source: Source = (
        Exported(options.tenant, public_key(options.key, SignatureType.LOG)) if road is None else Live(road)
    )
    try:
        witness = Witness(DirectoryFiles(str(state)), signer, source.key)
    except IntegrityError as error:
        raise named(error) from None
    try:
        return wait_for(_watch(options, witness, source, road))
    finally:
        witness.close()


async def _watch(options: argparse.Namespace, witness: Witness, source: Source, road: Road | None) -> int:
    if road is None:
        return await _look_again(options, witness, source)
    async with road:
        return await _look_again(options, witness, source)


async def _look_again(options: argparse.Namespace, witness: Witness, source: Source) -> int:
    while True:
        try:
            found = await look(witness, source, late_minutes=options.late)
        except IntegrityError as error:
            if options.json:
                print_json(options.command, _document(source.name, None, witness, (alarm_of(error), error.public)))
            raise named(error) from None
        except TemporaryFailure as failure:
            if not options.every:
                raise
            _tell_away(options, witness, source, failure)
        else:
            _tell(options, source.name, found, witness)
            if not options.every:
                return ExitCode.FINDING if found.alarms else ExitCode.OK
        await asyncio.sleep(options.every)


async def look(witness: Witness, source: Source, *, late_minutes: int) -> Look:
    """One look: verified, cosigned and carried. Raises IntegrityError with an alarm's code."""
    note, checkpoint = witness.check(await source.checkpoint())
    before = witness.seen.checkpoint.size if witness.seen else 0
    reading = Reading(witness.seen)
    await source.read(reading, checkpoint)
    if (reading.frontier.size, reading.frontier.root()) != (checkpoint.size, checkpoint.root):
        raise await source.fault(witness, note, checkpoint)
    reading.end()
    now = int(time.time())
    signed = witness.cosign(note, reading, time=now)
    found = Look(checkpoint, before, reading.newest, signed, now)
    for late in reading.late:
        found.alarms.append((
            Alarm.GAP,
            f"entry {late.index} ({time_text(late.at)}): acts of {late.compartment} came "
            f"{late.waited_ms // 1000} s late",
        ))  # fmt: skip
    found.alarms += stale(reading.newest, now, late_minutes)
    try:
        found.carried = await source.carry(signed)
    except Refused as error:
        if error.code == "not-this-log":
            raise IntegrityError(f"checkpoint: {error.public}", code=Alarm.ROLLBACK.value) from None
        say(f"the live log does not carry the cosignature: {error.public}")
    return found


def stale(newest: int, now: int, late_minutes: int) -> list[tuple[Alarm, str]]:
    """The alarm where no entry is newer than so many minutes. newest: ms, now: s since 1970.

    An entry of a time that is still to come would keep it silent until then: it is one as well.
    """
    if not late_minutes:
        return []
    if newest - now * 1000 > AHEAD_MS:
        text = f"the newest entry says {time_text(newest)}, which is still to come: no silence shows until then"
        return [(Alarm.STALE, text)]
    if now * 1000 - newest <= late_minutes * 60_000:
        return []
    return [(Alarm.STALE, f"the newest entry is of {time_text(newest)}; none came in {late_minutes} minutes")]


def attach(options: argparse.Namespace) -> int:
    """Hand a cosigned checkpoint over."""
    with Path(options.note).open("rb") as file:
        data = file.read(NOTE_MAX + 1)
    if len(data) > NOTE_MAX:
        raise ConfigError(f"{options.note} is no checkpoint")

    async def hand_over(road: Road) -> Any:
        async with road:
            return await road.ask("ledger", AddCosignature(stamp(), data.decode("utf-8", "replace")))

    done = wait_for(hand_over(open_road(options.directory, options.tenant)))
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "size": done.size, "cosigned": done.time})
    else:
        print(f"{options.tenant}: the log carries the cosignature of {time_text(done.time * 1000)} over {done.size}")
    return ExitCode.OK


def _tell(options: argparse.Namespace, name: str, found: Look, witness: Witness) -> None:
    if options.to:
        write_file(Path(options.to), found.note.encode().decode(), replace=True)
    if options.json:
        print_json(options.command, _document(name, found, witness, None))
        return
    carried = "; the log carries it" if found.carried else ""
    print(f"{name}: {found.checkpoint.size} entries, {found.checkpoint.size - found.before} new, cosigned{carried}",
          flush=True)  # fmt: skip
    for alarm, text in found.alarms:
        say(f"{alarm.value}: {text}\n-> {ALARMS[alarm].advice}")


def _tell_away(options: argparse.Namespace, witness: Witness, source: Source, failure: TemporaryFailure) -> None:
    """The cell does not answer: `stale` once its newest entry that was seen is old enough."""
    newest = witness.seen.newest if witness.seen else 0
    late = stale(newest, int(time.time()), options.late)
    if options.json:
        document = _document(source.name, None, witness, late[0] if late else None)
        print_json(options.command, document | {"problem": failure.public})
    else:
        say("".join(f"{alarm.value}: {text}; " for alarm, text in late) + failure.public)


def _document(name: str, found: Look | None, witness: Witness, wrong: tuple[Alarm, str] | None) -> dict[str, Any]:
    alarms = [*(found.alarms if found else []), *([wrong] if wrong else [])]
    first = alarms[0] if alarms else None
    seen = witness.seen
    checkpoint = found.checkpoint if found else seen.checkpoint if seen else None
    return {
        "tenant": name, "origin": checkpoint.origin if checkpoint else None,
        "size": checkpoint.size if checkpoint else None, "root": checkpoint.root.hex() if checkpoint else None,
        "alarm": first[0].value if first else None, "problem": first[1] if first else None,
        "alarms": [{"alarm": alarm.value, "problem": text} for alarm, text in alarms],
        "cosigned": found.cosigned if found else None, "before": found.before if found else 0,
        "newest": found.newest if found else seen.newest if seen else 0, "carried": bool(found and found.carried),
    }  # fmt: skip

"""Records that somebody brought, as files of the installation: `advisories/ID.json`, and `advisories/brought.json`.

Kept are the octets as they came, of records that name a package that is installed; of the others only how many. A
record that comes again in a newer version replaces the older one, and keeps the time at which it first came.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bulkhead.config import write_file
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.inventory.components import Component
from bulkhead.inventory.match import names_any
from bulkhead.inventory.osv import RECORD_MAX, Record, parse_record

FOLDER, STATE = "advisories", "brought.json"
FILES_MAX = 200_000  # of one import
KEPT_MAX = 20_000
STATE_MAX = 8 << 20


class Brought(msgspec.Struct, forbid_unknown_fields=True):
    """came: id to when it first came, ms. at: of the last import. read: records in it. newest: `modified` of any."""

    at: int = 0
    read: int = 0
    newest: int = 0
    came: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import did, in records."""

    read: int
    kept: int
    changed: int
    older: int


def bring(directory: Path, files: Sequence[Path], rows: Sequence[Component], now: int) -> Taken:
    """Read every file, then keep what names one of the components. Raises ConfigError naming the file, keeping none."""
    kept = {record.id: record for record in records(directory)}
    state = read_brought(directory)
    found: dict[str, tuple[Record, bytes]] = {}
    newest = read = 0
    for record, data in _parsed(files):
        read += 1
        newest = max(newest, min(record.modified, now))
        earlier = found.get(record.id)
        named = record.id in kept or names_any(record, rows)  # one that is kept may name something else by now
        if named and (earlier is None or earlier[0].modified < record.modified):
            found[record.id] = (record, data)
    if len(kept.keys() | found.keys()) > KEPT_MAX:
        raise ConfigError(f"{directory / FOLDER} holds at most {KEPT_MAX} records")
    shelf = directory / FOLDER
    shelf.mkdir(mode=0o755, exist_ok=True)
    changed = older = 0
    for name, (record, data) in found.items():
        before = kept.get(name)
        if before is not None and before.modified > record.modified:
            older += 1
        elif before is None or before.sha256 != record.sha256:
            changed += 1
            state.came.setdefault(name, now)  # before the record, so that no record is without
            if before is None:
                _write(directory, state)
            write_file(shelf / f"{name}.json", data.decode(), replace=True)
    state.at, state.read, state.newest = now, read, max(state.newest, newest)
    _write(directory, state)
    return Taken(read, len(found), changed, older)


def read_records(files: Sequence[Path]) -> list[Record]:
    """Every record of files and folders, kept nowhere. Raises ConfigError naming the file."""
    return [record for record, _ in _parsed(files)]


def read_brought(directory: Path) -> Brought:
    """What is known of imports; nothing before the first. Raises IntegrityError."""
    path = directory / FOLDER / STATE
    if not path.exists():
        return Brought()
    try:
        return msgspec.json.decode(_read(path, STATE_MAX), type=Brought)
    except msgspec.MsgspecError:
        raise IntegrityError(f"{path} is not what `bulkhead advisory import` wrote") from None


def records(directory: Path) -> list[Record]:
    """Every record kept, by id. Raises IntegrityError naming the file."""
    shelf = directory / FOLDER
    found = []
    for path in sorted(shelf.glob("*.json")) if shelf.is_dir() else ():
        if path.name == STATE:
            continue
        try:
            record = parse_record(_read(path))
        except ConfigError as error:
            raise IntegrityError(f"{path}: {error.public}") from None
        if f"{record.id}.json" != path.name:
            raise IntegrityError(f"{path} holds {record.id}")
        found.append(record)
    return found


def _parsed(files: Sequence[Path]) -> Iterator[tuple[Record, bytes]]:
    for number, path in enumerate(_each(files)):
        if number >= FILES_MAX:
            raise ConfigError(f"at most {FILES_MAX} records are read at once")
        try:
            data = _read(path)
            record = parse_record(data)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.public}") from None
        yield record, data


def _each(files: Sequence[Path]) -> Iterator[Path]:
    """Files as named; of a folder, every file in it whose name ends in .json."""
    for path in files:
        if path.is_dir():
            yield from sorted(inner for inner in path.iterdir() if re.search(r"\.json$", inner.name))
        else:
            yield path


def _read(path: Path, limit: int = RECORD_MAX) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ConfigError(f"it has more than {limit} octets")
    return data


def _write(directory: Path, state: Brought) -> None:
    write_file(directory / FOLDER / STATE, msgspec.json.encode(state, order="sorted").decode(), replace=True)

"""What this host knows of a tenant's backups without asking where they lie: `DIR/backup/<tenant>.json`.

For `doctor`, metrics and receipts. Lost or damaged, it is empty, and the next run writes it anew.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bulkhead.config import write_file
from bulkhead.errors import ConfigError
from bulkhead.supervisor.layout import Layout

NOTES_MAX = 1 << 16
FOLDER = "backup"


@dataclass(frozen=True, slots=True)
class Notes:
    """Times in ms. made: the newest whole backup; verified: the newest that was found sound."""

    where: str = ""
    made: str = ""
    made_at: int = 0  # when it was begun
    octets: int = 0  # carried
    seconds: float = 0.0
    failed_at: int = 0
    failure: str = ""
    verified: str = ""
    verified_made_at: int = 0
    verified_at: int = 0
    planted_at: int = 0  # canaries, last
    unsound: str = ""  # what the last verification was of, where it found something


def read_notes(layout: Layout) -> Notes:
    """The tenant's notes."""
    try:
        with _path(layout).open("rb") as file:
            found = Notes(**json.loads(file.read(NOTES_MAX)))
    except (OSError, ValueError, TypeError, RecursionError):
        return Notes()
    ours = asdict(Notes())
    return found if all(type(value) is type(ours[name]) for name, value in asdict(found).items()) else Notes()


def change_notes(layout: Layout, **changed: str | int | float) -> None:
    """Write some of them anew, durably. Raises ConfigError."""
    notes = replace(read_notes(layout), **changed)  # type: ignore[arg-type]  # by name, as read_notes checks them
    path = _path(layout)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent}: {error.strerror}") from None
    write_file(path, json.dumps(asdict(notes), sort_keys=True) + "\n", replace=True, mode=0o600)


def note_verified(layout: Layout, backup: str, made_at: int, at: int, *, sound: bool) -> None:
    """That a backup was read, or restored for a test, and what was found."""
    if not sound:
        change_notes(layout, unsound=backup)
    elif made_at >= read_notes(layout).verified_made_at:
        change_notes(layout, verified=backup, verified_made_at=made_at, verified_at=at, unsound="")
    elif read_notes(layout).unsound == backup:
        change_notes(layout, unsound="")


def _path(layout: Layout) -> Path:
    return layout.directory / FOLDER / f"{layout.tenant}.json"

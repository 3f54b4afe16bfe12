"""How far the mail of a backup has come that follows into a cell restored with empty mailboxes."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.supervisor.layout import Layout

FILE_BYTES_MAX = 65_536


@dataclass(slots=True)
class Following:
    """Which backup, and what came. at: the backup whose segments are being read; before: below which message.

    done: backups whose segments are through.   noted: whether the ledger has it.
    """

    backup: str
    sha256: str
    messages: int
    noted: bool = False
    done: tuple[str, ...] = ()
    before: int = 0  # 0: from the newest on
    restored: int = 0
    over_quota: int = 0
    closed: int = 0
    gone: int = 0
    octets: int = 0


def read_following(layout: Layout) -> Following | None:
    """What is still to come, if anything. Raises IntegrityError."""
    try:
        document = json.loads(layout.following.read_bytes()[:FILE_BYTES_MAX])
        return Following(**{**document, "done": tuple(document["done"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise IntegrityError(f"{layout.following} is damaged: restore the cell once more") from None


def require_following(layout: Layout) -> Following:
    """The same. Raises ConfigError where nothing is."""
    found = read_following(layout)
    if found is None:
        raise ConfigError(
            f"no mail is to follow into {layout.tenant}: it was not restored with --continuity, or all came"
        )
    return found


def write_following(layout: Layout, following: Following) -> None:
    """Note it durably, in the place of what was noted."""
    fresh = layout.following.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _write(fresh, json.dumps(asdict(following), sort_keys=True).encode())
    fresh.rename(layout.following)
    sync_folder(layout.cell)


def end_following(layout: Layout) -> None:
    """All came."""
    layout.following.unlink()
    sync_folder(layout.cell)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

"""Directories of a drill: each is marked as one and locked while anything of the drill lives, so that the next drill
removes what a killed one left, and never what another still uses.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIXES = ("bh-", "bulkhead-drill-")
MARK = "this-is-a-drill"


@contextlib.contextmanager
def marked_directory(prefix: str) -> Iterator[tuple[Path, int]]:
    """A temporary directory and the descriptor of its lock; gone at the end. prefix: of PREFIXES. Raises OSError.

    Whoever inherits the descriptor keeps the directory from being taken for a left one.
    """
    base = Path(tempfile.mkdtemp(prefix=prefix))
    held = os.open(base / MARK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield base, held
    finally:
        shutil.rmtree(base, ignore_errors=True)
        os.close(held)


def remove_leftovers() -> list[Path]:
    """Remove what drills of this user left that were killed; their paths. Nothing that is in use, or not marked."""
    found = [path for prefix in PREFIXES for path in Path(tempfile.gettempdir()).glob(f"{prefix}*")]
    return [path for path in found if _remove(path)]


def _remove(path: Path) -> bool:
    try:
        owner = path.lstat()
        if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.geteuid():
            return False
        held = os.open(path / MARK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # none of ours, or just removed by whoever made it
        return False
    try:
        if os.fstat(held).st_uid != os.geteuid():
            return False
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(held)
    return not path.exists()

"""Where disks after a power cut are laid out."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
FREE_OCTETS = 4 << 30  # a test lays out up to 1.5 GB; where memory has less room, the disk serves


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is room: the model says what a cut leaves, and the disk's own syncs only cost minutes."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < FREE_OCTETS:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="bh-cut-", dir=MEMORY) as directory:
        yield Path(directory)

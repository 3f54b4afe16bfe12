"""Makes names durable: a file that was synced is still lost when the directory that names it is not.

Standard library only.
"""

import os
from pathlib import Path


def sync_folder(path: Path) -> None:
    """The names in this directory survive a power cut from here on. Blocks; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

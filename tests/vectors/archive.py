"""Frozen archives, unpacked."""

import tarfile
from pathlib import Path


def extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack what we packed. Python 3.11 has the filter from 3.11.4 on, and Debian 12 has 3.11.2."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)  # our own archive, committed beside this file

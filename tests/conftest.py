"""What every test may use. Peers from Debian are optional: a test says which it needs, and skips by that name."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.live import Live

COMMANDS = {"curl": "curl", "isync": "mbsync", "openssl": "openssl", "strace": "strace", "swaks": "swaks"}
"""Debian package to the command that shows it is there; `.ci/run` installs these."""


@pytest.fixture(scope="session")
def needs_debian() -> Callable[[str], str]:
    """Call it with a package's name: the path of its command, or the test skips and names the package."""

    def command_of(package: str) -> str:
        path = shutil.which(COMMANDS[package])
        if path is None:
            pytest.skip(f"needs the Debian package {package}: apt-get install {package}")
        return path

    return command_of


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """One real installation of two tenants, t0 and t1, for the whole session; it must be sound at the end."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # short: a socket's path has 108 bytes
        installation = Live(Path(directory) / "i")
        try:
            yield installation
            for tenant in installation.tenants:
                installation.command("fsck", tenant)
        finally:
            installation.stop()

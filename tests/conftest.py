"""What every test may use. Peers from Debian are optional: a test says which it needs, and skips by that name."""

import shutil
from collections.abc import Callable

import pytest

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

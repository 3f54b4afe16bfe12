"""What every test may use. Peers from Debian are optional: a test says which it needs, and skips by that name."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.live import Live

COMMANDS = {"curl": "curl", "isync": "mbsync", "openssl": "openssl", "strace": "strace", "swaks": "swaks"}
"""Debian package to the command that shows it is there; `.ci/run` installs these."""
LONGEST = ("durability", "drill", "supervisor", "demo", "gate", "access", "courier", "fuzz", "ledger", "cli", "store")
"""Folders whose files take longest, first: among several workers the longest file must not be the last to begin."""

# `make test` draws the same examples each time, and no busy machine fails it; `make test-all` draws others each time.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("drawn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of `make test`: the files that take longest first. Alone, tests stay in the order of their names."""
    if hasattr(config, "workerinput"):
        places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(item.path.parent, len(LONGEST)))


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

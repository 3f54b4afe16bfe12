"""A drill that is killed leaves no process, and its directory only until the next drill."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhead.drill.leftovers import MARK, marked_directory, remove_leftovers

ONE_CELL = """
import sys, time
from bulkhead.drill import scratch
scratch.EXAMPLE_SIX = scratch.EXAMPLE_SIX[:1]
with scratch.scratch_range() as range_:
    twin = range_.twin("mx")
    rows = range_.processes()
    print(range_.directory, twin.pid, *(row["pid"] for row in rows), flush=True)
    time.sleep(60)
"""
SECONDS = 60.0


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short one: a socket's path has 108 octets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", made)
        monkeypatch.setenv("TMPDIR", made)
        yield Path(made)


def runs(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_cells_end_with_a_drill_that_is_killed_and_the_next_one_removes_its_directory(temporary: Path) -> None:
    drill = subprocess.Popen([sys.executable, "-c", ONE_CELL], stdout=subprocess.PIPE, text=True)
    try:
        assert drill.stdout is not None
        directory, *pids = drill.stdout.readline().split()
        assert len(pids) > 10
        assert all(runs(int(pid)) for pid in pids)
        assert remove_leftovers() == []  # it is in use
        drill.send_signal(signal.SIGKILL)
        drill.wait()
        deadline = time.monotonic() + SECONDS
        while any(runs(int(pid)) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [pid for pid in pids if runs(int(pid))] == []
        while not (removed := remove_leftovers()) and time.monotonic() < deadline:  # `run` ends after its cells
            time.sleep(0.05)
        assert removed == [Path(directory).parent]
        assert list(temporary.iterdir()) == []
    finally:
        drill.kill()
        drill.communicate()


def test_only_what_a_drill_marked_and_nobody_holds_is_removed(temporary: Path) -> None:
    (temporary / "bh-of-somebody").mkdir()
    left = temporary / "bh-left"
    left.mkdir()
    (left / MARK).touch()
    (temporary / "bh-link").symlink_to(left)
    with marked_directory("bulkhead-drill-") as (held, _):
        assert remove_leftovers() == [left]
        assert sorted(path.name for path in temporary.iterdir()) == ["bh-link", "bh-of-somebody", held.name]
    assert not held.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a directory somebody else's")
def test_what_another_user_marked_stays(temporary: Path) -> None:
    left = temporary / "bh-left"
    left.mkdir()
    (left / MARK).touch()
    os.chown(left, 65534, 65534)
    assert remove_leftovers() == []

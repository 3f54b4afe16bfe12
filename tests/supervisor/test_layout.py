"""Directories that root prepares for compartments which may be compromised, and the log that they cannot touch."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from bulkhead.boundary.processes import PROCESSES, compartment_uid
from bulkhead.errors import ConfigError
from bulkhead.identifiers import TenantId
from bulkhead.supervisor import layout as module
from bulkhead.supervisor.cell_log import BYTES_PER_MINUTE, CellLog
from bulkhead.supervisor.layout import PEM_FILE, Layout, place_pem, prepare_home, take_pem
from bulkhead.supervisor.log_lines import shown

MX, STORE = PROCESSES["mx"], PROCESSES["store"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path, TenantId("t"))
    pem = found.pem("mx")
    pem.parent.mkdir(parents=True)
    pem.write_bytes(b"key and chain")
    return found


@as_root
def test_a_holder_owns_its_directory_and_a_gate_does_not(layout: Layout) -> None:
    home = prepare_home(layout, STORE, 100_000, 2)
    assert home.stat().st_uid == compartment_uid(100_000, 2, STORE) and home.stat().st_mode & 0o777 == 0o700
    gate = prepare_home(layout, MX, 100_000, 2)
    assert (gate.stat().st_uid, gate.stat().st_gid) == (0, compartment_uid(100_000, 2, MX))
    assert gate.stat().st_mode & 0o777 == 0o710
    assert home.parent.stat().st_uid == 0


@as_root
@pytest.mark.parametrize("trap", ["symbolic link", "hard link", "pipe"])
def test_root_gives_nothing_away_through_what_an_earlier_owner_planted(layout: Layout, trap: str) -> None:
    victim = layout.directory / "shadow"
    victim.write_text("of root")
    home = prepare_home(layout, STORE, 100_000, 2)
    (home / "deep").mkdir()
    if trap == "symbolic link":
        (home / "deep" / "file").symlink_to(victim)
        (home / "folder").symlink_to(layout.directory)
    elif trap == "hard link":
        os.link(victim, home / "deep" / "file")
    else:
        os.mkfifo(home / "deep" / "file")
    with pytest.raises(ConfigError, match=r"no plain file"):
        prepare_home(layout, STORE, 900_000, 2)
    assert victim.stat().st_uid == 0 and layout.directory.stat().st_uid == os.geteuid()


@as_root
def test_data_made_by_root_is_given_whole_to_its_holder(layout: Layout) -> None:
    home = layout.home("store")
    (home / "segments").mkdir(parents=True)
    (home / "segments" / "1").write_bytes(b"x")
    prepare_home(layout, STORE, 100_000, 2)
    uid = compartment_uid(100_000, 2, STORE)
    assert {path.stat().st_uid for path in (home, home / "segments", home / "segments" / "1")} == {uid}


def test_a_home_that_is_a_link_is_refused(layout: Layout) -> None:
    layout.cell.mkdir(parents=True)
    elsewhere = layout.directory / "elsewhere"
    elsewhere.mkdir()
    layout.home("mx").symlink_to(elsewhere)
    for act in (lambda: prepare_home(layout, MX, 100_000, 2), lambda: place_pem(layout, MX, 100_000, 2)):
        with pytest.raises(ConfigError, match="plain directory"):
            act()
    assert not list(elsewhere.iterdir())


def test_a_key_is_never_written_through_what_stands_in_its_place(layout: Layout) -> None:
    home = prepare_home(layout, MX, 100_000, 2)
    victim = layout.directory / "victim"
    victim.write_text("untouched")
    (home / PEM_FILE).symlink_to(victim)
    place_pem(layout, MX, 100_000, 2)
    assert victim.read_text() == "untouched" and not (home / PEM_FILE).is_symlink()
    assert (home / PEM_FILE).read_bytes() == b"key and chain"
    assert (home / PEM_FILE).stat().st_mode & 0o777 == 0o400
    place_pem(layout, MX, 100_000, 2)  # again, for a reload
    take_pem(layout, MX)
    take_pem(layout, MX)
    assert not (home / PEM_FILE).exists()
    (home / PEM_FILE).mkdir()
    with pytest.raises(ConfigError, match="look what keeps it"):
        place_pem(layout, MX, 100_000, 2)
    assert module.PEM_FILE == "gate.pem"


def test_lines_of_the_log_are_timed_shown_and_bounded(tmp_path: Path) -> None:
    async def write() -> None:
        log = CellLog(tmp_path / "log" / "t.log")
        end = log.pipe("front")
        os.write(end, b"mx/0 ERROR one\nforged\x1b[2J\r2026 vault store/0 ERROR two\nlast without end")
        await asyncio.sleep(0.05)
        os.close(end)
        await asyncio.sleep(0.05)
        flood = log.pipe("vault")
        os.set_blocking(flood, False)
        started, sent = time.monotonic(), 0
        while sent < 3 * BYTES_PER_MINUTE and time.monotonic() < started + 5:
            try:
                sent += os.write(flood, b"x" * 60_000 + b"\n")
            except BlockingIOError:
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        os.close(flood)
        log.close()

    asyncio.run(write())
    path = tmp_path / "log" / "t.log"
    lines = path.read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:3]] == [
        "front mx/0 ERROR one", r"front forged\x1b[2J\r2026 vault store/0 ERROR two", "front last without end",
    ]  # fmt: skip
    assert path.stat().st_size < BYTES_PER_MINUTE and path.stat().st_mode & 0o777 == 0o600
    assert shown("ü\n\u202e\0") == r"ü\n\u202e\x00"

"""A stop reaches a full disk, in room that was kept for it; nothing else does, and a rule's stop leaves it."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.holder.conftest import Cell

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_auth import StopSurfaces
from bulkhead.errors import TemporaryFailure
from bulkhead.holder import outbox, surfaces
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.reserve import RESERVE_BYTES, Reserve, is_full
from bulkhead.holder.surfaces import Surfaces

MIGRATIONS = (outbox.SCHEMA, surfaces.SCHEMA, "CREATE TABLE filler (octets BLOB)")
DISK = 6 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user mounts no file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes every octet that is left."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


async def use_up(database: Database) -> None:
    """Writes until the log cannot grow."""
    with pytest.raises(TemporaryFailure):
        for _ in range(1000):
            await database.write(lambda c: c.execute("INSERT INTO filler VALUES (zeroblob(20000))") and None)


def stop(epoch: int, bits: int = Surface.IMAP, accounts: bytes = b"") -> StopSurfaces:
    return StopSurfaces(Stamp.fresh("cli"), epoch, bits, accounts, 0, "case 7")


async def test_a_stop_is_durable_on_a_full_disk_again_and_again_and_nothing_else_is(make_cell: Any, disk: Path) -> None:
    async with make_cell(ledger=False) as cell:
        database = Database(disk / "auth.sqlite", MIGRATIONS, reserve=True)
        try:
            held = of(database, cell)
            filler = fill(disk)
            await use_up(database)
            for epoch in (5, 6, 7):
                await held.stop(stop(epoch))
                await use_up(database)
                assert database.transactions
            with pytest.raises(TemporaryFailure) as caught:  # a rule's
                await held.stop(stop(8, Surface.RULE_SOURCE, bytes(32)))
            assert caught.value.code == "not-durable"
            held.end()
        finally:
            await database.close()
        again = Database(disk / "auth.sqlite", MIGRATIONS)
        try:
            rows = again.read("SELECT surface, epoch, closed FROM surface")
            assert rows == [(Surface.IMAP, 7, 1)]
            assert again.first("SELECT count(*) FROM outbox")[0] == 3
        finally:
            filler.unlink()
            await again.close()


async def test_the_room_is_kept_anew_once_the_disk_has_some(
    make_cell: Any, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.holder.reserve.AGAIN_SECONDS", 0.0)
    async with make_cell(ledger=False) as cell:
        database = Database(disk / "auth.sqlite", MIGRATIONS, reserve=True)
        try:
            held, kept = of(database, cell), disk / "auth.sqlite.reserve"
            assert kept.stat().st_size == RESERVE_BYTES
            filler = fill(disk)
            await use_up(database)
            await held.stop(stop(5))
            assert kept.stat().st_size < RESERVE_BYTES
            filler.unlink()
            await held.stop(stop(6))
            assert kept.stat().st_size == RESERVE_BYTES
            held.end()
        finally:
            await database.close()


async def test_of_a_batch_that_finds_no_room_the_stop_alone_is_written_once_there_is(
    make_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file system of its own: giving the reserve back lifts a limit of SQLite's."""
    async with make_cell(ledger=False) as cell:
        database = Database(tmp_path / "auth.sqlite", MIGRATIONS, reserve=True)
        try:
            held = of(database, cell)
            pages = database.first("PRAGMA page_count")[0]
            await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}") and None)
            release = Reserve.release

            def lift(reserve: Reserve) -> None:
                release(reserve)
                database._writer.execute("PRAGMA max_page_count = 1000000")

            monkeypatch.setattr(Reserve, "release", lift)
            big = database.write(lambda c: c.execute("INSERT INTO filler VALUES (zeroblob(200000))") and None)
            outcomes = await asyncio.gather(big, held.stop(stop(5)), return_exceptions=True)
            assert isinstance(outcomes[0], TemporaryFailure) and not isinstance(outcomes[1], BaseException)
            assert database.first("SELECT count(*) FROM surface")[0] == 1
            held.end()
        finally:
            await database.close()


def of(database: Database, cell: Cell) -> Surfaces:
    return Surfaces(database, Outbox(database, cell.auth), cell.auth)


def test_only_want_of_room_gives_the_reserve_back() -> None:
    error = sqlite3.OperationalError("x")
    for code, full in ((sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_IOERR, True), (sqlite3.SQLITE_BUSY, False)):
        error.sqlite_errorcode = code
        assert is_full(error) == full
    assert not is_full(ValueError())


def test_a_reserve_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "nowhere" / "x.reserve")
    assert not reserve.held
    reserve.fill_again(), reserve.release(), reserve.close()

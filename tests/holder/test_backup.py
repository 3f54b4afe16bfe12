"""A holder's snapshot is of one moment whatever is written since; a barrier holds, and falls by itself."""

import asyncio
import base64
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.boundary.conftest import pytest_pyfunc_call

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.backup import BeginBackupBase, ReadBackupBase
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder import backup as backup_module
from bulkhead.holder import barrier as barrier_module
from bulkhead.holder.backup import of_database
from bulkhead.holder.barrier import Barrier
from bulkhead.holder.database import Database
from bulkhead.holder.snapshot import COPY, Snapshot, remove_copy
from bulkhead.identifiers import TenantId
from bulkhead.records.backup import PrivateKeys, StreamOpener, read_lead

__all__ = ["pytest_pyfunc_call"]
ITEMS = ("CREATE TABLE item (number INTEGER PRIMARY KEY, text TEXT)",)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    database = Database(path, ITEMS, secure_delete=True)
    try:
        yield database
    finally:
        await database.close()


def add(count: int, text: str) -> Any:
    return lambda connection: connection.executemany("INSERT INTO item (text) VALUES (?)", [(text,)] * count)


async def test_a_snapshot_holds_what_was_and_nothing_written_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(Path("holder.sqlite")) as database:
        await database.write(add(2000, "before" * 50))
        snapshot = Snapshot(database)
        await database.write(add(10, "later"))
        copying = asyncio.get_running_loop().run_in_executor(None, snapshot.copy)
        await database.write(add(10, "later still"))
        await copying
        snapshot.release()
        Path("again.sqlite").write_bytes(b"".join(snapshot.pieces()))
        assert (Path("again.sqlite").stat().st_size, COPY.exists()) == (snapshot.octets, True)
        snapshot.close()
        assert not COPY.exists()
    with sqlite3.connect("again.sqlite") as again:
        assert again.execute("SELECT count(*), count(DISTINCT text) FROM item").fetchone() == (2000, 1)
        assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_emptying_the_log_waits_for_a_snapshot_and_writing_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(Path("holder.sqlite")) as database:
        await database.write(add(10, "before"))
        snapshot = Snapshot(database)
        emptying = asyncio.ensure_future(database.truncate_wal())
        await database.write(add(10, "later"))
        assert not emptying.done()
        snapshot.close()
        await emptying
        assert Path("holder.sqlite-wal").stat().st_size == 0


def test_what_a_killed_process_left_of_a_copy_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    COPY.write_bytes(b"secret" * 1000)
    os.link(COPY, "kept")
    remove_copy()
    assert not COPY.exists()
    assert Path("kept").read_bytes().strip(b"\0") == b""


async def test_a_barrier_waits_for_what_is_under_way_and_lets_nothing_begin() -> None:
    barrier, under_way = Barrier(), {1}
    holding = asyncio.ensure_future(barrier.hold(lambda: bool(under_way)))
    await asyncio.sleep(0.03)
    passing = asyncio.ensure_future(barrier.wait())
    await asyncio.sleep(0.03)
    assert not holding.done()
    assert not passing.done()
    under_way.clear()
    let_go = await holding
    assert not passing.done()
    assert let_go()
    await passing


async def test_a_barrier_that_nobody_ends_falls_by_itself_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier_module, "HOLD_SECONDS", 0.02)
    barrier = Barrier()
    let_go = await barrier.hold(lambda: False)
    await barrier.wait()
    assert not let_go()


async def test_a_snapshot_waits_as_long_as_its_carrier_says_and_goes_after_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went after 60 s, and a backup failed whose other streams took longer than that."""
    monkeypatch.chdir(tmp_path)
    pinned = {
        name: base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
        for name in ("recovery_partner", "recovery_operator")
    }
    me, name = Channel("directory", 0, 1), "20261122T090000Z-00000001"
    async with opened(Path("holder.sqlite")) as database:
        host = Host(me, TenantId("kddi"), {"id": "kddi", "pinned": pinned}, Exchange(me, lambda *_: None))
        backups = of_database(host, database)
        with pytest.raises(Refused, match="begin again"):
            await backups.begin(BeginBackupBase(name, keep=True))
        monkeypatch.setattr(backup_module, "WAIT_SECONDS", 0.0)
        await backups.begin(BeginBackupBase(name))
        await asyncio.sleep(0.02)
        with pytest.raises(Refused, match="begin again"):
            await backups.read(ReadBackupBase(name))
        begun = await backups.begin(BeginBackupBase(name))  # in this turn of the loop nothing has run out yet
        monkeypatch.setattr(backup_module, "WAIT_SECONDS", 3600.0)
        with pytest.raises(Refused, match="begin again"):
            await backups.begin(BeginBackupBase("another", keep=True))
        assert await backups.begin(BeginBackupBase(name, keep=True)) == begun
        await asyncio.sleep(0.02)
        body = (await backups.read(ReadBackupBase(name))).body
        assert isinstance(body, AsyncIterator)
        assert [piece async for piece in body]
        await backups.stop()


async def test_no_snapshot_is_begun_where_another_one_is_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was, in its place: the reader got zeros, and no error where the length was a whole number of pieces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backup_module, "READ_WAIT_SECONDS", 0.05)
    partner, operator = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    pinned = {
        name: base64.b64encode(key.public_key().public_bytes_raw()).decode()
        for name, key in (("recovery_partner", partner), ("recovery_operator", operator))
    }
    me = Channel("directory", 0, 1)
    async with opened(Path("holder.sqlite")) as database:
        await database.write(add(40_000, "before" * 50))
        host = Host(me, TenantId("kddi"), {"id": "kddi", "pinned": pinned}, Exchange(me, lambda *_: None))
        backups = of_database(host, database)
        await backups.begin(BeginBackupBase("20261122T090000Z-00000001"))
        body = (await backups.read(ReadBackupBase("20261122T090000Z-00000001"))).body
        assert isinstance(body, AsyncIterator)
        stream = await anext(body)
        with pytest.raises(TemporaryFailure, match="being read"):
            await backups.begin(BeginBackupBase("export-1"))
        async for piece in body:
            stream += piece
        sealed = read_lead(stream)
        opener = StreamOpener(sealed, PrivateKeys(partner, operator))
        Path("again.sqlite").write_bytes(b"".join(piece for _, _, piece in opener.files([stream[sealed.length :]])))
        await backups.begin(BeginBackupBase("export-1"))
        await backups.stop()
    with sqlite3.connect("again.sqlite") as again:
        assert again.execute("SELECT count(*), count(DISTINCT text) FROM item").fetchone() == (40_000, 1)

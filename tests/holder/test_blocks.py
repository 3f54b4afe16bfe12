"""Changed blocks put on the copy before give the database of now; a doubtful list gives all of it."""

import asyncio
import os
import random
import sqlite3
from pathlib import Path

import pytest
from tests.boundary.conftest import pytest_pyfunc_call
from tests.holder.test_backup import add, opened

from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.errors import IntegrityError
from bulkhead.holder import blocks as blocks_module
from bulkhead.holder.backup import DatabaseSource
from bulkhead.holder.blocks import LISTS_MAX, BlockList, compare, keep_list, read_list
from bulkhead.holder.database import Database
from bulkhead.records.blocks import BLOCK_BYTES, SUFFIX, BlocksWriter, require_whole

__all__ = ["pytest_pyfunc_call"]


async def carry(database: Database, backup: str, parent: str = "") -> tuple[str, str, bytes]:
    """What a stream would have: parent, name and content of the database's part."""
    source = DatabaseSource(database, BeginBackupBase(backup, (), parent))
    try:
        await asyncio.to_thread(source.prepare)
        source.prepared()
        used = await asyncio.to_thread(source.compare)
        (part,) = source.parts()
        content = b"".join(part.pieces())
        assert len(content) == part.size
        return used, part.name, content
    finally:
        source.close()


def put(path: Path, name: str, content: bytes) -> None:
    if not name.endswith(SUFFIX):
        path.write_bytes(content)
        return
    descriptor = os.open(path, os.O_RDWR)
    writer = BlocksWriter(descriptor)
    for at in range(0, len(content), 50_001):
        writer.update(content[at : at + 50_001])
    require_whole(descriptor, writer.finish())
    os.close(descriptor)


async def test_a_chain_of_changed_blocks_gives_the_database_of_each_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(1)
    async with opened(Path("holder.sqlite")) as database:
        await database.write(add(8000, "x" * 500))
        parent, sizes = "", []
        for number in range(6):
            used, name, content = await carry(database, f"b{number}", parent)
            assert used == parent
            put(Path("again.sqlite"), name, content)
            sizes.append(len(content))
            with sqlite3.connect("again.sqlite") as again:
                assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                found = again.execute("SELECT * FROM item").fetchall()
            assert found == database.read("SELECT * FROM item")
            key = draw.randrange(1, 7000)
            await database.write(
                lambda c, key=key: c.execute("UPDATE item SET text = 'y' WHERE number BETWEEN ? AND ?", (key, key + 9))
            )
            if number == 2:
                await database.write(lambda c: c.execute("DELETE FROM item WHERE number > 7500"))
            parent = f"b{number}"
        assert max(sizes[1:]) * 4 < sizes[0]


async def test_a_parent_that_is_not_known_or_mostly_changed_gives_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(Path("holder.sqlite")) as database:
        await database.write(add(2000, "x" * 500))
        assert (await carry(database, "b0", "never-made"))[:2] == ("", "holder.sqlite")
        await database.write(lambda c: c.execute("UPDATE item SET text = text || 'y'"))
        assert (await carry(database, "b1", "b0"))[:2] == ("", "holder.sqlite")
        listed = Path("backup-b1.blocks")
        listed.write_bytes(listed.read_bytes()[:-1])
        assert (await carry(database, "b2", "b1"))[:2] == ("", "holder.sqlite")
        assert (await carry(database, "b3", "b2"))[0] == "b2"


def test_a_list_of_changed_hashes_only_ever_adds_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(os.urandom(BLOCK_BYTES * 3 + 5))
    descriptor = os.open("file", os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    whole = compare(descriptor, size, None)
    assert whole.numbers == [0, 1, 2, 3]
    assert compare(descriptor, size, whole.hashes).numbers == []
    assert compare(descriptor, size, BlockList(os.urandom(32), size, whole.hashes.hashes)).numbers == [0, 1, 2, 3]
    assert compare(descriptor, size, BlockList(whole.hashes.key, 0, b"")).numbers == [0, 1, 2, 3]
    os.close(descriptor)


def test_the_newest_lists_are_kept_and_one_that_is_named_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = BlockList(bytes(32), BLOCK_BYTES, bytes(32))
    for number in range(LISTS_MAX * 3):
        keep_list(f"cut-{number}" if number else "whole", found, "whole" if number else "")
        assert read_list("whole") == found
    assert len(list(tmp_path.glob("backup-*"))) == LISTS_MAX
    assert read_list("cut-1") is None


def test_a_chain_ends_and_a_kill_while_a_list_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keep_list("b0", BlockList(bytes(32), BLOCK_BYTES, bytes(32), links=blocks_module.LINKS_MAX))
    assert read_list("b0") is None
    Path("backup-b1.new").write_bytes(b"torn")
    keep_list("b1", BlockList(bytes(32), BLOCK_BYTES, bytes(32)))
    assert read_list("b1") is not None
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("cut", [10, 44 + 2, 44 + 4 + 100])
def test_changed_blocks_that_are_cut_or_behind_the_end_are_refused(tmp_path: Path, cut: int) -> None:
    content = bytes.fromhex("00000200") + (1000).to_bytes(8, "big") + bytes(32) + bytes(4) + bytes(512)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    writer = BlocksWriter(descriptor)
    writer.update(content[:cut])
    with pytest.raises(IntegrityError):
        writer.finish()
    with pytest.raises(IntegrityError, match="behind the end"):
        BlocksWriter(descriptor).update(content[:44] + (2).to_bytes(4, "big"))
    with pytest.raises(IntegrityError, match="order"):
        BlocksWriter(descriptor).update(content + bytes(4))
    os.close(descriptor)

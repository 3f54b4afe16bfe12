"""fsck finds what is lost, cut, damaged or miscounted."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from tests.store.world import copy_for, running

from bulkhead.boundary.messages import to_store
from bulkhead.identifiers import new_id
from bulkhead.store.disk import Disk
from bulkhead.store.fsck import FAULTS, check
from bulkhead.store.segment import HEADER_BYTES, path_of

DATABASE = Path("store.sqlite")


@pytest.fixture
def stopped_store():
    """Two accounts, three mailboxes, flags, a keyword, an expunged message, a page; segments of one message each."""

    async def main() -> None:
        async with running(segment_bytes=1) as world:
            client = await world.session(await world.account())
            other = await world.session(await world.account())
            mailbox = await client.create()
            bit = (await client.change(to_store.AddKeyword, new_id(), b"k")).bit
            copies = [copy_for(client.account) for _ in range(4)]
            for copy in copies:
                await client.append(client.inbox, copy, flags=1 << bit)
            await other.append(other.inbox, copy_for(other.account))
            await client.change_open(to_store.CopyMessages, client.inbox, ((1, 2),), mailbox, False)
            await client.change_open(to_store.Expunge, client.inbox, ((3, 3),), deleted_only=False)
            entries = tuple(to_store.FiledEntry(copy.email, at, b"slot") for at, copy in enumerate(copies[:2]))
            await client.change(to_store.FileMessages, 1, 1, 0, 2, entries, body=b"sealed page")
            assert (await world.check()).problems == ()

    asyncio.run(main())
    assert check(DATABASE, Disk(), True).problems == []


HARM = (
    "DELETE FROM account WHERE seq = 2",
    "DELETE FROM mailbox WHERE seq = 1",
    "DELETE FROM mailbox WHERE seq = 3",
    "DELETE FROM email WHERE seq = 1",
    "DELETE FROM message WHERE mailbox = 1 AND uid = 1",
    "DELETE FROM page",
    "DELETE FROM keyword",
    "DELETE FROM segment WHERE number = 1",
    "DELETE FROM expunged",
    "INSERT INTO expunged VALUES (1, 3, 1)",
    "INSERT INTO message VALUES (1, 3, 1, 0, 1)",
    "UPDATE account SET used = used + 1 WHERE seq = 1",
    "UPDATE account SET messages = messages - 1 WHERE seq = 1",
    "UPDATE account SET modseq = 2 WHERE seq = 1",
    "UPDATE account SET keywords = 0 WHERE seq = 1",
    "UPDATE account SET next_page = 1 WHERE seq = 1",
    "UPDATE account SET inbox = 3 WHERE seq = 1",
    "UPDATE account SET uid_validity = 1 WHERE seq = 1",
    "UPDATE mailbox SET messages = messages + 1 WHERE seq = 1",
    "UPDATE mailbox SET unseen = unseen + 1 WHERE seq = 1",
    "UPDATE mailbox SET deleted = deleted + 1 WHERE seq = 1",
    "UPDATE mailbox SET recent = recent + 1 WHERE seq = 1",
    "UPDATE mailbox SET deleted_size = deleted_size + 1 WHERE seq = 1",
    "UPDATE mailbox SET size = size + 1 WHERE seq = 1",
    "UPDATE mailbox SET uid_next = 4 WHERE seq = 1",
    "UPDATE mailbox SET modseq = 2 WHERE seq = 1",
    "UPDATE mailbox SET logged = 0 WHERE seq = 1",
    "UPDATE message SET modseq = 1000 WHERE mailbox = 1 AND uid = 1",
    "UPDATE message SET flags = 1 << 40 WHERE mailbox = 1 AND uid = 1",
    "UPDATE message SET email = 5 WHERE mailbox = 1 AND uid = 4",
    "UPDATE email SET refs = 5 WHERE seq = 1",
    "UPDATE email SET page = 7 WHERE seq = 1",
    "UPDATE email SET place = 1 WHERE seq = 1",
    "UPDATE email SET place = 2 WHERE seq = 1",
    "UPDATE email SET offset = 5 WHERE seq = 1",
    "UPDATE email SET segment = 2 WHERE seq = 1",
    "UPDATE email SET body_size = body_size + 1 WHERE seq = 1",
    "UPDATE email SET email = x'00112233445566778899aabbccddeeff' WHERE seq = 1",
    "UPDATE page SET live = 5",
    "UPDATE page SET version = 2",
    "UPDATE segment SET live = 7 WHERE number = 1",
    "UPDATE segment SET bytes = 7 WHERE number = 1",
    "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'email'",
)


@pytest.mark.usefixtures("stopped_store")
@pytest.mark.parametrize("statement", HARM)
def test_a_row_that_does_not_agree_is_found(statement):
    connection = sqlite3.connect(DATABASE)
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()
    assert check(DATABASE, Disk(), False).problems


@pytest.mark.usefixtures("stopped_store")
def test_each_lost_or_cut_file_is_found():
    files = [DATABASE, *sorted(Path("segments").iterdir())]
    assert len(files) == 6
    for path in files:
        data = path.read_bytes()
        path.unlink()
        assert check(DATABASE, Disk(), False).problems, path
        for length in (0, HEADER_BYTES - 1, HEADER_BYTES, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:length])
            assert check(DATABASE, Disk(), False).problems, (path, length)
        path.write_bytes(data)
    assert check(DATABASE, Disk(), True).problems == []


@pytest.mark.usefixtures("stopped_store")
def test_every_damaged_byte_of_a_record_is_found_by_the_deep_check():
    path = Path(path_of(1))
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert check(DATABASE, Disk(), True).problems, at
    path.write_bytes(data)
    assert check(DATABASE, Disk(), True).problems == []


@pytest.mark.usefixtures("stopped_store")
def test_waste_is_counted_and_no_fault():
    with Path(path_of(2)).open("ab") as segment:
        segment.write(bytes(1000))
    before = check(DATABASE, Disk(), True)
    assert before.problems == []
    assert before.unreferenced == 1000


@pytest.mark.usefixtures("stopped_store")
def test_a_garbled_database_is_reported_not_raised():
    data = bytearray(DATABASE.read_bytes())
    for start in (0, 4096):
        harmed = data.copy()
        harmed[start : start + 2000] = os.urandom(2000)
        DATABASE.write_bytes(harmed)
        assert check(DATABASE, Disk(), False).problems


def test_no_more_than_100_problems_are_kept():
    assert len(FAULTS) < 100

    async def main() -> None:
        async with running() as world:
            client = await world.session(await world.account())
            await client.append(client.inbox, copy_for(client.account))
            for _ in range(7):
                await client.change_open(to_store.CopyMessages, client.inbox, ((1, 9999),), client.inbox, False)

    asyncio.run(main())
    connection = sqlite3.connect(DATABASE)
    connection.execute("UPDATE message SET modseq = 99999")
    connection.commit()
    connection.close()
    assert len(check(DATABASE, Disk(), False).problems) == 100


def test_a_check_of_a_store_under_load_finds_nothing():
    async def main() -> None:
        async with running(segment_bytes=1 << 14) as world:
            client = await world.session(await world.account())
            done = False

            async def work() -> None:
                while not done:
                    await client.append(client.inbox, copy_for(client.account))
                    await world.deliver(copy_for(client.account, sealed=(10, 10, 5000)))
                    await client.change_open(to_store.Expunge, client.inbox, ((1, 0xFFFFFFFF),), deleted_only=False)

            workers = [asyncio.create_task(work()) for _ in range(4)]
            for _ in range(15):
                assert (await world.check()).problems == ()
            done = True
            await asyncio.gather(*workers)
            await asyncio.sleep(0.1)
            assert (await world.counts()).segments <= 1
            assert len(list(Path("segments").iterdir())) <= 1

    asyncio.run(main())


def test_a_check_that_begins_while_a_segment_is_given_up_keeps_its_file_until_it_ends(monkeypatch):
    async def main() -> None:
        async with running() as world:
            state = world.store.state
            take_empty = state._take_empty
            await state._reaping  # that of the start

            def check_begins(connection: sqlite3.Connection) -> list[int]:
                state.checking = 1
                return take_empty(connection)

            monkeypatch.setattr(state, "_take_empty", check_begins)
            client = await world.session(await world.account())
            await client.append(client.inbox, copy_for(client.account))
            (segment,) = Path("segments").iterdir()
            await client.change_open(to_store.Expunge, client.inbox, ((1, 1),), deleted_only=False)
            while not state._unnamed:
                await asyncio.sleep(0.01)
            assert segment.exists()
            monkeypatch.undo()
            state.checking = 0
            state.reap()
            while segment.exists():
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 20))

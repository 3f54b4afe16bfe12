"""Canaries of one copy: rows that exist in it and nowhere live, made by the same code as an account's."""

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from tests.incident.cell import WORDS, add_weak, copies_of, first_cracked, start_incident
from tests.keyring.two_halves import TwoHalves, new_cell, opened, stamp

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_directory import AddAccount, AddDomain, BindingRow, RecipientVerdict
from bulkhead.boundary.messages.to_incident import Canary, PlantCanaries
from bulkhead.directory.book import DirectoryBook
from bulkhead.directory.elsewhere import Elsewhere
from bulkhead.directory.reach import Reach
from bulkhead.directory.schema import MIGRATIONS
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId, TenantId, new_id

NAME = "sato.hiroshi82@stnet.example"
DECOY_KEY, TOMBSTONE_KEY = bytes([1]) * 32, bytes([2]) * 32


def _open_book(root: Path) -> DirectoryBook:
    return DirectoryBook(Database(root / "directory.sqlite", MIGRATIONS), DECOY_KEY, TOMBSTONE_KEY, 1 << 30)


async def _host(book: DirectoryBook) -> None:
    request = AddDomain(stamp(), "stnet.example")
    await book.database.mutate(request, lambda connection: book.add_domain(connection, request))


async def _add(book: DirectoryBook, name: str, binding: BindingRow) -> None:
    request = AddAccount(stamp(), name, binding, 0, 1_600_000_000_000)

    def work(connection: Any) -> Done:
        return book.add_account(connection, request)

    await book.database.mutate(request, work)


async def _write_copy(live: TwoHalves, book: DirectoryBook, to: Path, canary: AccountId) -> tuple[AccountId, bytes]:
    """The files as they are, and the canary in them; then what a thief of the copy cracks first, and its name."""
    await book.database.truncate_wal()
    await asyncio.get_running_loop().run_in_executor(None, partial(shutil.copytree, live.root, to))
    async with opened(TwoHalves(to, live.keys, live.settings)) as copy:
        copied = _open_book(to)
        await add_weak(copy, WORDS[7], canary)
        binding = copy.state("keyring").mailboxes.binding(canary)
        await _add(copied, NAME, binding)
        assert copied.find_login(NAME) == canary
        ids = [AccountId(row[0]) for row in copied.database.read("SELECT id FROM account")]
        cracked = first_cracked(copy, ids, WORDS)
        await copied.database.close()
    assert cracked is not None
    return cracked


def test_a_name_cracked_from_a_copy_and_tried_live_names_the_copy_without_any_live_row(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(new_cell(tmp_path / "live")) as live:
            await start_incident(live)
            book = _open_book(live.root)
            await _host(book)
            account = AccountId(new_id())
            created = await live.create(account)
            await live.set_password(account, b"a person's own password", created.token)
            await _add(book, "person@stnet.example", created.binding)
            canary, decoy = AccountId(new_id()), book.find_login(NAME)
            await live.ask("cli", "incident", PlantCanaries(stamp(), "backup-1", (Canary(canary, decoy),)))

            cracked, word = await _write_copy(live, book, tmp_path / "copy", canary)
            assert cracked == canary
            reach = Reach(book.database, Elsewhere(book.database, TOMBSTONE_KEY, TenantId("stnet"), lambda: 0))
            assert reach.resolve(NAME).verdict == RecipientVerdict.NO_SUCH_ADDRESS
            assert book.find_login(NAME) == decoy != canary
            assert not await live.admits(book.find_login(NAME), word)
            for _ in range(2500):  # auth tells of refused logins once a second
                if (await copies_of(live))["backup-1"].wrong:
                    break
                await asyncio.sleep(0.02)
            (copy,) = (await copies_of(live)).values()
            assert (copy.copy, copy.right, copy.wrong) == ("backup-1", 0, 1)
            assert await live.admits(account, b"a person's own password")
            await book.database.close()

    asyncio.run(asyncio.wait_for(work(), 60))

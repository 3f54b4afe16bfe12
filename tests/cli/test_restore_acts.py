"""What was closed since a backup is closed after a restore of it: services, ways to an account, outbound mail."""

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.directory.conftest import ROOT, TENANT, Running, running
from tests.queue.queue_host import QueueHost

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_directory import Service
from bulkhead.cli.restore_acts import narrow
from bulkhead.directory.restore import DirectoryRestore
from bulkhead.holder import surfaces
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId, new_id
from bulkhead.ledger.acts import acts_of
from bulkhead.ledger.event import EVENTS, Event, encode_event, subject_id
from bulkhead.queue import restore as queue_restore
from bulkhead.queue.rows import DATABASE, MIGRATIONS
from bulkhead.records.keyfile import KeySet

A, B, C = "a@kddi.example", "b@kddi.example", "c@kddi.example"
GROUP, TEAM, LEFT, ALIAS, KEPT = (f"{name}@kddi.example" for name in ("group", "team", "left", "alias", "kept"))
SUBJECT_KEY = bytes(32)


def stamp() -> Stamp:
    return Stamp.fresh("test")


async def reaches(directory: Running, text: str) -> set[bytes]:
    found = await directory.ask(m.ResolveRecipient(text), "mx")
    return {found.binding.account, *(other.account for other in found.others)} if found.binding else set()


def entry(event: Any) -> bytes:
    subjects = (subject_id(SUBJECT_KEY, AccountId(event.account)),) if event.account else ()
    return encode_event(Event(EVENTS[event.kind], event.time, event.actor, subjects, event.details))


async def restored(folder: Path, events: list[Any], accounts: list[AccountId]) -> int:
    """Over the files of a backup, as a restore does it."""
    restore = DirectoryRestore(folder, KeySet.open((folder / "keys.sealed").read_bytes(), TENANT, "directory", ROOT))
    try:
        subjects = {subject_id(SUBJECT_KEY, account): account for account in accounts}
        return await narrow(restore, acts_of(map(entry, events)), subjects)
    finally:
        await restore.close()


def test_what_was_closed_since_the_backup_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, backup = tmp_path / "here", tmp_path / "backup"
    here.mkdir()

    async def main() -> None:
        monkeypatch.chdir(here)
        async with running(here) as directory:
            a, b, c = [await directory.add(text) for text in (A, B, C)]
            for request in (
                m.AddAlias(stamp(), A, ALIAS), m.AddAlias(stamp(), A, KEPT), m.SetForward(stamp(), B, (C,), True),
                m.SetForward(stamp(), C, (A,), True), m.AddGroup(stamp(), GROUP), m.SetMember(stamp(), GROUP, A, True),
                m.AddGroup(stamp(), TEAM), m.SetMember(stamp(), TEAM, A, True), m.SetMember(stamp(), TEAM, B, True),
            ):  # fmt: skip
                await directory.ask(request)
        shutil.copytree(here, backup)
        async with running(here) as directory:
            for request in (
                m.RemoveAlias(stamp(), ALIAS), m.RemoveAlias(stamp(), KEPT), m.AddAlias(stamp(), A, KEPT),
                m.SetServices(stamp(), A, Service.LOGIN | Service.SEND, "lost device"),
                m.SetForward(stamp(), B, (), True), m.SetForward(stamp(), C, (A,), True),
                m.RemoveGroup(stamp(), GROUP), m.SetMember(stamp(), TEAM, B, False),
            ):  # fmt: skip
                await directory.ask(request)
            events = directory.events
            while not any(event.details.get("what") == "left" for event in events):
                await asyncio.sleep(0.01)
        assert await restored(backup, events, [a, b, c]) == 5
        monkeypatch.chdir(backup)
        async with running(backup) as directory:
            row = await directory.ask(m.ShowAccount(A))
            assert row.closed == Service.LOGIN | Service.SEND
            assert await reaches(directory, KEPT) == {a}
            assert [await reaches(directory, text) for text in (ALIAS, GROUP)] == [set(), set()]
            assert [await reaches(directory, text) for text in (TEAM, B, C)] == [{a}, {b}, {c, a}]
            assert (await directory.ask(m.CheckDirectory())).problems == ()
            with pytest.raises(Exception, match="never given again"):
                await directory.ask(m.AddGroup(stamp(), GROUP))

    asyncio.run(main())


def test_outbound_mail_stays_stopped_and_that_of_cancelled_accounts_does_not_leave(tmp_path: Path) -> None:
    async def main() -> None:
        host = QueueHost(tmp_path).open()
        kept, dead = await host.enqueue("x@far.example"), await host.enqueue("y@far.example")
        path = "UPDATE message SET reverse_path = 'anna@kddi.example' WHERE queue_id = ?"
        await host.service.queue.database.write(lambda connection: connection.execute(path, (dead,)))
        await host.close()
        left = await queue_restore.finish(tmp_path, [(AccountId(new_id()), "Anna@kddi.example")], (70, True))
        assert left == 1
        database = Database(tmp_path / DATABASE, MIGRATIONS, secure_delete=True)
        try:
            assert database.read("SELECT queue_id FROM message") == [(kept,)]
            assert database.first("SELECT epoch, stopped FROM stop") == (70, 1)
        finally:
            await database.close()

    asyncio.run(main())


def test_a_surface_that_was_closed_since_is_closed_again_and_of_a_lost_set_to_everybody(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "queue").mkdir()
        host = QueueHost(tmp_path / "queue").open()
        await host.close()
        database = Database(tmp_path / "queue" / DATABASE, MIGRATIONS, secure_delete=True)
        try:
            stops = [(2, b"\1" * 32, 70, True, 0), (Surface.SESSIONS, b"", 70, True, 0), (4, b"", 70, True, 0)]
            await database.write(partial(surfaces.replay, stops=stops))
            await database.write(
                partial(surfaces.replay, stops=[(4, b"", 70, False, 0), (2, b"\1" * 32, 60, False, 0)])
            )
        finally:
            await database.close()
        host.open()
        try:
            held = host.service.queue.surfaces
            assert held.closed(2, bytes(16)) and not held.closed(4, bytes(16))
            assert not held.closed(Surface.SESSIONS, bytes(16))
        finally:
            await host.close()

    asyncio.run(main())

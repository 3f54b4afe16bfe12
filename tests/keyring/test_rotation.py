"""A key is rotated while logins go on; cut anywhere every record opens; afterwards an older copy opens nothing."""

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.auth.test_auth_passwords import recover
from tests.keyring.two_halves import (
    ROOT_KEY,
    TENANT,
    TwoHalves,
    copy_of,
    files_of,
    new_cell,
    opened,
    refused,
    run,
    settled,
    stamp,
)

from bulkhead.auth.handle import SEALED as AUTH_SEALED
from bulkhead.auth.schema import MIGRATIONS as AUTH_MIGRATIONS
from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.rotation import RotationReport
from bulkhead.errors import Error, IntegrityError, TemporaryFailure
from bulkhead.holder import keys as key_files
from bulkhead.holder import rotation
from bulkhead.identifiers import AccountId, new_id
from bulkhead.keyring.handle import SEALED as KEYRING_SEALED
from bulkhead.keyring.schema import MIGRATIONS as KEYRING_MIGRATIONS
from bulkhead.records.keyfile import KeySet, NamedKey

PASSWORD = b"a password of somebody"
NEXT_ROOT = bytes(range(100, 132))
MODULES = {"auth": to_auth, "keyring": to_keyring}
KEYS = {"auth": "auth", "keyring": "ring"}
HOLDERS = tuple(MODULES)


async def rotate(cell: TwoHalves, name: str, *, emergency: bool = False, keep: int = 0) -> RotationReport:
    """Begin a rotation and wait until every record was opened again."""
    await cell.ask("cli", name, MODULES[name].RotateKey(stamp(), emergency, keep))
    return await rotated(cell, name)


async def rotated(cell: TwoHalves, name: str) -> RotationReport:
    async with asyncio.timeout(60):
        while (report := await cell.ask("cli", name, MODULES[name].ReadRotation())).step:
            await asyncio.sleep(0.005)
    return report


async def destroy(cell: TwoHalves, name: str, version: int, root: bytes = NEXT_ROOT) -> None:
    await cell.ask("cli", name, MODULES[name].DestroyKey(stamp(), version, root, "file"))
    cell.roots[name] = root


def key_set(root: Path, name: str, root_key: bytes) -> KeySet:
    return KeySet.open((root / name / "keys.sealed").read_bytes(), TENANT, name, root_key)


def records_of(cell: TwoHalves) -> dict[str, list[bytes]]:
    """Every sealed record of both databases."""
    return {
        "auth": [row[0] for row in cell.database("auth").read("SELECT record FROM half")],
        "keyring": [
            row[0]
            for row in cell.database("keyring").read("SELECT record FROM half UNION ALL SELECT record FROM mailbox")
        ],
    }


async def problems(cell: TwoHalves) -> list[str]:
    """What fsck of both says."""
    found: list[str] = []
    for name, check in (("auth", to_auth.CheckAuth), ("keyring", to_keyring.CheckKeyring)):
        page = await cell.ask("cli", name, check())
        found += page.problems
        while page.next:
            page = await cell.ask("cli", name, check(page.next))
            found += page.problems
    return found


async def rotate_both(cell: TwoHalves, *, emergency: bool = True) -> None:
    for name in HOLDERS:
        report = await rotate(cell, name, emergency=emergency)
        assert report.done == len(records_of(cell)[name])  # also where it ended before anybody asked
        assert [key.version for key in report.retired] == [1]
        await destroy(cell, name, 1)


def test_after_a_rotation_everybody_logs_in_and_nothing_is_left_of_the_old_key_or_its_records(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(PASSWORD) for _ in range(30)]
        for account in accounts[:10]:  # halves of several changes, moved about in their pages
            await cell.set_password(account, PASSWORD, await recover(cell, account))
        await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
        before = records_of(cell)
        await rotate_both(cell)
        assert all(await asyncio.gather(*(cell.admits(account, PASSWORD) for account in accounts)))
        assert not await cell.admits(accounts[0], b"another password")
        assert not await cell.admits(AccountId(new_id()), PASSWORD)  # its decoy is under the new key
        assert await problems(cell) == []
        for name in HOLDERS:
            files = files_of(cell.root / name)
            for record in before[name]:
                assert not any(record[7:40] in content for content in files.values()), name
            assert key_set(cell.root, name, NEXT_ROOT).versions(KEYS[name]) == (2,)
            with pytest.raises(IntegrityError):
                key_set(cell.root, name, ROOT_KEY)
            assert sorted(path.name for path in (cell.root / name).glob("keys.*")) == ["keys.sealed"]
        await cell.restart("keyring")
        await cell.restart("auth")
        assert await cell.admits(accounts[0], PASSWORD)

    run(tmp_path / "cell", work)


def test_copies_of_both_databases_from_before_open_nothing_with_every_key_of_afterwards(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        stolen = copy_of(cell, tmp_path / "stolen")
        await rotate_both(cell)
        for name in HOLDERS:
            (stolen / name / "keys.sealed").unlink()
            shutil.copy(cell.root / name / "keys.sealed", stolen / name)
        thief = TwoHalves(stolen, cell.keys, cell.settings)
        thief.roots = dict(cell.roots)
        async with opened(thief):
            found = await problems(thief)
            assert len(found) == sum(map(len, records_of(thief).values())) == 3
            assert not [text for text in found if "no key" not in text]
            with pytest.raises(Error):
                await thief.log_in(account, PASSWORD)
        assert await cell.admits(account, PASSWORD)

    run(tmp_path / "cell", work)


def test_logins_and_changes_of_passwords_go_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SLICE_MIN", 1)
    monkeypatch.setattr(rotation, "SLICE_MAX", 1)

    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(PASSWORD) for _ in range(20)]
        answers: list[bool] = []
        under_way = True

        async def log_in_often() -> None:
            turn = 0
            while under_way:
                turn += 1
                answers.append(await cell.admits(accounts[turn % 20], PASSWORD))
                if turn % 5 == 0:
                    added = await cell.add_account(PASSWORD)
                    answers.append(await cell.admits(added, PASSWORD))

        logins = asyncio.get_running_loop().create_task(log_in_often())
        for name in HOLDERS:
            await rotate(cell, name, emergency=True)
        under_way = False
        await logins
        assert answers and all(answers)
        for name in HOLDERS:
            await destroy(cell, name, 1)
        assert await problems(cell) == []
        for records in records_of(cell).values():
            assert {record[3:7] for record in records} == {b"\0\0\0\2"}

    run(tmp_path, work)


@contextmanager
def copied_at_every_step(cell: TwoHalves, to: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Copies as kill -9 leaves them: before each call that changes a key file, and after each commit."""
    copies: list[Path] = []
    one_at_a_time = threading.Lock()

    def copy() -> None:
        with one_at_a_time:  # both writers come here
            copies.append(copy_of(cell, to / str(len(copies))))

    with monkeypatch.context() as patched:
        for call in ("rename", "write", "fsync", "unlink"):
            original = getattr(os, call)

            def copying(*arguments: Any, _original: Any = original) -> Any:
                copy()
                return _original(*arguments)

            patched.setattr(os, call, copying)
        for name in HOLDERS:
            database = cell.database(name)
            commit = database._commit

            def committing(batch: Any, _commit: Any = commit) -> Any:
                outcome = _commit(batch)
                copy()
                return outcome

            patched.setattr(database, "_commit", committing)
        yield copies


@pytest.mark.parametrize("name", HOLDERS)
def test_killed_at_any_step_it_goes_on_and_every_record_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(rotation, "SLICE_MIN", 2)
    monkeypatch.setattr(rotation, "SLICE_MAX", 2)

    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(PASSWORD) for _ in range(3)]
        with copied_at_every_step(cell, tmp_path / "copies", monkeypatch) as copies:
            await rotate(cell, name, emergency=True)
            await destroy(cell, name, 1)
        assert len(copies) > 15
        seen = set()
        for copy in copies:
            again = TwoHalves(copy, cell.keys, cell.settings)
            again.next_roots = {name: NEXT_ROOT}
            async with opened(again):
                assert await again.admits(accounts[0], PASSWORD)
                report = await rotated(again, name)
                assert await problems(again) == []
                seen.add((report.version, len(report.retired), report.root_version))
                if report.retired:
                    await destroy(again, name, 1)
                assert await again.admits(accounts[-1], PASSWORD)
                assert sorted(path.name for path in (copy / name).glob("keys.*")) == ["keys.sealed"]
        # (2, 1, 2): the key is gone and its row is not; to be destroyed again is no harm
        assert {(1, 0, 1), (2, 1, 1), (2, 1, 2), (2, 0, 2)} >= seen >= {(2, 1, 1), (2, 0, 2)}

    run(tmp_path / "cell", work)


def test_a_retired_key_is_kept_for_its_time_and_an_emergency_ends_it(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        await cell.add_account(PASSWORD)
        with refused("not-retired"):
            await destroy(cell, "auth", 1)
        report = await rotate(cell, "auth", keep=3600)
        assert [key.version for key in report.retired] == [1] and report.retired[0].destroy_after > 0
        with refused("not-due"):
            await destroy(cell, "auth", 1)
        with refused("not-retired"):
            await destroy(cell, "auth", 2)
        report = await rotate(cell, "auth", emergency=True)
        assert [(key.version, key.destroy_after) for key in report.retired] == [(1, 0), (2, 0)]
        await destroy(cell, "auth", 1)
        await destroy(cell, "auth", 2, bytes(range(1, 33)))
        assert key_set(cell.root, "auth", bytes(range(1, 33))).versions("auth") == (3,)

    run(tmp_path, work)


def test_the_ledger_has_a_destruction_before_it_happens_or_it_does_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.05)

    async def work(cell: TwoHalves) -> None:
        await rotate(cell, "keyring", emergency=True)
        with pytest.raises(TemporaryFailure):
            await destroy(cell, "keyring", 1)
        assert cell.state("keyring").keys.ring.versions("ring") == (1, 2)
        cell.add_ledger()
        await destroy(cell, "keyring", 1)
        await settled(lambda: len(cell.seen.events) >= 3)
        assert sorted(cell.seen.kinds()) == ["KeyDestroyed", "KeyRotationBegun", "KeyRotationVerified"]
        assert cell.state("keyring").keys.ring.versions("ring") == (2,)

    run(tmp_path, work, ledger=False)


def test_a_record_that_does_not_open_holds_a_scheduled_destruction_and_not_an_emergency(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.add_account(PASSWORD)
        bid = cell.state("auth").rows.bid(account, 0)
        await cell.database("auth").write(
            lambda c: (
                c.execute("UPDATE half SET record = substr(record, 1, 30) || x'00' WHERE bid = ?", (bid,)).rowcount
            )
        )
        report = await rotate(cell, "auth", keep=0)
        assert [key.unreadable for key in report.retired] == [1]
        with refused("unreadable"):
            await destroy(cell, "auth", 1)
        report = await rotate(cell, "auth", emergency=True)
        for key in report.retired:
            await destroy(cell, "auth", key.version)

    run(tmp_path, work)


def test_a_record_moved_to_another_row_or_number_is_not_sealed_anew(tmp_path: Path) -> None:
    """Otherwise a rotation would make a row good that was put where it does not belong."""

    async def work(cell: TwoHalves) -> None:
        await cell.add_account(PASSWORD)
        await cell.add_account(PASSWORD)
        statement = "UPDATE half SET record = (SELECT record FROM half ORDER BY bid LIMIT 1)"
        await cell.database("keyring").write(lambda c: c.execute(statement).rowcount)
        await cell.database("auth").write(lambda c: c.execute("UPDATE half SET g = g + 1").rowcount)
        assert [key.unreadable for key in (await rotate(cell, "keyring")).retired] == [1]
        assert [key.unreadable for key in (await rotate(cell, "auth")).retired] == [2]

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("migrations", "sealed"), [(AUTH_MIGRATIONS, AUTH_SEALED), (KEYRING_MIGRATIONS, KEYRING_SEALED)], ids=HOLDERS
)
def test_every_table_with_a_sealed_record_is_walked(
    migrations: tuple[str, ...], sealed: tuple[rotation.Part, ...]
) -> None:
    connection = sqlite3.connect(":memory:")
    for migration in migrations:
        connection.executescript(migration)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    holding = {t for t in tables if "record" in {row[1] for row in connection.execute(f"PRAGMA table_info({t})")}}
    assert holding == {part.table for part in sealed}


def test_a_root_key_alone_can_be_changed_as_after_a_change_that_was_cut_short(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await destroy(cell, "auth", 0)
        await destroy(cell, "auth", 0)
        assert key_set(cell.root, "auth", NEXT_ROOT).versions("auth") == (1,)
        assert "KeyDestroyed" not in cell.seen.kinds()
        await cell.restart("auth")
        assert await cell.admits(account, PASSWORD)

    run(tmp_path, work)


def test_a_key_file_that_is_replaced_is_overwritten_before_it_is_unlinked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = new_cell(tmp_path / "cell")
    held = os.open(tmp_path / "cell" / "auth" / "keys.sealed", os.O_RDONLY)
    old = os.pread(held, 4096, 0)
    unlinked: list[bool] = []
    original = Path.unlink

    def unlink(path: Path, *arguments: Any, **named: Any) -> None:
        if path.exists() and os.path.samestat(path.stat(), os.fstat(held)):  # that very file, not its successors
            unlinked.append(os.pread(held, 4096, 0) != old)
        original(path, *arguments, **named)

    monkeypatch.setattr(key_files.Path, "unlink", unlink)

    async def work() -> None:
        async with opened(before) as cell:
            await destroy(cell, "auth", 0)

    asyncio.run(work())
    assert unlinked == [True]
    left = os.pread(held, 4096, 0)
    os.close(held)
    assert len(left) == len(old) and left[7:] != old[7:]


def test_a_key_file_whose_replacement_the_disk_refuses_at_any_step_is_whole_and_replaced_by_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def destroy_once(directory: Path, failing: int) -> int:
        """How many calls of the disk it took, the one of that number refused."""
        directory.mkdir()
        keys = KeySet((NamedKey("auth", 1, bytes(32)), NamedKey("auth", 2, bytes(range(32)))))
        path, calls = directory / "keys.sealed", 0
        path.write_bytes(keys.seal(TENANT, "auth", 1, ROOT_KEY))
        file = key_files.KeyFile(path, TENANT, "auth", keys, 1, ROOT_KEY)

        def refusing(original: Any) -> Any:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == failing:
                    raise OSError(errno.ENOSPC, "no space left")
                return original(*arguments, **named)

            return call

        with monkeypatch.context() as patch:
            for owner, name in ((os, "open"), (os, "write"), (os, "fsync"), (Path, "rename"), (Path, "unlink")):
                patch.setattr(owner, name, refusing(getattr(owner, name)))
            try:
                file.destroy("auth", 1, NEXT_ROOT)
            except OSError:
                assert calls >= failing
        file.destroy("auth", 1, NEXT_ROOT)
        assert KeySet.open(path.read_bytes(), TENANT, "auth", NEXT_ROOT).versions("auth") == (2,)
        assert [left.name for left in directory.iterdir()] == ["keys.sealed"]
        return calls

    taken = destroy_once(tmp_path / "0", 0)
    assert taken > 8
    for failing in range(1, taken + 1):
        destroy_once(tmp_path / str(failing), failing)

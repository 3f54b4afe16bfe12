"""A holder's database: what one transaction holds, who is told what when it fails, and what outlives a crash."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulkhead.boundary.messages import to_auth, to_store
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.terms import ASKER, Channel
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.holder import database as module
from bulkhead.holder.database import Database, receipt_key
from bulkhead.identifiers import AccountId, new_id

MIGRATIONS = ("CREATE TABLE item (number INTEGER PRIMARY KEY, text TEXT)",)


@asynccontextmanager
async def opened(path: Path, migrations: tuple[str, ...] = MIGRATIONS, gather: float = 0.0) -> AsyncIterator[Database]:
    database = Database(path / "holder.sqlite", migrations, secure_delete=True, gather_seconds=gather)
    try:
        yield database
    finally:
        await database.close()


def add(number: int, text: str = "") -> Callable[[sqlite3.Connection], int]:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO item VALUES (?, ?)", (number, text))
        return number

    return work


def done(number: int) -> Callable[[sqlite3.Connection], Done]:
    def work(connection: sqlite3.Connection) -> Done:
        connection.execute("INSERT INTO item VALUES (?, '')", (number,))
        return Done()

    return work


def refuse(connection: sqlite3.Connection) -> int:
    connection.execute("INSERT INTO item VALUES (1000, 'half done')")
    raise Refused("no", code="no-such-thing")


def items(database: Database) -> list[int]:
    return [number for (number,) in database.read("SELECT number FROM item ORDER BY number")]


def request(request_id: bytes | None = None, epoch: int = 1) -> to_auth.StopTenantLogins:
    return to_auth.StopTenantLogins(Stamp.fresh("test", request_id=request_id), epoch, "reason")


@contextmanager
def held(database: Database) -> Any:
    """Keep the writer in one transaction, so that all that is asked for meanwhile is the next one."""
    entered, release = threading.Event(), threading.Event()

    def work(_: sqlite3.Connection) -> None:
        entered.set()
        assert release.wait(20)

    task = asyncio.get_running_loop().create_task(database.write(work))

    class Held:
        async def entered(self) -> None:
            while not entered.is_set():
                await asyncio.sleep(0.001)

        async def queue(self, *works: Any, **more: Any) -> list[asyncio.Task[Any]]:
            tasks = [asyncio.get_running_loop().create_task(database.write(work, **more)) for work in works]
            await asyncio.sleep(0)
            return tasks

        async def go_on(self, tasks: list[asyncio.Task[Any]]) -> list[Any]:
            release.set()
            await task
            return await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield Held()
    finally:
        release.set()


# --- one transaction -------------------------------------------------------------------------------------------------


async def test_what_came_during_a_transaction_is_the_next_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(*(add(number) for number in range(100)))
            before = database.transactions
            assert await hold.go_on(tasks) == list(range(100))
        assert database.transactions == before + 2  # the held one, and one for all the others
        assert items(database) == list(range(100))


async def test_after_a_shared_transaction_the_next_waits_for_more_and_after_a_lone_one_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    async with opened(tmp_path, gather=0.125) as database:
        monkeypatch.setattr(module.time, "sleep", naps.append)
        await database.write(add(0))
        await database.write(add(1))
        assert naps == []
        with held(database) as hold:
            await hold.entered()
            await hold.go_on(await hold.queue(add(2), add(3)))
        await database.write(add(4))
        assert naps == [0.125]
        await database.write(add(5))
        assert naps == [0.125]
        assert items(database) == list(range(6))


async def test_a_transaction_holds_batch_max_mutations_and_not_one_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(*(add(number) for number in range(module.BATCH_MAX + 1)))
            before = database.transactions
            await hold.go_on(tasks)
        assert database.transactions == before + 3


@pytest.mark.parametrize(
    "fault",
    [
        refuse,
        lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"),  # an OperationalError of its own
        lambda connection: connection.executemany("INSERT INTO item VALUES (?, ?)", [(1000, "a"), (1000, "b")]),
        lambda connection: connection.execute("SELECT 1", (1, 2)),
        lambda connection: next(iter(())),
        lambda connection: 1 // 0,
    ],
    ids=["refused", "no such table", "constraint", "wrong arguments", "stop iteration", "bug"],
)
async def test_a_mutation_that_fails_takes_no_other_with_it_and_leaves_nothing(tmp_path: Path, fault: Any) -> None:
    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(add(1), fault, add(2))
            one, failed, two = await hold.go_on(tasks)
        assert (one, two) == (1, 2)
        assert isinstance(failed, Exception) and not isinstance(failed, TemporaryFailure)
        assert items(database) == [1, 2]


async def test_a_mutation_that_was_refused_may_be_asked_for_again_and_leaves_no_receipt(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        asked = request()
        with pytest.raises(Refused):
            await database.mutate(asked, refuse)  # type: ignore[arg-type]
        assert await database.answered(asked) is None
        assert await database.mutate(asked, done(1)) == Done()
        assert items(database) == [1]


# --- before and after ------------------------------------------------------------------------------------------------


async def test_before_runs_once_a_batch_ahead_of_the_commit_and_after_runs_in_order_ahead_of_the_callers(
    tmp_path: Path,
) -> None:
    seen: list[Any] = []
    path = tmp_path / "holder.sqlite"

    def committed() -> int:
        with sqlite3.connect(path) as other:
            return int(other.execute("SELECT count(*) FROM item").fetchone()[0])

    async with opened(tmp_path) as database:

        def sync() -> None:
            seen.append(("before", committed()))

        async def caller(number: int) -> None:
            await database.write(add(number), before=sync, after=lambda n: seen.append(("after", n, committed())))
            seen.append(("caller", number))

        with held(database) as hold:
            await hold.entered()
            tasks = [asyncio.create_task(caller(number)) for number in range(3)]
            await asyncio.sleep(0)
            await hold.go_on(tasks)
        assert seen[:4] == [("before", 0), ("after", 0, 3), ("after", 1, 3), ("after", 2, 3)]
        assert seen[4:] == [("caller", 0), ("caller", 1), ("caller", 2)]


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), ZeroDivisionError()])
async def test_a_before_that_fails_undoes_all_and_tells_every_caller(tmp_path: Path, fault: Exception) -> None:
    async with opened(tmp_path) as database:
        told: list[int] = []

        def sync() -> None:
            raise fault

        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(add(1), add(2), after=told.append)
            tasks += await hold.queue(add(3), before=sync, after=told.append)
            tasks += await hold.queue(refuse)
            outcomes = await hold.go_on(tasks)
        assert [type(outcome) for outcome in outcomes] == [TemporaryFailure] * 4
        assert told == [] and items(database) == []
        assert await database.write(add(1)) == 1


async def test_an_after_that_fails_changes_no_answer_and_keeps_no_other_from_running(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        told: list[int] = []

        def after(number: int) -> None:
            if number == 1:
                raise ZeroDivisionError
            told.append(number)

        with held(database) as hold:
            await hold.entered()
            assert await hold.go_on(await hold.queue(add(1), add(2), after=after)) == [1, 2]
        assert told == [2] and items(database) == [1, 2]


async def test_after_does_not_run_for_a_mutation_that_failed(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        told: list[int] = []
        with pytest.raises(Refused):
            await database.write(refuse, after=told.append)
        assert told == []


# --- a disk that refuses ---------------------------------------------------------------------------------------------


async def test_a_full_database_fails_the_whole_transaction_and_is_over_once_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {_pages(c) + 2}") and None)
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(add(1), add(2, "x" * 100_000), add(3))
            outcomes = await hold.go_on(tasks)
        assert [outcome.code for outcome in outcomes] == ["storage"] * 3
        assert items(database) == []
        assert await database.write(add(1)) == 1
        await database.write(lambda c: c.execute("PRAGMA max_page_count = 1000000") and None)
        assert await database.write(add(2, "x" * 100_000)) == 2


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


async def test_a_commit_that_the_disk_refuses_is_told_and_nothing_of_it_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(add(1))
        wal = tmp_path / "holder.sqlite-wal"
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 100, hard))  # EFBIG from the next page on
        try:
            asked = request()
            with pytest.raises(TemporaryFailure):
                await database.mutate(asked, done(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert items(database) == [1] and await database.answered(asked) is None
        await database.mutate(asked, done(2))
        assert items(database) == [1, 2]


class BrokenConnection:
    """The writer's connection, where chosen statements fail as on a broken disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self.fails = connection, set[str]()

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        if statement in self.fails:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR  # type: ignore[misc]
            raise error
        return self._connection.execute(statement, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("step", ["BEGIN IMMEDIATE", "SAVEPOINT job", "RELEASE job", "COMMIT"])
async def test_the_writer_outlives_an_error_at_any_step_and_a_rollback_that_fails(tmp_path: Path, step: str) -> None:
    async with opened(tmp_path) as database:
        broken = BrokenConnection(database._writer)
        database._writer = broken  # type: ignore[assignment]
        broken.fails = {step, "ROLLBACK"}
        with pytest.raises(TemporaryFailure):
            await database.write(add(1))
        broken.fails = {step}
        with pytest.raises(TemporaryFailure):
            await database.write(add(2))
        broken.fails = set()
        with held(database) as hold:  # the first BEGIN after a failed rollback may fail once more; then all is well
            tasks = await hold.queue(add(3))
            await hold.go_on(tasks)
        assert items(database) == [3]


async def test_damage_met_by_one_mutation_stops_its_whole_transaction(tmp_path: Path) -> None:
    def corrupt(_: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # type: ignore[misc]
        raise error

    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            outcomes = await hold.go_on(await hold.queue(add(1), corrupt))
        assert [outcome.code for outcome in outcomes] == ["storage"] * 2
        assert items(database) == []


# --- callers ---------------------------------------------------------------------------------------------------------


async def test_no_more_than_pending_max_wait_and_those_who_came_first_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PENDING_MAX", 20)
    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(*(add(number) for number in range(19)))
            with pytest.raises(TemporaryFailure) as busy:
                await database.write(add(99))
            assert busy.value.code == "busy"
            assert await hold.go_on(tasks) == list(range(19))
        assert await database.write(add(99)) == 99


async def test_a_caller_that_is_cancelled_while_waiting_harms_nobody_and_its_retry_is_answered(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        asked = request()
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(add(1))
            gone = asyncio.create_task(database.mutate(asked, done(2)))
            tasks += await hold.queue(add(3))
            gone.cancel()
            await asyncio.sleep(0)
            assert gone.cancelled()
            assert await hold.go_on(tasks) == [1, 3]
        assert await database.mutate(asked, done(2)) == Done()
        assert items(database) == [1, 2, 3]
        assert database._pending == 0


async def test_close_writes_what_waits_tells_its_callers_and_refuses_what_comes_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            tasks = await hold.queue(*(add(number) for number in range(module.BATCH_MAX + 10)))
            closing = asyncio.create_task(database.close())
            await asyncio.sleep(0.005)
            with pytest.raises(TemporaryFailure) as late:
                await database.write(add(9999))
            assert late.value.code == "stopping"
            outcomes = await hold.go_on(tasks)
        await closing
        assert outcomes == list(range(module.BATCH_MAX + 10))
        await database.close()  # again: nothing
        for ask in (database.write(add(9999)), database.truncate_wal(), database.answered(request())):
            with pytest.raises(TemporaryFailure):
                await asyncio.wait_for(ask, 1)
        with pytest.raises(TemporaryFailure):
            database.read("SELECT 1")
    assert not (tmp_path / "holder.sqlite-wal").exists()
    async with opened(tmp_path) as database:
        assert len(items(database)) == module.BATCH_MAX + 10


# --- receipts --------------------------------------------------------------------------------------------------------


async def test_a_retry_is_answered_and_not_repeated_in_one_batch_and_after_a_restart(tmp_path: Path) -> None:
    asked = request()
    async with opened(tmp_path) as database:
        with held(database) as hold:
            await hold.entered()
            both = [asyncio.create_task(database.mutate(asked, done(1))) for _ in range(2)]
            await asyncio.sleep(0)
            assert await hold.go_on(both) == [Done(), Done()]
    async with opened(tmp_path) as database:
        assert await database.answered(asked) == Done()
        assert await database.mutate(asked, done(2)) == Done()
        assert items(database) == [1]


async def test_a_receipt_belongs_to_its_asker_its_kind_of_request_and_its_session(tmp_path: Path) -> None:
    request_id = new_id()
    async with opened(tmp_path) as database:
        token = ASKER.set(Channel("submit", 0, 1))
        try:
            await database.mutate(request(request_id), done(1))
            ASKER.set(Channel("submit", 3, 7))  # another worker of it: a retry all the same
            assert await database.answered(request(request_id)) == Done()
            ASKER.set(Channel("mx", 0, 1))
            assert await database.answered(request(request_id)) is None
            await database.mutate(request(request_id), done(2))
            ASKER.set(Channel("submit", 0, 1))
            other = to_auth.SetLoginState(Stamp.fresh("test", request_id=request_id), AccountId(new_id()), 1)
            assert await database.answered(other) is None
            one, two = (_mailbox_request(handle * 16, request_id) for handle in (b"1", b"2"))
            assert receipt_key(one) != receipt_key(two)
        finally:
            ASKER.reset(token)
        assert items(database) == [1, 2]


def _mailbox_request(handle: bytes, request_id: bytes) -> Any:
    stamp = Stamp.fresh("test", request_id=request_id)
    return to_store.DeleteMailbox(stamp, handle, new_id())  # type: ignore[arg-type]


async def test_receipts_older_than_ten_minutes_go_and_younger_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young, now = request(), request(), time.time()
    async with opened(tmp_path) as database:
        await database.mutate(old, done(1))
        monkeypatch.setattr(module.time, "time", lambda: now + 300)
        await database.mutate(young, done(2))
        monkeypatch.setattr(module.time, "time", lambda: now + module.RECEIPT_SECONDS + 2)
        database._next_purge = 0.0
        await database.write(add(3))
        assert await database.answered(old) is None
        assert await database.answered(young) == Done()


# --- the write-ahead log ---------------------------------------------------------------------------------------------


async def test_what_was_destroyed_is_in_no_file_once_the_log_is_truncated(tmp_path: Path) -> None:
    secret = "a-secret-of-many-letters"
    async with opened(tmp_path) as database:
        await database.write(add(1, secret))
        await database.write(lambda c: c.execute("DELETE FROM item") and None)
        assert any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir())
        await database.truncate_wal()
        assert not any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir())
        assert (tmp_path / "holder.sqlite-wal").stat().st_size == 0


async def test_a_log_that_cannot_be_emptied_now_is_said_and_the_mutations_beside_it_stand(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(lambda c: c.execute("PRAGMA busy_timeout = 50") and None)
        await database.write(add(1))
        other = sqlite3.connect(tmp_path / "holder.sqlite", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT * FROM item").fetchall()  # a reader that still needs the log
        try:
            with held(database) as hold:
                await hold.entered()
                tasks = await hold.queue(add(2))
                folding = asyncio.create_task(database.truncate_wal())
                await asyncio.sleep(0)
                outcomes = await hold.go_on([*tasks, folding])
            assert outcomes[0] == 2 and isinstance(outcomes[1], TemporaryFailure)
        finally:
            other.close()
        await database.truncate_wal()
        assert items(database) == [1, 2]


# --- schema ----------------------------------------------------------------------------------------------------------


async def test_an_older_schema_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    newer = (*MIGRATIONS, "ALTER TABLE item ADD COLUMN size INTEGER; UPDATE item SET size = length(text)")
    async with opened(tmp_path) as database:
        await database.write(add(1, "four"))
    async with opened(tmp_path, newer) as database:
        assert database.read("SELECT number, text, size FROM item") == [(1, "four", 4)]
        assert database.first("PRAGMA user_version") == (2,)
    async with opened(tmp_path, newer) as database:
        assert database.first("SELECT count(*) FROM item") == (1,)


async def test_a_migration_that_fails_changes_nothing_and_is_tried_again(tmp_path: Path) -> None:
    bad = (*MIGRATIONS, "ALTER TABLE item ADD COLUMN size INTEGER", "DELETE FROM item; INSERT INTO nowhere VALUES (1)")
    async with opened(tmp_path) as database:
        await database.write(add(1))
    with pytest.raises(sqlite3.OperationalError):
        Database(tmp_path / "holder.sqlite", bad)
    async with opened(tmp_path, (*bad[:2], "CREATE TABLE nowhere (n)")) as database:
        assert items(database) == [1]
        assert database.first("PRAGMA user_version") == (3,)


async def test_a_newer_schema_is_refused_untouched_and_says_what_to_do(tmp_path: Path) -> None:
    async with opened(tmp_path, (*MIGRATIONS, "CREATE TABLE later (n)")):
        pass
    before = (tmp_path / "holder.sqlite").read_bytes()
    with pytest.raises(IntegrityError, match=r"holder\.sqlite.*newer build \(schema 2\); start that build"):
        Database(tmp_path / "holder.sqlite", MIGRATIONS)
    assert (tmp_path / "holder.sqlite").read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_untouched_and_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "holder.sqlite"
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(IntegrityError, match=r"holder\.sqlite.*restore it from a backup"):
        Database(path, MIGRATIONS)
    assert path.read_bytes() == b"not a database at all" * 500


# --- a crash ---------------------------------------------------------------------------------------------------------

_CRASH = """
import asyncio, os, sys
from pathlib import Path
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_auth import StopTenantLogins
from bulkhead.holder.database import Database

def die(*_):
    os._exit(9)

def work(connection):
    connection.execute("INSERT INTO item VALUES (1, '')")
    return Done()

async def main():
    database = Database(Path(sys.argv[1]), ("CREATE TABLE item (number INTEGER PRIMARY KEY, text TEXT)",))
    request = StopTenantLogins(Stamp.fresh("test", request_id=b"0123456789abcdef"), 1, "")
    await database.mutate(request, work, **{sys.argv[2]: die})

asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "there"), [("before", []), ("after", [1])])
async def test_a_crash_between_commit_and_answer_leaves_a_receipt_and_one_before_the_commit_leaves_nothing(
    tmp_path: Path, moment: str, there: list[int]
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _CRASH, str(tmp_path / "holder.sqlite"), moment], check=False, timeout=30
    )
    assert child.returncode == 9
    async with opened(tmp_path) as database:
        asked = request(b"0123456789abcdef")
        assert items(database) == there
        assert (await database.answered(asked) is not None) == bool(there)
        assert await database.mutate(asked, done(1)) == Done()
        assert items(database) == [1]

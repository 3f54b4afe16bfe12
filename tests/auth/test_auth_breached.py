"""A breached password is refused where it is set, marked where it logs in; a new list needs no restart."""

import asyncio
import os
from pathlib import Path

from tests.keyring.two_halves import FAILURE_SECONDS, TwoHalves, refused, run, settled, stamp

from bulkhead.boundary.messages.to_auth import ChangePassword, CheckAuth, Scope, SetPassword
from bulkhead.cli.breached import write_list
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.credential import State

OURS, THEIRS = b"correct horse battery", b"stolen long ago"


async def list_now(cell: TwoHalves, *words: bytes) -> None:
    """Hand auth a new list, as the supervisor does, and reload it."""
    source, target = cell.root / "words", cell.root / "list" / "passwords.list"
    source.write_bytes(b"\n".join(words))
    write_list(target, source, 8)
    auth = cell.services["auth"]
    auth._files["breached"] = os.open(target, os.O_RDONLY)
    await auth.reload(cell.settings)
    assert not auth._files


async def states(cell: TwoHalves) -> dict[int, int]:
    return {row.state: row.count for row in (await cell.ask("cli", "auth", CheckAuth())).counts}


def test_a_listed_password_is_set_by_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        token = (await cell.create(account)).token
        with refused("breached-password"):
            await cell.set_password(account, b"password1", token)  # of the built-in list
        await cell.set_password(account, OURS, token)
        await list_now(cell, THEIRS)
        with refused("breached-password"):
            await cell.ask("cli", "auth", ChangePassword(stamp(), account, OURS, THEIRS))
        assert await cell.admits(account, OURS)
        assert await states(cell) == {State.ACTIVE.value: 1}

    run(tmp_path, work)


def test_a_login_marks_the_credential_and_a_new_password_ends_the_mark(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(THEIRS), await cell.add_account(OURS)
        await list_now(cell, THEIRS)
        assert not await cell.admits(account, OURS)
        assert await cell.admits(other, OURS)
        assert await states(cell) == {State.ACTIVE.value: 2}  # a wrong password marks nothing
        assert await cell.admits(account, THEIRS)
        await cell.database("auth").write(lambda _: None)  # the mark is written behind the login
        assert await states(cell) == {State.ACTIVE.value: 1, State.BREACHED.value: 1}
        assert await cell.admits(account, THEIRS)  # by the cache, and marked once
        await cell.services["auth"].note_logins()
        await settled(lambda: "LoginsCounted" in cell.seen.kinds())
        (noted,) = (event for event in cell.seen.events if event.kind == "LoginsCounted")
        assert noted.details == {"granted": 3, "refused": 1, "breached": 1}
        await cell.ask("cli", "auth", ChangePassword(stamp(), account, THEIRS, b"a new one at last"))
        assert await states(cell) == {State.ACTIVE.value: 2}

    run(tmp_path, work)


def test_where_it_is_refused_the_answer_and_its_time_are_those_of_a_wrong_one(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(THEIRS)
        assert await cell.admits(account, THEIRS)
        await list_now(cell, THEIRS)
        loop = asyncio.get_running_loop()
        for _ in range(2):  # cached, and not
            began = loop.time()
            assert not await cell.admits(account, THEIRS)
            assert loop.time() - began >= FAILURE_SECONDS * 0.9
            cell.services["keyring"]._keyring.logins.forget()
        assert not cell.services["keyring"]._keyring.sessions.all()[1:]

    run(tmp_path, work, auth={"breached": "refuse"})


def test_an_imported_password_in_clear_is_taken_and_marked_when_it_logs_in(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        token = (await cell.create(account)).token
        imported = SetPassword(stamp(), account, b"password1", token, Scope.ALL, "plain", b"")
        await cell.ask("cli", "auth", imported)
        assert await cell.admits(account, b"password1")
        await cell.database("auth").write(lambda _: None)
        assert await states(cell) == {State.BREACHED.value: 1}

    run(tmp_path, work)

"""App passwords: made with the main one alone, for some services, revoked at once, and never mistaken for another."""

import asyncio
import secrets
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.auth.test_auth_passwords import change, copied_at_every_commit, halves
from tests.keyring.two_halves import (
    FAILURE_SECONDS,
    TwoHalves,
    files_of,
    new_cell,
    opened,
    refused,
    run,
    settled,
    stamp,
)

from bulkhead.boundary.messages.to_auth import (
    AddAppPassword,
    AppPasswordRow,
    CheckAuth,
    ListAppPasswords,
    RevokeAppPasswords,
    Scope,
    SetLoginState,
)
from bulkhead.boundary.messages.to_keyring import AddHalf, OpenPages
from bulkhead.cli import app_password
from bulkhead.errors import ConfigError, TemporaryFailure
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.app_password import AppPassword
from bulkhead.records.stretch import stretch

MAIN, OTHER = b"the main password", b"another password"
MAIL = Scope.IMAP | Scope.SUBMIT


async def make(cell: TwoHalves, account: AccountId, scope: int = MAIL, main: bytes = MAIN, label: str = "") -> bytes:
    """The text of a new app password."""
    secret = secrets.token_bytes(16)
    added = await cell.ask("cli", "auth", AddAppPassword(stamp(), account, main, secret, scope, label))
    return AppPassword(added.cred, bytes(secret)).text().encode()


async def listed(cell: TwoHalves, account: AccountId) -> tuple[AppPasswordRow, ...]:
    return (await cell.ask("cli", "auth", ListAppPasswords(account))).rows


async def revoke(cell: TwoHalves, account: AccountId, cred: int = 0) -> int:
    return (await cell.ask("cli", "auth", RevokeAppPasswords(stamp(), account, cred))).revoked


def test_an_app_password_logs_in_for_its_services_alone_and_opens_the_same_mailbox(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(MAIN), await cell.add_account(MAIN)
        made = await make(cell, account)
        by_main = await cell.log_in(account, MAIN)
        for typed in (made, made.upper(), made.replace(b"-", b" ")):
            session = await cell.log_in(account, typed)
            assert session.metadata_key == by_main.metadata_key
        await cell.log_in(account, made, Scope.SUBMIT, "submit")
        with refused("bad-credentials"):
            await cell.log_in(account, made, Scope.POP)
        assert not await cell.admits(other, made)
        assert not await cell.admits(AccountId(new_id()), made)
        submit_only = await make(cell, account, Scope.SUBMIT)
        assert (await cell.log_in(account, submit_only, Scope.SUBMIT, "submit")).metadata_key == bytes(32)
        with refused("bad-credentials"):
            await cell.log_in(account, submit_only)
        assert "AppPasswordRevoked" not in cell.seen.kinds()
        await settled(lambda: cell.seen.kinds().count("PasswordSet") == 4)

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def _is_settled(cell: TwoHalves) -> bool:
    return not cell.database("auth").read("SELECT * FROM change")


def test_none_is_made_without_the_main_password_or_for_what_that_is_not_for(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, sender = await cell.add_account(MAIN), await cell.add_account(MAIN, Scope.SUBMIT)
        made = await make(cell, account)
        for wrong in (OTHER, made):
            with refused("bad-credentials"):
                await make(cell, account, main=wrong)
        with refused("bad-scope"):
            await make(cell, sender, Scope.IMAP | Scope.SUBMIT)
        for scope in (0, Scope.WEB, 64):
            with refused("bad-scope"):
                await make(cell, account, scope)
        with refused("bad-label"):
            await make(cell, account, label="two\nlines")
        await make(cell, sender, Scope.SUBMIT)
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 2))
        with refused("bad-credentials"):
            await make(cell, account)
        assert not await cell.admits(account, made)
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 1))
        assert await cell.admits(account, made)
        assert [row.cred for row in await listed(cell, account)] == [1]
        with refused("weak-password"):  # it would be taken for the app password
            await change(cell, account, MAIN, made)

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def test_auth_alone_adds_no_half_of_an_app_password(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        token = (await cell.create(other := AccountId(new_id()))).token
        random = [secrets.token_bytes(32) for _ in range(4)]
        for whom, by, code in (
            (account, (None, *random[2:]), "bad-credentials"),
            (account, (None,), "bad-token"),
            (account, (token,), "bad-token"),
            (other, (token,), "bad-token"),  # a token sets the main password and nothing else
        ):
            with refused(code):
                await cell.ask("auth", "keyring", AddHalf(stamp(), whom, 1, 1, *random[:2], Scope.IMAP, *by))
        assert halves(cell)[1] == [1]

    run(tmp_path, work)


def test_a_revoked_one_ends_its_own_sessions_and_no_others_at_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        first, second = await make(cell, account, label="phone"), await make(cell, account, label="laptop")
        sessions = [await cell.log_in(account, password) for password in (first, second, MAIN)]
        assert await revoke(cell, account, 1) == 1
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(sessions[0].handle, (1,)))
        for session in sessions[1:]:
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        assert not await cell.admits(account, first)
        assert await cell.admits(account, second)
        with refused("no-such-password"):
            await revoke(cell, account, 1)
        third = await make(cell, account)
        assert [(row.cred, row.label) for row in await listed(cell, account)] == [(2, "laptop"), (3, "")]
        assert await revoke(cell, account) == 2
        assert await listed(cell, account) == ()
        assert not await cell.admits(account, third)
        assert await cell.admits(account, MAIN)
        assert halves(cell) == ([1], [1])
        assert await make(cell, account) != third
        assert [row.cred for row in await listed(cell, account)] == [4]
        await settled(lambda: cell.seen.kinds().count("AppPasswordRevoked") == 2)

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def test_the_main_password_changed_leaves_app_passwords_and_their_sessions(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        made = await make(cell, account)
        session = await cell.log_in(account, made)
        await change(cell, account, MAIN, OTHER)
        await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
        assert await cell.admits(account, made)

    run(tmp_path, work)


def test_an_account_has_at_most_as_many_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.auth.app_passwords.PER_ACCOUNT_MAX", 2)

    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        await make(cell, account), await make(cell, account)
        with refused("too-many"):
            await make(cell, account)
        await revoke(cell, account, 1)
        await make(cell, account)

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def test_the_last_use_is_noted_coarsely_and_sealed(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> bytes:
        account = await cell.add_account(MAIN)
        made = await make(cell, account, label="kitchen phone")
        (row,) = await listed(cell, account)
        assert (row.used, row.network, row.label, row.scope) == (0, "", "kitchen phone", MAIL)
        for source in ("203.0.113.77", "2001:db8:7:8::9"):
            await cell.log_in(account, made, source=source)
        auth = cell.services["auth"]._auth
        await settled(lambda: not auth.logins.app_passwords._noting)
        (row,) = await listed(cell, account)
        assert row.network == "203.0.113.0/24" and abs(row.used - time.time()) < 60
        halves_page = await cell.ask("cli", "auth", CheckAuth())
        notes_page = await cell.ask("cli", "auth", CheckAuth(halves_page.next))
        assert {(row.kind, row.scheme, row.count) for row in notes_page.counts} == {(11, "sealed", 1)}
        assert (halves_page.faults, notes_page.faults, notes_page.next) == (0, 0, b"")
        return made

    made = run(tmp_path, work)
    for name, data in files_of(tmp_path).items():
        assert b"kitchen" not in data and b"203.0.113" not in data and made not in data, name


def test_a_wrong_one_fails_at_the_time_of_every_failure_and_a_right_one_waits_for_no_hash(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        made = await make(cell, account)
        wrong = AppPassword(1, secrets.token_bytes(16)).text().encode()
        absent = AppPassword(9, secrets.token_bytes(16)).text().encode()
        broken = made[:-1] + (b"a" if made[-1:] != b"a" else b"b")
        stretching = cell.services["auth"]._auth.stretching
        stretching._idle = 0  # every thread is taken
        await cell.log_in(account, made)
        stretching._idle = 2

        async def took(whom: AccountId, password: bytes) -> float:
            began = time.monotonic()
            with refused("bad-credentials"):
                await cell.log_in(whom, password)
            return time.monotonic() - began

        tries = [(account, wrong), (account, absent), (account, broken), (AccountId(new_id()), made), (account, OTHER)]
        times = await asyncio.gather(*(took(*one) for one in tries))
        assert all(taken >= FAILURE_SECONDS for taken in times)

    run(tmp_path, work)


def test_killed_after_any_commit_of_a_revocation_or_a_making_nothing_is_half_there(tmp_path: Path) -> None:
    async def work() -> None:
        cell = new_cell(tmp_path / "cell", auth={"failure_seconds": 0.05})
        async with opened(cell):
            account = await cell.add_account(MAIN)
            with copied_at_every_commit(cell, tmp_path) as copies:
                made = await make(cell, account)
                at_made = len(copies)
                await revoke(cell, account)
        for number, copy in enumerate(copies):
            again = TwoHalves(copy, cell.keys, cell.settings)
            async with opened(again):
                await settled(partial(_is_settled, again))
                works = await again.admits(account, made)
                assert works == (len(await listed(again, account)) == 1), number
                assert halves(again)[1] == ([1, 1] if works else [1])
                assert await again.admits(account, MAIN)
        assert at_made < len(copies)

    asyncio.run(work())


def test_a_making_whose_answer_was_lost_is_answered_again_and_made_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        secret = secrets.token_bytes(16)
        request: Any = AddAppPassword(stamp(), account, MAIN, secret, MAIL, "")
        for _ in range(2):
            assert (await cell.ask("cli", "auth", request)).cred == 1
        assert len(await listed(cell, account)) == 1
        together = await asyncio.gather(*(make(cell, account) for _ in range(2)), return_exceptions=True)
        assert sum(isinstance(one, TemporaryFailure) for one in together) == 1  # one at a time
        assert len(await listed(cell, account)) == 2

    run(tmp_path, work)


def test_one_revoked_while_its_making_is_settled_is_dropped_by_keyring_and_its_sessions_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        halves_of_keyring, held = cell.state("keyring").halves, asyncio.Event()
        original = halves_of_keyring.fold

        async def fold() -> None:
            await held.wait()
            await original()

        monkeypatch.setattr(type(halves_of_keyring), "fold", lambda _: fold())
        secret = secrets.token_bytes(16)
        making = asyncio.create_task(
            cell.ask("cli", "auth", AddAppPassword(stamp(), account, MAIN, bytes(bytearray(secret)), MAIL, ""))
        )
        await settled(lambda: cell.database("auth").read("SELECT * FROM app_password"))
        session = await cell.log_in(account, AppPassword(1, secret).text().encode())
        mutate = cell.database("auth").mutate

        async def mutate_and_be_overtaken(request: Any, *arguments: Any) -> Any:
            reply = await mutate(request, *arguments)
            held.set()
            await asyncio.wait({making})
            return reply

        monkeypatch.setattr(cell.database("auth"), "mutate", mutate_and_be_overtaken)
        assert await revoke(cell, account) == 1
        await settled(lambda: _is_settled(cell))
        assert halves(cell) == ([1], [1])
        with refused("no-session"):
            await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))

    run(tmp_path, work, auth={"failure_seconds": 0.05})


def test_a_compromised_auth_with_a_password_fills_no_disk_with_halves_and_bars_no_new_main_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.keyring.halves.ACCOUNT_HALVES_MAX", 5)

    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        auth = cell.state("auth")
        half = auth.rows.find(account, 0)

        async def add(cred: int) -> None:
            main = stretch(MAIN, half.salt, half.parameters)
            new = (secrets.token_bytes(32), secrets.token_bytes(32))
            request = AddHalf(stamp(), account, cred, 1, *new, Scope.IMAP, None, main.tight, main.wrap_key)
            await cell.ask("auth", "keyring", request)

        for cred in range(70_000, 70_004):
            await add(cred)
        with refused("too-many"):
            await add(80_000)
        await change(cell, account, MAIN, OTHER)
        assert await cell.admits(account, OTHER)

    run(tmp_path, work)


@pytest.mark.parametrize("number", [0, -1, 65_536])
def test_the_command_revokes_no_number_that_none_has(number: int) -> None:
    with pytest.raises(ConfigError, match="numbered from 1"):  # 0 is every one, in the message
        app_password.revoke(Namespace(number=number, all=False))


@pytest.mark.parametrize("label", ["x" * 129, "\udcff", "two\nlines"])
def test_the_command_says_what_a_label_may_be(label: str) -> None:
    with pytest.raises(ConfigError, match="--label"):
        app_password.add(Namespace(services="imap", label=label))

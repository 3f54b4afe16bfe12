"""One number revokes every main password, every app password or both; and protocols may be closed to the main one."""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from tests.auth.test_app_passwords import make
from tests.auth.test_auth_passwords import change, recover
from tests.keyring.two_halves import TwoHalves, refused, run, settled, stamp

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.revocation import RevokedKind
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_auth import Scope, SetLoginState
from bulkhead.boundary.messages.to_keyring import OpenPages
from bulkhead.identifiers import AccountId
from bulkhead.records.credential import State, StretchParameters
from bulkhead.records.record import Kind

MAIN, NEW = b"the main password", b"another password"
QUICK: dict[str, Any] = {"failure_seconds": 0.05}


def now() -> int:
    return time.time_ns() // 1_000_000


async def revoke(cell: TwoHalves, which: int, *, at: tuple[str, ...] = ("keyring", "auth")) -> int:
    """How many sessions ended."""
    ended = 0
    if "keyring" in at:
        ended = (
            await cell.ask("cli", "keyring", to_keyring.RevokeCredentials(stamp(), now(), which, "drill"))
        ).sessions
    if "auth" in at:
        await cell.ask("cli", "auth", to_auth.RevokeCredentials(stamp(), now(), which, "drill"))
    return ended


@pytest.mark.parametrize("which", [RevokedKind.MAIN, RevokedKind.APP, RevokedKind.ALL])
def test_what_was_set_until_then_is_refused_and_what_it_opened_ends_at_once(tmp_path: Path, which: int) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        made = await make(cell, account)
        opened = {MAIN: await cell.log_in(account, MAIN), made: await cell.log_in(account, made)}
        doomed = [MAIN] * (which & 1) + [made] * (which >> 1)
        assert await revoke(cell, which) == len(doomed)
        for _ in range(2):
            for password, session in opened.items():
                assert await cell.admits(account, password) == (password not in doomed)
                if password in doomed:
                    with refused("no-session"):
                        await cell.ask("access", "keyring", OpenPages(session.handle, (1,)))
            await cell.restart("auth"), await cell.restart("keyring")  # it is durable
        revoked = {handle for request in cell.seen.revokes for handle in request.handles}
        assert {opened[password].handle for password in doomed} <= revoked
        await settled(lambda: cell.seen.kinds().count("CredentialsRevoked") == 2)

    run(tmp_path, work, auth=QUICK)


@pytest.mark.parametrize("where", ["keyring", "auth"])
def test_either_holder_alone_keeps_every_revoked_credential_out(tmp_path: Path, where: str) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        made = await make(cell, account)
        await cell.log_in(account, MAIN)  # and it is cached
        await revoke(cell, RevokedKind.ALL, at=(where,))
        assert not await cell.admits(account, MAIN)
        assert not await cell.admits(account, made)
        for code, act in (
            ("bad-credentials", change(cell, account, MAIN, NEW)),
            ("bad-credentials", make(cell, account)),
        ):
            with refused(code):
                await act

    run(tmp_path, work, auth=QUICK)


def test_what_is_set_afterwards_works_also_where_the_epoch_is_ahead_of_the_clock(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(MAIN), await cell.add_account(MAIN)
        ahead = now() + 20_000
        await cell.ask("cli", "keyring", to_keyring.RevokeCredentials(stamp(), ahead, RevokedKind.ALL, ""))
        await cell.ask("cli", "auth", to_auth.RevokeCredentials(stamp(), ahead, RevokedKind.ALL, ""))
        await cell.set_password(account, NEW, await recover(cell, account))
        assert await cell.admits(account, NEW)
        assert await cell.admits(account, await make(cell, account, main=NEW))
        assert not await cell.admits(other, MAIN)
        await cell.ask("cli", "auth", SetLoginState(stamp(), other, 2))  # which seals the record anew
        await cell.ask("cli", "auth", SetLoginState(stamp(), other, 1))
        assert not await cell.admits(other, MAIN)

    run(tmp_path, work, auth=QUICK)


def test_an_epoch_only_goes_up_is_no_time_to_come_and_a_request_counts_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        request = to_keyring.RevokeCredentials(stamp(), now() - 1, RevokedKind.ALL, "")
        account = await cell.add_account(MAIN)
        await cell.log_in(account, MAIN)
        first = await cell.ask("cli", "keyring", request)
        assert await cell.ask("cli", "keyring", request) == first
        assert await cell.admits(account, MAIN)  # set after the epoch, though before the request came
        with refused("bad-epoch"):
            await cell.ask("cli", "keyring", to_keyring.RevokeCredentials(stamp(), now() + 60_000, 3, ""))
        for kind in (0, 4):
            with refused("bad-kind"):
                await cell.ask("cli", "auth", to_auth.RevokeCredentials(stamp(), now(), kind, ""))
        await revoke(cell, RevokedKind.ALL)
        await cell.ask("cli", "keyring", to_keyring.RevokeCredentials(stamp(), 5, RevokedKind.ALL, ""))
        assert not await cell.admits(account, MAIN)

    run(tmp_path, work, auth=QUICK)


def test_a_protocol_closed_to_the_main_password_takes_app_passwords_and_opens_again_without_restart(
    tmp_path: Path,
) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        made = await make(cell, account)
        await cell.log_in(account, MAIN, Scope.SUBMIT, "submit")
        assert not await cell.admits(account, MAIN)
        assert await cell.admits(account, made)
        auth = cell.services["auth"]
        await auth.reload(cell.settings | {"auth": cell.settings["auth"] | {"main_password": ("imap",)}})
        assert await cell.admits(account, MAIN)
        with refused("bad-credentials"):
            await cell.log_in(account, MAIN, Scope.SUBMIT, "submit")
        await cell.log_in(account, made, Scope.SUBMIT, "submit")

    run(tmp_path, work, auth=QUICK | {"main_password": ("submit",)})


def test_a_half_that_a_revoked_password_gets_while_the_revocation_arrives_is_revoked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        auth = cell.state("auth")
        auth.rows.default = StretchParameters(16, 1, 1)
        epoch, original = 0, auth.passwords._restretch

        async def restretch(new: Any) -> None:
            nonlocal epoch
            epoch = now()  # the command has its number, and is on its way
            await asyncio.sleep(0.02)
            await original(new)

        monkeypatch.setattr(type(auth.passwords), "_restretch", lambda _, new: restretch(new))
        assert await cell.admits(account, MAIN)
        await settled(lambda: cell.database("keyring").read("SELECT 1 FROM half WHERE g = 2"))
        await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))
        for whom, messages in (("keyring", to_keyring), ("auth", to_auth)):
            await cell.ask("cli", whom, messages.RevokeCredentials(stamp(), epoch, RevokedKind.ALL, ""))
        assert not await cell.admits(account, MAIN)

    run(tmp_path, work, auth=QUICK)


def test_what_was_set_before_there_were_epochs_works_until_the_first_one(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        for name in ("auth", "keyring"):  # as the migration leaves the halves that are there
            await cell.database(name).write(
                lambda connection: connection.execute("UPDATE half SET set_at = 0") and None
            )
        assert await cell.admits(account, MAIN)
        await revoke(cell, RevokedKind.ALL)
        assert not await cell.admits(account, MAIN)

    run(tmp_path, work, auth=QUICK)


async def reset(
    cell: TwoHalves,
    surfaces: int,
    accounts: list[AccountId],
    *,
    at: tuple[str, ...] = ("keyring", "auth"),
    until: int = 0,
) -> int:
    """How many sessions ended."""
    ids = b"".join(sorted(accounts))
    digest, ended, modules = hashlib.sha256(ids).digest(), 0, {"keyring": to_keyring, "auth": to_auth}
    for name in at:
        module: Any = modules[name]
        await cell.exchanges["cli"].to(name).call(module.StageAccounts(stamp(), digest), ids)
        ended += (
            await cell.ask("cli", name, module.StopSurfaces(stamp(), now(), surfaces, digest, until, "case 7"))
        ).sessions
    return ended


@pytest.mark.parametrize("where", ["both", "keyring", "auth"])
def test_a_reset_of_a_set_refuses_its_main_passwords_until_new_ones_are_set_and_nobody_elses(
    tmp_path: Path, where: str
) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(MAIN), await cell.add_account(MAIN)
        made = await make(cell, account)
        for one, password in ((account, MAIN), (account, made), (other, MAIN)):
            await cell.log_in(one, password)  # and the main ones are cached
        at = ("keyring", "auth") if where == "both" else (where,)
        assert await reset(cell, Surface.RESET_MAIN, [account], at=at) == ("keyring" in at)
        for _ in range(2):
            assert not await cell.admits(account, MAIN)
            assert await cell.admits(account, made) and await cell.admits(other, MAIN)
            with refused("bad-credentials"):
                await change(cell, account, MAIN, NEW)
            await cell.restart("auth"), await cell.restart("keyring")  # it is durable
        await cell.set_password(account, NEW, await recover(cell, account))
        assert await cell.admits(account, NEW) and not await cell.admits(account, MAIN)

    run(tmp_path, work, auth=QUICK)


def test_a_revocation_of_a_sets_app_passwords_ends_its_sessions_and_leaves_its_main_passwords(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(MAIN), await cell.add_account(MAIN)
        made, others = await make(cell, account), await make(cell, other)
        for one, password in ((account, MAIN), (account, made), (other, others)):
            await cell.log_in(one, password)
        assert await reset(cell, Surface.RESET_APP | Surface.SESSIONS, [account]) == 2
        assert not await cell.admits(account, made)
        assert await cell.admits(account, MAIN) and await cell.admits(other, others)
        assert await cell.admits(account, await make(cell, account))
        assert not await cell.admits(account, made)

    run(tmp_path, work, auth=QUICK)


def test_a_reset_that_is_lifted_or_lapses_lets_the_old_password_in_again(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        digest = hashlib.sha256(account).digest()
        for name, module in (("keyring", to_keyring), ("auth", to_auth)):
            await reset(cell, Surface.RESET_MAIN, [account], at=(name,))
            assert not await cell.admits(account, MAIN)
            lift: Any = module.LiftSurfaces(stamp(), now() + 1, Surface.RESET_MAIN, digest, "the wrong set")  # type: ignore[attr-defined]
            await cell.ask("cli", name, lift)
            assert await cell.admits(account, MAIN)
        end = now() + 3_600_000
        await reset(cell, Surface.RESET_MAIN, [account], until=end)
        assert not await cell.admits(account, MAIN)
        for name in ("keyring", "auth"):
            await cell.state(name).surfaces.lapse(end)
        assert await cell.admits(account, MAIN)

    run(tmp_path, work, auth=QUICK)


def test_a_census_counts_the_halves_of_a_reset_set_as_revoked(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, _ = await cell.add_account(MAIN), await cell.add_account(MAIN)
        await reset(cell, Surface.RESET_MAIN, [account])
        page = await cell.ask("cli", "keyring", to_keyring.CheckKeyring())
        assert {row.state: row.count for row in page.counts if row.kind == Kind.KEYRING_HALF} == {
            State.REVOKED.value: 1, State.ACTIVE.value: 1,
        }  # fmt: skip
        matched = await cell.ask("cli", "auth", to_auth.MatchAuth(account))
        assert {row.state for row in matched.counts if row.kind == Kind.AUTH_HALF} == {State.REVOKED.value}

    run(tmp_path, work, auth=QUICK)

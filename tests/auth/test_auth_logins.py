"""The first half of the check: who is let in, who is not, and that the time of a no tells nothing."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from tests.keyring.two_halves import (
    FAILURE_SECONDS,
    TwoHalves,
    files_of,
    refused,
    run,
    settled,
    stamp,
)

from bulkhead.auth.handle import HANDLERS
from bulkhead.auth.logins import GATE_SCOPES as AUTH_GATE_SCOPES
from bulkhead.auth.stretching import Stretching
from bulkhead.boundary.messages import to_auth
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_auth import (
    Authenticate,
    CheckAuth,
    CountCredentials,
    LiftTenantStop,
    Scope,
    SetLoginState,
    StopTenantLogins,
)
from bulkhead.boundary.messages.to_keyring import CheckCached, CheckHalf, CheckKeyring, Release
from bulkhead.cli.records import Opened
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, new_id
from bulkhead.keyring.logins import GATE_SCOPES as KEYRING_GATE_SCOPES
from bulkhead.records import credential
from bulkhead.records.credential import Stretched, StretchParameters
from bulkhead.records.stretch import stretch

PASSWORD = "正しい馬の電池です".encode()
WRONG = b"correct horse battery"


def test_every_message_to_auth_has_a_handler() -> None:
    requests = {
        value
        for value in vars(to_auth).values()
        if isinstance(value, type) and issubclass(value, Request) and value.__module__.startswith(to_auth.__name__)
    }
    assert set(HANDLERS) == requests


def test_scopes_have_the_same_bits_in_messages_and_in_records() -> None:
    named = {name: value for name, value in vars(Scope).items() if name.isupper()}
    assert named.pop("ALL") == credential.ALL_SCOPES
    assert named == {scope.name: scope.value for scope in credential.Scope}
    both = {gate: sum(scopes) for gate, scopes in AUTH_GATE_SCOPES.items()}
    assert both == KEYRING_GATE_SCOPES


def test_the_right_password_is_admitted_and_no_other(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(WRONG)
        assert await cell.admits(account, PASSWORD)
        assert not await cell.admits(account, WRONG)
        assert not await cell.admits(account, PASSWORD[:-3])
        assert not await cell.admits(other, PASSWORD)
        assert not await cell.admits(AccountId(new_id()), PASSWORD)
        await cell.services["auth"]._auth.accesses.flush()  # which a second does, otherwise
        await cell.services["auth"].note_logins()
        await settled(lambda: "LoginsCounted" in cell.seen.kinds())
        details = cell.seen.events[-1].details
        assert (details["granted"], details["refused"], details["blocks"] >= 1) == (1, 4, True)

    run(tmp_path, work)


def test_a_credential_admits_only_to_the_services_it_is_for(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD, Scope.POP | Scope.SUBMIT)
        await cell.log_in(account, PASSWORD, Scope.POP)
        await cell.log_in(account, PASSWORD, Scope.SUBMIT, "submit")
        for scope, gate in ((Scope.IMAP, "access"), (Scope.POP, "submit"), (Scope.SUBMIT, "access"), (0, "access")):
            with refused("bad-credentials"):
                await cell.log_in(account, PASSWORD, scope, gate)

    run(tmp_path, work)


def test_every_failure_is_answered_at_one_time_and_success_at_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> dict[str, float]:
        account, suspended, half_suspended, no_password, busy = [await cell.add_account(PASSWORD) for _ in range(5)]
        no_password = AccountId(new_id())
        await cell.create(no_password)
        await cell.ask("cli", "keyring", to_keyring_state(suspended))
        await cell.ask("cli", "auth", SetLoginState(stamp(), suspended, 2))
        await cell.ask("cli", "auth", SetLoginState(stamp(), half_suspended, 2))

        async def took(account: AccountId, password: bytes, source: str = "192.0.2.1") -> float:
            began = time.monotonic()
            with refused("bad-credentials"):
                await cell.log_in(account, password, source=source)
            return time.monotonic() - began

        right = []
        for _ in range(5):
            began = time.monotonic()
            await cell.log_in(account, PASSWORD)
            right.append(time.monotonic() - began)
        assert min(right) < FAILURE_SECONDS / 2  # a busy machine holds up one, and not each
        limits = cell.services["auth"]._auth.logins.limits
        limits._by_strangers.add(busy + b"access", limits._by_strangers.capacity)
        times = await asyncio.gather(
            took(account, WRONG),
            took(AccountId(new_id()), WRONG),
            took(suspended, PASSWORD),
            took(half_suspended, PASSWORD),
            took(no_password, PASSWORD),
            took(busy, PASSWORD, "198.51.100.1"),
        )
        await cell.ask("cli", "auth", StopTenantLogins(stamp(), 1, "drill"))
        return dict(enumerate([*times, await took(account, PASSWORD)]))  # type: ignore[arg-type]

    times = run(tmp_path, work)
    assert all(seconds >= FAILURE_SECONDS for seconds in times.values()), times


def to_keyring_state(account: AccountId, state: int = 2) -> Any:
    from bulkhead.boundary.messages.to_keyring import SetHalfState

    return SetHalfState(stamp(), account, state)


def test_an_account_that_auth_does_not_admit_leaves_nothing_to_redeem_at_keyring(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 2))
        assert not await cell.admits(account, PASSWORD)
        assert not cell.services["keyring"]._keyring.logins._checked
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 1))
        assert await cell.admits(account, PASSWORD)

    run(tmp_path, work)


def test_an_auth_that_grafts_an_account_is_refused_by_keyring(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, victim = await cell.add_account(PASSWORD), await cell.add_account(WRONG)
        half = cell.services["auth"]._auth.rows.find(account, 0)
        stretched = stretch(PASSWORD, half.salt, half.parameters)
        nonce = secrets.token_bytes(16)
        for whom in (victim, AccountId(new_id())):
            with refused("bad-credentials"):
                check = CheckHalf(whom, 0, stretched.tight, stretched.wrap_key, Scope.IMAP, nonce)
                await cell.ask("auth", "keyring", check)
        check = CheckHalf(account, 0, stretched.tight, stretched.wrap_key, Scope.IMAP, nonce)
        await cell.ask("auth", "keyring", check)
        from bulkhead.boundary.messages.to_keyring import RedeemLogin

        with refused("bad-credentials"):  # the gate redeems for the account that it asked for
            await cell.ask("access", "keyring", RedeemLogin(nonce, victim, Scope.IMAP))

    run(tmp_path, work)


def test_a_keyring_that_lies_admits_nobody(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        cell.exchanges["keyring"]._handlers = {
            message: lambda *_: Release(secrets.token_bytes(32)) for message in (CheckHalf, CheckCached)
        }
        with refused("bad-credentials"):
            nonce = secrets.token_bytes(16)
            await cell.ask("access", "auth", Authenticate(account, PASSWORD, Scope.IMAP, "::1", nonce))

    run(tmp_path, work)


def test_a_keyring_that_is_away_is_a_temporary_failure_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.02)

    async def work(cell: TwoHalves) -> float:
        account = await cell.add_account(PASSWORD)
        for edge in cell.exchanges["auth"].edges():
            if edge.peer.compartment == "keyring":
                edge.close(None)
        began = time.monotonic()
        with pytest.raises(TemporaryFailure):
            await cell.log_in(account, PASSWORD)
        return time.monotonic() - began

    assert run(tmp_path, work) >= FAILURE_SECONDS


def test_a_stop_refuses_the_right_password_survives_a_restart_and_is_lifted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.ask("cli", "auth", StopTenantLogins(stamp(), 7, "breach"))
        assert not await cell.admits(account, PASSWORD)
        await cell.restart("auth")
        assert not await cell.admits(account, PASSWORD)
        with refused("old-epoch"):
            await cell.ask("cli", "auth", LiftTenantStop(stamp(), 7, "no"))
        counts = await cell.ask("cli", "auth", CountCredentials())
        assert (counts.stopped, counts.epoch) == (True, 7)
        await cell.ask("cli", "auth", LiftTenantStop(stamp(), 8, "over"))
        assert await cell.admits(account, PASSWORD)
        await settled(lambda: {"StopLogins", "StopLifted"} <= set(cell.seen.kinds()))

    run(tmp_path, work)


def test_keyring_counts_failures_itself_and_keeps_the_count_across_restarts(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        cell.services["keyring"]._keyring.failures.limit = 5  # below what auth itself lets through
        half = cell.services["auth"]._auth.rows.find(account, 0)
        right = stretch(PASSWORD, half.salt, half.parameters)

        async def guess(stretched: Stretched) -> bool:
            nonce = secrets.token_bytes(16)
            check = CheckHalf(account, 0, stretched.tight, stretched.wrap_key, Scope.IMAP, nonce)
            try:
                await cell.ask("auth", "keyring", check)
            except Refused:
                return False
            return True

        for _ in range(4):
            assert not await guess(Stretched(secrets.token_bytes(32), secrets.token_bytes(32)))
        assert await guess(right)
        assert not await guess(Stretched(secrets.token_bytes(32), secrets.token_bytes(32)))
        assert not await guess(right)  # the fifth failure used the hour up
        await cell.restart("keyring")
        cell.connect("keyring", "store")
        cell.services["keyring"]._keyring.failures.limit = 5
        assert not await guess(right)
        assert not await cell.admits(account, PASSWORD)
        assert await cell.admits(other, PASSWORD)
        failures = cell.services["keyring"]._keyring.failures
        failures._clock = lambda: time.time() + 3601
        assert await guess(right)
        await failures.forget_old()
        assert cell.database("keyring").read("SELECT * FROM failure") == []

    run(tmp_path, work)


def test_guessing_names_that_do_not_exist_costs_keyring_one_row(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        for _ in range(30):
            with refused("bad-credentials"):
                check = CheckHalf(AccountId(new_id()), 0, bytes(32), bytes(32), Scope.IMAP, secrets.token_bytes(16))
                await cell.ask("auth", "keyring", check)
        assert len(cell.database("keyring").read("SELECT * FROM failure")) == 1

    run(tmp_path, work)


def test_logins_past_the_queue_are_told_to_try_again() -> None:
    async def work() -> None:
        stretching = Stretching(1, 1)
        slow = StretchParameters(19 * 1024, 2, 1)
        tasks = [asyncio.create_task(stretching.stretch(b"password", bytes(16), slow)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TemporaryFailure):
            await stretching.stretch(b"password", bytes(16), slow)
        await asyncio.gather(*tasks)
        await stretching.stretch(b"password", bytes(16), slow)
        stretching.stop()

    asyncio.run(work())


def test_a_flood_of_logins_at_one_gate_keeps_no_login_of_another_waiting_behind_it() -> None:
    async def work() -> None:
        stretching, done = Stretching(1, 64), list[str]()

        async def log_in(gate: str) -> None:
            await stretching.stretch(b"password", bytes(16), StretchParameters(1024, 1, 1), gate)
            done.append(gate)

        flood = [asyncio.create_task(log_in("submit")) for _ in range(65)]
        await asyncio.sleep(0)
        with pytest.raises(TemporaryFailure):
            await log_in("submit")
        await log_in("access")
        assert done.index("access") <= 3
        for task in flood[30:]:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        await asyncio.gather(*(log_in(gate) for gate in ("access", "submit", "access")))
        assert stretching._idle == 1 and not any(stretching._queues.values())
        stretching.stop()

    asyncio.run(work())


async def walked(cell: TwoHalves) -> Opened:
    """Every record of keyring, three at a time."""
    found, after = Opened(), b""
    while True:
        page = await cell.ask("cli", "keyring", CheckKeyring(after, 3, signatures=True))
        found.add(page)
        if not (after := page.next):
            return found


def test_counts_and_checks_open_every_record_and_find_a_changed_one(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(PASSWORD) for _ in range(4)]
        await cell.ask("cli", "auth", SetLoginState(stamp(), accounts[0], 2))
        assert (await cell.ask("cli", "auth", CountCredentials())).credentials == 4
        auth = await cell.ask("cli", "auth", CheckAuth())
        assert {(row.kind, row.scheme, row.state, row.key_version, row.count) for row in auth.counts} == {
            (1, "argon2id(m=8,t=1,p=1)", 1, 1, 3),
            (1, "argon2id(m=8,t=1,p=1)", 3, 1, 1),
        }
        assert (auth.faults, auth.problems) == (0, ())
        found = await walked(cell)
        assert (found.records, found.problems) == (8, [])
        swap = "UPDATE half SET record = (SELECT max(record) FROM half)"
        for name in ("auth", "keyring"):
            await cell.database(name).write(lambda connection: connection.execute(swap))
        assert len((await cell.ask("cli", "auth", CheckAuth())).problems) == 3
        assert len((await walked(cell)).problems) == (await walked(cell)).faults == 3
        binding = "UPDATE mailbox SET binding = (SELECT max(binding) FROM mailbox)"
        await cell.database("keyring").write(lambda connection: connection.execute(binding))
        assert len((await walked(cell)).problems) == 6

    run(tmp_path, work)


def test_no_file_holds_a_password_a_seed_a_release_or_a_token_in_clear(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = AccountId(new_id())
        created = await cell.create(account)
        await cell.set_password(account, PASSWORD, created.token)
        session = await cell.log_in(account, PASSWORD)
        half = cell.services["auth"]._auth.rows.find(account, 0)
        stretched = stretch(PASSWORD, half.salt, half.parameters)
        seed = cell.services["keyring"]._keyring.sessions.all()[0].seed
        secret = [PASSWORD, created.token, half.salt, stretched.tight, stretched.wrap_key]
        secret += [seed.secret, seed.slot_key(), session.metadata_key, session.handle]
        for name, data in files_of(cell.root).items():
            for value in secret:
                assert value not in data, name
        assert account not in (cell.root / "auth" / "auth.sqlite").read_bytes()

    run(tmp_path, work)


def test_what_is_secret_shows_in_no_repr(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        session = await cell.log_in(account, PASSWORD)
        keyring = cell.services["keyring"]._keyring
        live = keyring.sessions.all()[0]
        shown = repr(live) + repr(keyring.keys) + repr(cell.services["auth"]._auth.rows.keys) + repr(session)
        index = keyring.keys.ring.current("index")[1]
        for value in (live.handle, live.opened[0].slot_key, live.seed.secret, keyring.keys.tight, index):
            assert repr(value)[2:-1] not in shown
            assert value.hex() not in shown

    run(tmp_path, work)

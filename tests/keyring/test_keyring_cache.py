"""Cached logins: which login walks which way, what ends an entry, and what one half's memory gives away: nothing."""

import asyncio
import gc
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.auth.test_auth_passwords import recover
from tests.keyring.two_halves import TwoHalves, refused, run, stamp

from bulkhead.boundary.messages.to_auth import LiftTenantStop, Scope, SetLoginState, StopTenantLogins
from bulkhead.boundary.messages.to_keyring import (
    CheckCached,
    CheckHalf,
    LiftSessionStop,
    SetHalfState,
    StopTenantSessions,
)
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, new_id
from bulkhead.keyring.cache import LoginCache
from bulkhead.records.halves import Wrapped

PASSWORD, WRONG = b"correct horse battery", b"incorrect horse battery"
HIT, FULL = ["CheckCached"], ["CheckCached", "CheckHalf"]


class Walk:
    """What auth asks keyring during a login, and how often it stretches."""

    def __init__(self, cell: TwoHalves) -> None:
        self.cell, self.asked, self.stretched = cell, list[str](), 0
        self.watch_keyring()
        self.watch_auth()

    def watch_keyring(self) -> None:
        """Also after a restart of it."""
        keyring = self.cell.exchanges["keyring"]
        handlers = dict(keyring._handlers)

        def noting(kind: Any) -> Callable[..., Any]:
            def handle(state: Any, channel: Any, request: Any, body: Any) -> Any:
                self.asked.append(kind.__name__)
                return handlers[kind](state, channel, request, body)  # type: ignore[misc]

            return handle

        keyring._handlers = handlers | {kind: noting(kind) for kind in (CheckCached, CheckHalf)}

    def watch_auth(self) -> None:
        """Also after a restart of it."""
        logins = self.cell.services["auth"]._auth.logins
        stretch = logins.stretching.stretch

        async def counting(*arguments: Any, **named: Any) -> Any:
            self.stretched += 1
            return await stretch(*arguments, **named)

        logins.stretching.stretch = counting

    async def of(self, account: AccountId, password: bytes, scope: int = Scope.IMAP, gate: str = "access") -> list[str]:
        """The steps of one login, `no` behind them where it was refused. A full path has just one stretch in it."""
        self.asked, self.stretched = [], 0
        try:
            await self.cell.log_in(account, password, scope, gate)
        except Refused as refusal:
            assert refusal.code == "bad-credentials"
            self.asked.append("no")
        assert self.stretched == self.asked.count("CheckHalf")
        return self.asked


def cache_of(cell: TwoHalves) -> LoginCache:
    cache: LoginCache = cell.services["keyring"]._keyring.logins.cache
    return cache


def test_a_login_is_stretched_once_and_then_found_whatever_its_scope(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        walk, account = Walk(cell), await cell.add_account(PASSWORD)
        first = await cell.log_in(account, PASSWORD)
        assert await walk.of(account, PASSWORD) == HIT
        assert await walk.of(account, PASSWORD, Scope.POP) == HIT
        assert await walk.of(account, PASSWORD, Scope.SUBMIT, "submit") == HIT
        again = await cell.log_in(account, PASSWORD)
        assert (again.metadata_key, again.binding) == (first.metadata_key, first.binding)
        assert again.handle != first.handle
        only_submit = await cell.add_account(PASSWORD, Scope.SUBMIT)
        assert await walk.of(only_submit, PASSWORD, Scope.SUBMIT, "submit") == FULL
        assert await walk.of(only_submit, PASSWORD, Scope.SUBMIT, "submit") == HIT
        assert await walk.of(only_submit, PASSWORD) == ["CheckHalf", "no"]  # auth does not admit it: never looked up

    run(tmp_path, work)


def test_a_wrong_password_on_a_cached_account_walks_the_full_path_ends_the_entry_and_is_counted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        walk, account = Walk(cell), await cell.add_account(PASSWORD)
        assert await walk.of(account, PASSWORD) == FULL
        assert await walk.of(account, WRONG) == [*FULL, "no"]
        assert [row[0] for row in cell.database("keyring").read("SELECT failures FROM failure")] == [1]
        assert len(cache_of(cell)) == 0
        assert await walk.of(account, PASSWORD) == FULL
        assert await walk.of(account, PASSWORD) == HIT
        assert await walk.of(AccountId(new_id()), PASSWORD) == ["CheckHalf", "no"]

    run(tmp_path, work)


def test_a_cached_login_is_limited_like_any_other(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        walk, account, other = Walk(cell), await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        limits = cell.services["auth"]._auth.logins.limits
        for steps in (FULL, HIT, HIT):
            assert await walk.of(account, PASSWORD) == steps
        for levels in (limits._by_known, limits._by_strangers):
            levels.add(account + b"access", levels.capacity)
        assert await walk.of(account, PASSWORD) == ["no"]
        assert await walk.of(other, PASSWORD) == FULL
        failures = cell.services["keyring"]._keyring.failures
        mid = cell.services["keyring"]._keyring.keys.mid(other)
        for _ in range(failures.limit):
            await failures.count(mid)
        assert await walk.of(other, PASSWORD) == [*FULL, "no"]  # keyring's hour is used up

    run(tmp_path, work)


async def _new_password(cell: TwoHalves, account: AccountId) -> None:
    await cell.set_password(account, PASSWORD, await recover(cell, account))


async def _suspend_and_open(cell: TwoHalves, account: AccountId) -> None:
    await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 2))
    assert len(cache_of(cell)) == 0
    await cell.ask("cli", "keyring", SetHalfState(stamp(), account, 1))


async def _stop_logins(cell: TwoHalves, account: AccountId) -> None:
    await cell.ask("cli", "auth", StopTenantLogins(stamp(), 1, "drill"))
    assert not await cell.admits(account, PASSWORD)
    await cell.ask("cli", "auth", LiftTenantStop(stamp(), 2, "over"))


async def _stop_sessions(cell: TwoHalves, account: AccountId) -> None:
    await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 1, True, False, "drill"))
    assert len(cache_of(cell)) == 0


async def _stop_both(cell: TwoHalves, account: AccountId) -> None:
    await cell.ask("cli", "keyring", StopTenantSessions(stamp(), 1, False, True, "drill"))
    assert not await cell.admits(account, PASSWORD)
    await cell.ask("cli", "keyring", LiftSessionStop(stamp(), 2, "over"))


async def _restart_auth(cell: TwoHalves, _: AccountId) -> None:
    await cell.restart("auth")


async def _restart_keyring(cell: TwoHalves, _: AccountId) -> None:
    await cell.restart("keyring")
    cell.connect("keyring", "store")


async def _time(cell: TwoHalves, _: AccountId) -> None:
    cache = cache_of(cell)
    clock = cache._clock
    cache._clock = lambda: clock() + 3600


async def _switch_off_and_on(cell: TwoHalves, _: AccountId) -> None:
    for minutes in (0, 60):
        await _reload(cell, minutes)


async def _reload(cell: TwoHalves, minutes: int) -> None:
    settings = cell.settings | {"auth": cell.settings["auth"] | {"cache_minutes": minutes}}
    for name in ("auth", "keyring"):
        await cell.services[name].reload(settings)


@pytest.mark.parametrize(
    "ending",
    [_new_password, _suspend_and_open, _stop_logins, _stop_sessions, _stop_both, _restart_auth, _restart_keyring, _time,
     _switch_off_and_on],
)  # fmt: skip
def test_an_entry_ends_with(ending: Callable[[TwoHalves, AccountId], Any], tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        walk, account = Walk(cell), await cell.add_account(PASSWORD)
        assert await walk.of(account, PASSWORD) == FULL
        assert await walk.of(account, PASSWORD) == HIT
        await ending(cell, account)
        if ending is _restart_auth:
            walk.watch_auth()
        if ending is _restart_keyring:
            walk.watch_keyring()
        assert await walk.of(account, PASSWORD) == FULL
        assert await walk.of(account, PASSWORD) == HIT

    run(tmp_path, work)


def test_an_account_that_one_half_does_not_admit_is_not_admitted_by_the_cache(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        walk, account, gone = Walk(cell), await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        for one in (account, gone):
            assert await walk.of(one, PASSWORD) == FULL
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 2))
        assert await walk.of(account, PASSWORD) == ["CheckHalf", "no"]
        await cell.ask("cli", "keyring", SetHalfState(stamp(), gone, 3))
        assert len(cache_of(cell)) == 1
        assert await walk.of(gone, PASSWORD) == [*FULL, "no"]

    run(tmp_path, work)


def test_a_tenant_can_do_without_the_cache(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        walk, account = Walk(cell), await cell.add_account(PASSWORD)
        for _ in range(2):
            assert await walk.of(account, PASSWORD) == ["CheckHalf"]
        assert len(cache_of(cell)) == 0

    run(tmp_path, work, auth={"cache_minutes": 0})


def test_an_auth_that_is_compromised_tests_one_guess_on_an_entry(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.log_in(account, PASSWORD)
        auth = cell.services["auth"]._auth

        async def ask(x: bytes, scope: int = Scope.IMAP) -> None:
            await cell.ask("auth", "keyring", CheckCached(account, 0, x, scope, secrets.token_bytes(16)))

        class Request:
            def __init__(self, password: bytes) -> None:
                self.account, self.password = account, password

        await ask(auth.logins._x(Request(PASSWORD)))
        with refused("not-cached"):
            await ask(auth.logins._x(Request(PASSWORD)), 0)
        with refused("not-cached"):
            await ask(auth.logins._x(Request(WRONG)))
        with refused("not-cached"):
            await ask(auth.logins._x(Request(PASSWORD)))

    run(tmp_path, work)


def test_a_cached_login_takes_no_nonce_of_another_and_is_redeemed_once(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        for one in (account, other):
            await cell.log_in(one, PASSWORD)
        from bulkhead.boundary.messages.to_auth import Authenticate
        from bulkhead.boundary.messages.to_keyring import RedeemLogin

        nonce = secrets.token_bytes(16)
        await cell.ask("access", "auth", Authenticate(account, PASSWORD, Scope.IMAP, "::1", nonce))
        with refused("bad-credentials"):
            await cell.ask("access", "auth", Authenticate(other, PASSWORD, Scope.IMAP, "::1", nonce))
        await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))
        with refused("bad-credentials"):
            await cell.ask("access", "keyring", RedeemLogin(nonce, account, Scope.IMAP))

    run(tmp_path, work)


def test_the_cache_is_bounded_in_number_and_in_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.keyring.cache.ENTRIES_MAX", 3)
    now, account, x = [0.0], AccountId(bytes(16)), bytes(32)
    cache = LoginCache(60.0, lambda: now[0])
    wrapped = Wrapped(7, secrets.token_bytes(32), secrets.token_bytes(32))
    for number in (0, 1, 2, 0, 3):
        cache.keep(bytes([number]) * 16, x, account, 0, 4, wrapped)
    assert [cache.open(bytes([n]) * 16, x, account, 0) is not None for n in range(4)] == [True, False, True, True]
    assert cache.open(bytes(16), x, account, 0) == (4, wrapped)
    now[0] = 59.9
    assert cache.open(bytes(16), x, account, 0) is not None
    cache.keep(bytes([4]) * 16, x, account, 0, 4, wrapped)
    now[0] = 60.0
    cache.end_old()
    assert len(cache) == 1
    assert cache.open(bytes([4]) * 16, x, account, 1) is None  # another credential's
    assert len(cache) == 0
    cache.seconds = 0.0
    cache.keep(bytes(16), x, account, 0, 4, wrapped)
    assert len(cache) == 0


def test_the_memory_of_one_half_has_no_password_and_nothing_that_a_guess_is_tested_on(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        for password in (PASSWORD, PASSWORD, WRONG, PASSWORD):
            await cell.admits(account, password)
        await asyncio.sleep(0)
        auth, keyring = cell.services["auth"]._auth, cell.services["keyring"]._keyring

        class Request:
            def __init__(self) -> None:
                self.account, self.password = account, PASSWORD

        x, key = auth.logins._x(Request()), auth.logins._cache_key
        half = auth.rows.find(account, 0)
        stretched = await auth.stretching.stretch(PASSWORD, half.salt, half.parameters)
        mid = keyring.keys.mid(account)
        _, wrapped = keyring.logins.cache.open(mid, x, account, 0)
        keyring.sessions.end(keyring.sessions.all(), "")  # a live session has the seed: that is what it is for
        keyring.logins._checked.clear()
        keyring.halves._tokens.void(account)
        seed = wrapped.seed
        of_auth, of_keyring = held_by(auth), held_by(keyring)
        for secret in (PASSWORD, WRONG, x, stretched.tight, stretched.wrap_key):
            assert secret not in of_auth
            assert secret not in of_keyring
        assert key in of_auth
        assert key not in of_keyring
        assert {wrapped.release, seed, hashlib.sha256(wrapped.release).digest()}.isdisjoint(of_auth)
        assert {wrapped.release, seed, half.salt}.isdisjoint(of_keyring)
        assert any(entry.sealed in of_keyring for entry in keyring.logins.cache._entries.values())

    run(tmp_path, work)


def held_by(compartment: object) -> set[bytes]:
    """Every byte string that its state leads to, other compartments of this test left out."""
    seen, found, left = set[int](), set[bytes](), [compartment]
    while left:
        one = left.pop()
        if (
            id(one) in seen
            or isinstance(one, type)
            or type(one).__module__.startswith(("asyncio", "bulkhead.boundary"))
        ):
            continue
        seen.add(id(one))
        if isinstance(one, bytes | bytearray):
            found.add(bytes(one))
        elif type(one).__name__ not in ("function", "module", "builtin_function_or_method", "frame", "code"):
            left += gc.get_referents(one)
    return found

"""One login: limits, the stretch, keyring's half, and an answer whose time says nothing.

Success is answered at once. Whatever else happens is answered at a fixed time after arrival (or a whole multiple of it
under load): unknown account, wrong password, suspended, stopped, over a limit, refused by keyring. An account that may
not log in is walked with a random `tight`, so that keyring can never hold a login for it.

A login that keyring has cached (keyring/cache.py) is not stretched. It is counted, looked up and admitted like any
other before keyring is asked for it; where keyring does not have it, the whole path is walked.
"""

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TypeVar

from bulkhead.auth.app_passwords import AppPasswords
from bulkhead.auth.breached import Breached
from bulkhead.auth.limits import Attempt, Limits
from bulkhead.auth.passwords import Passwords
from bulkhead.auth.rows import Rows
from bulkhead.auth.stretching import Stretching
from bulkhead.auth.watch import Watch
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_keyring import CheckCached, CheckHalf
from bulkhead.config.rules import ARGON2ID_SECONDS
from bulkhead.errors import Error, Refused, TemporaryFailure
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.stop import TenantStop
from bulkhead.holder.surfaces import Surfaces
from bulkhead.identifiers import AccountId
from bulkhead.records import credential
from bulkhead.records.app_password import AppPassword, read_app_password
from bulkhead.records.credential import MAIN_PASSWORD, State, Stretched, stretch_app_password
from bulkhead.records.derive import u32
from bulkhead.records.halves import AuthHalf
from bulkhead.wipe import wipe, wipe_fields

GATE_SCOPES = {"access": (Scope.IMAP, Scope.POP), "submit": (Scope.SUBMIT,)}
"""What each gate may log in for."""
CHECK_SECONDS = 15.0
T = TypeVar("T")
_log = logging.getLogger("bulkhead.auth")


class _BreachedPassword(Refused):
    """Right, and refused: no other half would change that."""


@dataclass(slots=True)
class LoginCounts:
    """Since start."""

    granted: int = 0
    refused: int = 0
    breached: int = 0  # credentials newly marked


@dataclass(slots=True)
class Logins:
    """The first half of the check. caching: whether keyring is asked for, and may keep, cached logins."""

    exchange: Exchange
    rows: Rows
    stretching: Stretching
    stop: TenantStop
    surfaces: Surfaces
    limits: Limits
    failure_seconds: float
    counts: LoginCounts
    caching: bool
    main_scopes: int  # what the main password may log in to, whatever a credential allows
    passwords: Passwords
    app_passwords: AppPasswords
    breached: Breached
    watch: Watch
    _cache_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)  # of this start

    async def authenticate(self, compartment: str, request: Authenticate) -> None:
        """Returns where the login is right; the gate then redeems its nonce.

        Raises Refused (`bad-credentials`) or TemporaryFailure, both at the fixed time.
        """
        await self.on_time(self._answer(compartment, request))

    async def on_time(self, work: Awaitable[T]) -> T:
        """What `work` gives, at once; what it raises, at the fixed time after now."""
        loop = asyncio.get_running_loop()
        arrival = loop.time()
        try:
            return await work
        except Error:
            period = max(self.failure_seconds, self.failure_floor())
            await asyncio.sleep(period - (loop.time() - arrival) % period)
            raise

    def failure_floor(self) -> float:
        """Seconds before which no failure is answered, whatever the setting: what the slowest login here computes."""
        return ARGON2ID_SECONDS + slowest if (slowest := self.rows.slowest_digest()) else 0.0

    async def stretch_main(self, account: AccountId, password: bytes, attempt: Attempt) -> Stretched:
        """What an account's main password becomes, for keyring to check; nothing's where it may not log in.

        Raises Refused (`bad-credentials`) over the limit, TemporaryFailure.
        """
        if attempt.over is not None:
            raise _bad_credentials()
        half = self.rows.find(account, MAIN_PASSWORD)
        is_open = self.rows.state(account) == AccountState.OPEN and not self.stop.stopped
        admissible = half is not None and half.state.admits and is_open
        stretched = await self._stretch(password, half or self.rows.decoy(account, MAIN_PASSWORD), "change", attempt)
        return stretched if admissible else _of_nothing(stretched)

    async def prove(self, account: AccountId, password: bytes) -> None:
        """Returns where it is the main password, at the times of `on_time`. Raises as `authenticate`; admits nobody."""

        async def proof() -> None:
            with self.limits.attempt(account, "", "change") as attempt:
                main = await self.stretch_main(account, password, attempt)
                half = self.rows.find(account, MAIN_PASSWORD) or self.rows.decoy(account, MAIN_PASSWORD)
                one, nonce = half.scope & -half.scope, secrets.token_bytes(16)  # which nobody redeems
                check = CheckHalf(account, MAIN_PASSWORD, main.tight, main.wrap_key, one, nonce)
                try:
                    answer = await self.exchange.to("keyring").call(check, timeout=CHECK_SECONDS)
                    half.check_release(answer.release)
                finally:
                    wipe_fields(check, check.secrets)

        await self.on_time(proof())

    async def _answer(self, compartment: str, request: Authenticate) -> None:
        try:
            with self.limits.attempt(request.account, request.source, compartment) as attempt:
                await self.watch.over(request.account, attempt, self._check(compartment, request, attempt))
        except TemporaryFailure as error:
            raise TemporaryFailure(error.public, code="busy" if error.code == "busy" else "unavailable") from None
        except Refused:
            self.counts.refused += 1
            raise _bad_credentials() from None
        except Error as error:
            _log.error("a login could not be checked: %s", error.public)
            raise TemporaryFailure("the login could not be checked", code="fault") from None
        self.counts.granted += 1

    async def _check(self, compartment: str, request: Authenticate, attempt: Attempt) -> None:
        if attempt.over is not None:
            await self.stretching.wait_without(compartment)
            raise Refused("too many attempts")
        app = read_app_password(request.password)
        cred = MAIN_PASSWORD if app is None else app.credential
        half = self.rows.find(request.account, cred)
        try:
            await self._check_with(half, compartment, request, app, attempt)
            if app is not None:
                self.app_passwords.note_use(request.account, cred, request.source)
        except _BreachedPassword:
            raise
        except Refused:  # it may have been replaced meanwhile, perhaps by one of the same password
            newer = self.rows.find(request.account, cred)
            if half is None or newer in (None, half):
                raise
            await self._check_with(newer, compartment, request, app, attempt)
        finally:
            wipe(None if app is None else app.secret)

    async def _check_with(
        self, half: AuthHalf | None, compartment: str, request: Authenticate, app: AppPassword | None, attempt: Attempt
    ) -> None:
        cred = MAIN_PASSWORD if app is None else app.credential
        is_open = self.rows.state(request.account) == AccountState.OPEN and not self._is_stopped(request, cred)
        closed = app is None and not request.scope & self.main_scopes
        admissible = half is not None and is_open and not closed and self._admits(half, compartment, request.scope)
        half = half or self.rows.decoy(request.account, cred)
        caching = self.caching and admissible and app is None
        x = self._x(request) if caching else None
        if x is not None and await self._is_cached(request, x, half):
            wipe(x)
            self._look_up(request, half)
            return
        if app is None:
            stretched = await self._stretch(request.password, half, compartment, attempt)
        else:
            stretched = stretch_app_password(app.secret, request.account, cred)
        if not admissible or self._is_stopped(request, cred):
            stretched = _of_nothing(stretched)
        check = CheckHalf(request.account, cred, stretched.tight, stretched.wrap_key, request.scope, request.nonce, x)
        try:
            answer = await self.exchange.to("keyring").call(check, timeout=CHECK_SECONDS)
            half.check_release(answer.release)
            if not admissible or self._is_stopped(request, cred):
                raise Refused("not admitted")
            if app is None:
                self._look_up(request, half)
            if app is None and self.passwords.is_dated(half):
                self.passwords.restretch(request.account, request.password, stretched)
        finally:
            wipe_fields(check, check.secrets)

    def _look_up(self, request: Authenticate, half: AuthHalf) -> None:
        """Mark a password, just found right, that is listed as breached. Raises Refused where such are refused."""
        if self.breached.knows(request.password):
            if half.state is State.ACTIVE:
                self.counts.breached += 1
                self.passwords.mark_breached(request.account)
            if self.breached.refusing:
                raise _BreachedPassword("the password is in a list of breached ones")

    async def _stretch(self, password: bytes, half: AuthHalf, asker: str, attempt: Attempt) -> Stretched:
        cost = half.parameters or self.rows.default
        return await self.stretching.stretch(password, half.salt, cost, asker, half.legacy, known=attempt.known)

    async def _is_cached(self, request: Authenticate, x: bytes, half: AuthHalf) -> bool:
        """Whether keyring had it, and its release is the one this half is for."""
        check = CheckCached(request.account, MAIN_PASSWORD, x, request.scope, request.nonce)
        try:
            half.check_release((await self.exchange.to("keyring").call(check, timeout=CHECK_SECONDS)).release)
        except Refused:
            return False
        return not self._is_stopped(request, MAIN_PASSWORD)

    def _is_stopped(self, request: Authenticate, cred: int) -> bool:
        return self.stop.stopped or self.surfaces.closed_to_login(request.scope, cred, request.account)

    def _x(self, request: Authenticate) -> bytes:
        """What a cached login is found by. A stop of logins raises the epoch, so every earlier one is useless."""
        epoch = self.stop.epoch.to_bytes(8, "big")
        what = epoch + request.account + u32(MAIN_PASSWORD) + request.password
        x = hmac.digest(self._cache_key, what, "sha256")
        wipe(what)
        return x

    def _admits(self, half: AuthHalf, compartment: str, scope: int) -> bool:
        return half.state.admits and scope in GATE_SCOPES[compartment] and bool(half.scope & scope)


def scopes_of(names: Iterable[str]) -> int:
    """The bits of protocols by their names in settings."""
    return reduce(or_, (credential.Scope[name.upper()] for name in names), 0)


def _of_nothing(stretched: Stretched) -> Stretched:
    """What no password becomes, in its place."""
    wipe_fields(stretched, ("tight", "wrap_key"))
    return Stretched(secrets.token_bytes(32), secrets.token_bytes(32))


def _bad_credentials() -> Refused:
    return Refused("wrong user name or password", code="bad-credentials")

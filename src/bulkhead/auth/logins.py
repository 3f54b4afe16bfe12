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
from dataclasses import dataclass, field

from bulkhead.auth.limits import MinuteCount, source_key
from bulkhead.auth.rows import Rows
from bulkhead.auth.schema import LoginState
from bulkhead.auth.stretching import Stretching
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_keyring import CheckCached, CheckHalf
from bulkhead.boundary.wipe import wipe, wipe_fields
from bulkhead.errors import Error, Refused, TemporaryFailure
from bulkhead.holder.stop import TenantStop
from bulkhead.records.credential import MAIN_PASSWORD, State, Stretched
from bulkhead.records.derive import u32
from bulkhead.records.halves import AuthHalf

GATE_SCOPES = {"access": (Scope.IMAP, Scope.POP), "submit": (Scope.SUBMIT,)}
"""What each gate may log in for."""
CHECK_SECONDS = 15.0
_log = logging.getLogger("bulkhead.auth")


@dataclass(slots=True)
class LoginCounts:
    """Since the last note."""

    granted: int = 0
    refused: int = 0


@dataclass(slots=True)
class Logins:
    """The first half of the check. caching: whether keyring is asked for, and may keep, cached logins."""

    exchange: Exchange
    rows: Rows
    stretching: Stretching
    stop: TenantStop
    by_account: MinuteCount
    by_source: MinuteCount
    failure_seconds: float
    counts: LoginCounts
    caching: bool
    _cache_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)  # of this start

    async def authenticate(self, compartment: str, request: Authenticate) -> None:
        """Returns where the login is right; the gate then redeems its nonce.

        Raises Refused (`bad-credentials`) or TemporaryFailure, both at the fixed time.
        """
        loop = asyncio.get_running_loop()
        arrival = loop.time()
        failure: Error
        try:
            await self._check(compartment, request)
        except TemporaryFailure as error:
            failure = TemporaryFailure(error.public, code="busy" if error.code == "busy" else "unavailable")
        except Refused:
            self.counts.refused += 1
            failure = Refused("wrong user name or password", code="bad-credentials")
        except Error as error:
            _log.error("a login could not be checked: %s", error.public)
            failure = TemporaryFailure("the login could not be checked", code="fault")
        else:
            self.counts.granted += 1
            return
        period = self.failure_seconds
        await asyncio.sleep(period - (loop.time() - arrival) % period)
        raise failure

    async def _check(self, compartment: str, request: Authenticate) -> None:
        over = self.by_source.exceeded(source_key(request.source))
        if self.by_account.exceeded(request.account) or over:
            raise Refused("too many attempts")
        half = self.rows.find(request.account, MAIN_PASSWORD)
        is_open = self.rows.state(request.account) == LoginState.OPEN
        admissible = half is not None and is_open and self._admits(half, compartment, request.scope)
        half = half or self.rows.decoy(request.account)
        x = self._x(request) if self.caching and admissible and not self.stop.stopped else None
        if x is not None and await self._is_cached(request, x, half):
            wipe(x)
            return
        cost = half.parameters or self.rows.default
        stretched = await self.stretching.stretch(request.password, half.salt, cost, compartment)
        if not admissible or self.stop.stopped:
            wipe_fields(stretched, ("tight", "wrap_key"))
            stretched = Stretched(secrets.token_bytes(32), secrets.token_bytes(32))
        check = CheckHalf(
            request.account, MAIN_PASSWORD, stretched.tight, stretched.wrap_key, request.scope, request.nonce, x
        )
        try:
            answer = await self.exchange.to("keyring").call(check, timeout=CHECK_SECONDS)
        finally:
            wipe_fields(check, check.secrets)
        half.check_release(answer.release)
        if not admissible or self.stop.stopped:
            raise Refused("not admitted")

    async def _is_cached(self, request: Authenticate, x: bytes, half: AuthHalf) -> bool:
        """Whether keyring had it, and its release is the one this half is for."""
        check = CheckCached(request.account, MAIN_PASSWORD, x, request.scope, request.nonce)
        try:
            half.check_release((await self.exchange.to("keyring").call(check, timeout=CHECK_SECONDS)).release)
        except Refused:
            return False
        return not self.stop.stopped

    def _x(self, request: Authenticate) -> bytes:
        """What a cached login is found by. A stop of logins raises the epoch, so every earlier one is useless."""
        epoch = self.stop.epoch.to_bytes(8, "big")
        what = epoch + request.account + u32(MAIN_PASSWORD) + request.password
        x = hmac.digest(self._cache_key, what, "sha256")
        wipe(what)
        return x

    def _admits(self, half: AuthHalf, compartment: str, scope: int) -> bool:
        return half.state is State.ACTIVE and scope in GATE_SCOPES[compartment] and bool(half.scope & scope)

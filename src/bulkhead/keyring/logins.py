"""The second half of the check, and what is known of a login until its gate redeems it.

auth sends the two outputs of the stretched password and a nonce that the gate drew. Whatever is wrong (no such
account, suspended, wrong password, too many wrong ones, a stop) walks one path: a row or a decoy is opened, its tag
compared, a failure made durable, one refusal given. Only a match is unwrapped, because AES-GCM-SIV does not commit to
its key. On a match (nonce, account, scope, seed) stay in memory for 10 seconds, to be redeemed once. A cached login is
held to the same: account, half and scope are read again, and whatever does not fit is left to the path above.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_keyring import CheckCached, CheckHalf, Release
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.revocation import Revocation, kind_of
from bulkhead.holder.stop import TenantStop
from bulkhead.identifiers import AccountId
from bulkhead.keyring.cache import LoginCache
from bulkhead.keyring.failures import NO_ACCOUNT, Failures
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.renewal import Renewal
from bulkhead.records import credential
from bulkhead.records.credential import MAIN_PASSWORD, State, Stretched
from bulkhead.records.halves import KeyringHalf, Wrapped
from bulkhead.records.seed import MailboxSeed

NONCE_SECONDS = 10.0
CHECKED_MAX = 65_536  # logins that wait to be redeemed
GATE_SCOPES = {"access": Scope.IMAP | Scope.POP, "submit": Scope.SUBMIT}
"""What a session of each gate may be for."""


def bad_credentials() -> Refused:
    """The one refusal."""
    return Refused("wrong user name or password", code="bad-credentials")


@dataclass(frozen=True, slots=True)
class Checked:
    """A login whose password was right. seed is None where it may only submit."""

    account: AccountId
    scope: int
    seed: MailboxSeed | None = field(repr=False)
    cred: int = MAIN_PASSWORD


@dataclass(frozen=True, slots=True)
class Opened:
    """A half whose password was right, and what it opened."""

    half: KeyringHalf
    g: int
    wrapped: Wrapped


class Logins:
    """Checks halves, and keeps what was right until it is redeemed."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        failures: Failures,
        stop: TenantStop,
        revocation: Revocation,
        cache: LoginCache,
        renewal: Renewal,
        closed: Callable[[int, int, AccountId], bool],
    ) -> None:
        self._database, self._keys, self._failures, self._stop = database, keys, failures, stop
        self._revocation, self._closed = revocation, closed
        self.cache, self._renewal = cache, renewal
        self._checked: dict[bytes, Checked] = {}
        self._decoy = KeyringHalf(
            credential.Scope.IMAP, State.ACTIVE, secrets.token_bytes(32), secrets.token_bytes(103)
        )
        self._decoy_bid = secrets.token_bytes(16)

    async def check(self, request: CheckHalf) -> Release:
        """The release of the credential. Raises Refused (`bad-credentials`), TemporaryFailure when too many wait."""
        account, cred, stretched = request.account, request.cred, Stretched(request.tight, request.wrap_key)
        may = partial(_may, scope=request.scope) if self._is_fresh(request) else _never
        if cred == MAIN_PASSWORD:
            opened = await self.open_main(account, stretched, may)
        else:
            opened = await self.open_half(account, cred, stretched, may)
        answer = self._keep(request, opened.wrapped)
        if request.x is not None:
            self.cache.keep(self._keys.mid(account), request.x, account, cred, opened.g, opened.wrapped)
        return answer

    async def open_main(self, account: AccountId, stretched: Stretched, may: Callable[[KeyringHalf], bool]) -> Opened:
        """As open_half of the main password, by which the account gets its new mailbox key where one is due."""
        opened = await self.open_half(account, MAIN_PASSWORD, stretched, may)
        if await self._renewal.renew(account, opened.g, opened.wrapped, stretched):
            opened = await self.open_half(account, MAIN_PASSWORD, stretched, may)
        return opened

    async def open_half(
        self, account: AccountId, cred: int, stretched: Stretched, may: Callable[[KeyringHalf], bool]
    ) -> Opened:
        """The half that this password fits. may: whether that half will do.

        Raises Refused (`bad-credentials`), whatever the cause, once the failure is durable.
        """
        keys = self._keys
        bid, mid = keys.bid(account, cred), keys.mid(account)
        page = "SELECT g, record, set_at FROM half WHERE bid = ? ORDER BY g DESC"
        found = self._database.read(page, (bid,))
        known, place = bool(found), bid if found else self._decoy_bid
        rows = found or [(0, keys.seal_half(self._decoy, place, 0), 0)]  # now: the key in force may be a new one
        halves = [(keys.open_half(record, place, g), g, set_at) for g, record, set_at in rows]
        right = [row for row in halves if _matches(row[0], keys.tight, stretched.tight)]
        revoked = bool(right) and self._revocation.covers(cred, right[0][2], account)
        if not right or revoked or not self._admits(mid) or not known or not may(right[0][0]):
            await self._failures.count(mid if known and not self._stop.stopped else NO_ACCOUNT)
            raise bad_credentials()
        half, g, _ = right[0]
        return Opened(half, g, half.unwrap(keys.tight, stretched, keys.tenant, account, cred, g))

    def check_cached(self, request: CheckCached) -> Release:
        """The same by a cached login. Raises Refused (`not-cached`), whatever the cause; no failure is counted here."""
        keys, account, cred = self._keys, request.account, request.cred
        bid, mid = keys.bid(account, cred), keys.mid(account)
        admitted = self._admits(mid) and self._is_fresh(request)
        found = self.cache.open(mid, request.x, account, cred) if admitted else None
        if found is not None:
            g, wrapped = found
            row = self._database.first("SELECT record, set_at FROM half WHERE bid = ? AND g = ?", (bid, g))
            valid = row is not None and not self._revocation.covers(cred, row[1], account)
            if valid and _may(keys.open_half(row[0], bid, g), request.scope):
                return self._keep(request, wrapped)
        raise Refused("no cached login", code="not-cached")

    def take(self, nonce: bytes, account: AccountId, scope: int, compartment: str) -> Checked:
        """What was checked under this nonce, once. Raises Refused for another account, scope or kind of gate."""
        checked = self._checked.pop(nonce, None)
        if checked is None or checked.account != account or checked.scope != scope or self._stop.stopped:
            raise bad_credentials()
        if scope not in _single(GATE_SCOPES[compartment]) or self._closed(scope, checked.cred, account):
            raise bad_credentials()
        return checked

    def forget(self, account: AccountId | None = None, cred: int | None = None) -> None:
        """Void every login that waits or is cached, or those of one account, or of one credential of it."""
        if account is None:
            self.cache.end_all()
        elif cred in (None, MAIN_PASSWORD):
            self.cache.end(self._keys.mid(account))
        self.void(lambda checked: account in (None, checked.account) and cred in (None, checked.cred))

    def void(self, which: Callable[[Checked], bool]) -> None:
        """Void the logins that wait, of which that is true."""
        for nonce in [nonce for nonce, checked in self._checked.items() if which(checked)]:
            del self._checked[nonce]

    def forget_kind(self, which: int) -> None:
        """Void every login by main passwords, by app passwords or both, that waits or is cached."""
        if which & kind_of(MAIN_PASSWORD):
            self.cache.end_all()
        self.void(lambda checked: bool(which & kind_of(checked.cred)))

    def _admits(self, mid: bytes) -> bool:
        row = self._database.first("SELECT state FROM account WHERE mid = ?", (mid,))
        is_open = row is not None and row[0] == AccountState.OPEN
        return is_open and not self._stop.stopped and not self._failures.exhausted(mid)

    def _is_fresh(self, request: CheckHalf | CheckCached) -> bool:
        """Whether its surface is open, and nothing else waits under this nonce.

        Its own login does where auth restarted and was asked again.
        """
        waiting, own = self._checked.get(request.nonce), (request.account, request.scope)
        is_own = waiting is None or (waiting.account, waiting.scope) == own
        return is_own and not self._closed(request.scope, request.cred, request.account)

    def _keep(self, request: CheckHalf | CheckCached, wrapped: Wrapped) -> Release:
        """Let the gate redeem it, and auth see the release."""
        if len(self._checked) >= CHECKED_MAX:
            raise TemporaryFailure("too many logins are under way", code="busy")
        seed = None
        if request.scope != Scope.SUBMIT and wrapped.seed is not None:
            seed = MailboxSeed(self._keys.tenant, request.account, wrapped.generation, wrapped.seed)
        self._checked[request.nonce] = Checked(request.account, request.scope, seed, request.cred)
        # The timer knows the nonce alone: what it voids must not live on in it.
        asyncio.get_running_loop().call_later(NONCE_SECONDS, self._checked.pop, request.nonce, None)
        return Release(wrapped.release)


def _matches(half: KeyringHalf, k_tight: bytes, tight: bytes) -> bool:
    try:
        half.check_tight(k_tight, tight)
    except Refused:
        return False
    return True


def _never(_: KeyringHalf) -> bool:
    return False


def _may(half: KeyringHalf, scope: int) -> bool:
    return half.state is State.ACTIVE and scope in _single(half.scope)


def _single(scopes: int) -> list[int]:
    """Each bit of a set of scopes: a login is for one."""
    return [1 << bit for bit in range(8) if scopes >> bit & 1]

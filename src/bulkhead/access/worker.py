"""What all sessions of one access process share: settings, edges, live sessions, memory for messages."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bulkhead.access.account import Account
from bulkhead.boundary.exchange import Exchange
from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.gate.budget import Budget
from bulkhead.gate.delivery import Sealer
from bulkhead.gate.login import log_in
from bulkhead.gate.serve import Crowd
from bulkhead.identifiers import AccountId

APPENDING_MAX = 256 << 20  # octets of messages under way in one worker
EARLY_MAX = 1024  # ends heard of before the login that they end
SESSIONS_PER_ACCOUNT_MAX = 32  # here: each of a mailbox of 1,000,000 messages takes up to 24 MB


@dataclass(frozen=True, slots=True)
class Settings:
    """The section [access]; seconds and octets."""

    idle: float
    pop3_idle: float
    preauth: float
    append_max: int
    errors_max: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Settings":
        """From what the host was given."""
        access = settings["access"]
        return cls(
            access["idle_seconds"], access["pop3_idle_seconds"], access["preauth_seconds"],
            access["append_bytes_max"], access["errors_max"],
        )  # fmt: skip


class LiveSession(Protocol):
    """A logged-in session, as facts reach it."""

    def changed(self) -> None:
        """Something changed in its account, or the store restarted."""

    def end(self, reason: str) -> None:
        """It is over: say so and close."""


class Worker:
    """One access process. crowd: told when a session begins and ends, for what one worker may have."""

    def __init__(self, exchange: Exchange, sealer: Sealer, settings: Settings, crowd: Crowd) -> None:
        self.exchange, self.sealer, self.settings, self._crowd = exchange, sealer, settings, crowd
        self.budget = Budget(APPENDING_MAX)
        self.store_epoch = 0  # rises whenever the store's edge ends
        self._live: dict[bytes, LiveSession] = {}
        self._early: OrderedDict[bytes, str] = OrderedDict()
        self._of_account: Counter[AccountId] = Counter()

    async def log_in(self, login: str, password: bytes, scope: int, source: str) -> Account:
        """The account. Raises Refused (`bad-credentials`), TemporaryFailure (`busy` where it is here too often)."""
        account_id, session = await log_in(self.exchange, login, password, scope, source)
        if session.binding is None:
            raise IntegrityError("keyring gave a session without a binding")
        account = Account(self.exchange, account_id, session, self.sealer.verify(session.binding))
        if self._of_account[account_id] >= SESSIONS_PER_ACCOUNT_MAX:
            await account.leave()
            raise TemporaryFailure("Too many sessions of this account; close some", code="busy")
        if 0 < self._crowd.limits.sessions <= self._crowd.sessions:
            await account.leave()
            raise TemporaryFailure("Too many sessions are open here; connect again", code="busy")
        return account

    def enter(self, account: Account, session: LiveSession) -> None:
        """Facts about this account's handle reach `session` from now on."""
        self._live[account.handle] = session
        self._of_account[account.id] += 1
        self._crowd.begin()
        reason = self._early.pop(account.handle, None)
        if reason is not None:
            asyncio.get_running_loop().call_soon(session.end, reason)

    def leave(self, account: Account) -> None:
        """No more."""
        if self._live.pop(account.handle, None) is not None:
            self._crowd.finish()
            self._of_account[account.id] -= 1
            if not self._of_account[account.id]:
                del self._of_account[account.id]

    @property
    def sessions(self) -> int:
        """How many are logged in."""
        return len(self._live)

    def changed(self, handle: bytes) -> None:
        """The store says that something changed."""
        session = self._live.get(handle)
        if session is not None:
            session.changed()

    def store_departed(self) -> None:
        """The store restarts: it watches nobody any more, and facts may be lost."""
        self.store_epoch += 1
        for session in list(self._live.values()):
            session.changed()

    def ended(self, handle: bytes, reason: str) -> None:
        """The keyring says that this session is over."""
        session = self._live.get(handle)
        if session is not None:
            session.end(reason)
            return
        self._early[handle] = reason  # its login is still on the way from keyring to `enter`
        if len(self._early) > EARLY_MAX:
            self._early.popitem(last=False)

    def all_ended(self, reason: str) -> None:
        """The keyring is gone, and all handles with it."""
        for session in list(self._live.values()):
            session.end(reason)

"""What incident hears of logins: those refused, in batches that may be lost; and it is asked about some that are right.

auth does not know which accounts are canaries. So it reports every refused login, and asks before it admits somebody,
but neither where this account's password was right from that network before: a canary never had such a login, and
nearly everybody else has. incident warns and does not guard: where it is not there, or says no more often than
CANARIES_PER_HOUR, logins go on without it.
"""

import asyncio
import time
from collections.abc import Awaitable

from bulkhead.auth.limits import HOUR, Attempt
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import REFUSED_MAX, LoginsRefused, RefusedLogin
from bulkhead.boundary.messages.to_incident import ConfirmLogin
from bulkhead.errors import Error, Refused
from bulkhead.holder.levels import Levels
from bulkhead.identifiers import AccountId

GATHER_SECONDS = 1.0
CONFIRM_SECONDS = 1.0
CANARIES_PER_HOUR = 60  # right logins that incident may have refused
_INCIDENT = "incident"


class Watch:
    """Reports to incident."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._refused: list[RefusedLogin] = []
        self._timer: asyncio.TimerHandle | None = None
        self._canaries = Levels(CANARIES_PER_HOUR, CANARIES_PER_HOUR / HOUR, time.monotonic)

    async def over(self, account: AccountId, attempt: Attempt, check: Awaitable[None]) -> None:
        """Watch over one check. Raises what it raises, and Refused where it was right and the account is a canary."""
        try:
            await check
        except Refused:
            if not attempt.known:
                self._report(RefusedLogin(account, attempt.source.network))
            raise
        if not attempt.known and await self._is_canary(ConfirmLogin(account, attempt.source.network)):
            raise Refused("not admitted")

    async def _is_canary(self, question: ConfirmLogin) -> bool:
        if self._exchange.edge_to(_INCIDENT) is None or self._canaries.is_full(b""):
            return False
        try:
            answer = await self._exchange.to(_INCIDENT).call(question, timeout=CONFIRM_SECONDS)
        except Error:
            return False
        if answer.canary:
            self._canaries.add(b"")
        return answer.canary

    def _report(self, login: RefusedLogin) -> None:
        self._refused.append(login)
        if len(self._refused) >= REFUSED_MAX:
            self._tell()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._tell)

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        logins, self._refused = tuple(self._refused), []
        self._exchange.to(_INCIDENT).tell(LoginsRefused(logins))

"""What makes an account work again, or a service of it: in the ledger before it takes effect, as all that widens."""

from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import Service, SetAccountStatus, SetClass, SetServices
from bulkhead.directory.book import find_account
from bulkhead.directory.transitions import LOGS_IN, TRANSITIONS, Status
from bulkhead.holder.database import Database
from bulkhead.holder.witness import ledger_text, witness
from bulkhead.identifiers import AccountId

_NAMES = {Service.LOGIN: "login", Service.RECEIVE: "receive", Service.SEND: "send"}


@dataclass(frozen=True, slots=True)
class Reopening:
    """details: the status that the account comes from, or the services that are off and come back."""

    account: AccountId
    details: dict[str, str | int | bool | None]

    async def announce(self, exchange: Exchange, stamp: Stamp) -> None:
        """Have the ledger take it. Raises TemporaryFailure: then do not act."""
        await witness(exchange, stamp, "AccountReopened", self.details, self.account)


def reopening(where: Database, request: Any) -> Reopening | None:
    """What a request would open of what is closed now; None: nothing. Raises PeerError, Refused (`no-such-address`)."""
    account, _ = find_account(where, request.address)
    status, details = Status(account.status), dict[str, str | int | bool | None]()
    match request:
        case SetAccountStatus():
            if request.status in LOGS_IN and status not in LOGS_IN and request.status in TRANSITIONS[status]:
                details = {"from": status.name.lower(), "reason": ledger_text(request.reason)}
        case SetServices() if status < Status.CANCELLED:
            details = _services(account.closed & ~request.closed)
        case SetClass() if status < Status.CANCELLED:
            row = where.first("SELECT closed FROM class WHERE name = ?", (request.class_name,))
            details = _services(0 if row is None else account.closed & ~row[0])
    return Reopening(AccountId(account.account), details) if details else None


def _services(bits: int) -> dict[str, str | int | bool | None]:
    names = ",".join(name for bit, name in _NAMES.items() if bits & bit)
    return {"services": names} if names else {}

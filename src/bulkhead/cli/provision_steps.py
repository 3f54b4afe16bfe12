"""What comes before a chunk of a provisioning file: mailbox keys and stores of new accounts, limits, halves."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.to_directory import Service
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.boundary.messages.to_store import OpenAccount
from bulkhead.cli.account_steps import destroy_steps, find_account, set_halves
from bulkhead.cli.road import Road, stamp
from bulkhead.directory.transitions import LOGS_IN, Status, check_transition
from bulkhead.errors import PeerError, Refused
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, parse_address
from bulkhead.records.provision import Chunk, Line, account_of_line, parse_line

AT_ONCE = 48  # requests under way at one compartment
CHANGE_SECONDS = 120.0
_BITS = {"login": Service.LOGIN, "receive": Service.RECEIVE, "send": Service.SEND}
_STATUSES = {"suspend": Status.SUSPENDED, "dormant": Status.DORMANT, "activate": Status.ACTIVE}


@dataclass(slots=True)
class Steps:
    """Of one file. strict: officers order what ends or opens logins. quotas: of classes, with their switches."""

    road: Road
    root: bytes
    strict: bool
    default_quota: int
    classes: dict[str, m.ClassRow]
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @classmethod
    async def of(cls, road: Road, root: bytes) -> "Steps":
        """What the cell says."""
        orders = await road.ask("directory", m.ListOrders(limit=1))
        rows = (await road.ask("directory", m.ListClasses())).rows
        quota = road.tenant.settings.integer("directory.default_quota_bytes")
        return cls(road, root, orders.roster.local_refused, quota, {row.name: row for row in rows})

    async def make_accounts(self, chunk: Chunk) -> tuple[m.BindingRow, ...]:
        """Mailbox keys and stores of the accounts that a chunk makes; those that are there stay."""
        wanted = [(number, line) for number, line in _lines(chunk) if line.do == "add-account"]
        made = await asyncio.gather(*(self._make(number, line) for number, line in wanted))
        return tuple(binding for binding in made if binding is not None)

    async def _make(self, number: int, line: Line) -> m.BindingRow | None:
        """The binding of a line's account; None where directory will refuse the line."""
        account = account_of_line(self.root, number)
        async with self.slots:
            known = await find_account(self.road, parse_address(line.text("address")))
            if known is not None and known.account != account:
                return None
            try:
                created = await self.road.ask("keyring", CreateMailboxKeys(stamp(), account, False))
                quota = line.number("quota") or self.default_quota
                await self.road.ask("store", OpenAccount(stamp(), account, quota))
            except Refused:
                return None
            return created.binding

    async def clear(self, accounts: Iterable[AccountId]) -> None:
        """Destroy what was made for lines that directory refused, where that needs no order."""
        for account in () if self.strict else accounts:
            async for _ in destroy_steps(self.road, account):
                pass

    async def prepare(self, chunk: Chunk) -> None:
        """Limits at store and halves at keyring and auth, once the chunks before are through."""
        made: dict[str, AccountId] = {}
        for number, line in _lines(chunk):
            if line.do == "add-account":  # the first of an address has it
                made.setdefault(parse_address(line.text("address")).key, account_of_line(self.root, number))
        by_address: dict[str, list[Line]] = {}
        for _, line in _lines(chunk):
            if line.do in ("quota", "class", "services", *_STATUSES):
                by_address.setdefault(parse_address(line.text("address")).key, []).append(line)
        await asyncio.gather(*(self._account(key, lines, made.get(key)) for key, lines in by_address.items()))

    async def _account(self, key: str, lines: list[Line], made: AccountId | None) -> None:
        async with self.slots:
            row = await find_account(self.road, parse_address(key))
            status = Status(row.status) if row is not None else Status.PROVISIONED
            account = AccountId(row.account) if row is not None else made
            if account is None or status >= Status.CANCELLED:
                return  # directory refuses the lines
            closed = row.closed if row is not None else 0
            for line in lines:
                with contextlib.suppress(Refused, PeerError):  # directory says of each line what is wrong
                    status, closed = await self._line(account, line, status, closed)

    async def _line(self, account: AccountId, line: Line, status: Status, closed: int) -> tuple[Status, int]:
        """Status and switches with this line. Raises Refused."""
        before = status, closed
        if line.do == "quota":
            await self.road.ask("store", OpenAccount(stamp(), account, line.number("octets")))
        elif line.do == "class":
            row = self.classes.get(line.text("class"))
            if row is None:
                return status, closed
            await self.road.ask("store", OpenAccount(stamp(), account, row.quota_bytes))
            closed = row.closed
        elif line.do == "services":
            closed = sum({_BITS[name] for name in line.texts("off")})
        else:
            new = _STATUSES[line.do]
            if new is not status:
                check_transition(status, new)
            status = new
        if not self.strict and (status in LOGS_IN) is not (before[0] in LOGS_IN):
            await set_halves(self.road, account, AccountState.OPEN if status in LOGS_IN else AccountState.SUSPENDED)
        if not self.strict and (closed ^ before[1]) & Service.LOGIN:
            off = closed & Service.LOGIN
            await set_halves(self.road, account, AccountState.SWITCHED_OFF if off else AccountState.SWITCHED_ON)
        return status, closed


def _lines(chunk: Chunk) -> list[tuple[int, Line]]:
    """Those that have their form."""
    found = []
    for number, octets in enumerate(chunk.lines, chunk.first):
        with contextlib.suppress(Refused):
            found.append((number, parse_line(octets)))
    return found

"""What comes before a chunk of a provisioning file: mailbox keys and stores of new accounts, limits, halves."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.provision import FirstPassword
from bulkhead.boundary.messages.to_directory import Service
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.boundary.messages.to_store import OpenAccount
from bulkhead.cli.account_steps import destroy_steps, find_account, set_halves
from bulkhead.cli.road import Road, stamp
from bulkhead.directory.transitions import LOGS_IN, Status, check_transition
from bulkhead.errors import Refused
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, parse_address
from bulkhead.records.provision import Chunk, Line, account_of_line, parse_line

HASH_SECONDS = 600.0  # a chunk of first passwords, each stretched as at a login
AT_ONCE = 48  # requests under way at one compartment
CHANGE_SECONDS = 120.0
_BITS = {"login": Service.LOGIN, "receive": Service.RECEIVE, "send": Service.SEND}
_FIRST = Status.ACTIVE, Status.PROVISIONED  # the end of making an account: opens nothing that was closed
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

    async def make_accounts(self, chunk: Chunk, *, promised: bool) -> tuple[m.BindingRow, ...]:
        """Mailbox keys and stores of the accounts that a chunk makes; those that are there stay.

        promised: of those whose first password the file brings, which keyring made by then; else of the others.
        """
        lines = [(number, line) for number, line in _lines(chunk) if line.do == "add-account"]
        wanted = [(number, line) for number, line in lines if (line.password is not None) is promised]
        made = await asyncio.gather(*(self._make(number, line) for number, line in wanted))
        return tuple(binding for binding in made if binding is not None)

    async def ask_halves(self, chunk: Chunk, passwords: tuple[FirstPassword, ...]) -> None:
        """keyring's part of a chunk, then auth's: first passwords, and logins of accounts that it names by their ids.

        Lines that directory would refuse are held back.
        """
        await self._send_halves(chunk, await self._held(chunk), passwords)

    async def hold(self, chunk: Chunk) -> None:
        """A chunk that directory is through with: nothing of it is done."""
        await self._send_halves(chunk, tuple(range(chunk.first, chunk.first + len(chunk.lines))), ())

    async def _send_halves(self, chunk: Chunk, held: tuple[int, ...], passwords: tuple[FirstPassword, ...]) -> None:
        fields = self.root, chunk.number, chunk.data, held
        request = to_keyring.ProvisionChunk(stamp(CHANGE_SECONDS), *fields)
        await self.road.ask("keyring", request, timeout=CHANGE_SECONDS)
        hashed = to_auth.ProvisionChunk(stamp(HASH_SECONDS), *fields, passwords)
        await self.road.ask("auth", hashed, timeout=HASH_SECONDS)

    async def _held(self, chunk: Chunk) -> tuple[int, ...]:
        taken = [
            number for number, line in _lines(chunk)
            if line.password is not None and await self._is_taken(account_of_line(self.root, number), line)
        ]  # fmt: skip
        return tuple(sorted({*taken, *await self._walk(chunk, act=False)}))

    async def _is_taken(self, account: AccountId, line: Line) -> bool:
        known = await find_account(self.road, parse_address(line.text("address")))
        return known is not None and known.account != account

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
        """Limits at store; of lines without an id the halves at keyring and auth. The chunks before are through."""
        await self._walk(chunk, act=True)

    async def _walk(self, chunk: Chunk, *, act: bool) -> list[int]:
        """What a chunk's lines come to, account by account; numbers of those that directory will refuse."""
        made: dict[str, AccountId] = {}
        by_address: dict[str, list[tuple[int, Line]]] = {}
        for number, line in _lines(chunk):
            if line.do == "add-account":  # the first of an address has it
                made.setdefault(parse_address(line.text("address")).key, account_of_line(self.root, number))
            elif line.do in ("quota", "class", "services", *_STATUSES):
                by_address.setdefault(parse_address(line.text("address")).key, []).append((number, line))
        walks = (self._account(key, lines, made.get(key), act=act) for key, lines in by_address.items())
        return [number for refused in await asyncio.gather(*walks) for number in refused]

    async def _account(
        self, key: str, lines: list[tuple[int, Line]], made: AccountId | None, *, act: bool
    ) -> list[int]:
        async with self.slots:
            row = await find_account(self.road, parse_address(key))
            status = Status(row.status) if row is not None else Status.PROVISIONED
            account = AccountId(row.account) if row is not None else made
            if account is None or status >= Status.CANCELLED:
                return [number for number, _ in lines]
            closed, refused = row.closed if row is not None else 0, []
            for number, line in lines:
                before = status, closed
                try:
                    status, closed = self._after(account, line, status, closed)
                except Refused:  # directory says what is wrong
                    refused.append(number)
                    continue
                if act:
                    await self._act(account, line, before, (status, closed))
            return refused

    def _after(self, account: AccountId, line: Line, status: Status, closed: int) -> tuple[Status, int]:
        """Status and switches with this line. Raises Refused."""
        named, new, switches = line.account(self.root), status, closed
        if named not in (None, account):
            raise Refused("another account has that address", code="other-account")
        if line.do == "class":
            row = self.classes.get(line.text("class"))
            if row is None:
                raise Refused("there is no such class", code="no-such-class")
            switches = row.closed
        elif line.do == "services":
            switches = sum({_BITS[name] for name in line.texts("off")})
        elif line.do in _STATUSES:
            new = _STATUSES[line.do]
            if new is not status:
                check_transition(status, new)
        turned = (closed ^ switches) & Service.LOGIN or (new, status) not in ((status, status), _FIRST)
        if self.strict and named is None and turned:
            raise Refused("officers sign for an account by its id here", code="order-required")
        return new, switches

    async def _act(self, account: AccountId, line: Line, before: tuple[Status, int], after: tuple[Status, int]) -> None:
        if line.do == "quota":
            await self.road.ask("store", OpenAccount(stamp(), account, line.number("octets")))
        elif line.do == "class":
            quota = self.classes[line.text("class")].quota_bytes
            await self.road.ask("store", OpenAccount(stamp(), account, quota))
        if self.strict or line.account(self.root) is not None:  # keyring and auth have it by the signed line
            return
        if (after[0] in LOGS_IN) is not (before[0] in LOGS_IN):
            state = AccountState.OPEN if after[0] in LOGS_IN else AccountState.SUSPENDED
            await set_halves(self.road, account, state)
        if (after[1] ^ before[1]) & Service.LOGIN:
            off = after[1] & Service.LOGIN
            await set_halves(self.road, account, AccountState.SWITCHED_OFF if off else AccountState.SWITCHED_ON)


def _lines(chunk: Chunk) -> list[tuple[int, Line]]:
    """Those that have their form."""
    found = []
    for number, octets in enumerate(chunk.lines, chunk.first):
        with contextlib.suppress(Refused):
            found.append((number, parse_line(octets)))
    return found

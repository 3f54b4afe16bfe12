"""The support desk by the API: cases that officers sign, looks and acts in them. Each holder verifies; this carries.

The console draws no number, signs nothing and keeps nothing: it can hold back, and show what it was shown.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from bulkhead.boundary.messages import to_auth, to_directory, to_store
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.messages.support import CaseRow
from bulkhead.boundary.orders import HOUR_MS, ORDERS
from bulkhead.boundary.support import ACT_NUMBERS, CASE_HOLDERS, CASE_LIFE_MAX_MS
from bulkhead.console import answers as a
from bulkhead.console.allowances import off_names
from bulkhead.console.problem import STATUS_OF, CallError
from bulkhead.console.staffed import Staffed
from bulkhead.errors import Refused
from bulkhead.identifiers import TenantId, parse_address
from bulkhead.records.canonical import require_base64
from bulkhead.records.order import SERIAL_BYTES, Order
from bulkhead.records.signed_file import OrderFile

RECOVERY_HOURS = 24
Path = Mapping[str, str]
_CASE = re.compile(r"[0-9a-f]{32}")


class TermsQuery(a.Value, frozen=True, kw_only=True):
    """address: as the subscriber says it, whole."""

    address: a.Address


class TermsAnswer(a.Value, frozen=True):
    """What the statement names (docs/formats.md). roster, roster_hash: in force. life_ms: at most."""

    tenant: str
    account: str
    roster: int
    roster_hash: str
    life_ms: int


class CaseBody(a.Value, frozen=True):
    """statement: the signed JSON, as text. approval: the officer's signature of it."""

    statement: Annotated[str, Meta(min_length=2, max_length=2048)]
    approval: a.ApprovalBody


class CaseAnswer(a.Value, frozen=True):
    """A case. Times are ms; closed: 0 while it is open."""

    case: str
    officer: str
    role: str
    opened: int
    expires: int
    closed: int


class CasesAnswer(a.Value, frozen=True):
    """The newest first."""

    items: list[CaseAnswer]


class LookBody(a.Value, frozen=True):
    """address: as it was typed when the case was signed."""

    address: a.Address


class CardAnswer(a.Value, frozen=True, rename={"class_name": "class"}):
    """The masked card: its address whole only where it is what was typed; of others, forwards and app passwords counts.

    last_login: a day, ms; 0: none known. network: of an app password's last use, /24 or /48.
    """

    address: str
    status: str
    off: list[a.ServiceName]
    class_name: str
    created: int
    aliases: int
    forwards: int
    quota_bytes: int
    used_bytes: int
    app_passwords: int
    last_login: int
    network: str


class ActBody(a.Value, frozen=True):
    """code: eight digits that the subscriber made; none for request-recovery, which takes the address instead."""

    act: Literal["unlock", "revoke-app-passwords", "end-sessions", "request-recovery"]
    code: Annotated[str, Meta(pattern=r"^([0-9]{8})?\Z")] = ""
    address: Annotated[str, Meta(max_length=a.ADDRESS_MAX)] = ""


class ActAnswer(a.Value, frozen=True):
    """order: of request-recovery, the file that officers look at and sign."""

    done: bool = True
    order: str = ""


async def show_terms(staff: Staffed, _: Path, query: TermsQuery, __: None) -> TermsAnswer:
    """Whoever signs takes these from here, and each holder compares them with its own."""
    row = await staff.ask("directory", to_directory.ShowAccount(str(parse_address(query.address))))
    found = await staff.ask("directory", to_directory.ListCases())
    return TermsAnswer(staff.tenant, row.account.hex(), found.roster, found.roster_hash.hex(), CASE_LIFE_MAX_MS)


async def list_cases(staff: Staffed, _: Path, __: a.NoQuery, ___: None) -> CasesAnswer:
    """As directory knows them."""
    rows = (await staff.ask("directory", to_directory.ListCases())).rows
    return CasesAnswer([_answer(row) for row in rows])


async def open_case(staff: Staffed, _: Path, __: a.NoQuery, body: CaseBody) -> CaseAnswer:
    """At each of its holders, one after the other; sent again, what is open stays so."""
    one = body.approval
    approval = SignedApproval(
        one.officer, bytes.fromhex(one.key), require_base64(one.signature, "signature", 128) or b"\0",
        require_base64(one.client_data, "client_data"), require_base64(one.authenticator_data, "data", 256),
    )  # fmt: skip
    opened: list[CaseRow] = []
    for holder in CASE_HOLDERS:
        request: Any = RECEIVERS[holder].OpenCase(staff.stamp(), body.statement.encode(), (approval,))
        with _of_the_statement():
            opened.append(await staff.ask(holder, request))
    return _answer(opened[0])


async def close_case(staff: Staffed, path: Path, _: a.NoQuery, __: None) -> a.Done:
    """Wherever it is open. Raises Refused (`no-such-case`) where it never was."""
    case, refused = _number(path), list[Refused]()
    for holder in CASE_HOLDERS:
        request: Any = RECEIVERS[holder].CloseCase(staff.stamp(), case)
        try:
            await staff.ask(holder, request)
        except Refused as error:
            refused.append(error)
    if len(refused) == len(CASE_HOLDERS):
        raise refused[0]
    return a.Done()


async def look(staff: Staffed, path: Path, _: a.NoQuery, body: LookBody) -> CardAnswer:
    """From the three who have parts of it, each of whom enters the look in the ledger."""
    case, address = _number(path), str(parse_address(body.address))
    card = await staff.ask("directory", to_directory.ShowCard(staff.stamp(), case, address))
    usage = await staff.ask("store", to_store.ShowUsage(staff.stamp(), case))
    logins = await staff.ask("auth", to_auth.ShowLoginCard(staff.stamp(), case))
    return CardAnswer(
        card.address, a.STATUSES.get(card.status, "unknown"), off_names(card.closed), card.class_name, card.created,
        card.aliases, card.forwards, card.quota_bytes, usage.used, logins.app_passwords, logins.last_login,
        logins.network,
    )  # fmt: skip


async def act(staff: Staffed, path: Path, _: a.NoQuery, body: ActBody) -> ActAnswer:
    """One act; what needs a code is decided where it is done."""
    case, recovery = _number(path), body.act == "request-recovery"
    if recovery != bool(body.address) or recovery == bool(body.code):
        raise CallError(400, "request-recovery takes an address and no code, every other act a code", "bad-body")
    order = await _recovery(staff, case, body.address) if recovery else ""
    await staff.ask("auth", to_auth.ActInCase(staff.stamp(), case, ACT_NUMBERS[body.act], body.code.encode()))
    return ActAnswer(order=order)


async def _recovery(staff: Staffed, case: bytes, address: str) -> str:
    """The order's file, unsigned."""
    row = await staff.ask("directory", to_directory.ShowAccount(str(parse_address(address))))
    roster = await staff.ask("directory", to_directory.ListCases())
    executors, now = tuple(sorted(ORDERS["recover-mailbox"].executors)), int(time.time() * 1000)
    order = Order(
        TenantId(staff.tenant), executors, "recover-mailbox", {"account": row.account.hex()},
        secrets.token_bytes(SERIAL_BYTES), f"support case {case.hex()}", now, now + RECOVERY_HOURS * HOUR_MS,
        roster.roster, roster.roster_hash,
    )  # fmt: skip
    return OrderFile(order.encode()).render()


@contextlib.contextmanager
def _of_the_statement() -> Iterator[None]:
    """A statement that does not hold is no matter of the session that carries it."""
    try:
        yield
    except Refused as error:
        if STATUS_OF.get(error.code) == 401 and error.code != "no-session":
            raise CallError(422, error.public, error.code) from None
        raise


def _number(path: Path) -> bytes:
    """Of a case. Raises CallError."""
    if not _CASE.fullmatch(path["case"]):
        raise CallError(400, "a case's number has 32 hexadecimal digits", "bad-path")
    return bytes.fromhex(path["case"])


def _answer(row: CaseRow) -> CaseAnswer:
    return CaseAnswer(row.case.hex(), row.officer, row.role, row.opened, row.expires, row.closed)

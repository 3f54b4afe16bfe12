"""A console that an attacker runs: without a session, with forged ones, with those that pass through it."""

import asyncio
import hashlib
import secrets
from dataclasses import replace
from typing import Any

from bulkhead.boundary.codec import decode_reply, encode_request
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_directory, to_ledger
from bulkhead.boundary.messages.orders import ListOrdersBase, SignedApproval
from bulkhead.boundary.messages.to_directory import AddAccount, BindingRow, ListAccounts, SearchAccounts, ShowAccount
from bulkhead.boundary.orders import EXECUTORS
from bulkhead.boundary.staff import HOUR_ROWS
from bulkhead.drill.bare_cell import BareCell, answer, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.officers import People, now_ms, signed
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_orders import MODULES, begin
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.canonical import statement_hash
from bulkhead.records.officer import Approval, Role
from bulkhead.records.order import order_hash
from bulkhead.records.staff import LABEL, StaffStatement, sign_staff_statement

BEYOND = 20  # accounts that there are beside those that support may be shown in an hour
SHORT_MS = 3000  # how long the session lives that is used after its end


async def _statement(cell: BareCell, console: Exchange, officer: str, token: bytes) -> StaffStatement:
    """What the officer would sign."""
    nonces = {}
    for name in EXECUTORS:
        given = await console.to(name).call(MODULES[name].GiveStaffNonce())
        nonces[name] = given.nonce
    now, role = now_ms(), cell.people.NAMES[officer]
    audience, token = cell.settings["names"]["console"], hashlib.sha256(token).digest()
    return StaffStatement(cell.tenant, audience, officer, role, nonces, token, now, now + 60_000)


async def _open(
    cell_people: People, console: Exchange, statement: StaffStatement, people: People, signer: str, holder: str
) -> bool:
    """Whether that holder opens a session."""
    data = statement.encode()
    approval = signed(sign_staff_statement(data, statement.officer, people.keys[signer]))
    if people is not cell_people:  # a stranger's signature under the officer's own key id
        own = sign_staff_statement(data, statement.officer, cell_people.keys[signer])
        approval = SignedApproval(approval.officer, own.key, approval.signature)
    request = MODULES[holder].OpenStaffSession(stamp(), data, approval)
    return not isinstance(await answer(console, holder, request), str)


async def open_session(cell: BareCell, console: Exchange, officer: str, token: bytes) -> bool:
    """Whether every holder opens one for the officer, who signed for it."""
    statement, people = await _statement(cell, console, officer, token), cell.people
    return all([await _open(people, console, statement, people, officer, name) for name in EXECUTORS])


def _touched(people: People, officer: str, statement: StaffStatement) -> Approval:
    """What the officer's passkey gives for it."""
    return people.passkeys[officer].approve(officer, statement_hash(LABEL, statement.encode()))


async def _open_by(console: Exchange, holder: str, statement: StaffStatement, approval: Approval) -> bool:
    """Whether that holder opens a session."""
    request = MODULES[holder].OpenStaffSession(stamp(), statement.encode(), signed(approval))
    return not isinstance(await answer(console, holder, request), str)


async def _ask(console: Exchange, token: bytes, request: Any, holder: str = "directory") -> Any:
    """The answer to a carried request, or the word of its refusal."""
    return await answer(console, holder, MODULES[holder].AskAsStaff(token, encode_request(request)))


async def _read_log(console: Exchange, token: bytes) -> Any:
    """The newest checkpoint under a session, or the word of its refusal."""
    return await answer(console, "ledger", to_ledger.AskAsStaff(token, encode_request(to_ledger.ReadCheckpoint())))


async def forge(cell: BareCell) -> Finding:
    """Statements with every fault, tokens that nobody opened, and one token's role raised."""
    people, stranger = await begin(cell), People(str(cell.tenant))
    person, console = await cell.add_person(), cell.worker("console")
    token, held = secrets.token_bytes(32), secrets.token_bytes(32)
    old = await _statement(cell, console, "ada", held)
    control = all([await _open(people, console, old, people, "ada", name) for name in EXECUTORS])
    control = control and not isinstance(await _ask(console, held, ShowAccount(person.address)), str)
    reached = tried = 0
    for holder in EXECUTORS:
        good = await _statement(cell, console, "ada", token)
        now = now_ms()
        tries = [
            (good, stranger, "ada"), (good, people, "sec"), (old, people, "ada"),
            (replace(good, tenant=People("kddi").tenant), people, "ada"),
            (replace(good, audience="console.elsewhere.example"), people, "ada"),
            (replace(good, expires=good.issued + 86_400_000), people, "ada"),
            (replace(good, issued=now - 600_000), people, "ada"),
            (replace(good, officer="sup", role=Role.PARTNER_ADMIN), people, "sup"),
            (replace(good, nonces={name: bytes(32) for name in EXECUTORS}), people, "ada"),
        ]  # fmt: skip
        opened = [await _open(people, console, *one, holder) for one in tries]
        listed: ListOrdersBase = MODULES[holder].ListOrders()
        asked = [await _ask(console, one, listed, holder) for one in (token, bytes(32), hashlib.sha256(held).digest())]
        asked += [await _read_log(console, one) for one in (token, bytes(32))]
        reached += sum(opened) + sum(not isinstance(one, str) for one in asked)
        tried += len(opened) + len(asked)
    return Finding(reached, tried, control)


async def outlive(cell: BareCell) -> Finding:
    """Sessions that passkeys opened: prolonged, raised, opened again, and used after their end and their time."""
    people = await begin(cell)
    console, short = cell.worker("console"), secrets.token_bytes(32)
    brief = await _statement(cell, console, "ada", short)
    brief = replace(brief, expires=brief.issued + SHORT_MS)
    brief_touch = _touched(people, "ada", brief)
    reached = tried = 0
    control = all([await _open_by(console, holder, brief, brief_touch) for holder in EXECUTORS])
    control = control and not isinstance(await _read_log(console, short), str)
    for holder in EXECUTORS:
        listed: ListOrdersBase = MODULES[holder].ListOrders()
        token, ended = secrets.token_bytes(32), secrets.token_bytes(32)
        good = await _statement(cell, console, "ada", token)
        touch = _touched(people, "ada", good)
        order = people.order("stop-logins").encode()
        passkey = people.passkeys["ada"]
        tries = [
            (replace(good, expires=good.expires + 3_600_000), touch),
            (replace(good, token=hashlib.sha256(ended).digest()), touch),
            (replace(good, nonces={**good.nonces, holder: bytes(32)}), touch),
            (replace(good, officer="sec", role=Role.PARTNER_SECURITY), touch),
            (good, passkey.approve("ada", order_hash(order))),
            (good, replace(touch, client_data=b"", authenticator_data=b"")),
            (good, People(str(cell.tenant)).passkeys["ada"].approve("ada", statement_hash(LABEL, good.encode()))),
        ]
        for role in (Role.PARTNER_SECURITY, Role.OPERATOR_SECURITY):
            raised = replace(good, role=role)
            tries.append((raised, _touched(people, "ada", raised)))
        outcomes = [await _open_by(console, holder, *one) for one in tries]
        control = control and await _open_by(console, holder, good, touch)
        control = control and not isinstance(await _ask(console, token, listed, holder), str)
        outcomes.append(await _open_by(console, holder, good, touch))  # once more, when it is open
        outcomes.append(not isinstance(await _read_log(console, token), str))  # one holder alone opened it
        gone = await _statement(cell, console, "ada", ended)
        control = control and await _open_by(console, holder, gone, _touched(people, "ada", gone))
        await answer(console, holder, MODULES[holder].EndStaffSession(stamp(), ended))
        outcomes.append(await _open_by(console, holder, gone, _touched(people, "ada", gone)))
        outcomes.append(not isinstance(await _ask(console, ended, listed, holder), str))
        reached += sum(outcomes)
        tried += len(outcomes)
    held, scraper = secrets.token_bytes(32), await _statement(cell, console, "prom", b"")
    scraper = replace(
        scraper, nonces={}, token=hashlib.sha256(held).digest(), issued=scraper.issued - 86_400_000,
        expires=scraper.issued + 86_400_000,
    )  # fmt: skip
    for holder in EXECUTORS:  # what is good for long is good for counts alone, and made by a collector's key alone
        lent = replace(scraper, officer="ada", role=Role.PARTNER_ADMIN)
        fresh = replace(lent, issued=now_ms(), expires=now_ms() + 60_000)
        wrong = [
            (lent, people, "ada"),
            (fresh, people, "ada"),
            (scraper, people, "ada"),
            (replace(scraper, officer="ada"), people, "ada"),
        ]
        outcomes = [await _open(people, console, *one, holder) for one in wrong]
        control = control and await _open(people, console, scraper, people, "prom", holder)
        outcomes.append(not isinstance(await _ask(console, held, MODULES[holder].ListOrders(), holder), str))
        reached += sum(outcomes)
        tried += len(outcomes)
    counts = await _ask(console, held, to_directory.CountAccounts())
    control = control and not isinstance(counts, str)
    await asyncio.sleep(max(0, brief.expires - now_ms() + 50) / 1000)
    reached += not isinstance(await _read_log(console, short), str)
    tried += 1
    for holder in EXECUTORS:
        asked = await _ask(console, short, MODULES[holder].ListOrders(), holder)
        reached += (not isinstance(asked, str)) + await _open_by(console, holder, brief, brief_touch)
        tried += 2
    return Finding(reached, tried, control)


async def enumerate_accounts(cell: BareCell) -> Finding:
    """All accounts, with the sessions of one member of support, whatever page, role or token is used."""
    people, console, cap = await begin(cell), cell.worker("console"), HOUR_ROWS["partner-support"]
    for number in range(cap + BEYOND):
        binding = BindingRow(AccountId(new_id()), b"drill")
        await cell.ask("cli", "directory", AddAccount(stamp(), f"p{number:04}@{cell.domain}", binding, 0))
    shown, clear, turns = 0, 0, 0
    for _ in range(3):
        token = secrets.token_bytes(32)
        statement = await _statement(cell, console, "sup", token)
        if not await _open(people, console, statement, people, "sup", "directory"):
            return Finding(0, 1, False)
        cursor = b""
        while turns < 50:
            turns += 1
            request = encode_request(ListAccounts() if turns % 2 else SearchAccounts("p"))
            page = await answer(console, "directory", to_directory.AskAsStaff(token, request, cursor))
            if isinstance(page, str):
                break
            rows = _rows(page.reply)
            shown, cursor = shown + len(rows), b""
            clear += sum("***" not in row.address for row in rows)
    note = f"{shown} rows of {cap + BEYOND} accounts shown, {clear} in clear, in 3 sessions and {turns} requests"
    return Finding(max(0, shown - cap) + clear, cap + BEYOND, shown >= cap, note)


def _rows(reply: bytes) -> Any:
    """Rows of a carried page."""
    page: Any = decode_reply(ListAccounts, reply)
    return page.rows


ACTS = (
    SemanticAct(
        "console-without-officer", "console", (Column.ORDERS, Column.ADDRESSES),
        "sessions by strangers, replayed, longer, of another role, officer, tenant or console; tokens nobody opened",
        "a holder opens one, or answers", "a session that its officer signed", forge,
    ),
    SemanticAct(
        "console-outlives-session", "console", (Column.ORDERS, Column.ADDRESSES),
        "sessions that passkeys approve: prolonged, raised, for another token, opened by an order's approval or again, "
        "used after their end and after their time; a collector's token, used for more than counts or lent",
        "a holder opens one, or answers", "the session as approved, while it is open", outlive,
    ),
    SemanticAct(
        "console-enumerates", "console", (Column.ADDRESSES,),
        "every account, page after page, over several sessions of one member of support",
        "more rows than an hour's, or an address in clear", "the hour's rows, masked", enumerate_accounts,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)

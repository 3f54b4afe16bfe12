"""`support case open|show|act|close|list` and `account consent`."""

import argparse
import getpass
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_store
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.orders import RosterState, SignedApproval
from bulkhead.boundary.messages.support import CaseRow
from bulkhead.boundary.orders import ORDERS
from bulkhead.boundary.support import ACT_NUMBERS, CASE_HOLDERS, CONSENT_DIGITS, HOUR_MS
from bulkhead.cli.account import read_old_password
from bulkhead.cli.account_steps import PASSWORD_SECONDS, STATUS_NAMES, require_account
from bulkhead.cli.officer import read_officer_key
from bulkhead.cli.output import print_json, print_table, say, size_text, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.routes import SERVICES
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, Error, TemporaryFailure
from bulkhead.identifiers import AccountId, TenantId, format_id, new_id, parse_address, parse_id
from bulkhead.records.canonical import base64_text
from bulkhead.records.case import LOCAL, Case, about, sign_case
from bulkhead.records.order import SERIAL_BYTES, Order
from bulkhead.records.signed_file import OrderFile

HOURS_MAX = 8
TERMS_MAX = 4096  # octets
RECOVERY_HOURS = 24
_MODULES: dict[str, Any] = {"directory": to_directory, "store": to_store, "auth": to_auth}
_HEAD = ("CASE", "OFFICER", "ROLE", "OPENED", "EXPIRES", "CLOSED")


def open_case(options: argparse.Namespace) -> int:
    """Sign it where there is a roster, and have every holder take it."""
    if not 0 < options.hours <= HOURS_MAX:
        raise ConfigError(f"--hours is 1 to {HOURS_MAX}")
    road, address = open_road(options.directory, options.tenant), parse_address(options.address)
    key = read_officer_key(options) if options.key else None
    officer = key.name if key else LOCAL

    async def work() -> CaseRow:
        async with road:
            roster = await _roster(road)
            account = AccountId((await require_account(road, address)).account)
            number, now = new_id(), int(time.time() * 1000)
            try:
                statement = Case(
                    road.tenant.id, number, officer, account, about(number, address), options.reason, now,
                    now + options.hours * HOUR_MS, roster.version, roster.hash,
                ).encode()  # fmt: skip
            except ValueError as error:
                raise ConfigError(str(error)) from None
            approvals: tuple[SignedApproval, ...] = ()
            if key is not None:
                signed = sign_case(statement, key.name, key.private_key)
                approvals = (SignedApproval(signed.officer, signed.key, signed.signature),)
            for name in CASE_HOLDERS:
                row: CaseRow = await road.ask(name, _MODULES[name].OpenCase(stamp(), statement, approvals))
            return row

    row = wait_for(work())
    if options.json:
        print_json(options.command, {"tenant": options.tenant, **_document(row)})
    else:
        print(format_id("case", row.case))
        say(f"{options.tenant}: open until {time_text(row.expires)}; officer {row.officer}")
    return 0


def sign(options: argparse.Namespace) -> int:
    """Sign a case by what the API answered, without a cell: the body of the call that opens it."""
    if not 0 < options.hours <= HOURS_MAX:
        raise ConfigError(f"--hours is 1 to {HOURS_MAX}")
    terms, address, key = _terms(options.terms), parse_address(options.address), read_officer_key(options)
    number, now = new_id(), int(time.time() * 1000)
    try:
        statement = Case(
            TenantId(str(terms["tenant"])), number, key.name, AccountId(bytes.fromhex(terms["account"])),
            about(number, address), options.reason, now, now + options.hours * HOUR_MS, int(terms["roster"]),
            bytes.fromhex(terms["roster_hash"]),
        ).encode()  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{options.terms} is no answer of GET /v1/support/terms: {error}") from None
    approval = sign_case(statement, key.name, key.private_key)
    body = {
        "statement": statement.decode(),
        "approval": {
            "officer": approval.officer, "key": approval.key.hex(), "signature": base64_text(approval.signature),
        },
    }  # fmt: skip
    print(json.dumps(body))
    say(f"case {number.hex()} about {address}, of {key.name}, for {options.hours} h: POST it to /v1/support/cases")
    return 0


def show(options: argparse.Namespace) -> int:
    """The card, from the three who have parts of it."""
    road, case, address = open_road(options.directory, options.tenant), _case(options), parse_address(options.address)

    async def work() -> tuple[to_directory.SupportCard, to_store.UsageCard, to_auth.LoginCard]:
        async with road:
            card = await road.ask("directory", to_directory.ShowCard(stamp(), case, str(address)))
            usage = await road.ask("store", to_store.ShowUsage(stamp(), case))
            return card, usage, await road.ask("auth", to_auth.ShowLoginCard(stamp(), case))

    card, usage, logins = wait_for(work())
    document: dict[str, Any] = {
        "tenant": options.tenant, "case": options.case, "address": card.address, "status": STATUS_NAMES[card.status],
        "off": [name for name, bit in SERVICES.items() if card.closed & bit],
        "class": card.class_name, "created": card.created, "aliases": card.aliases,
        "forwards": card.forwards, "quota_bytes": card.quota_bytes, "used_bytes": usage.used,
        "app_passwords": logins.app_passwords, "last_login": logins.last_login, "network": logins.network,
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
        return 0
    document |= {
        "created": time_text(card.created), "quota_bytes": size_text(card.quota_bytes), "used_bytes":
        size_text(usage.used), "last_login": time_text(logins.last_login)[:10], "off": ", ".join(document["off"]),
    }  # fmt: skip
    print_table(("WHAT", "IS"), [(name, value) for name, value in document.items() if name not in ("tenant", "case")])
    return 0


def act(options: argparse.Namespace) -> int:
    """One act."""
    road, case = open_road(options.directory, options.tenant), _case(options)
    recovery = options.act == "request-recovery"
    if recovery != bool(options.address and options.out):
        raise ConfigError("request-recovery, and nothing else, takes --address and --out")
    code = b"" if recovery else _read_code(options)

    async def work() -> bytes:
        async with road:
            order = await _recovery(road, options) if recovery else b""
            await road.ask("auth", to_auth.ActInCase(stamp(), case, ACT_NUMBERS[options.act], code))
            return order

    order = wait_for(work())
    if recovery:
        write_file(Path(options.out), OrderFile(order).render(), mode=0o644)
        say(f"{options.out}: next: its officers see to who asks, and sign it (officer order sign)")
    else:
        say(f"{options.tenant}: {options.act}: done; the code is spent")
    return 0


def close(options: argparse.Namespace) -> int:
    """Wherever it is open."""
    road, case = open_road(options.directory, options.tenant), _case(options)

    async def work() -> list[Error]:
        failures: list[Error] = []
        async with road:
            for name in CASE_HOLDERS:
                try:
                    await road.ask(name, _MODULES[name].CloseCase(stamp(), case))
                except TemporaryFailure:
                    raise
                except Error as error:
                    failures.append(error)
        return failures

    failures = wait_for(work())
    if len(failures) == len(CASE_HOLDERS):
        raise failures[0]
    say(f"{options.tenant}: {options.case} is closed")
    return 0


def list_cases(options: argparse.Namespace) -> int:
    """As directory knows them."""
    road = open_road(options.directory, options.tenant)

    async def work() -> tuple[CaseRow, ...]:
        async with road:
            return (await road.ask("directory", to_directory.ListCases())).rows

    documents = [_document(row) for row in wait_for(work())]
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "cases": documents})
        return 0
    if not documents:
        print(f"{options.tenant}: no case is known; bulkhead support case open opens one")
        return 0
    print_table(
        _HEAD,
        [
            (
                one["case"],
                one["officer"],
                one["role"],
                *(time_text(one[name]) for name in ("opened", "expires", "closed")),
            )
            for one in documents
        ],
    )
    return 0


def consent(options: argparse.Namespace) -> int:
    """Draw a code, have auth keep it, print it once."""
    road, address = open_road(options.directory, options.tenant), parse_address(options.address)
    password, code = read_old_password(options), f"{secrets.randbelow(10**CONSENT_DIGITS):0{CONSENT_DIGITS}}"

    async def work() -> None:
        async with road:
            account = AccountId((await require_account(road, address)).account)
            request: Request[Any] = to_auth.GiveConsent(stamp(PASSWORD_SECONDS), account, password, code.encode())
            await road.ask("auth", request, timeout=PASSWORD_SECONDS)

    wait_for(work())
    say(f"{address}: for one act of the support desk within 15 minutes; tell it to the desk alone:")
    print(code)
    return 0


async def _roster(road: Road) -> RosterState:
    return (await road.ask("directory", to_directory.ListOrders(0))).roster


async def _recovery(road: Road, options: argparse.Namespace) -> bytes:
    """The order's octets, for whoever is asked about."""
    roster, now = await _roster(road), int(time.time() * 1000)
    if not roster.version:
        raise ConfigError("no roster is installed, so that nobody orders: account passwd, with both recovery keys")
    account = (await require_account(road, parse_address(options.address))).account
    executors = tuple(sorted(ORDERS["recover-mailbox"].executors))
    return Order(
        road.tenant.id, executors, "recover-mailbox", {"account": account.hex()}, secrets.token_bytes(SERIAL_BYTES),
        f"support case {options.case}", now, now + RECOVERY_HOURS * HOUR_MS, roster.version, roster.hash,
    ).encode()  # fmt: skip


def _terms(name: str) -> Any:
    """A small file's JSON object; `-` is standard input. Raises ConfigError."""
    try:
        data = sys.stdin.buffer.read(TERMS_MAX) if name == "-" else Path(name).read_bytes()[:TERMS_MAX]
        found = json.loads(data)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{name} is no answer of GET /v1/support/terms")
    return found


def _case(options: argparse.Namespace) -> bytes:
    return parse_id("case", options.case)


def _read_code(options: argparse.Namespace) -> bytes:
    """The next line of standard input, or asked for on a terminal. Raises ConfigError."""
    if options.code_stdin:
        code = sys.stdin.buffer.readline(64).strip()
    elif sys.stdin.isatty():
        code = getpass.getpass("the subscriber's code: ").strip().encode("utf-8", "replace")
    else:
        raise ConfigError("no terminal to ask on: give the code with --code-stdin")
    if len(code) != CONSENT_DIGITS or not code.isdigit():
        raise ConfigError(f"a code has {CONSENT_DIGITS} digits")
    return code


def _document(row: CaseRow) -> dict[str, Any]:
    return {
        "case": format_id("case", row.case), "officer": row.officer, "role": row.role, "opened": row.opened,
        "expires": row.expires, "closed": row.closed,
    }  # fmt: skip

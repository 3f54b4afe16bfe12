"""`officer order make|sign|show|submit|withdraw|list`."""

import argparse
import hashlib
import re
import secrets
import time
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.orders import OrderList, OrderRow, SignedApproval
from bulkhead.boundary.orders import EXECUTORS, ORDERS, Form
from bulkhead.cli.account_ids import read_accounts, stage
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.officer import read_officer_key
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.roster import read_roster, read_text
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, Error, PeerError, Refused
from bulkhead.holder.order_check import Known, check_order, check_parameters
from bulkhead.identifiers import parse_id, parse_tenant_id
from bulkhead.records.officer_file import ROOTS
from bulkhead.records.order import SERIAL_BYTES, Order, decode_order, order_hash, sign_order
from bulkhead.records.roster import decode_roster, roster_hash
from bulkhead.records.signed_file import OrderFile, read_order_file

HOUR_MS = 3_600_000
HOURS_MAX = 168
SUBMIT_SECONDS = 30.0


def make(options: argparse.Namespace) -> int:
    """Write an order, without signatures."""
    order = make_order(options, options.tenant, options.action, _parameters(options.action, options.parameters))
    return _write(options, OrderFile(order.encode()), "next: its officers sign it")


def sign(options: argparse.Namespace) -> int:
    """Show what is signed, and sign it."""
    path = Path(options.file)
    file = read_order_file(read_text(path))
    _tell(file)
    write_file(path, add_signature(options, file).render(), replace=True, mode=0o644)
    say(f"{path}: signed")
    return 0


def show(options: argparse.Namespace) -> int:
    """Show it, and verify it as an executor would."""
    file = read_order_file(read_text(Path(options.file)))
    _tell(file)
    if options.roster:
        order = decode_order(file.statement)
        checked = check_order(
            file.statement, file.approvals, _known(options.roster), tenant=str(order.tenant),
            executor=order.executors[0], now=int(time.time() * 1000),
        )  # fmt: skip
        print("holds under that roster: signed by " + ", ".join(officer.name for officer in checked.officers))
    return 0


def withdraw(options: argparse.Namespace) -> int:
    """Write and sign the withdrawal of an order."""
    known = _known(options.roster)
    if re.fullmatch(rf"[0-9a-f]{{{2 * SERIAL_BYTES}}}", options.file):
        serial, executors = options.file, tuple(sorted(EXECUTORS))
    else:
        order = decode_order(read_order_file(read_text(Path(options.file))).statement)
        serial, executors = order.serial.hex(), order.executors
    options.hours, options.executor = HOURS_MAX - 1, ",".join(executors)
    made = make_order(options, str(known.roster.tenant), "withdraw", {"serial": serial})
    return _write(options, add_signature(options, OrderFile(made.encode())), "next: submit it")


def submit(options: argparse.Namespace) -> int:
    """Carry it to whoever executes it, the ones that matter most first."""
    file = read_order_file(read_text(Path(options.file)))
    order = decode_order(file.statement)
    known = ORDERS.get(order.action)
    if known is not None and known.offline:
        raise ConfigError(f"no compartment executes it: give it to `{known.offline} ... --order {options.file}`")
    ids = _set_of(order, options.accounts)
    rows = wait_for(_submit(open_road(options.directory, options.tenant), order, file, ids))
    worst = max(row.pop("exit") for row in rows)
    if options.json:
        document = {
            "tenant": options.tenant, "action": order.action, "serial": order.serial.hex(), "executors": rows,
        }  # fmt: skip
        print_json(options.command, document)
        return int(worst)
    for row in rows:
        where = f"{options.tenant}: {row['compartment']}: {order.action}"
        if row["error"] is None:
            print(f"{where}: {row['state']}" + (f", due {time_text(row['due'])}" if row["due"] else ""))
        else:
            say(f"{where}: NOT taken ({row['code']}): {row['error']}")
    return int(worst)


def list_orders(options: argparse.Namespace) -> int:
    """Every executor's own list."""
    found = wait_for(_list(open_road(options.directory, options.tenant)))
    if options.json:
        executors = [
            {
                "compartment": name, "roster": page.roster.version, "roster_hash": page.roster.hash.hex(),
                "local_refused": page.roster.local_refused, "orders": [_document(row) for row in page.orders],
            }
            for name, page in found.items()
        ]  # fmt: skip
        print_json(options.command, {"tenant": options.tenant, "executors": executors})
        return 0
    for name, page in found.items():
        refused = ", and the command line needs orders" if page.roster.local_refused else ""
        roster = f"roster {page.roster.version}{refused}" if page.roster.version else "no roster, so it takes no order"
        print(f"{options.tenant}: {name}: {roster}")
    if not any(page.orders for page in found.values()):
        print(f"{options.tenant}: no order was submitted")
        return 0
    print_table(
        ("EXECUTOR", "SERIAL", "ACTION", "STATE", "AT", "DUE", "OFFICERS"),
        [
            (name, row.serial.hex(), row.action, row.state, time_text(row.at), time_text(row.due), row.officers)
            for name, page in found.items()
            for row in page.orders
        ],
    )
    return 0


def submit_request(compartment: str, file: OrderFile) -> Request[OrderRow]:
    """What a compartment is asked."""
    approvals = tuple(
        SignedApproval(one.officer, one.key, one.signature, one.client_data, one.authenticator_data)
        for one in file.approvals
    )
    match compartment:
        case "auth":
            return to_auth.SubmitOrder(stamp(), file.statement, approvals)
        case "keyring":
            return to_keyring.SubmitOrder(stamp(), file.statement, approvals)
        case "queue":
            return to_queue.SubmitOrder(stamp(), file.statement, approvals)
        case "directory":
            return to_directory.SubmitOrder(stamp(), file.statement, approvals)
    return to_store.SubmitOrder(stamp(), file.statement, approvals)


def list_request(compartment: str) -> Request[OrderList]:
    """What a compartment is asked."""
    match compartment:
        case "auth":
            return to_auth.ListOrders()
        case "keyring":
            return to_keyring.ListOrders()
        case "queue":
            return to_queue.ListOrders()
        case "directory":
            return to_directory.ListOrders()
    return to_store.ListOrders()


def _set_of(order: Order, name: str) -> bytes:
    """The accounts that the order names. Raises ConfigError where the file has others."""
    digest = order.parameters.get("accounts")
    if digest is None or not name:
        if digest is None and name:
            raise ConfigError("the order names no set of accounts: leave out --accounts")
        return b""
    ids = read_accounts(Path(name))
    if hashlib.sha256(ids).hexdigest() != digest:
        raise ConfigError(f"{name}: these are not the accounts that the order names ({digest})")
    return ids


async def _submit(road: Road, order: Order, file: OrderFile, ids: bytes) -> list[dict[str, Any]]:
    async with road:
        await stage(road, [name for name in EXECUTORS if name in order.executors], ids)
        return [await _submit_at(road, name, file) for name in EXECUTORS if name in order.executors]


async def _submit_at(road: Road, compartment: str, file: OrderFile) -> dict[str, Any]:
    row: dict[str, Any] = {
        "compartment": compartment, "state": None, "due": 0, "error": None, "code": None, "exit": ExitCode.OK,
    }  # fmt: skip
    if not file.approvals:
        raise ConfigError("nobody has signed the order: officer order sign")
    try:
        taken = await road.ask(compartment, submit_request(compartment, file), timeout=SUBMIT_SECONDS)
    except Error as error:
        return {**row, "error": error.public, "code": error.code, "exit": exit_code_of(error)}
    return {**row, "state": taken.state, "due": taken.due}


async def _list(road: Road) -> dict[str, OrderList]:
    async with road:
        return {name: await road.ask(name, list_request(name)) for name in EXECUTORS}


def _document(row: OrderRow) -> dict[str, Any]:
    return {
        "serial": row.serial.hex(), "action": row.action, "sha256": row.hash.hex(), "state": row.state, "due": row.due,
        "at": row.at, "officers": row.officers,
    }  # fmt: skip


def make_order(options: argparse.Namespace, tenant: str, action: str, parameters: dict[str, str | int]) -> Order:
    """Raises ConfigError on what no executor would take."""
    row, known, now = ORDERS.get(action), _known(options.roster), int(time.time() * 1000)
    if row is None:
        raise ConfigError(f"no action {action!r}; there are: {', '.join(ORDERS)}")
    if not 0 < options.hours <= HOURS_MAX:
        raise ConfigError(f"--hours is 1 to {HOURS_MAX}")
    executors = row.executors or tuple(name for name in options.executor.split(",") if name) or EXECUTORS
    try:
        order = Order(
            parse_tenant_id(tenant), tuple(sorted(executors)), action, parameters, secrets.token_bytes(SERIAL_BYTES),
            options.reason, now, now + options.hours * HOUR_MS, known.roster.version, known.hash,
        )  # fmt: skip
        check_parameters(row, order)
        order.encode()
    except (ValueError, PeerError, Refused) as error:
        raise ConfigError(str(error)) from None
    return order


def _known(name: str) -> Known:
    file = read_roster(Path(name))
    return Known(decode_roster(file.statement), roster_hash(file.statement))


def add_signature(options: argparse.Namespace, file: OrderFile) -> OrderFile:
    """Signed besides with the officer's key that the options name. Raises ConfigError."""
    key = read_officer_key(options)
    if key.role in ROOTS:
        raise ConfigError(f"{options.key} is a root's key; an order is signed by officers")
    return file.with_approval(sign_order(file.statement, key.name, key.private_key))


def _write(options: argparse.Namespace, file: OrderFile, following: str) -> int:
    write_file(Path(options.out), file.render(), mode=0o644)
    _tell(file)
    say(f"{options.out}: {following}")
    return 0


def _tell(file: OrderFile) -> None:
    order = decode_order(file.statement)
    row = ORDERS.get(order.action)
    print(f"{order.action}: {row.sentence if row else 'not known to this version'}")
    print(f"tenant {order.tenant}, executed by {', '.join(order.executors)}")
    for name, value in order.parameters.items():
        print(f"{name} = {value}")
    print(f"reason: {order.reason}")
    print(f"issued {time_text(order.issued)}, expires {time_text(order.expires)}, under roster {order.roster}")
    print(f"serial {order.serial.hex()}, hash {order_hash(file.statement).hex()}")
    print("signed by: " + (", ".join(one.officer for one in file.approvals) or "nobody"))


def _parameters(action: str, texts: list[str]) -> dict[str, str | int]:
    row = ORDERS.get(action)
    forms = row.parameters if row else {}
    found: dict[str, str | int] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        form = forms.get(name)
        if form is None or not equals:
            raise ConfigError(f"{text!r}: the parameters of {action} are: {', '.join(forms) or 'none'}, NAME=VALUE")
        if form in (Form.KINDS, Form.UNTIL, Form.LINES, Form.SURFACES):
            if not value.isdecimal():
                raise ConfigError(f"{name} must be {form.value}")
            found[name] = int(value)
        elif form is Form.ACCOUNT and value.startswith("acc_"):
            found[name] = parse_id("acc", value).hex()
        else:
            found[name] = value
    return found

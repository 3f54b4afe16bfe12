"""`app-password ...`: passwords for one device and some services, made with the main one."""

import argparse
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bulkhead.boundary.messages.to_auth import AddAppPassword, AppPasswordRow, ListAppPasswords, RevokeAppPasswords
from bulkhead.cli.account import read_old_password
from bulkhead.cli.account_steps import PASSWORD_SECONDS, require_account
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError
from bulkhead.identifiers import AccountId, parse_address
from bulkhead.records.app_password import CREDENTIAL_MAX, AppPassword
from bulkhead.records.credential import APP_PASSWORD_BYTES, Scope

T = TypeVar("T")
SCOPES = {"imap": Scope.IMAP, "pop": Scope.POP, "submit": Scope.SUBMIT, "sieve": Scope.SIEVE, "jmap": Scope.JMAP}
LABEL_CHARACTERS = 128  # of an AddAppPassword
_HEAD = ("NUMBER", "LABEL", "FOR", "MADE", "LAST USED", "FROM", "STATE")
_ENDED = "ended: the mailbox key was renewed; make another"


def add(options: argparse.Namespace) -> int:
    """Make one and show it, once."""
    scope = read_scopes(options.services)
    if not options.label.isprintable() or len(options.label) > LABEL_CHARACTERS:
        raise ConfigError(f"--label has at most {LABEL_CHARACTERS} characters that can be printed")
    password, secret = read_old_password(options), secrets.token_bytes(APP_PASSWORD_BYTES)

    async def work(road: Road, account: AccountId) -> int:
        request = AddAppPassword(stamp(PASSWORD_SECONDS), account, password, secret, scope, options.label)
        return (await road.ask("auth", request, timeout=PASSWORD_SECONDS)).cred

    cred = _with_account(options, work)
    text = AppPassword(cred, secret).text()
    if options.json:
        document = {"tenant": options.tenant, "address": options.address, "number": cred, "password": text}
        print_json(options.command, document)
        return 0
    say(f"{options.address}: app password {cred} for {', '.join(_names(scope))}; it is shown now and never again:")
    print(text)
    return 0


def list_all(options: argparse.Namespace) -> int:
    """Print those of an account."""

    async def work(road: Road, account: AccountId) -> tuple[AppPasswordRow, ...]:
        return (await road.ask("auth", ListAppPasswords(account))).rows

    rows = _with_account(options, work)
    if options.json:
        found = [_document(row) for row in rows]
        print_json(options.command, {"tenant": options.tenant, "address": options.address, "app_passwords": found})
    else:
        print_table(_HEAD, [_cells(row) for row in rows])
    return 0


def revoke(options: argparse.Namespace) -> int:
    """Revoke one, or all."""
    if (options.number is None) == (not options.all):
        raise ConfigError("name the number of one app password, or --all")
    if not options.all and not 0 < options.number <= CREDENTIAL_MAX:
        raise ConfigError(f"app passwords are numbered from 1 to {CREDENTIAL_MAX}; --all revokes every one")

    async def work(road: Road, account: AccountId) -> int:
        return (await road.ask("auth", RevokeAppPasswords(stamp(), account, options.number or 0))).revoked

    revoked = _with_account(options, work)
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "address": options.address, "revoked": revoked})
    else:
        say(f"{options.address}: {revoked} app passwords revoked; their sessions are over")
    return 0


def read_scopes(text: str) -> int:
    """The bits of services named with commas between. Raises ConfigError."""
    bits = 0
    for name in text.split(","):
        if name.strip() not in SCOPES:
            raise ConfigError(
                f"unknown service {name.strip()!r:.40}: give some of {', '.join(SCOPES)} with commas between"
            )
        bits |= SCOPES[name.strip()]
    return bits


def _names(scope: int) -> list[str]:
    return [name for name, bit in SCOPES.items() if scope & bit]


def _with_account(options: argparse.Namespace, work: Callable[[Road, AccountId], Awaitable[T]]) -> T:
    road, address = open_road(options.directory, options.tenant), parse_address(options.address)

    async def whole() -> T:
        async with road:
            return await work(road, AccountId((await require_account(road, address)).account))

    return wait_for(whole())


def _document(row: AppPasswordRow) -> dict[str, Any]:
    return {
        "number": row.cred, "label": row.label, "services": _names(row.scope), "created": row.created * 1000,
        "used": row.used * 1000 or None, "network": row.network or None, "ended": row.ended,
    }  # fmt: skip


def _cells(row: AppPasswordRow) -> tuple[object, ...]:
    used = time_text(row.used * 1000) if row.used else "never"
    state = _ENDED if row.ended else "good"
    return row.cred, row.label, ",".join(_names(row.scope)), time_text(row.created * 1000), used, row.network, state

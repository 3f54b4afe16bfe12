"""`account ...`: the subscribers of a tenant."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bulkhead.boundary.messages.to_directory import AccountRow, AccountStatus, ListAccounts
from bulkhead.cli.account_lines import PASSWORD_MAX, numbered_lines, parse_line
from bulkhead.cli.account_steps import (
    STATUS_NAMES,
    NewPassword,
    activate_account,
    add_account,
    change_password,
    close_account,
    forget_address,
    require_account,
    reset_password,
)
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, print_table, printable, say, size_text, time_text
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.cli.routes import account_document
from bulkhead.errors import ConfigError, Error, TemporaryFailure
from bulkhead.identifiers import format_id, parse_address, parse_domain

AT_ONCE = 8  # accounts under way; auth hashes two at a time
_HEAD = ("ADDRESS", "ACCOUNT", "STATUS", "QUOTA", "SINCE")


def list_accounts(options: argparse.Namespace) -> int:
    """Print the accounts, page by page."""
    domain = parse_domain(options.domain) if options.domain else ""
    wait_for(_list(options, open_road(options.directory, options.tenant), domain))
    return 0


async def _list(options: argparse.Namespace, road: Road, domain: str) -> None:
    """As a table page by page, in constant memory; as one document, whole."""
    rows: list[dict[str, object]] = []
    widths: list[int] | None = None
    async with road:
        async for page in _pages(road, domain):
            if options.json:
                rows += [account_document(row) for row in page]
            else:
                widths = print_table(_HEAD, [_cells(row) for row in page], widths=widths)
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "accounts": rows})
    elif widths is None:
        print_table(_HEAD, [])


async def _pages(road: Road, domain: str) -> AsyncIterator[tuple[AccountRow, ...]]:
    after = ""
    while page := (await road.ask("directory", ListAccounts(domain, after))).rows:
        yield page
        after = page[-1].address


def show(options: argparse.Namespace) -> int:
    """Print one account."""
    row = _with_road(options, require_account)
    if options.json:
        print_json(options.command, {"tenant": options.tenant, **account_document(row)})
    else:
        print_table(_HEAD, [_cells(row)])
    return 0


def suspend(options: argparse.Namespace) -> int:
    """Close an account for the time being."""
    _tell(options, _with_road(options, close_account, AccountStatus.SUSPENDED, options.reason))
    return 0


def make_dormant(options: argparse.Namespace) -> int:
    """Close an account that nobody uses."""
    _tell(options, _with_road(options, close_account, AccountStatus.DORMANT, options.reason))
    return 0


def activate(options: argparse.Namespace) -> int:
    """Open it again."""
    _tell(options, _with_road(options, activate_account, options.reason))
    return 0


def purge(options: argparse.Namespace) -> int:
    """Forget a cancelled account's address."""
    _with_road(options, forget_address, options.reason)
    say(f"{options.tenant}: the address is kept as a keyed digest only, and stays refused")
    return 0


def passwd(options: argparse.Namespace) -> int:
    """Set a new password with both recovery keys, or with the old one."""
    if options.change:
        return _change(options)
    road = open_road(options.directory, options.tenant)
    address = parse_address(options.address)
    partner = Path(options.partner_key or road.layout.recovery_key("partner"))
    operator = Path(options.operator_key or road.layout.recovery_key("operator"))
    keys = read_recovery_keys(partner, operator, road.tenant.id)
    password = read_password(options)

    async def work() -> None:
        async with road:
            await reset_password(road, address, password, keys)

    wait_for(work())
    say(f"{address}: the new password is set; mail is as it was")
    return 0


def _change(options: argparse.Namespace) -> int:
    road, address = open_road(options.directory, options.tenant), parse_address(options.address)
    old = read_old_password(options)
    password = read_password(options)

    async def work() -> None:
        async with road:
            await change_password(road, address, old, password)

    wait_for(work())
    say(f"{address}: the new password is set; app passwords stay")
    return 0


def add(options: argparse.Namespace) -> int:
    """Make one account, or those of a file."""
    if bool(options.address) == bool(options.from_file):
        raise ConfigError("name one address, or --from-file with many")
    road = open_road(options.directory, options.tenant)
    if options.from_file:
        with _opened(options.from_file) as stream:
            return wait_for(_add_many(road, stream, options.quota_bytes))
    address = parse_address(options.address)
    password = read_password(options)

    async def work() -> None:
        async with road:
            account = await add_account(road, address, NewPassword(password), _quota(road, options.quota_bytes))
        say(f"{address} is {format_id('acc', account)}")

    wait_for(work())
    return 0


async def _add_many(road: Road, stream: IO[bytes], quota: int | None) -> int:
    """Make the account of every line, some at a time, in whatever order they finish. A cell that is gone ends it."""
    counts = {"added": 0, "there": 0, "failed": 0}
    lines = numbered_lines(stream)
    gone: list[TemporaryFailure] = []

    async def worker() -> None:
        for number, line in lines:  # shared: each line is taken once, and none before it is wanted
            if gone:
                return
            try:
                new = parse_line(line)
                await add_account(road, new.address, NewPassword(new.password), new.quota_bytes or _quota(road, quota))
                counts["added"] += 1
            except TemporaryFailure as failure:
                counts["failed"] += 1
                _tell_line(number, line, failure)
                if failure.code == "not-running":
                    gone.append(failure)
            except Error as error:
                counts["there" if error.code == "address-taken" else "failed"] += 1
                _tell_line(number, line, error)

    async with road:
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    say(
        f"{road.tenant.id}: {counts['added']} accounts added, {counts['there']} were there and stay as they are, "
        f"{counts['failed']} lines failed"
    )
    if gone:
        raise gone[0]
    return ExitCode.FINDING if counts["failed"] else ExitCode.OK


def _tell_line(number: int, line: bytes, error: Error) -> None:
    """Name the line and what was wrong, and of its content the address only."""
    try:
        where = f"line {number}: {parse_line(line).address}"
    except Error:
        where = f"line {number}"
    say(f"{where}: {printable(error.public)}")


def read_old_password(options: argparse.Namespace) -> bytes:
    """The password that is set: the next line of standard input, or asked for on a terminal. Raises ConfigError."""
    if options.password_stdin:
        return _checked(sys.stdin.buffer.readline(PASSWORD_MAX + 3).rstrip(b"\r\n"))
    if not sys.stdin.isatty():
        raise ConfigError("no terminal to ask on: give the password with --password-stdin")
    return _checked(getpass.getpass("password that is set: ").encode("utf-8", "surrogateescape"))


def read_password(options: argparse.Namespace) -> bytes:
    """The password: the first line of standard input, or asked twice on a terminal. Raises ConfigError."""
    if options.password_stdin:
        password = sys.stdin.buffer.readline(PASSWORD_MAX + 3).rstrip(b"\r\n")
    elif sys.stdin.isatty():
        typed = getpass.getpass("new password: ")
        if getpass.getpass("once more: ") != typed:
            raise ConfigError("the two differ; nothing was done")
        password = typed.encode("utf-8", "surrogateescape")
    else:
        raise ConfigError("no terminal to ask on: give the password with --password-stdin")
    return _checked(password)


def _checked(password: bytes) -> bytes:
    if not 0 < len(password) <= PASSWORD_MAX:
        raise ConfigError(f"a password has 1 to {PASSWORD_MAX} octets")
    return password


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


def _quota(road: Road, given: int | None) -> int:
    return given or road.tenant.settings.integer("directory.default_quota_bytes")


def _with_road(options: argparse.Namespace, step: Any, *more: Any) -> Any:
    """What `step(road, address, ...)` gives."""
    road, address = open_road(options.directory, options.tenant), parse_address(options.address)

    async def work() -> Any:
        async with road:
            return await step(road, address, *more)

    return wait_for(work())


def _tell(options: argparse.Namespace, row: AccountRow) -> None:
    say(f"{options.tenant}: {row.address} is {STATUS_NAMES[row.status]}")


def _cells(row: AccountRow) -> tuple[object, ...]:
    return (
        row.address, format_id("acc", row.account), STATUS_NAMES[row.status], size_text(row.quota_bytes),
        time_text(row.created),
    )  # fmt: skip

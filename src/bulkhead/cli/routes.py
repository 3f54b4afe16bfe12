"""`account alias|forward|services|quota|class|search|routes`, `group`, `class`: addresses, and what may be used."""

import argparse
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.to_directory import AccountRow, AccountStatus, Service
from bulkhead.boundary.messages.to_store import LimitAccount
from bulkhead.cli.account_steps import STATUS_NAMES, require_account, set_halves
from bulkhead.cli.output import print_json, print_table, say, size_text, time_text
from bulkhead.cli.pending import PendingAccount
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, format_id, parse_address

SERVICES = {"login": Service.LOGIN, "receive": Service.RECEIVE, "send": Service.SEND}
QUOTA_MAX = 1 << 50  # octets


def closed_text(closed: int) -> str:
    """Names of the services that are off; `-` where none is."""
    return ",".join(name for name, bit in SERVICES.items() if closed & bit) or "-"


def add_alias(options: argparse.Namespace) -> int:
    """Give an account another address."""
    alias = parse_address(options.alias)
    _act(options, lambda road: road.ask("directory", m.AddAlias(stamp(), options.address, str(alias))))
    say(f"{options.tenant}: mail to {alias} reaches {options.address}; nobody logs in by it")
    return 0


def remove_alias(options: argparse.Namespace) -> int:
    """Take it back; it stays the account's."""
    _act(options, lambda road: road.ask("directory", m.RemoveAlias(stamp(), options.alias)))
    say(f"{options.tenant}: {options.alias} reaches nobody, and is reserved for its account")
    return 0


def forward(options: argparse.Namespace) -> int:
    """Have an account's mail go on to others, or no more."""
    if options.none == bool(options.target):
        raise ConfigError("name addresses to forward to, or --none to end it")
    targets = tuple(str(parse_address(target)) for target in options.target)
    keep = not options.no_copy
    _act(options, lambda road: road.ask("directory", m.SetForward(stamp(), options.address, targets, keep)))
    copy = "with a copy here" if keep else "without a copy here"
    where = f"goes to {', '.join(targets)}, {copy}" if targets else "stays here"
    say(f"{options.tenant}: mail to {options.address} {where}")
    return 0


def routes(options: argparse.Namespace) -> int:
    """Every way to an account and from it."""
    found = _act(options, lambda road: road.ask("directory", m.ShowRoutes(options.address)))
    document = {
        "tenant": options.tenant, "address": options.address, "aliases": list(found.aliases),
        "retired": list(found.retired), "groups": list(found.groups), "forwards": list(found.forwards),
        "keeps_copy": found.keep,
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
        return 0
    rows = [(what, address) for what in ("aliases", "retired", "groups", "forwards") for address in document[what]]
    print_table(("WHAT", "ADDRESS"), rows)
    return 0


def services(options: argparse.Namespace) -> int:
    """Switch services of an account off or on."""
    off, on = _bits(options.off), _bits(options.on)
    if off & on or not off | on:
        raise ConfigError("name services to switch --off or --on: login, receive, send; none of them in both")
    row = _act(options, lambda road: set_services(road, options.address, off, on, options.reason))
    say(f"{options.tenant}: {row.address}: off: {closed_text(row.closed)}")
    return 0


async def set_services(road: Road, address: str, off: int, on: int, reason: str) -> AccountRow:
    """Where logins end, sessions end first and both halves refuse; they open last."""
    async with _alone(road, address):
        row = await require_account(road, parse_address(address))
        closed = (row.closed | off) & ~on
        if closed & Service.LOGIN:
            await set_halves(road, AccountId(row.account), AccountState.SWITCHED_OFF)
        new = await road.ask("directory", m.SetServices(stamp(), address, closed, reason))
        if on & Service.LOGIN and row.status < AccountStatus.CANCELLED:  # also where directory was through, and no more
            await set_halves(road, AccountId(row.account), AccountState.SWITCHED_ON)
        return new


@contextlib.asynccontextmanager
async def _alone(road: Road, address: str) -> AsyncIterator[None]:
    """No other act on the account comes between: halves and directory would be apart."""
    row = await require_account(road, parse_address(address))
    async with PendingAccount(road.layout, parse_address(row.address)).alone():
        yield


def quota(options: argparse.Namespace) -> int:
    """Set an account's quota, at store and in directory."""
    if not 0 <= options.octets <= QUOTA_MAX:
        raise ConfigError(f"OCTETS is 0 (no limit) to {QUOTA_MAX}")
    row = _act(options, lambda road: _set_quota(road, options.address, options.octets))
    say(f"{options.tenant}: {row.address} may keep {size_text(row.quota_bytes) if row.quota_bytes else 'any size'}")
    return 0


async def _set_quota(road: Road, address: str, octets: int) -> AccountRow:
    row = await require_account(road, parse_address(address))
    await road.ask("store", LimitAccount(stamp(), AccountId(row.account), octets))
    return await road.ask("directory", m.SetQuota(stamp(), address, octets))


def set_class(options: argparse.Namespace) -> int:
    """Give an account a class of service."""
    row = _act(options, lambda road: give_class(road, options.address, options.name))
    say(f"{options.tenant}: {row.address} is of class {row.class_name}; off: {closed_text(row.closed)}")
    return 0


async def give_class(road: Road, address: str, name: str) -> AccountRow:
    """Quota at store, switches at both halves, then all of it in directory."""
    async with _alone(road, address):
        row = await road.ask("directory", m.SetClass(stamp(), address, name))
        await road.ask("store", LimitAccount(stamp(), AccountId(row.account), row.quota_bytes))
        if row.closed & Service.LOGIN:
            await set_halves(road, AccountId(row.account), AccountState.SWITCHED_OFF)
        elif row.status < AccountStatus.CANCELLED:  # the same
            await set_halves(road, AccountId(row.account), AccountState.SWITCHED_ON)
        return row


def search(options: argparse.Namespace) -> int:
    """Accounts whose address begins so."""
    if not 1 <= options.limit <= m.SEARCH_MAX:
        raise ConfigError(f"--limit is 1 to {m.SEARCH_MAX}")
    request = m.SearchAccounts(options.prefix, options.after, options.limit)
    rows = _act(options, lambda road: road.ask("directory", request)).rows
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "accounts": [account_document(row) for row in rows]})
        return 0
    head = ("ADDRESS", "ACCOUNT", "STATUS", "OFF", "CLASS")
    print_table(head, [
        (row.address, format_id("acc", row.account), STATUS_NAMES[row.status], closed_text(row.closed), row.class_name)
        for row in rows
    ])  # fmt: skip
    return 0


def add_group(options: argparse.Namespace) -> int:
    """Make a group without members."""
    _act(options, lambda road: road.ask("directory", m.AddGroup(stamp(), options.group)))
    say(f"{options.tenant}: {options.group} is a group; bulkhead group join {options.tenant} {options.group} ADDRESS")
    return 0


def remove_group(options: argparse.Namespace) -> int:
    """Nobody has its address again."""
    _act(options, lambda road: road.ask("directory", m.RemoveGroup(stamp(), options.group)))
    say(f"{options.tenant}: {options.group} is gone, and its address reserved for ever")
    return 0


def join(options: argparse.Namespace) -> int:
    """Put an account into a group."""
    _act(options, lambda road: road.ask("directory", m.SetMember(stamp(), options.group, options.address)))
    return 0


def leave(options: argparse.Namespace) -> int:
    """Take it out."""
    _act(options, lambda road: road.ask("directory", m.SetMember(stamp(), options.group, options.address, False)))
    return 0


def list_groups(options: argparse.Namespace) -> int:
    """Every group, with its size."""
    rows = _act(options, _all_groups)
    if options.json:
        found = [{"group": row.address, "members": row.members, "created": row.created} for row in rows]
        print_json(options.command, {"tenant": options.tenant, "groups": found})
        return 0
    print_table(("GROUP", "MEMBERS", "SINCE"), [(row.address, row.members, time_text(row.created)) for row in rows])
    return 0


async def _all_groups(road: Road) -> list[m.GroupRow]:
    rows: list[m.GroupRow] = []
    while page := (await road.ask("directory", m.ListGroups(rows[-1].address if rows else ""))).rows:
        rows += page
    return rows


def show_group(options: argparse.Namespace) -> int:
    """Its members."""
    found = _act(options, lambda road: road.ask("directory", m.ShowGroup(options.group))).addresses
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "group": options.group, "members": list(found)})
    else:
        print_table(("MEMBER",), [(address,) for address in found])
    return 0


def define_class(options: argparse.Namespace) -> int:
    """Make a class of service, or change it."""
    if not 0 <= options.quota_bytes <= QUOTA_MAX:
        raise ConfigError(f"--quota-bytes is 0 (no limit) to {QUOTA_MAX}")
    most = (options.forwards, options.forwards_elsewhere)
    if not (0 <= options.aliases <= m.ALIASES_MAX and all(0 <= number <= m.FORWARDS_MAX for number in most)):
        raise ConfigError(
            f"--aliases is 0 to {m.ALIASES_MAX}, --forwards and --forwards-elsewhere 0 to {m.FORWARDS_MAX}"
        )
    elsewhere = min(options.forwards, options.forwards_elsewhere)
    row = m.ClassRow(
        options.name, options.quota_bytes, _bits(options.off), options.aliases, options.forwards, elsewhere=elsewhere
    )
    _act(options, lambda road: road.ask("directory", m.DefineClass(stamp(), row)))
    say(f"{options.tenant}: accounts follow when they are given the class {options.name} again")
    return 0


def list_classes(options: argparse.Namespace) -> int:
    """Every class of service."""
    rows = _act(options, lambda road: road.ask("directory", m.ListClasses())).rows
    if options.json:
        found = [
            {
                "name": row.name, "quota_bytes": row.quota_bytes, "off": _names(row.closed), "aliases": row.aliases,
                "forwards": row.forwards, "forwards_elsewhere": row.elsewhere, "accounts": row.accounts,
            }
            for row in rows
        ]  # fmt: skip
        print_json(options.command, {"tenant": options.tenant, "classes": found})
        return 0
    print_table(("CLASS", "QUOTA", "OFF", "ALIASES", "FORWARDS", "ELSEWHERE", "ACCOUNTS"), [
        (
            row.name, size_text(row.quota_bytes), closed_text(row.closed), row.aliases, row.forwards, row.elsewhere,
            row.accounts,
        )
        for row in rows
    ])  # fmt: skip
    return 0


def account_document(row: AccountRow) -> dict[str, object]:
    """An account as JSON."""
    return {
        "account": format_id("acc", row.account), "address": row.address, "status": STATUS_NAMES[row.status],
        "quota_bytes": row.quota_bytes, "created": row.created, "off": _names(row.closed), "class": row.class_name,
    }  # fmt: skip


def _names(closed: int) -> list[str]:
    return [name for name, bit in SERVICES.items() if closed & bit]


def _bits(names: list[str] | None) -> int:
    return sum({SERVICES[name] for name in names or ()})


def _act(options: argparse.Namespace, work: Callable[[Road], Awaitable[Any]]) -> Any:
    """What `work` gives on the road to the tenant's cell."""
    if "@" in getattr(options, "reason", ""):
        raise ConfigError("--reason goes into the ledger, which takes no address: leave out the @")
    road = open_road(options.directory, options.tenant)

    async def on_road() -> Any:
        async with road:
            return await work(road)

    act: Coroutine[Any, Any, Any] = on_road()
    return wait_for(act)

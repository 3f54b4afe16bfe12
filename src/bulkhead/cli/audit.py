"""`audit list`, `audit count`: who did what from where, as each holder recorded it."""

import argparse
import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.accesses import ACTS_ALL, ROWS_MAX, AccessCounts, AccessPage, Cursor
from bulkhead.boundary.messages.to_directory import STATUS_BYTES, ListAccounts, ListOrders, ListStatuses
from bulkhead.boundary.processes import GATES, OPERATOR_CONSOLE
from bulkhead.cli.account_steps import require_account
from bulkhead.cli.audit_formats import FORMATS, Entry
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, print_table, say, size_text, time_text
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.errors import ConfigError, IntegrityError, PeerError, Refused
from bulkhead.identifiers import AccountId, parse_address, parse_id
from bulkhead.records.access import Act, act_text, actor_octets, outcome_text, source_prefix, unpack_rows
from bulkhead.records.credential import Scope
from bulkhead.records.roster import decode_roster

MODULES: dict[str, Any] = {
    "directory": to_directory,
    "auth": to_auth,
    "keyring": to_keyring,
    "store": to_store,
    "queue": to_queue,
}
DAY_MS = 86_400_000
COUNT_SECONDS = 60.0
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_HEAD = ("TIME", "COMPARTMENT", "ACT", "OUTCOME", "GATE", "WHAT", "ACCOUNT", "FROM")


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked for, as fields of the messages."""

    since: int
    until: int
    account: bytes
    source: bytes
    acts: int
    gate: int
    compartments: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """Of a request."""
        return {
            "since": self.since, "until": self.until, "account": self.account, "source": self.source,
            "acts": self.acts, "gate": self.gate,
        }  # fmt: skip


def list_records(options: argparse.Namespace) -> int:
    """Print what is found, compartment by compartment."""
    if options.limit < 0:
        raise ConfigError("--limit is 0 or more")
    return wait_for(_list(options, open_road(options.directory, options.tenant)))


async def _list(options: argparse.Namespace, road: Road) -> int:
    damaged = 0
    widths: list[int] | None = None  # of the first page that has rows
    async with road:
        window = await window_of(options, road)
        names = await addresses_of(road) if options.addresses else {}
        officers = await officers_of(road)
        for compartment in window.compartments:
            async for page in pages(road, compartment, window, options.limit):
                damaged += page.damaged
                entries = entries_of(road, compartment, page, names, officers)
                if options.format == "table" and entries:
                    widths = print_table(_HEAD, [_cells(entry) for entry in entries], widths=widths)
                elif entries:
                    print("\n".join(FORMATS[options.format](entry) for entry in entries))
    if options.format == "table" and widths is None:
        print(f"{options.tenant}: nothing of that is recorded")
    if damaged:
        say(f"{options.tenant}: {damaged} blocks of records do not open: keep them, and look for who changed them")
    return ExitCode.INTEGRITY if damaged else ExitCode.OK


def count_records(options: argparse.Namespace) -> int:
    """Print counts."""
    began = time.monotonic()
    window, counts = wait_for(_count(options, open_road(options.directory, options.tenant)))
    seconds = round(time.monotonic() - began, 3)
    damaged = any(one.damaged for one in counts.values())
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant, "since": window.since, "until": window.until, "seconds": seconds,
            "compartments": [_document(name, one) for name, one in counts.items()],
        })  # fmt: skip
    else:
        rows = [
            (name, act_text(row.act), outcome_text(row.outcome), row.records)
            for name, one in counts.items()
            for row in one.rows
        ]
        print_table(("COMPARTMENT", "ACT", "OUTCOME", "RECORDS"), rows)
        for name, one in counts.items():
            print(f"{name}: {one.records:,} records about {one.accounts:,} accounts")
        print(f"{time_text(window.since)} to {time_text(window.until)}, in {seconds:g} s")
    return ExitCode.INTEGRITY if damaged else ExitCode.OK


async def _count(options: argparse.Namespace, road: Road) -> tuple[Window, dict[str, AccessCounts]]:
    async with road:
        window = await window_of(options, road)
        found = await asyncio.gather(
            *(
                road.ask(name, MODULES[name].CountAccesses(**window.fields()), timeout=COUNT_SECONDS)
                for name in window.compartments
            )
        )
    return window, dict(zip(window.compartments, found, strict=True))


async def pages(road: Road, compartment: str, window: Window, limit: int) -> AsyncIterator[AccessPage]:
    """Pages of one compartment's records, `limit` in all; 0: every one."""
    cursor, left = Cursor(), limit
    while True:
        many = min(left, ROWS_MAX) if limit else ROWS_MAX
        request = MODULES[compartment].SearchAccesses(**window.fields(), cursor=cursor, limit=many)
        page: AccessPage = await road.ask(compartment, request)
        yield page
        left -= len(page.rows) // 47
        if not page.more or (limit and left <= 0):
            return
        if (page.cursor.day, page.cursor.offset, page.cursor.index) <= (cursor.day, cursor.offset, cursor.index):
            raise IntegrityError(f"{compartment} leads in a circle: it sends the same records again")
        cursor = page.cursor


async def window_of(options: argparse.Namespace, road: Road) -> Window:
    """What the options ask for. Raises ConfigError, Refused (`no-such-address`)."""
    now = time.time_ns() // 1_000_000
    since, until = parse_time(options.since, now), parse_time(options.until, now) + (options.until == "now")
    if since >= until:
        raise ConfigError("--since lies before --until")
    acts = sum(1 << Act[name.upper()] for name in set(options.act or ())) or ACTS_ALL
    gate = GATES.get(options.gate, 0)
    if options.gate and not gate:
        raise ConfigError(f"there is no compartment {options.gate} in this version")
    compartments = tuple(dict.fromkeys(options.compartment or MODULES))
    source = parse_source(options.source)
    if options.officer:
        if source:
            raise ConfigError("--officer names who of the staff acted, --source where from: give one of them")
        source, acts = actor_octets(road.tenant.id, options.officer), 1 << Act.STAFF
    return Window(since, until, await _account(options.account, road), source, acts, gate, compartments)


def parse_time(text: str, now: int) -> int:
    """A time of the command line in ms since 1970. Raises ConfigError."""
    if text == "now":
        return now
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0, now - int(ago[1]) * _UNITS[ago[2]])
    try:
        moment = datetime.fromisoformat(text)
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise ConfigError(f"{text[:60]!r} is no time: give 2026-11-22T09:00Z, or 30m, 24h, 7d") from None


def parse_source(text: str) -> bytes:
    """The first octets of a network. Raises ConfigError."""
    try:
        return source_prefix(text)
    except ValueError as error:
        raise ConfigError(f"--source {text[:60]!r} must be {error}") from None


async def _account(text: str, road: Road) -> bytes:
    if not text:
        return b""
    try:
        return bytes(parse_id("acc", text))
    except PeerError:
        return bytes((await require_account(road, parse_address(text))).account)


def entries_of(
    road: Road, compartment: str, page: AccessPage, names: Mapping[AccountId, str], officers: Mapping[bytes, str]
) -> list[Entry]:
    """A page's records as they are written out. names: addresses by account; officers: as of officers_of."""
    return [
        Entry(road.tenant.id, compartment, access, names.get(access.account, ""), officers.get(access.source, ""))
        for access in unpack_rows(page.rows)
    ]


async def addresses_of(road: Road) -> dict[AccountId, str]:
    """Every account's address. Raises Refused past a million: ask for one account."""
    names: dict[AccountId, str] = {}
    after = ""
    if len((await road.ask("directory", ListStatuses(1_000_000))).rows) // STATUS_BYTES:
        raise Refused("more than a million accounts: give --account, or leave out --addresses", code="full")
    while page := (await road.ask("directory", ListAccounts("", after))).rows:
        names.update((AccountId(row.account), row.address) for row in page)
        after = page[-1].address
    return names


async def officers_of(road: Road) -> dict[bytes, str]:
    """Names of officers of the roster in force, and of the command line, by what records have of them."""
    roster = (await road.ask("directory", ListOrders(0))).roster.roster
    names = [OPERATOR_CONSOLE, *(one.name for one in (decode_roster(roster).officers if roster else ()))]
    return {actor_octets(road.tenant.id, name): name for name in names}


def _cells(entry: Entry) -> tuple[object, ...]:
    return (
        time_text(entry.access.at), entry.compartment, entry.act, entry.outcome, entry.gate or "-",
        _what(entry), entry.address or entry.account or "-",
        entry.source or entry.officer or entry.actor or "-",
    )  # fmt: skip


def _what(entry: Entry) -> str:
    """What staff asked for, the protocol of a session, or how much of what."""
    number = entry.access.number
    match entry.access.act:
        case Act.STAFF:
            return entry.action
        case Act.LOGIN | Act.SESSION_BEGUN | Act.SESSION_ENDED:
            return ",".join(one.name.lower() for one in Scope if one.name and one & number) or "-"
        case Act.KEYS_OPENED:
            return f"keys: {number:,}"
        case Act.QUEUED:
            return f"recipients: {number:,}"
        case _:
            return size_text(number)


def _document(name: str, counts: AccessCounts) -> dict[str, Any]:
    acts: Iterator[dict[str, Any]] = (
        {"act": act_text(row.act), "outcome": outcome_text(row.outcome), "records": row.records} for row in counts.rows
    )
    return {
        "compartment": name, "records": counts.records, "accounts": counts.accounts, "damaged": counts.damaged,
        "oldest": counts.oldest * DAY_MS, "acts": list(acts),
    }  # fmt: skip

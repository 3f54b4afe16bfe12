"""`incident plant`, `incident canaries`: accounts that nobody has, so that whoever uses one names the copy that leaked.

incident knows of them before they exist, and by keyed hash only; to directory, keyring, auth and store they are made as
any account is. Names, passwords and statuses are drawn here and kept nowhere.
"""

import argparse
import random
import re
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bulkhead.boundary.messages import to_incident
from bulkhead.boundary.messages.to_directory import (
    AccountRow,
    AccountStatus,
    CountAccounts,
    FindLogin,
    ListAccounts,
    ListDomains,
)
from bulkhead.boundary.messages.to_incident import CANARIES_MAX, CanaryCopies, ListCanaries, PlantCanaries
from bulkhead.cli.account_steps import (
    Made,
    NewPassword,
    add_account,
    close_account,
    find_account,
    withdraw_account,
)
from bulkhead.cli.canary_names import draw_name
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError, Error, Refused
from bulkhead.identifiers import AccountId, Address, new_id, parse_address
from bulkhead.records.common_passwords import common_passwords

LIVE = "live"
COUNT_MAX = 10_000
TOP = 64  # guessable passwords are among so many: what a list of words tries first
SAMPLES = 24  # pages of real accounts that names and dates are drawn from
SAMPLE_ROWS = 64
TRIES = 200
PLAIN = "plain"  # as an import sets it: no rule of new passwords stands against a guessable one
_COPY = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_STATUSES = (AccountStatus.ACTIVE, AccountStatus.SUSPENDED, AccountStatus.DORMANT)


@dataclass(frozen=True, slots=True)
class Canary:
    """One account to be made. decoy: what directory answers for its name where there is no such account."""

    address: Address
    account: AccountId
    decoy: AccountId
    password: bytes = field(repr=False)
    status: int
    created: int
    quota_bytes: int


async def draw_canaries(road: Road, count: int, guessable: float) -> list[Canary]:
    """Canaries like the tenant's accounts. guessable: the share of them with a password of the top of lists.

    Raises Refused (`no-domain`, `no-name`).
    """
    draw = random.SystemRandom()
    rows = await _sample(road, draw)
    domains = [row async for row in _domains(road)]
    if not domains:
        raise Refused("the tenant hosts no domain", code="no-domain")
    counts = {row.status: row.accounts for row in (await road.ask("directory", CountAccounts())).rows}
    weights = [counts.get(status, 0) for status in _STATUSES]
    words = common_passwords(TOP)
    drawn: dict[str, Canary] = {}
    for number in range(count):
        domain = draw.choices(domains, [accounts + 1 for _, accounts in domains])[0][0]
        address = await _free_address(road, draw, domain, rows, drawn)
        like = draw.choice(rows) if rows else None
        password = draw.choice(words) if number < round(count * guessable) else _strong()
        drawn[address.key] = Canary(
            address,
            AccountId(new_id()),
            AccountId((await road.ask("directory", FindLogin(str(address)))).account),
            password,
            draw.choices(_STATUSES, weights)[0] if any(weights) else AccountStatus.ACTIVE,
            like.created + draw.randrange(-86_400_000, 86_400_000) if like else 0,
            like.quota_bytes if like else road.tenant.settings.integer("directory.default_quota_bytes"),
        )
    made = list(drawn.values())
    draw.shuffle(made)
    return made


async def register(road: Road, copy: str, canaries: Sequence[Canary]) -> None:
    """Have incident know them, durably. What is to go into a copy is made only after that."""
    for start in range(0, len(canaries), CANARIES_MAX):
        page = tuple(to_incident.Canary(one.account, one.decoy) for one in canaries[start : start + CANARIES_MAX])
        await road.ask("incident", PlantCanaries(stamp(), copy, page))


async def make_canary(road: Road, canary: Canary) -> None:
    """Make one in what runs behind `road`, as any account is made; nothing of it is left where that fails."""
    try:
        await add_account(
            road, canary.address, NewPassword(canary.password, PLAIN), canary.quota_bytes,
            made=Made(canary.account, canary.created),
        )  # fmt: skip
        if canary.status != AccountStatus.ACTIVE:
            await close_account(road, canary.address, canary.status, "")
    except Error:
        await withdraw_account(road, canary.address, "", made=canary.account)  # a subscriber may have taken the name
        raise


async def plant_in_copy(
    road: Road, copy: str, count: int, guessable: float, make: Callable[[Canary], Awaitable[None]]
) -> None:
    """Plant canaries in one copy and nowhere else: incident knows them before `make` writes the first.

    make: has the rows of one written into that copy, by the compartments' own code. guessable: a share, 0 to 1.
    """
    canaries = await draw_canaries(road, count, guessable)
    await register(road, copy, canaries)
    for canary in canaries:
        await make(canary)


def check_copy(name: str) -> str:
    """The name of a copy. Raises ConfigError."""
    if not _COPY.fullmatch(name):
        raise ConfigError("a copy's name is 1 to 63 of a-z, 0-9, dot, dash and underscore")
    return name


def plant(options: argparse.Namespace) -> int:
    """Plant canaries in the live databases."""
    if not 1 <= options.count <= COUNT_MAX or not 0 <= options.guessable <= 100:
        raise ConfigError(f"--count is 1 to {COUNT_MAX}, --guessable 0 to 100")
    if check_copy(options.copy) != LIVE:
        raise ConfigError("canaries of other copies are planted by the command that makes the copy; here: --copy live")
    road = open_road(options.directory, options.tenant)

    async def work() -> None:
        async with road:
            await plant_in_copy(road, LIVE, options.count, options.guessable / 100, partial(make_canary, road))

    wait_for(work())
    say(f"{options.tenant}: {options.count} canaries are planted in {options.copy}; nobody is told which")
    return 0


def list_canaries(options: argparse.Namespace) -> int:
    """Print the copies and what was used of them; 1 where anything was."""
    road = open_road(options.directory, options.tenant)

    async def work() -> CanaryCopies:
        async with road:
            return await road.ask("incident", ListCanaries())

    copies = wait_for(work()).copies
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "copies": [
            {
                "copy": copy.copy, "canaries": copy.canaries, "since": copy.since, "right": copy.right,
                "wrong": copy.wrong, "first": copy.first, "last": copy.last,
                "networks": [
                    {"network": row.network, "password_right": row.password_right, "first": row.first,
                     "last": row.last, "count": row.count} for row in copy.networks
                ],
            } for copy in copies
        ]})  # fmt: skip
    else:
        print_table(
            ("COPY", "CANARIES", "SINCE", "RIGHT", "WRONG", "FIRST USE", "LAST USE"),
            [
                (one.copy, one.canaries, time_text(one.since), one.right, one.wrong, time_text(one.first),
                 time_text(one.last)) for one in copies
            ],
        )  # fmt: skip
        for one in copies:
            for row in one.networks:
                how = "the right password" if row.password_right else "a wrong password"
                print(f"{one.copy}: {how} from {row.network or 'an unknown network'}, {row.count} times, "
                      f"last {time_text(row.last)}")  # fmt: skip
    return ExitCode.FINDING if any(copy.right or copy.wrong for copy in copies) else ExitCode.OK


async def _domains(road: Road) -> AsyncIterator[tuple[str, int]]:
    after = ""
    while rows := (await road.ask("directory", ListDomains(after))).rows:
        for row in rows:
            yield row.domain, row.accounts
        after = rows[-1].domain


async def _sample(road: Road, draw: random.Random) -> list[AccountRow]:
    """Real accounts from all over the alphabet."""
    rows: dict[str, AccountRow] = {}
    places = ["", *("".join(draw.choices(string.ascii_lowercase, k=2)) for _ in range(SAMPLES - 1))]
    for after in places:
        for row in (await road.ask("directory", ListAccounts("", after, SAMPLE_ROWS))).rows:
            rows[row.address] = row
    return [row for row in rows.values() if row.status in _STATUSES]


async def _free_address(
    road: Road, draw: random.Random, domain: str, rows: Sequence[AccountRow], taken: dict[str, Canary]
) -> Address:
    """An address that nobody has or had. Raises Refused (`no-name`)."""
    real = [parse_address(row.address).local_part.lower() for row in rows]
    for _ in range(TRIES):
        try:
            address = parse_address(f"{draw_name(draw, real)}@{domain}")
        except Error:
            continue
        if address.key not in taken and await find_account(road, address) is None:
            return address
    raise Refused("no name was found that nobody has", code="no-name")


def _strong() -> bytes:
    """A password that no list has, as people with a password manager set it."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(14)).encode()

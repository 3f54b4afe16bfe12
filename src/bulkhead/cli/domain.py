"""`domain list|add|remove`."""

import argparse

from bulkhead.boundary.messages.to_directory import AddDomain, DomainRow, ListDomains, RemoveDomain
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.identifiers import parse_domain


def list_domains(options: argparse.Namespace) -> int:
    """Print the hosted domains."""
    rows = wait_for(_list(open_road(options.directory, options.tenant)))
    if options.json:
        found = [{"domain": row.domain, "accounts": row.accounts, "created": row.created} for row in rows]
        print_json(options.command, {"tenant": options.tenant, "domains": found})
    else:
        print_table(("DOMAIN", "ACCOUNTS", "SINCE"), [(r.domain, r.accounts, time_text(r.created)) for r in rows])
    return 0


def add_domain(options: argparse.Namespace) -> int:
    """Host a domain."""
    domain = parse_domain(options.domain)
    wait_for(_add(open_road(options.directory, options.tenant), domain))
    say(f"{options.tenant}: {domain} is hosted; its MX record must name this tenant's mx")
    return 0


def remove_domain(options: argparse.Namespace) -> int:
    """Host a domain no more."""
    domain, road = parse_domain(options.domain), open_road(options.directory, options.tenant)

    async def work() -> None:
        async with road:
            await road.ask("directory", RemoveDomain(stamp(), domain))

    wait_for(work())
    say(f"{options.tenant}: {domain} is not hosted; addresses that it had are given to nobody, should it come back")
    return 0


async def _list(road: Road) -> list[DomainRow]:
    async with road:
        return await all_domains(road)


async def all_domains(road: Road) -> list[DomainRow]:
    """Every hosted domain, by name."""
    rows: list[DomainRow] = []
    while page := (await road.ask("directory", ListDomains(rows[-1].domain if rows else ""))).rows:
        rows += page
    return rows


async def _add(road: Road, domain: str) -> None:
    async with road:
        await road.ask("directory", AddDomain(stamp(), domain))

"""What a live cell's auth says of logins, for `status` and `doctor`: counts by limit, and whether stuffing goes on."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import asdict

from bulkhead.boundary.messages.to_auth import CountLogins
from bulkhead.cli.road import Road, wait_for
from bulkhead.config import Installation, Tenant
from bulkhead.errors import Error

SECONDS = 3.0
LIMITS = {
    "over_source": "address", "over_account": "account", "over_accounts": "accounts tried",
    "over_gate": "gate", "over_network": "network", "delayed": "wait",
}  # fmt: skip
Counts = dict[str, Any]


def count_logins(installation: Installation, tenants: Sequence[Tenant]) -> list[Counts | None]:
    """Of each tenant, in order; None where auth does not answer within 3 s. Asks all at once."""

    async def of(tenant: Tenant) -> Counts | None:
        try:
            async with asyncio.timeout(SECONDS), Road(installation, tenant) as road:
                counts = asdict(await road.ask("auth", CountLogins(), timeout=SECONDS))
                del counts["granting"]  # of metrics alone
                return counts
        except (Error, OSError, TimeoutError):
            return None

    async def all_of() -> list[Counts | None]:
        return list(await asyncio.gather(*map(of, tenants)))

    return wait_for(all_of())


def login_lines(tenant: str, counts: Counts) -> Iterator[str]:
    """What is worth a line: logins refused unread, and stuffing."""
    over = ", ".join(f"{counts[name]:,} {words}" for name, words in LIMITS.items() if counts[name])
    if over:
        yield (
            f"{tenant}: {counts['granted']:,} logins granted and {counts['refused']:,} refused since auth started; "
            f"refused unread by limit: {over}"
        )
    if counts["rule_stops"]:
        yield f"{tenant}: {counts['rule_stops']} networks are stopped by a rule: bulkhead containment {tenant}"
    if counts["stuffing"]:
        yield f"{tenant}: STUFFING: strangers try accounts beyond the ceiling; those without a known network wait"

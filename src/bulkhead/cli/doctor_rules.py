"""`doctor` about what rules stopped by themselves: it lapses, so somebody has to look while it holds."""

import asyncio

from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.cli.account_ids import GUARDS
from bulkhead.cli.finding import Finding, State
from bulkhead.cli.output import time_text
from bulkhead.cli.road import Road
from bulkhead.config import Installation, Tenant
from bulkhead.errors import Error

RULED = ("auth", "keyring", "queue")  # who has rules


def rules_finding(installation: Installation, tenant: Tenant) -> Finding:
    """What is stopped by a rule now, and until when."""

    async def ask() -> list[tuple[str, int]]:
        async with Road(installation, tenant) as road:
            states = [(name, await road.ask(name, GUARDS[name].ReadSurfaces())) for name in RULED]
        return [(name, one.until) for name, state in states for one in state.stopped if one.surface & Surface.SUBJECTS]

    try:
        stopped = asyncio.run(ask())
    except Error as error:
        return Finding(tenant.id, "rules", State.UNPROVEN, error.public, f"bulkhead containment {tenant.id}")
    if not stopped:
        return Finding(tenant.id, "rules", State.OK, "none has stopped anything that is still stopped")
    by = ", ".join(f"{sum(at == name for at, _ in stopped)} by {name}" for name in RULED)
    lapses = [until for _, until in stopped if until]
    first = f"; the first lapses at {time_text(min(lapses))}" if lapses else ""
    return Finding(
        tenant.id, "rules", State.WARNING, f"stopped by themselves: {by}{first}",
        f"bulkhead containment {tenant.id}; the ledger says why; confirm or lift it (docs/containment.md, Rules)",
    )  # fmt: skip

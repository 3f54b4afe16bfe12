"""`doctor` about what was agreed with the partner, and about known flaws of what runs."""

import asyncio
import time

from bulkhead.boundary.messages.to_incident import ComponentState, ContractState, ReadComponents, ReadContract
from bulkhead.cli.component_check import advisory_standing
from bulkhead.cli.contract_file import agree_advice
from bulkhead.cli.finding import Finding, State
from bulkhead.cli.road import Road
from bulkhead.config import Installation, Tenant
from bulkhead.contract.measure import Standing
from bulkhead.errors import Error

CONTRACT_HOURS = 26  # how old a measurement may be: one a day, and some


def contract_finding(installation: Installation, tenant: Tenant) -> Finding:
    """Whether what was agreed is kept, as it was last measured."""

    async def ask() -> ContractState:
        async with Road(installation, tenant) as road:
            return await road.ask("incident", ReadContract())

    look = f"bulkhead contract check {tenant.id}"
    try:
        state = asyncio.run(ask())
    except Error as error:
        return Finding(tenant.id, "contract", State.UNPROVEN, error.public, f"look when it runs: {look}")
    if not state.text:
        return Finding(tenant.id, "contract", State.UNPROVEN, "none is in force", agree_advice(tenant.id))
    hours = (time.time() - state.checked / 1000) / 3600
    if hours > CONTRACT_HOURS:
        text = "was never measured" if not state.checked else f"was last measured {hours:.0f} hours ago"
        return Finding(tenant.id, "contract", State.WARNING, text, f"{look}, by a timer or with --every")
    broken = [term.name for term in state.terms if term.standing == Standing.BROKEN]
    if broken:
        return Finding(tenant.id, "contract", State.WARNING, f"not kept: {', '.join(broken)}", look)
    open_ = [term.name for term in state.terms if term.standing == Standing.UNMEASURED]
    if open_:
        return Finding(tenant.id, "contract", State.UNPROVEN, f"not measured: {', '.join(open_)}", look)
    return Finding(tenant.id, "contract", State.OK, f"{len(state.terms)} promises, all kept")


def advisories_finding(installation: Installation, tenant: Tenant) -> Finding:
    """Whether a component that compartments load has a known flaw, as they were last compared."""

    async def ask() -> ComponentState:
        async with Road(installation, tenant) as road:
            return await road.ask("incident", ReadComponents())

    try:
        state, text, advice = advisory_standing(asyncio.run(ask()), time.time_ns() // 1_000_000)
    except Error as error:
        return Finding(
            tenant.id, "advisories", State.UNPROVEN, error.public, "look when it runs: bulkhead advisory list"
        )
    return Finding(tenant.id, "advisories", State(state), text, advice)

"""Asks that go to several compartments of several tenants at once, each answered or told why not."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.fields import Request
from bulkhead.cli.road import Road
from bulkhead.config import Installation, Tenant, load_installation
from bulkhead.errors import ConfigError, Error, TemporaryFailure

AT_ONCE = 4  # tenants asked at a time
Asked = Request[Any] | Callable[[Road], Awaitable[Any]]
"""One request, or what asks several and folds their replies into one."""
CELL = "cell"  # stands for the compartments of a cell that does not run


@dataclass(frozen=True, slots=True)
class Answer:
    """What one compartment of one tenant said: a reply, or the error."""

    tenant: str
    compartment: str
    reply: Any = None
    error: Error | None = None


def chosen_tenants(options: argparse.Namespace) -> tuple[Installation, list[Tenant]]:
    """The tenant named, or with --all every one that is not disabled. Raises ConfigError."""
    installation = load_installation(Path(options.directory))
    if bool(options.tenant) == options.all:
        raise ConfigError("name a tenant, or give --all")
    if options.tenant:
        return installation, [installation.tenant(options.tenant)]
    return installation, [tenant for tenant in installation.tenants.values() if not tenant.disabled]


async def ask_all(
    installation: Installation, tenants: Sequence[Tenant], requests: Sequence[tuple[str, Asked]], timeout: float
) -> list[Answer]:
    """One answer for each tenant and request, in order; one from `cell` for a tenant whose cell does not run."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def of_tenant(tenant: Tenant) -> list[Answer]:
        async with gate, Road(installation, tenant) as road:
            try:
                road.check_running()
            except TemporaryFailure as failure:
                return [Answer(tenant.id, CELL, error=failure)]
            return list(await asyncio.gather(*(_ask(road, name, request, timeout) for name, request in requests)))

    return [answer for answers in await asyncio.gather(*map(of_tenant, tenants)) for answer in answers]


async def _ask(road: Road, compartment: str, request: Asked, timeout: float) -> Answer:
    try:
        if not isinstance(request, Request):
            return Answer(road.tenant.id, compartment, await request(road))
        return Answer(road.tenant.id, compartment, await road.ask(compartment, request, timeout=timeout))
    except Error as error:
        return Answer(road.tenant.id, compartment, error=error)

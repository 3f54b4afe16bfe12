"""Accounts for the demonstration's subscribers, through the command line's own steps."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.boundary.messages.to_store import CountStore
from bulkhead.cli.account_steps import NewPassword, add_account, close_account
from bulkhead.cli.oblivion import cancel_account
from bulkhead.cli.road import Road, open_road
from bulkhead.demo.people import ACTIVE, CANCELLED, DORMANT, Subscriber
from bulkhead.errors import Refused
from bulkhead.identifiers import parse_address

AT_ONCE = 4  # accounts under way in one cell; auth hashes two at a time
QUOTA_BYTES = 1 << 30
_KNOWN = {"address-taken", "tombstone"}  # an earlier, interrupted try came this far


def settle(directory: Path, people: Sequence[Subscriber], progress: Callable[[int, int], None]) -> None:
    """Make every account, then lay up and cancel those that shall be so. May be repeated."""
    asyncio.run(_settle(directory, people, progress))


async def _settle(directory: Path, people: Sequence[Subscriber], progress: Callable[[int, int], None]) -> None:
    done = 0

    async def one(road: Road, person: Subscriber, room: asyncio.Semaphore) -> None:
        nonlocal done
        async with room:
            await _settle_one(road, person)
        done += 1
        progress(done, len(people))

    async def cell(tenant: str) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        async with open_road(str(directory), tenant) as road:
            await asyncio.gather(*(one(road, person, room) for person in people if person.tenant == tenant))

    await asyncio.gather(*(cell(tenant) for tenant in dict.fromkeys(person.tenant for person in people)))


async def _settle_one(road: Road, person: Subscriber) -> None:
    address = parse_address(person.address)
    try:
        await add_account(road, address, NewPassword(person.password.encode("ascii")), QUOTA_BYTES)
    except Refused as refusal:
        if refusal.code not in _KNOWN:
            raise
    if person.status == DORMANT:
        await close_account(road, address, AccountStatus.DORMANT, "unused for a year")
    elif person.status == CANCELLED:
        await cancel_account(road, address, "the contract ended")
    elif person.status != ACTIVE:
        raise ValueError(f"no status {person.status}")


def count_messages(directory: Path, tenants: Sequence[str]) -> dict[str, int]:
    """Messages that each cell's store holds."""
    return asyncio.run(_count_messages(directory, tenants))


async def _count_messages(directory: Path, tenants: Sequence[str]) -> dict[str, int]:
    async def one(tenant: str) -> int:
        async with open_road(str(directory), tenant) as road:
            return (await road.ask("store", CountStore())).messages

    return dict(zip(tenants, await asyncio.gather(*(one(tenant) for tenant in tenants)), strict=True))

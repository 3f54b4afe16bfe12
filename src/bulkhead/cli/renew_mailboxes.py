"""`credentials renew-mailboxes`: new mailbox keys after a compromise of keyring (docs/credentials.md)."""

import argparse
from typing import Any

from bulkhead.boundary.messages.to_keyring import CountKeyring, KeyringCounts, RenewMailboxes
from bulkhead.cli.output import print_json, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError

COUNT_SECONDS = 60.0


def renew_mailboxes(options: argparse.Namespace) -> int:
    """Order it, or say how far the order in force has come."""
    if not options.status and not options.reason:
        raise ConfigError("say why with --reason, or ask with --status how far it has come")
    if "@" in options.reason:
        raise ConfigError("--reason goes into the ledger, which takes no address: leave out the @")
    counts = wait_for(_act(open_road(options.directory, options.tenant), options))
    found = progress_of(counts)
    if options.json:
        print_json(options.command, {"tenant": options.tenant, **found})
    elif not counts.renewal:
        print(f"{options.tenant}: no renewal was ordered")
    else:
        print(
            f"{options.tenant}: order {found['order']} of {time_text(counts.renewal_ordered_at)}: "
            f"{found['renewed']:,} accounts have a new mailbox key, {found['outstanding']:,} get theirs at their next "
            f"login by the main password"
        )
    return 0


async def _act(road: Road, options: argparse.Namespace) -> KeyringCounts:
    async with road:
        if not options.status:
            await road.ask("keyring", RenewMailboxes(stamp(), options.reason))
        return await road.ask("keyring", CountKeyring(), timeout=COUNT_SECONDS)


def progress_of(counts: KeyringCounts) -> dict[str, Any]:
    """How far the order in force has come."""
    return {
        "order": counts.renewal, "ordered_at": counts.renewal_ordered_at or None, "renewed": counts.renewed,
        "outstanding": max(0, counts.mailboxes - counts.renewed) if counts.renewal else 0,
        "opened_by_older": counts.old_boxes,
    }  # fmt: skip

"""`credentials revoke`: every main password, app password or both of a tenant, in keyring and auth at the same time."""

import argparse
import asyncio
import time

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.revocation import RevokedKind
from bulkhead.cli.output import print_json, say
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.stop import Effect, timed
from bulkhead.errors import ConfigError


def revoke(options: argparse.Namespace) -> int:
    """Revoke, and say how long it took."""
    begin = time.monotonic()
    kinds = {RevokedKind.MAIN: options.main, RevokedKind.APP: options.app, RevokedKind.ALL: options.all}
    chosen = [kind for kind, given in kinds.items() if given]
    if len(chosen) != 1:
        raise ConfigError("say which credentials: --main, --app or --all")
    if "@" in options.reason:
        raise ConfigError("--reason goes into the ledger, which takes no address: leave out the @")
    road = open_road(options.directory, options.tenant)
    epoch = time.time_ns() // 1_000_000
    effects, sessions, worst = wait_for(_act(road, epoch, chosen[0], options.reason, begin))
    if options.json:
        document = {"tenant": options.tenant, "epoch": epoch, "sessions_ended": sessions, "effects": effects}
        print_json(options.command, document)
        return worst
    for effect in effects:
        if effect["done"]:
            print(f"{options.tenant}: {effect['compartment']}: revoked, durable after {effect['milliseconds']} ms")
        else:
            say(f"{options.tenant}: {effect['compartment']}: NOT revoked: {effect['error']}; give the command again")
    print(f"{options.tenant}: {sessions} live sessions ended")
    return worst


async def _act(road: Road, epoch: int, which: int, reason: str, begin: float) -> tuple[list[Effect], int, int]:
    async with road:
        by_keyring = to_keyring.RevokeCredentials(stamp(), epoch, which, reason)
        by_auth = to_auth.RevokeCredentials(stamp(), epoch, which, reason)
        done = await asyncio.gather(
            timed("keyring", road.ask("keyring", by_keyring), begin), timed("auth", road.ask("auth", by_auth), begin)
        )
    return [effect for effect, _, _ in done], sum(ended for _, ended, _ in done), max(code for _, _, code in done)

"""`stop`: a tenant's logins and sessions end, in keyring and auth at the same time; either alone keeps all out.

Outbound mail is held by queue, and by keyring, which opens none; either alone holds it.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from bulkhead.boundary.messages import to_keyring, to_queue
from bulkhead.boundary.messages.to_auth import LiftTenantStop, StopTenantLogins
from bulkhead.boundary.messages.to_keyring import LiftSessionStop, StopTenantSessions
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.output import print_json, say
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError, Error

Effect = dict[str, Any]


def stop(options: argparse.Namespace) -> int:
    """Stop, or lift a stop, and say how long it took."""
    begin = time.monotonic()
    if options.lift and (options.logins or options.sessions):
        raise ConfigError("--lift takes back a stop of logins, or with --outbound that of outbound mail")
    if not (options.lift or options.logins or options.sessions or options.outbound):
        raise ConfigError("say what to stop: --logins, --sessions, --outbound; or --lift to admit logins again")
    if "@" in options.reason:
        raise ConfigError("--reason goes into the ledger, which takes no address: leave out the @")
    road = open_road(options.directory, options.tenant)
    epoch = time.time_ns() // 1_000_000
    effects, sessions, worst = wait_for(act(options, road, epoch, begin))
    document = {
        "tenant": options.tenant, "epoch": epoch, "lifted": options.lift, "sessions_ended": sessions,
        "effects": effects,
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
    else:
        _tell(options, effects, sessions)
    return worst


async def act(options: argparse.Namespace, road: Road, epoch: int, begin: float) -> tuple[list[Effect], int, int]:
    """Stop or lift as `options` say: effects, sessions ended, worst exit status. begin: monotonic, for the times."""
    reason = options.reason
    requests: list[tuple[str, Awaitable[Any]]] = []
    async with road:
        if options.outbound:
            for name, module in (("queue", to_queue), ("keyring", to_keyring)):
                if options.lift:
                    requests.append((name, road.ask(name, module.LiftOutboundStop(stamp(), epoch, reason))))
                else:
                    requests.append((name, road.ask(name, module.StopOutbound(stamp(), epoch, reason))))
        elif options.lift:
            requests.append(("auth", road.ask("auth", LiftTenantStop(stamp(), epoch, reason))))
            requests.append(("keyring", road.ask("keyring", LiftSessionStop(stamp(), epoch, reason))))
        if options.logins or options.sessions:
            order = StopTenantSessions(stamp(), epoch, options.sessions, options.logins, reason)
            requests.append(("keyring", road.ask("keyring", order)))
            if options.logins:
                requests.append(("auth", road.ask("auth", StopTenantLogins(stamp(), epoch, reason))))
        done = await asyncio.gather(*(timed(name, work, begin) for name, work in requests))
    sessions = sum(ended for _, ended, _ in done)
    return [effect for effect, _, _ in done], sessions, max((code for _, _, code in done), default=0)


async def timed(compartment: str, work: Awaitable[Any], begin: float) -> tuple[Effect, int, int]:
    """What became of a request to one compartment: its effect, sessions ended, exit status. begin: monotonic."""
    try:
        reply = await work
    except Error as error:
        return _effect(compartment, begin, error.public), 0, exit_code_of(error)
    return _effect(compartment, begin, None), getattr(reply, "sessions", 0), ExitCode.OK


def _effect(compartment: str, begin: float, error: str | None) -> Effect:
    passed = round((time.monotonic() - begin) * 1000, 1)
    return {"compartment": compartment, "done": error is None, "milliseconds": passed, "error": error}


def _tell(options: argparse.Namespace, effects: list[Effect], sessions: int) -> None:
    what = "admitted again" if options.lift else "stopped"
    for effect in effects:
        if effect["done"]:
            print(f"{options.tenant}: {effect['compartment']}: {what}, durable after {effect['milliseconds']} ms")
        else:
            say(f"{options.tenant}: {effect['compartment']}: NOT {what}: {effect['error']}; give the command again")
    if options.sessions:
        print(f"{options.tenant}: {sessions} live sessions ended")

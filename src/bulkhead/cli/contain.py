"""`contain`: one surface of a tenant stopped for all its accounts or for a set of them; previewed, timed, lifted.

Without an order it is the local act of whoever runs the host, which a roster may refuse; with --order it writes what
officers sign and `officer order submit --accounts` carries.
"""

import argparse
import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.surfaces import ID_BYTES, StoppedSurface, Surface
from bulkhead.boundary.messages.to_directory import STATUS_BYTES, CountAccounts, ListStatuses
from bulkhead.cli.accidents import judge, read_rules
from bulkhead.cli.account_ids import GUARDS, read_accounts, set_of, stage
from bulkhead.cli.containments import ALL_GUARDS, CONTAINMENTS, Containment
from bulkhead.cli.order import make
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.stop import timed
from bulkhead.directory.transitions import Status
from bulkhead.errors import ConfigError, Error

HOUR_MS = 3_600_000
HOURS_MAX = 8760.0
DIGEST_DIGITS = 64
Document = dict[str, Any]


def contain(options: argparse.Namespace) -> int:
    """Preview, stop, lift, or write the order."""
    begin = time.monotonic()
    row, hours = CONTAINMENTS[options.surface], _hours(options)
    ids = read_accounts(Path(options.accounts)) if options.accounts else b""
    if sum(map(bool, (options.accounts, options.status, options.digest))) > 1:
        raise ConfigError("one of --accounts, --status and --set")
    _require_subject(options, row)
    if options.order:
        return _write_order(options, row, ids, hours)
    if "@" in options.reason:
        raise ConfigError("--reason goes into the ledger, which takes no address: leave out the @")
    road = open_road(options.directory, options.tenant)
    document, worst = wait_for(_run(options, road, row, ids, hours, begin))
    if options.json:
        print_json(options.command, document)
    else:
        _tell(document, row)
    return worst


async def _run(
    options: argparse.Namespace, road: Road, row: Containment, ids: bytes, hours: float | None, begin: float
) -> tuple[Document, int]:
    async with road:
        if options.status:
            ids = await _of_status(road, options.status)
        digest = bytes.fromhex(options.digest) or hashlib.sha256(ids).digest() * bool(ids)
        if ids and not options.lift:
            await stage(road, row.guards, ids)
        document: Document = {
            "tenant": options.tenant, "surface": row.name, "preview": options.preview, "lifted": options.lift,
            "accounts": len(ids) // ID_BYTES, "set": digest.hex(), "until": _until(hours), "sessions": 0,
            "messages": 0, "alive": row.alive, "accidents": [], "effects": [],
        }  # fmt: skip
        worst = 0
        if not options.preview:
            epoch = time.time_ns() // 1_000_000
            asked = {name: road.ask(name, _request(name, options, row, digest, document, epoch)) for name in row.guards}
            done = await asyncio.gather(*(timed(name, work, begin) for name, work in asked.items()))
            document["effects"] = [effect for effect, _, _ in done]
            document["sessions"] = sum(ended for _, ended, _ in done)
            worst = max(code for _, _, code in done)
        if not options.lift:  # after the stop, which waits for no count
            await _count(road, row, digest, document, options, hours)
    return document, worst


def _request(
    name: str, options: argparse.Namespace, row: Containment, digest: bytes, document: Document, epoch: int
) -> Request[Any]:
    request: Request[Any]
    if options.lift:
        request = GUARDS[name].LiftSurfaces(stamp(), epoch, row.bits, digest, options.reason)
    else:
        request = GUARDS[name].StopSurfaces(stamp(), epoch, row.bits, digest, document["until"], options.reason)
    return request


async def _count(
    road: Road, row: Containment, digest: bytes, document: Document, options: argparse.Namespace, hours: float | None
) -> None:
    """What it reaches, or would. Who does not answer is left out, and said."""
    try:
        if not digest:
            counts = await road.ask("directory", CountAccounts())
            document["accounts"] = sum(one.accounts for one in counts.rows if one.status == Status.ACTIVE)
        for name in row.guards:
            state = await road.ask(name, GUARDS[name].ReadSurfaces(row.bits, digest))
            document["sessions"] += state.sessions if options.preview else 0
            document["messages"] += state.messages
    except Error as error:
        say(f"{options.tenant}: not counted: {error.public}")
    rules = read_rules(road.installation.directory)
    document["accidents"] = [one.as_row() for one in judge(rules, row.name, document["accounts"], hours)]


async def _of_status(road: Road, status: str) -> bytes:
    """The accounts of a status. Raises ConfigError where there is none."""
    number, found, after = Status[status.upper()], list[bytes](), 0
    while rows := (await road.ask("directory", ListStatuses(after))).rows:
        for at in range(0, len(rows), STATUS_BYTES):
            if rows[at + STATUS_BYTES - 1] == number:
                found.append(rows[at + 8 : at + 8 + ID_BYTES])
        after = int.from_bytes(rows[-STATUS_BYTES : 8 - STATUS_BYTES], "big")
    try:
        return set_of(found)
    except ValueError as error:
        raise ConfigError(f"{status}: {error}") from None


def list_stopped(options: argparse.Namespace) -> int:
    """What is stopped, at each who guards it."""
    return wait_for(_list(options))


async def _list(options: argparse.Namespace) -> int:
    names = {row.bits: row.name for row in CONTAINMENTS.values()}
    names |= {Surface.CHANGES: "freeze (changes)", Surface.RESET_APP: "revoke-app-passwords"}
    rows, whole = [], []
    async with open_road(options.directory, options.tenant) as road:
        for name in ALL_GUARDS:
            state = await road.ask(name, GUARDS[name].ReadSurfaces())
            rows += [(name, one) for one in state.stopped]
            whole += [(name, one) for one in state.whole]
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant,
            "stopped": [
                {
                    "compartment": name, "surface": names.get(one.surface, str(one.surface)),
                    "accounts": one.members, "set": one.accounts.hex(), "epoch": one.epoch, "until": one.until,
                }
                for name, one in rows
            ] + [
                {
                    "compartment": name, "surface": f"stop --{one.what}", "accounts": 0, "set": "", "epoch": one.epoch,
                    "until": 0,
                }
                for name, one in whole
            ],
        })  # fmt: skip
        return 0
    if not rows and not whole:
        print(f"{options.tenant}: nothing is stopped")
        return 0
    print_table(
        ("EXECUTOR", "SURFACE", "ACCOUNTS", "SINCE", "UNTIL", "SET"),
        [
            (
                name, names.get(one.surface, str(one.surface)), _who(one), time_text(one.epoch),
                time_text(one.until) if one.until else "lifted", one.accounts.hex()[:16],
            )
            for name, one in rows
        ] + [(name, f"stop --{one.what}", "all", time_text(one.epoch), "-", "") for name, one in whole],
    )  # fmt: skip
    return 0


def _who(one: StoppedSurface) -> str:
    return "one subject" if one.surface & Surface.SUBJECTS else str(one.members or "all")


def _write_order(options: argparse.Namespace, row: Containment, ids: bytes, hours: float | None) -> int:
    """The order's file, for officers to sign."""
    if options.status:
        raise ConfigError("an order names a set: list the accounts into a file, and give it with --accounts")
    options.action = "lift-surfaces" if options.lift else "stop-surfaces"
    options.parameters = [f"surfaces={row.bits}"]
    if ids or options.digest:
        options.parameters.append(f"accounts={options.digest or hashlib.sha256(ids).hexdigest()}")
    if hours is not None and not options.lift:
        options.parameters.append(f"until={_until(hours)}")
    if not options.roster:
        raise ConfigError("--order needs --roster, the roster in force")
    options.out, options.hours, options.executor = options.order, options.expires, ""
    status = make(options)
    who = f"{len(ids) // ID_BYTES:,} accounts" if ids else "every account"
    say(f"{row.name}, {who}: {row.effect}. Stays alive: {row.alive}")
    return status


def _require_subject(options: argparse.Namespace, row: Containment) -> None:
    """Raises ConfigError where --set is no digest, or a rule's surface names none."""
    if options.digest and (len(options.digest) != DIGEST_DIGITS or not set(options.digest) <= set("0123456789abcdef")):
        raise ConfigError("--set is 64 hexadecimal digits, as `containment --json` shows them")
    if row.bits & Surface.SUBJECTS and not options.digest:
        raise ConfigError(f"{row.name} names one subject, by --set: `containment --json` has those that rules stopped")


def _hours(options: argparse.Namespace) -> float | None:
    if options.for_hours is None:
        return None
    if not 0 < options.for_hours <= HOURS_MAX or options.lift:
        raise ConfigError(f"--for is above 0, up to {HOURS_MAX:.0f} hours, and of a stop")
    return float(options.for_hours)


def _until(hours: float | None) -> int:
    return 0 if hours is None else int(time.time() * 1000 + hours * HOUR_MS)


def _tell(document: Document, row: Containment) -> None:
    tenant = document["tenant"]
    until = f"until {time_text(document['until'])}" if document["until"] else "until it is lifted"
    if not document["lifted"]:
        print(f"{tenant}: {row.name}: {row.effect}")
        print(f"accounts {document['accounts']:,}, live sessions {document['sessions']:,}, "
              f"queued messages that wait {document['messages']:,}, {until}")  # fmt: skip
        print(f"stays alive: {row.alive}")
        for one in document["accidents"]:
            print(_accident(one))
    if document["preview"]:
        print("nothing was done: this is a preview")
    what = "open again" if document["lifted"] else "stopped"
    for effect in document["effects"]:
        where = f"{tenant}: {effect['compartment']}"
        if effect["done"]:
            print(f"{where}: {what}, durable after {effect['milliseconds']} ms")
        else:
            say(f"{where}: NOT confirmed: {effect['error']}; give the command again")


def _accident(one: Document) -> str:
    if one["reached"] is False:
        verdict = "below its threshold"
    elif one["reached"] is None:
        verdict = f"MAY BE reportable from {one['after_hours']:g} h on"
    else:
        verdict = "MAY BE reportable itself"
    return f"{one['regime']}: {one['users']:,} users x {one['hours']:g} h: {verdict}; {one['verify']}"

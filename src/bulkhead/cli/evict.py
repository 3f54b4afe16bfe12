"""`evict`: processes ended and begun afresh: of a compartment, or its workers that have sessions of some accounts.

The local act of whoever runs the cell. The sessions of the accounts end first, as by `contain sessions`; then each
worker that had one dies, with what is left of them in its memory, and with the sessions of others that it had.
"""

import argparse
import hashlib
import time
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.surfaces import ID_BYTES, Surface, WorkerSessions
from bulkhead.boundary.messages.to_keyring import ReadSurfaces, StopSurfaces
from bulkhead.boundary.processes import PROCESSES
from bulkhead.cli.account_ids import read_accounts, stage
from bulkhead.cli.account_steps import require_account
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, say
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import ConfigError, Error
from bulkhead.identifiers import parse_address
from bulkhead.supervisor.door import Ask, knock

GATES = ("access", "submit")  # who has sessions
Document = dict[str, Any]


def evict(options: argparse.Namespace) -> int:
    """Have the supervisor end processes of a compartment, and begin them afresh."""
    process = PROCESSES.get(options.compartment)
    if process is None:
        raise ConfigError(f"no compartment {options.compartment!r}; there are: {', '.join(PROCESSES)}")
    if options.accounts or options.address:
        return _evict_accounts(options)
    if options.preview:
        raise ConfigError("--preview is of --accounts or --address: of the compartment every process ends")
    road = open_road(options.directory, options.tenant)
    ended, _ = knock(str(road.layout.socket), Ask.EVICT, process.slot)
    document = _document(options) | {"processes": ended, "ended": ended}
    if options.json:
        print_json(options.command, document)
    else:
        print(f"{options.tenant}: {process.name}: {ended} ended, and begun afresh")
    return 0


def _evict_accounts(options: argparse.Namespace) -> int:
    if options.compartment not in GATES:
        raise ConfigError(f"{options.compartment} has no sessions: accounts are evicted of {' or '.join(GATES)}")
    if options.accounts and options.address:
        raise ConfigError("--accounts or --address, not both")
    if "@" in options.reason:
        raise ConfigError("--reason goes into the ledger, which takes no address: leave out the @")
    ids = read_accounts(Path(options.accounts)) if options.accounts else b""
    document, status = wait_for(_run(options, open_road(options.directory, options.tenant), ids))
    if options.json:
        print_json(options.command, document)
    else:
        _tell(options, document)
    return status


async def _run(options: argparse.Namespace, road: Road, ids: bytes) -> tuple[Document, int]:
    async with road:
        if options.address:
            ids = (await require_account(road, parse_address(options.address))).account
        document, status = _document(options), int(ExitCode.OK)
        digest = await stage(road, ("keyring",), ids)
        state = await road.ask("keyring", ReadSurfaces(Surface.SESSIONS, digest))
        workers = [one for one in state.workers if one.compartment == options.compartment]
        document |= {
            "accounts": len(ids) // ID_BYTES, "set": hashlib.sha256(ids).hexdigest(), "processes": len(workers),
            "sessions": sum(one.sessions for one in workers), "others": sum(one.others for one in workers),
        }  # fmt: skip
        if options.preview:
            return document, status
        request = StopSurfaces(stamp(), time.time_ns() // 1_000_000, Surface.SESSIONS, digest, 0, options.reason)
        try:
            await road.ask("keyring", request)
        except Error as error:  # the processes end all the same, and with them their sessions
            say(f"{options.tenant}: keyring: sessions elsewhere are NOT ended: {error.public}")
            status = ExitCode.REFUSED
        document["ended"] = sum([_end(road, one) for one in workers])
        return document, status


def _end(road: Road, one: WorkerSessions) -> int:
    """One process, if it is still there."""
    try:
        return knock(str(road.layout.socket), Ask.EVICT_WORKER, PROCESSES[one.compartment].slot, one.worker)[0]
    except Error as error:
        say(f"{one.compartment} {one.worker}: {error.public}")
        return 0


def _document(options: argparse.Namespace) -> Document:
    return {
        "tenant": options.tenant, "compartment": options.compartment, "preview": options.preview, "accounts": 0,
        "set": "", "sessions": 0, "others": 0, "processes": 0, "ended": 0,
    }  # fmt: skip


def _tell(options: argparse.Namespace, document: Document) -> None:
    where = f"{options.tenant}: {options.compartment}"
    print(
        f"{where}: {document['sessions']:,} sessions of {document['accounts']:,} accounts "
        f"at {document['processes']} of its processes, which have {document['others']:,} sessions of others"
    )
    if options.preview:
        print("nothing was done: this is a preview. Stays alive: every other process; logins, also of these accounts")
    else:
        print(f"{where}: {document['ended']} ended, and begun afresh")

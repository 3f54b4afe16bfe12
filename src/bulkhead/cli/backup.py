"""`backup run|list|verify`: each holder's own sealed stream, carried to a directory (docs/backup.md).

This process sees ciphertext only. The order: ledger says how far it is; then the snapshots of directory, store, queue
and incident; then auth holds changes of credentials, and both halves take theirs, so that every key that a stored
message needs is in it; the streams; the manifest, which ledger witnesses before it has its name.
"""

import argparse
import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulkhead import __version__
from bulkhead.boundary.messages import to_auth, to_keyring, to_ledger
from bulkhead.boundary.messages.backup import BackupBegun, BeginBackupBase, ReadBackupBase
from bulkhead.cli.backup_notes import change_notes, read_notes
from bulkhead.cli.backup_receipt import RECEIPT, receipt_of
from bulkhead.cli.backup_schedule import is_due, standing_of, write_metrics
from bulkhead.cli.backup_store import (
    MANIFEST,
    SETTINGS,
    Manifest,
    Shelf,
    Stream,
    may_be_put_on,
    needed_versions,
    relied_on,
    row_of,
    segments_there,
)
from bulkhead.cli.backup_target import Target, open_target
from bulkhead.cli.copy_canaries import CopyCanaries
from bulkhead.cli.escrow_keys import MESSAGES, escrow_keys
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.many import chosen_tenants
from bulkhead.cli.output import print_json, print_table, say, size_text, time_text
from bulkhead.cli.pace import Pace
from bulkhead.cli.road import Road, stamp, wait_for
from bulkhead.cli.tenant_lock import BACKUP, WAITS, alone
from bulkhead.config import Installation, Tenant, load_installation
from bulkhead.errors import Error, IntegrityError, Refused, TemporaryFailure
from bulkhead.records.backup import read_lead
from bulkhead.supervisor.layout import Layout

READ_SECONDS = 3600.0
KEEP_SECONDS = 15.0  # after which holders whose turn has not come are told that it will; they wait for 60
UNSLOWED = "auth"  # its stream ends the barrier, at which changes of credentials wait
SAY_SECONDS = 5.0
FAILURE_MAX = 500
CANARIES_MS = 86_400_000  # one set a day at most: incident keeps 400 copies
STREAM_ORDER = ("auth", "keyring", "store", "directory", "queue", "incident", "ledger")
"""In which they are read: auth first, which ends its barrier; ledger last, so that it has what the others noted."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup, and how long it took."""

    manifest: Manifest
    seconds: float
    entry: int  # of the ledger


def run(options: argparse.Namespace) -> int:
    """Back up the tenants named, one after another; one that fails does not keep the others from theirs."""
    installation, tenants = chosen_tenants(options)
    made, failed = list[tuple[Tenant, Made]](), list[Error]()
    with contextlib.closing(open_target(installation, options.to)) as target:
        for tenant in tenants:
            try:
                backup = wait_for(_run_one(installation, tenant, target, due=options.due))
            except Error as error:
                if len(tenants) == 1:
                    raise
                say(f"{tenant.id}: {error.public}")
                failed.append(error)
            else:
                made += [] if backup is None else [(tenant, backup)]
    if options.metrics:
        write_metrics(Path(options.metrics), [standing_of(installation, tenant) for tenant in tenants])
    if options.json:
        rows = [
            {"tenant": t.id, **row_of(m.manifest), "entry": m.entry, "seconds": round(m.seconds, 3)} for t, m in made
        ]
        print_json(options.command, {"backups": rows, "failed": len(failed)})
    else:
        for tenant, backup in made:
            octets = sum(stream.octets for stream in backup.manifest.streams)
            print(f"{tenant.id}: {backup.manifest.backup}: {size_text(octets)} in {backup.seconds:.1f} s")
    return exit_code_of(failed[0]) if failed else ExitCode.OK


async def _run_one(installation: Installation, tenant: Tenant, target: Target, *, due: bool) -> Made | None:
    """A backup, where it is due or nobody asks whether it is."""
    async with alone(Layout(installation.directory.absolute(), tenant.id), BACKUP, WAITS):
        if due and not await asyncio.to_thread(is_due, Shelf(target, tenant.id), tenant, int(time.time() * 1000)):
            return None
        return await make_backup(installation, tenant, target)


async def make_backup(installation: Installation, tenant: Tenant, target: Target) -> Made:
    """One backup of a running cell, whole on return and noted here; for who holds the lock BACKUP.

    Raises Error, and TemporaryFailure (`dead`) where a key that it needs was destroyed meanwhile; what was written
    until then is no backup.
    """
    layout = Layout(installation.directory.absolute(), tenant.id)
    try:
        made = await _make(installation, tenant, target)
    except Error as error:
        change_notes(layout, failed_at=int(time.time() * 1000), failure=error.public[:FAILURE_MAX])
        raise
    octets = sum(stream.octets for stream in made.manifest.streams)
    change_notes(
        layout, where=target.where, made=made.manifest.backup, made_at=made.manifest.created, octets=octets,
        seconds=round(made.seconds, 3), failed_at=0, failure="",
    )  # fmt: skip
    return made


async def _make(installation: Installation, tenant: Tenant, target: Target) -> Made:
    began = time.monotonic()
    shelf = Shelf(target, tenant.id)
    async with Road(installation, tenant) as road:
        road.check_running()
        moment = datetime.now(UTC)
        backup = shelf.new(moment)
        carrying = _Carrying(road, shelf, backup)
        canaries = CopyCanaries(road, backup)
        now = int(moment.timestamp() * 1000)
        try:
            if now - read_notes(road.layout).planted_at >= CANARIES_MS and await canaries.plant(
                road.tenant.settings.integer("backups.canaries")
            ):
                change_notes(road.layout, planted_at=now)
            manifest = await carrying.run(now)
        finally:
            await canaries.withdraw()
        await escrow_keys(road)  # after the snapshots, so that every version they need is in it
        await _require_alive(road, manifest)
        octets = manifest.encode()
        total = sum(stream.octets for stream in manifest.streams)
        digest = hashlib.sha256(octets).digest()
        record = to_ledger.RecordBackup(stamp(), int(time.time() * 1000), backup, digest, total)
        entry = (await road.ask("ledger", record)).first
        receipt = (await receipt_of(road, entry)).encode()
        await asyncio.to_thread(shelf.write, backup, RECEIPT, receipt)
    for earlier in sorted(await asyncio.to_thread(relied_on, shelf, manifest)):
        try:
            await asyncio.to_thread(shelf.hold, earlier)
        except Refused as error:
            say(f"{tenant.id}: {earlier}, which this one relies on, is not locked longer: {error.public}")
    await asyncio.to_thread(shelf.write, backup, MANIFEST, octets)
    return Made(manifest, time.monotonic() - began, entry)


async def _require_alive(road: Road, manifest: Manifest) -> None:
    """Raises TemporaryFailure where a rotation, as an emergency's, destroyed what the backup needs."""
    reports = {"auth": await road.ask("auth", to_auth.ReadRotation())}
    reports["keyring"] = await road.ask("keyring", to_keyring.ReadRotation())
    for compartment, _, version in needed_versions(manifest):
        if compartment in reports:
            report = reports[compartment]
            if version not in {report.version, *(key.version for key in report.retired)}:
                why = f"version {version} of {compartment}'s key was destroyed meanwhile: back up again"
                raise TemporaryFailure(why, code="dead")


class _Carrying:
    """One backup under way."""

    def __init__(self, road: Road, shelf: Shelf, backup: str) -> None:
        self._road, self._shelf, self._backup = road, shelf, backup
        self._began = self._said = time.monotonic()
        self._pace = Pace(road.installation.settings.integer("backup.bytes_per_second"))
        self._carried = 0
        self._last = ""
        self._waiting: set[str] = set()  # compartments whose snapshot waits to be read
        self._linked: set[str] = set()  # compartments whose stream may be put on the last backup's

    async def run(self, created: int) -> Manifest:
        keeping = asyncio.create_task(self._keep())
        try:
            return await self._run(created)
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        """A stream of hours would let the others' snapshots go."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            for compartment in sorted(self._waiting):
                with contextlib.suppress(Refused, TemporaryFailure):  # its reader is told
                    await self._road.ask(compartment, MESSAGES[compartment].BeginBackup(self._backup, keep=True))

    async def _run(self, created: int) -> Manifest:
        last = next(iter((await asyncio.to_thread(self._shelf.whole))[-1:]), None)
        every = self._road.installation.settings.integer("backup.chain_max")
        earlier: dict[int, tuple[str, bool]] = {}
        if last is not None:
            self._last = last.backup
            self._linked = await asyncio.to_thread(may_be_put_on, self._shelf, last, every)
            earlier = await asyncio.to_thread(segments_there, self._shelf, last)
        await self._begin("ledger")
        await self._begin("directory")  # before store, so that each of its accounts has its mailboxes there
        stored = await self._begin("store", tuple(sorted(earlier)))
        await self._begin("queue")
        await self._begin("incident")  # after directory, so that no canary there is unknown to it
        await self._begin("auth")
        await self._begin("keyring")
        streams = [await self._carry(compartment) for compartment in STREAM_ORDER]
        content = (self._road.installation.directory / self._road.tenant.file).read_bytes()
        settings = await asyncio.to_thread(self._shelf.write, self._backup, SETTINGS, content)
        final, carried = set(stored.final), set(stored.carried)
        segments = {
            number: (self._backup, number in final) if number in carried else earlier[number]
            for number in stored.segments
        }
        return Manifest(self._road.tenant.id, self._backup, created, __version__, tuple(streams), segments, settings)

    async def _begin(self, compartment: str, have: tuple[int, ...] = ()) -> BackupBegun:
        whole = compartment not in self._linked
        request: BeginBackupBase = MESSAGES[compartment].BeginBackup(self._backup, have, self._last, whole)
        begun = await self._road.ask(compartment, request)
        self._waiting.add(compartment)
        return begun

    async def _carry(self, compartment: str) -> Stream:
        file = await asyncio.to_thread(self._shelf.create, self._backup, f"{compartment}.stream")
        lead = bytearray()
        try:
            self._waiting.discard(compartment)
            request: ReadBackupBase = MESSAGES[compartment].ReadBackup(self._backup)
            _, body = await self._road.open(compartment, request, timeout=READ_SECONDS)
            async for piece in body:
                if len(lead) < 1 << 16:
                    lead += piece
                await asyncio.to_thread(file.write, piece)
                self._say(compartment, len(piece))
                if compartment != UNSLOWED:
                    await self._pace.spend(len(piece))
            head = read_lead(bytes(lead)).head
            if (head.tenant, head.compartment, head.backup) != (self._road.tenant.id, compartment, self._backup):
                raise IntegrityError(f"{compartment} sent a stream of another backup")
            octets = file.octets
            return Stream(compartment, octets, await asyncio.to_thread(file.done), dict(head.needs), head.parent)
        finally:
            file.close()

    def _say(self, compartment: str, octets: int) -> None:
        self._carried += octets
        if time.monotonic() - self._said > SAY_SECONDS:
            self._said = time.monotonic()
            rate = size_text(round(self._carried / (self._said - self._began)))
            say(f"{self._road.tenant.id}: {compartment}: {size_text(self._carried)} in all so far, {rate}/s")


def list_backups(options: argparse.Namespace) -> int:
    """Print a tenant's backups, the oldest first."""
    installation = load_installation(Path(options.directory))
    tenant = installation.tenant(options.tenant)
    shelf = Shelf(open_target(installation, options.source), tenant.id)
    whole = {manifest.backup: manifest for manifest in shelf.whole()}
    rows: list[dict[str, Any]] = [
        {"whole": True, **row_of(whole[backup])} if backup in whole else {"whole": False, "backup": backup}
        for backup in shelf.ids()
    ]
    if options.json:
        print_json(options.command, {"tenant": tenant.id, "backups": rows})
        return ExitCode.OK
    print_table(
        ("BACKUP", "MADE", "SIZE", "SEGMENTS", "CHANGED SINCE", "NEEDS"),
        [
            (r["backup"], time_text(r["created"]), size_text(r["octets"]), r["segments"], r["changed_since"] or "-",
             " ".join(r["needs"]))
            if r["whole"]
            else (r["backup"], "not whole", "-", "-", "-", "-")
            for r in rows
        ],
    )  # fmt: skip
    return ExitCode.OK

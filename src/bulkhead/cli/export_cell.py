"""What `export make` carries beside mail: each holder's own sealed stream, settings, DNS records and the log.

This process sees ciphertext of the streams and keys; settings and log are what it may read anyway.
"""

import asyncio
import json
import secrets
import shutil
import time
from pathlib import Path
from types import ModuleType

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring, to_ledger
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.cli.copy_canaries import CopyCanaries
from bulkhead.cli.dns_records import dns_records
from bulkhead.cli.ledger import log_key, read_checkpoint, read_entries
from bulkhead.cli.road import Road
from bulkhead.cli.tenant_lock import BACKUP, WAITS, alone
from bulkhead.durable import sync_folder
from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.exports.cell import DNS, LEDGER, SEALED_KEYS, SETTINGS, STREAMS, write_sums
from bulkhead.exports.sealed import CELL, open_new, write_whole
from bulkhead.ledger.event import parse_event
from bulkhead.ledger.export import write_entries
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.verify import verify_export
from bulkhead.records.backup import LEAD_MAX, read_lead

READ_SECONDS = 3600.0
END_SECONDS = 60.0
_MESSAGES: dict[str, ModuleType] = {
    "directory": to_directory, "auth": to_auth, "keyring": to_keyring, "ledger": to_ledger,
}  # fmt: skip


async def write_cell(road: Road, export: Path) -> str:
    """Everything below `cell`, anew; the SHA-256 of its sums.

    The snapshots of auth and keyring are taken while changes of credentials wait, so that the halves agree. A holder
    has one snapshot at a time: this waits for a backup that is under way, and the next backup for this.
    """
    async with alone(road.layout, BACKUP, WAITS):
        return await _write_alone(road, export)


async def _write_alone(road: Road, export: Path) -> str:
    name = f"export-{int(time.time() * 1000)}-{secrets.token_hex(4)}"
    canaries = CopyCanaries(road, name)
    folder = export / CELL
    _make_anew(folder)
    before = (await read_checkpoint(road))[0].size
    try:
        await canaries.plant(road.tenant.settings.integer("exports.canaries"))
        await _write_holders(road, folder, name)
    finally:
        gone = await canaries.withdraw()
    if not gone:
        raise TemporaryFailure("the canaries of this export are not gone from the cell yet: make the export again")
    await log_their_end(road, before, canaries.made, name)
    settings = road.installation.directory / road.tenant.file
    write_whole(folder / SETTINGS, settings.read_bytes())
    records = await dns_records(road)
    write_whole(folder / DNS, json.dumps({"schema": 1, "records": records}, indent=1).encode("ascii") + b"\n")
    await write_log(road, folder / LEDGER)  # last: by it an import knows what ended after the snapshots
    return write_sums(export)


async def log_their_end(road: Road, first: int, canaries: int, name: str) -> None:
    """Wait until the log has that so many accounts ended under this name: an import would open them.

    Others end meanwhile, and two holders tell of each. Raises TemporaryFailure.
    """
    deadline = time.monotonic() + END_SECONDS
    while canaries:
        size = (await read_checkpoint(road))[0].size
        events = [parse_event(entry) async for _, entry in read_entries(road, first, size)]
        ends = (event for event in events if event.kind.name == "HalfDestroyed" and event.actor == name)
        if len({subject for event in ends for subject in event.subjects}) >= canaries:
            return
        if time.monotonic() > deadline:
            raise TemporaryFailure("the log has no end of this export's canaries yet: make the export again")
        await asyncio.sleep(0.1)


def _make_anew(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


async def _write_holders(road: Road, folder: Path, name: str) -> None:
    """The holders' streams, and the keys they are sealed under."""
    for compartment in STREAMS:
        begin: BeginBackupBase = _MESSAGES[compartment].BeginBackup(name)
        await road.ask(compartment, begin)
    for compartment in ("auth", "keyring", "directory"):  # auth first: its reader ends the barrier
        await _carry(road, compartment, name, folder / f"{compartment}.stream")
    for compartment in SEALED_KEYS:
        escrow: EscrowKeysBase = _MESSAGES[compartment].EscrowKeys(name)
        write_whole(folder / f"{compartment}.keys", (await road.ask(compartment, escrow)).stream)


async def _carry(road: Road, compartment: str, name: str, path: Path) -> None:
    lead = bytearray()
    request: ReadBackupBase = _MESSAGES[compartment].ReadBackup(name)
    _, body = await road.open(compartment, request, timeout=READ_SECONDS)
    with open_new(path) as file:
        async for piece in body:
            if len(lead) < LEAD_MAX:
                lead += piece
            file.write(piece)
    head = read_lead(bytes(lead)).head
    if (head.tenant, head.compartment, head.backup) != (road.tenant.id, compartment, name):
        raise IntegrityError(f"{compartment} sent another stream")


async def write_log(road: Road, folder: Path) -> None:
    """The log as far as its checkpoint, as C2SP tiles, checked as its reader would. Raises IntegrityError."""
    folder.mkdir(mode=0o700)
    checkpoint, text = await read_checkpoint(road)
    entries = [entry async for _, entry in read_entries(road, 0, checkpoint.size)]
    files = DirectoryFiles(str(folder))
    try:
        write_entries(entries, text.encode(), files)
        key = log_key(road)
        verify_export(files, key.name, key)
    finally:
        files.close()
    sync_folder(folder)

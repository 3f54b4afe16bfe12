"""`backup verify` and `backup record`: a backup read again, with no key; or restored for trial, with both."""

import argparse
import asyncio
import hashlib
import time
from pathlib import Path

from bulkhead.boundary.messages import to_ledger
from bulkhead.cli.backup import STREAM_ORDER
from bulkhead.cli.backup_notes import note_verified
from bulkhead.cli.backup_receipt import RECEIPT_MAX, Receipt, Witness, receipt_of
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import open_target
from bulkhead.cli.escrow import escrow_folder
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger import ledger_key
from bulkhead.cli.output import print_json, size_text
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.rehearsal import SCRATCH, Rehearsal, read_result, rehearse, row_of, tell
from bulkhead.cli.restore_proof import Anchor, require_noted, settings_in
from bulkhead.cli.road import Road, stamp, wait_for
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Installation, Tenant, load_installation, write_file
from bulkhead.errors import ConfigError, Error, IntegrityError
from bulkhead.identifiers import parse_tenant_id
from bulkhead.records.backup import PrivateKeys
from bulkhead.supervisor.layout import Layout

TRIED = "test-restore.json"  # the receipt of the last test restore, among the tenant's receipts


def verify(options: argparse.Namespace) -> int:
    """Read a backup and those that it relies on and compare every hash; with both keys, restore it for trial."""
    installation = load_installation(Path(options.directory))
    tenant_id = parse_tenant_id(options.tenant)
    if not options.restore:
        installation.tenant(options.tenant)  # its settings have the ledger's key
    shelf = Shelf(open_target(installation, options.source), tenant_id)
    backup = options.backup or next(reversed([manifest.backup for manifest in shelf.whole()]), "")
    if not backup:
        raise ConfigError(f"{tenant_id} has no whole backup in {shelf.where}")
    tenant = installation.tenants.get(tenant_id)
    problems = [] if tenant is None else check_receipts(shelf, backup, tenant)  # first: the manifest names the streams
    found, octets = check_hashes(shelf, backup)
    problems += found
    result: Rehearsal | None = None
    if options.restore and not problems:
        result = _rehearse(options, installation, shelf, backup)
        problems += result.problems
        tell(result)
        if options.report:
            write_file(Path(options.report), result.encode().decode(), replace=True)
    note_verified(
        Layout(installation.directory.absolute(), tenant_id), backup, shelf.manifest(backup).created,
        int(time.time() * 1000), sound=not problems,
    )  # fmt: skip
    if not options.offline:
        digest = hashlib.sha256(shelf.manifest(backup).encode()).digest()
        wait_for(_record(installation, installation.tenant(tenant_id), backup, digest, octets, not problems, result))
    if options.json:
        document = {"tenant": tenant_id, "backup": backup, "octets": octets, "problems": problems}
        print_json(options.command, {**document, **(row_of(result) if result else {}), "sound": not problems})
    else:
        for problem in problems:
            print(f"{tenant_id}: {problem}")
        print(f"{tenant_id}: {backup}: {'NOT SOUND' if problems else 'sound'}, {size_text(octets)} read")
    return ExitCode.INTEGRITY if problems else ExitCode.OK


def record(options: argparse.Namespace) -> int:
    """Enter into the ledger what a test restore on another host found."""
    installation = load_installation(Path(options.directory))
    tenant = installation.tenant(options.tenant)
    result = read_result(Path(options.file))
    if result.tenant != tenant.id:
        raise ConfigError(f"{options.file} is the result of {result.tenant}'s test restore")
    digest, sound = bytes.fromhex(result.manifest), not result.problems
    entry = wait_for(_record(installation, tenant, result.backup, digest, result.octets, sound, result))
    if options.json:
        print_json(options.command, {"tenant": tenant.id, "backup": result.backup, "sound": sound, "entry": entry})
    else:
        print(f"{tenant.id}: {result.backup}: {'sound' if sound else 'NOT SOUND'}, entry {entry}")
    return ExitCode.OK if sound else ExitCode.INTEGRITY


def _rehearse(options: argparse.Namespace, installation: Installation, shelf: Shelf, backup: str) -> Rehearsal:
    if not options.partner_key or not options.operator_key:
        raise ConfigError("--restore takes both keys: --partner-key and --operator-key; without, hashes are compared")
    both = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), shelf.tenant)
    keys = PrivateKeys(both.partner.private_key, both.operator.private_key)
    escrow = escrow_folder(installation, shelf.tenant, options.keys)
    anchor = Anchor(False, Path(options.ledger) if options.ledger else None, options.log_key)
    root = Path(options.scratch) if options.scratch else installation.directory / SCRATCH
    return asyncio.run(rehearse(installation, shelf, backup, keys, escrow, anchor, root))


def last_tried(layout: Layout, tenant: Tenant) -> to_ledger.Event | None:
    """The ledger's entry of the last test restore, as its receipt here shows; None where there is none.

    Raises IntegrityError where it is not the ledger's.
    """
    path = layout.receipts / TRIED
    try:
        with path.open("rb") as file:
            octets = file.read(RECEIPT_MAX)
    except FileNotFoundError:
        return None
    event = Receipt.decode(octets).check(ledger_key(tenant))
    if event.kind.name != "BackupVerified" or event.details.get("restored") is not True:
        raise IntegrityError("it is the receipt of something else")
    return to_ledger.Event(event.kind.name, event.at, event.actor, b"", dict(event.details))


def check_hashes(shelf: Shelf, backup: str) -> tuple[list[str], int]:
    """(problems in words, octets read) of a backup and of those whose segments it relies on."""
    manifest, problems, octets = shelf.manifest(backup), [], 0
    carried = {backup: set(STREAM_ORDER)}  # by backup, the streams of it that are relied on
    for number in {where[0] for where in manifest.segments.values()}:
        carried.setdefault(number, set()).add("store")
    for compartment in STREAM_ORDER:
        try:
            for link in shelf.chain(manifest, compartment):
                carried.setdefault(link.backup, set()).add(compartment)
        except IntegrityError as error:
            problems.append(error.public)
    for name, compartments in sorted(carried.items(), key=lambda item: item[0] != backup):
        try:
            one = shelf.manifest(name)
        except IntegrityError as error:
            problems.append(error.public)
            continue
        if name == backup:
            try:
                settings_in(shelf, one)
            except Error as error:
                problems.append(error.public)
        for stream in [stream for stream in one.streams if stream.compartment in compartments]:
            try:
                found, size = shelf.digest(name, stream.file)
            except IntegrityError as error:
                problems.append(error.public)
                continue
            octets += size
            if found != stream.sha256:
                problems.append(f"{shelf.place(name, stream.file)} is not what the manifest says")
    return problems, octets


def check_receipts(shelf: Shelf, backup: str, tenant: Tenant) -> list[str]:
    """In words, why the ledger, by its key in the tenant's settings, does not show that these are its backups."""
    try:
        require_noted(Witness(ledger_key(tenant), None), shelf, shelf.manifest(backup))
    except IntegrityError as error:
        return [error.public]
    return []


async def _record(
    installation: Installation,
    tenant: Tenant,
    backup: str,
    digest: bytes,
    octets: int,
    sound: bool,
    result: Rehearsal | None,
) -> int:
    """Enter it, and keep the receipt of a test restore where `doctor` finds it; the entry's index."""
    counted = (True, result.accounts, result.messages) if result else ()
    now = result.made if result else int(time.time() * 1000)
    async with Road(installation, tenant) as road:
        request = to_ledger.RecordBackup(stamp(), now, backup, digest, octets, True, sound, *counted)
        entry = (await road.ask("ledger", request)).first
        if result:
            make_private_folder(road.layout.receipts)
            text = (await receipt_of(road, entry)).encode().decode()
            write_file(road.layout.receipts / TRIED, text, replace=True)
    return entry

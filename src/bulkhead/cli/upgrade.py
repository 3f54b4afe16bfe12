"""`upgrade`: what an installation that an older build made lacks is made, or named. A second run changes nothing.

Databases are brought up to date by their own holders at the start, wholly or not at all. Left for here is what no
holder may make for itself: keys of a compartment that is newer than the installation, settings, and what the ledger has
to note before a restore elsewhere believes it (docs/upgrade.md).
"""

import argparse
import asyncio
import base64
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.cli.backup_receipt import RECEIPT, receipt_of
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import has_target, open_target
from bulkhead.cli.certificates import CA_KEY, FOLDER, GATES, issue, read_ca
from bulkhead.cli.contract_file import contract_file, write_template
from bulkhead.cli.escrow import escrow_folder, missing_escrow, receipt_file
from bulkhead.cli.escrow_keys import escrow_keys
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger import read_checkpoint, read_entries
from bulkhead.cli.make_tenant import ROOT_KEY_BYTES, create_keys_of, forward_key
from bulkhead.cli.many import chosen_tenants
from bulkhead.cli.output import print_json, print_table
from bulkhead.cli.restore_proof import digest_of
from bulkhead.cli.road import Road, wait_for
from bulkhead.cli.run import gates_lacking, keys_lacking
from bulkhead.cli.secret_file import read_secret, write_secret
from bulkhead.config import Installation, Tenant, set_value, write_file
from bulkhead.config.schema import TENANT_SETTINGS
from bulkhead.errors import ConfigError, TemporaryFailure
from bulkhead.holder.keys import KEY_FILE
from bulkhead.ledger.event import parse_event
from bulkhead.records.keyfile import KeySet
from bulkhead.records.mailbox import Holder
from bulkhead.records.recovery_file import read_recovery_private, read_recovery_public
from bulkhead.supervisor.custody import Custody
from bulkhead.supervisor.layout import Layout

RECOVERY_FILE_MAX = 4096
HOLDERS = tuple(name for name, process in PROCESSES.items() if process.disk is Disk.DATA)


class Came(Enum):
    """How a matter stands after the command."""

    THERE = "there"
    MADE = "made"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Step:
    """One matter of one tenant."""

    tenant: str
    matter: str
    state: Came
    text: str


def upgrade(options: argparse.Namespace) -> int:
    """Make what the tenants named lack; a finding where something stays that somebody else has to do."""
    installation, tenants = chosen_tenants(options)
    given = {"partner": options.partner_key, "operator": options.operator_key}
    if options.all and any(given.values()):
        raise ConfigError("recovery keys are one tenant's: name it instead of --all")
    steps: list[Step] = []
    for tenant in tenants:
        steps += [*_keys(installation, tenant), *_gates(installation, tenant)]
        steps += [*_recovery(installation, tenant, given), _forwards(installation, tenant)]
        steps += [_contract(installation, tenant)]
        steps += wait_for(_noted(installation, tenant))
    if options.json:
        rows = [{"tenant": s.tenant, "matter": s.matter, "state": s.state.value, "text": s.text} for s in steps]
        print_json(options.command, {"steps": rows})
    else:
        print_table(("TENANT", "MATTER", "STATE", "WHAT"), [(s.tenant, s.matter, s.state.value, s.text) for s in steps])
    return ExitCode.FINDING if any(step.state is Came.MISSING for step in steps) else ExitCode.OK


def _keys(installation: Installation, tenant: Tenant) -> Iterator[Step]:
    """Keys of compartments that are newer than the tenant. One that has data and no keys has lost them."""
    layout = Layout(installation.directory, tenant.id)
    lacking = keys_lacking(layout)
    for compartment in lacking:
        home = layout.home(compartment)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(home.iterdir()):
            text = f"{home} has data and no keys: restore {KEY_FILE} from your copy; new keys would open none of it"
            yield Step(tenant.id, f"keys of {compartment}", Came.MISSING, text)
            continue
        custody = Custody(layout, tenant)
        path = layout.root_key(compartment)
        if not path.exists():  # else an earlier run was cut short between the two
            label = f"bulkhead/{tenant.id}/{compartment}/{secrets.token_hex(8)}"
            write_secret(path, custody.keeper.wrap(label, secrets.token_bytes(ROOT_KEY_BYTES)))
        sealed = create_keys_of(compartment).seal(tenant.id, compartment, 1, custody.read(compartment)[0])
        write_secret(home / KEY_FILE, sealed, mode=0o600)
        if os.geteuid() == 0:
            owner = home.stat()  # a start may have given the empty directory to its compartment
            os.chown(home / KEY_FILE, owner.st_uid, owner.st_gid)
        yield Step(tenant.id, f"keys of {compartment}", Came.MADE, "it came with a newer build")
    if not lacking:
        yield Step(tenant.id, "keys", Came.THERE, "every compartment has its own")


def _gates(installation: Installation, tenant: Tenant) -> Iterator[Step]:
    """Certificates of gates that are newer than the tenant. Such a gate listens nowhere until somebody says where."""
    layout, directory = Layout(installation.directory, tenant.id), installation.directory
    lacking = gates_lacking(layout)
    for gate in lacking:
        port = f"listen.{gate}"
        if tenant.settings.integer(port) == TENANT_SETTINGS[port].default:
            set_value(directory, tenant.file, port, 0)
        if not (directory / FOLDER / CA_KEY).exists():
            text = f"put its private key and certificate chain into {layout.pem(gate)}, as for the other gates"
            yield Step(tenant.id, f"certificate of {gate}", Came.MISSING, text)
            continue
        names, addresses = [tenant.settings.text(GATES[gate])], [tenant.settings.text("listen.address")]
        pem = issue(read_ca(directory), names, addresses, now=datetime.now(UTC))
        write_file(layout.pem(gate), pem, mode=0o400)
        text = f"it came with a newer build; {port} says where it listens, 0 for nowhere"
        yield Step(tenant.id, f"certificate of {gate}", Came.MADE, text)
    if not lacking:
        yield Step(tenant.id, "certificates", Came.THERE, "every gate has its own")


def _contract(installation: Installation, tenant: Tenant) -> Step:
    """The template of a contract, which promises nothing until both sides agreed."""
    path = contract_file(installation.directory, tenant.id)
    if write_template(installation.directory, tenant.id):
        return Step(tenant.id, "contract template", Came.MADE, f"{path}: every term, each in a comment")
    return Step(tenant.id, "contract template", Came.THERE, str(path))


def _recovery(installation: Installation, tenant: Tenant, given: Mapping[str, str]) -> Iterator[Step]:
    """Public halves of the recovery keys, to which every backup is sealed, in the tenant's file."""
    layout = Layout(installation.directory, tenant.id)
    for party, name in given.items():
        key = f"pinned.recovery_{party}"
        if tenant.settings.text(key):
            yield Step(tenant.id, key, Came.THERE, "no backup is sealed to anybody else")
            continue
        path = Path(name) if name else layout.recovery_key(party)
        if not path.exists():
            text = (
                f"give the {party}'s recovery key, private or public, with --{party}-key; no backup is made until then"
            )
            yield Step(tenant.id, key, Came.MISSING, text)
            continue
        value = base64.b64encode(_public_half(path, tenant, Holder[party.upper()])).decode("ascii")
        set_value(installation.directory, tenant.file, key, value)
        yield Step(tenant.id, key, Came.MADE, f"from {path}; the cell has it with its next start")


def _forwards(installation: Installation, tenant: Tenant) -> Step:
    """The public half of directory's key for forwards to other servers, in the tenant's file."""
    key = "pinned.forward_key"
    if tenant.settings.text(key):
        return Step(tenant.id, key, Came.THERE, "queue takes no other's forwards")
    layout = Layout(installation.directory, tenant.id)
    path = layout.home("directory") / KEY_FILE
    if not path.exists():
        return Step(tenant.id, key, Came.MISSING, f"{path} is missing: restore it from your copy")
    root = Custody(layout, tenant).read("directory")[0]
    value = forward_key(KeySet.open(path.read_bytes(), tenant.id, "directory", root), tenant.id)
    set_value(installation.directory, tenant.file, key, value)
    return Step(tenant.id, key, Came.MADE, "from directory's own keys; the cell has it with its next start")


def _public_half(path: Path, tenant: Tenant, holder: Holder) -> bytes:
    """32 octets. Raises ConfigError where it is the key of somebody else."""
    text = read_secret(path, RECOVERY_FILE_MAX)
    try:
        private = read_recovery_private(text)
        whose, public = (private.tenant, private.holder), private.public()
    except ConfigError:
        of, by, public = read_recovery_public(text)
        whose = (of, by)
    if whose != (tenant.id, holder):
        raise ConfigError(f"{path} is the {whose[1].name.lower()}'s recovery key of {whose[0]}; name the right file")
    return public.public_key.public_bytes_raw()


async def _noted(installation: Installation, tenant: Tenant) -> list[Step]:
    """What a restore elsewhere believes: sealed keys and backups that the ledger noted, with its receipts."""
    steps: list[Step] = []
    async with Road(installation, tenant) as road:
        try:
            road.check_running()
        except TemporaryFailure:
            text = "the cell does not run: start it, and give this command again"
            return [Step(tenant.id, "receipts", Came.MISSING, text)]
        folder = escrow_folder(installation, tenant.id)
        if not any(folder.glob("*.keys")):
            steps.append(Step(tenant.id, "sealed keys", Came.THERE, "none yet: the first backup puts them there"))
        elif missing_escrow(folder, HOLDERS) or not all(receipt_file(folder, name).exists() for name in HOLDERS):
            await escrow_keys(road)
            text = f"the ledger noted those of {folder}, which it did not know"
            steps.append(Step(tenant.id, "sealed keys", Came.MADE, text))
        else:
            steps.append(Step(tenant.id, "sealed keys", Came.THERE, "the ledger noted them"))
        if has_target(installation):
            shelf = Shelf(open_target(installation, ""), tenant.id)
            steps.append(await _receipts(road, shelf))
    return steps


async def _receipts(road: Road, shelf: Shelf) -> Step:
    """A receipt beside each backup that the ledger noted before there were any."""
    wanted = await asyncio.to_thread(_without_receipt, shelf)
    made = 0
    if wanted:
        checkpoint, _ = await read_checkpoint(road)
        async for index, entry in read_entries(road, 0, checkpoint.size):
            event = parse_event(entry)
            backup = str(event.details.get("backup"))
            if event.kind.name == "BackupMade" and wanted.get(backup) == event.details.get("sha256"):
                receipt = await receipt_of(road, index)
                await asyncio.to_thread(shelf.write, backup, RECEIPT, receipt.encode())
                del wanted[backup]
                made += 1
    if wanted:
        text = f"the ledger never noted these: look who put them there: {' '.join(sorted(wanted))}"
        return Step(road.tenant.id, "backups", Came.MISSING, text)
    text = f"{made} got the ledger's receipt" if made else "each has the ledger's receipt"
    return Step(road.tenant.id, "backups", Came.MADE if made else Came.THERE, text)


def _without_receipt(shelf: Shelf) -> dict[str, str]:
    """SHA-256 of the manifest, by backup."""
    whole = shelf.whole()
    return {manifest.backup: digest_of(manifest) for manifest in whole if RECEIPT not in shelf.files(manifest.backup)}

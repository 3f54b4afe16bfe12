"""`import cell`: the tenant of a whole export as a cell of this installation, offline, with both recovery keys.

    marked    cells/TENANT/restoring names the export: the cell does not start, and the same command goes on
    begun     new keys of every holder; the new log, whose first entries name the export and the old log's root
    halves    directory, auth and keyring: rows under new row keys and new version keys, bindings signed anew
    mail      one account after another; `imported` says which are whole
    checked   every half opened, every message read from the new store and its SHA-256 compared; fsck
    done      ImportDone is in the log, the old log lies in evidence/ledger; the mark goes

Cut before `mail` the run begins anew, cut in it the run goes on with the account that it was at. This process has both
recovery keys and could read everything, as whoever has both always can.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.import_halves import Move, move_auth, move_keyring, put_bindings, take_directory, write_database
from bulkhead.cli.import_mail import Counts, Done, MailImport
from bulkhead.cli.init import parse_listen_address
from bulkhead.cli.make_tenant import create_keys_of, forward_key
from bulkhead.cli.output import print_json, say
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.restore import certify
from bulkhead.cli.restore_acts import Report, replay_acts
from bulkhead.cli.restore_files import make_home, write_keys
from bulkhead.cli.secret_file import make_private_folder, write_secret
from bulkhead.config import Installation, Tenant, load_installation, render_tenant, write_file
from bulkhead.config.schema import TENANT_SETTINGS, TENANTS_FOLDER
from bulkhead.config.values import Value
from bulkhead.directory.create import TOMBSTONE
from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.exports.cell import LEDGER, SETTINGS, CellFiles, check_cell
from bulkhead.exports.sealed import CELL, cell_digest, folder_of, manifest_lines, read_export, write_whole
from bulkhead.exports.sealing import RecoveryKeys
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KEY_FILE, ROOT_BYTES, KeyFile
from bulkhead.identifiers import AccountId, parse_id, parse_tenant_id
from bulkhead.keyring import create as keyring_create
from bulkhead.keyring import schema as keyring_schema
from bulkhead.keyring.keys import TIGHT
from bulkhead.keyring.keys import Keys as KeyringKeys
from bulkhead.ledger import create as ledger_create
from bulkhead.ledger.acts import ENDS, Acts, acts_of
from bulkhead.ledger.event import EVENTS, Event, Scalar, encode_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import open_log
from bulkhead.ledger.note import VerifierKey
from bulkhead.ledger.verify import verify_export
from bulkhead.records.keyfile import KeySet, NamedKey
from bulkhead.records.mailbox import Binding, VerifiedBinding
from bulkhead.store import restore as store_restore
from bulkhead.store.importing import NewAccount, StoreImport
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.process import hold_lock

ACTOR = "cli"
HOLDERS = tuple(name for name, process in PROCESSES.items() if process.disk is Disk.DATA)
IMPORTED, PROGRESS = "imported", "halves-done"
SAY_SECONDS = 5.0


def import_cell(options: argparse.Namespace) -> int:
    """Make the cell, or go on with it."""
    began = time.monotonic()
    directory, export = Path(options.directory).absolute(), Path(options.export).absolute()
    name, digest = read_export(export)
    if options.manifest and options.manifest.lower() != digest:
        raise ConfigError(f"{export}: the manifest's SHA-256 is {digest}, and not the one that was asked for")
    tenant = parse_tenant_id(name)
    cell = cell_digest(export / "manifest")
    if not cell:
        raise ConfigError(f"{export} has chosen accounts alone: make an export without --account")
    found = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), tenant)
    keys = RecoveryKeys(found.partner, found.operator)
    check_cell(export, cell)
    installation, layout = load_installation(directory), Layout(directory, tenant)
    with contextlib.closing(hold_lock(layout, "import it")):
        work = _Importing(layout, export, digest, keys)
        work.begin(installation, options.address)
        counts, entry = asyncio.run(work.run())
        certify(directory, work.tenant)
        for left in (layout.cell / IMPORTED, layout.cell / PROGRESS):
            left.unlink(missing_ok=True)
        layout.restoring.unlink()
    document = {
        "tenant": tenant, "accounts": counts.accounts, "messages": counts.messages, "octets": counts.octets,
        "missing": counts.missing, "halves_apart": work.apart, "manifest": digest, "entry": entry,
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
        return ExitCode.OK
    print(f"{tenant}: {counts.accounts} accounts and {counts.messages} messages are here, each compared by SHA-256")
    print(
        f"{tenant}: {counts.missing} messages had gone when the export was made; {work.apart} credentials must be set"
    )
    say(f"{tenant}: settings in {work.tenant.file}; check them, then start: bulkhead run -C {directory}")
    return ExitCode.OK


class _Importing:
    """One import. tenant: once `begin` has written the settings."""

    tenant: Tenant

    def __init__(self, layout: Layout, export: Path, digest: str, keys: RecoveryKeys) -> None:
        self._layout, self._export, self._digest, self._keys = layout, export, digest, keys
        self._files = CellFiles(export / CELL, layout.tenant, keys)
        self._mark = json.dumps({"import": digest}).encode("ascii")
        self.apart = 0

    # --- begin -------------------------------------------------------------------------------------------------------

    def begin(self, installation: Installation, address: str) -> None:
        """Mark the cell. Raises Refused (`exists`) where a tenant of that id is here, ConfigError."""
        layout, custody = self._layout, self._layout.root_key("x").parent
        if layout.restoring.exists():
            if layout.restoring.read_bytes() != self._mark:
                raise ConfigError(f"{layout.cell} is being restored, or imported from another export; remove it first")
        else:
            there = [path for path in (layout.cell, custody) if path.exists() and any(path.iterdir())]
            if layout.tenant in installation.tenants or there:
                raise Refused(
                    f"{layout.tenant} is in this installation already: its accounts would collide with the export's",
                    code="exists",
                )
            make_private_folder(layout.cell)
            write_secret(layout.restoring, self._mark)
        if not (layout.cell / PROGRESS).exists():
            self._clear(custody)
        file = layout.directory / TENANTS_FOLDER / f"{layout.tenant}.toml"
        if not (layout.cell / PROGRESS).exists():
            pinned = self._make_keys()
            values = self._settings() | pinned
            if layout.tenant in installation.tenants:
                slot = installation.tenants[layout.tenant].slot
            else:
                slot = installation.free_slot()
            values |= {"slot": slot, "custody.mode": "file"}
            if address:
                values["listen.address"] = parse_listen_address(address)
            write_file(file, render_tenant(values), replace=True)
        self.tenant = load_installation(layout.directory).tenant(layout.tenant)

    def _clear(self, custody: Path) -> None:
        for path in self._layout.cell.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._layout.restoring:
                path.unlink()
        if custody.exists():
            shutil.rmtree(custody)

    def _settings(self) -> dict[str, Value]:
        """The exported settings by dotted key. Raises IntegrityError."""
        try:
            document = tomllib.loads((self._export / CELL / SETTINGS).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise IntegrityError(f"{SETTINGS} of the export is no settings file") from None
        values: dict[str, Value] = {}
        for key, value in _flat(document):
            if key in TENANT_SETTINGS:
                values[key] = tuple(value) if isinstance(value, list) else value
        if values.get("id") != self._layout.tenant:
            raise IntegrityError(f"{SETTINGS} of the export is of another tenant")
        return values

    def _make_keys(self) -> dict[str, Value]:
        """Homes and key files of every holder; the public keys to pin. K_tight, keys of tombstones and subjects stay.

        Raises Refused (`wrong-key`), IntegrityError.
        """
        keyring = keyring_create.create_keys(self._keys.partner.public(), self._keys.operator.public())
        ledger = _with(ledger_create.create_keys(), self._files.key_set("ledger"), ledger_create.SUBJECT)
        sets: dict[str, KeySet] = {}
        for name in HOLDERS:
            make_home(self._layout, name)
            sets[name] = create_keys_of(name) if name not in ("keyring", "ledger") else KeySet()
        sets["directory"] = _with(sets["directory"], self._files.key_set("directory"), TOMBSTONE)
        sets["keyring"] = _with(keyring.keys, self._files.key_set("keyring"), TIGHT)
        sets["ledger"] = ledger
        write_keys(self._layout, sets)
        parties = {"partner": self._keys.partner.public(), "operator": self._keys.operator.public()}
        values: dict[str, Value] = {
            "pinned.binding_key": _base64(keyring.binding_key), "pinned.queue_key": _base64(keyring.queue_key),
            "pinned.ledger_key": _base64(ledger_create.public_key(ledger)),
            "pinned.forward_key": forward_key(sets["directory"], self._layout.tenant),
        }  # fmt: skip
        for party, key in parties.items():
            values[f"pinned.recovery_{party}"] = _base64(key.public_key.public_bytes_raw())
        return values

    # --- run ---------------------------------------------------------------------------------------------------------

    async def run(self) -> tuple[Counts, int]:
        """Everything between mark and done; the index of the last entry."""
        progress = self._layout.cell / PROGRESS
        if not progress.exists():
            size, root = self._keep_log()
            self._begin_log({"manifest": self._digest, "size": size, "root": root})
            await self._halves()
            write_whole(progress, b"%d" % self.apart)
        self.apart = int(progress.read_bytes())
        counts = await self._mail()
        _, problems = store_restore.problems_of(self._layout.home("store"))
        if problems:
            raise IntegrityError(f"the new store is not sound: {problems[0]}; remove the cell and import again")
        details: dict[str, Scalar] = {
            "accounts": counts.accounts, "messages": counts.messages, "octets": counts.octets,
            "missing": counts.missing, "halves_apart": self.apart,
        }  # fmt: skip
        return counts, self._note("ImportDone", details)

    def _keep_log(self) -> tuple[int, str]:
        """Check the old log and keep it as evidence: its size and root. Raises IntegrityError."""
        evidence = self._layout.cell / "evidence"
        make_private_folder(evidence)
        shutil.copytree(self._export / CELL / LEDGER, evidence / LEDGER)
        files = DirectoryFiles(str(evidence / LEDGER))
        try:
            checkpoint = verify_export(files, *self._old_log()).checkpoint
        finally:
            files.close()
        (evidence / SETTINGS).write_bytes((self._export / CELL / SETTINGS).read_bytes())
        return checkpoint.size, checkpoint.root.hex()

    def _old_log(self) -> tuple[str, VerifierKey]:
        """Origin and key of the exported log."""
        old = self._settings()
        name = str(old.get("ledger.origin") or f"bulkhead/{self._layout.tenant}")
        return name, VerifierKey(name, base64.b64decode(str(old["pinned.ledger_key"])))

    def _begin_log(self, details: Mapping[str, Scalar]) -> None:
        keys = self._key_file("ledger").keys
        origin = self.tenant.settings.text("ledger.origin")
        ledger_create.begin_log(keys, self._layout.home("ledger"), self._layout.tenant, ACTOR, origin=origin)
        self._note("ImportBegun", details)

    def _note(self, kind: str, details: Mapping[str, Scalar]) -> int:
        """Append an event to the new log, durable on return; its index."""
        name = ledger_create.origin_of(self._layout.tenant, self.tenant.settings.text("ledger.origin"))
        signer = ledger_create.signer_of(self._key_file("ledger").keys, name)
        log = open_log(DirectoryFiles(str(self._layout.home("ledger") / ledger_create.LOG)), signer, name)
        try:
            log.append([encode_event(Event(EVENTS[kind], int(time.time() * 1000), ACTOR, details=details))])
            return log.size - 1
        finally:
            log.close()

    def _key_file(self, compartment: str) -> KeyFile:
        """A holder's new keys, open."""
        path, root = self._layout.home(compartment) / KEY_FILE, self._layout.root_key(compartment).read_bytes()
        keys = KeySet.open(path.read_bytes(), self._layout.tenant, compartment, root[:ROOT_BYTES])
        return KeyFile(path, self._layout.tenant, compartment, keys, 1, root)

    def _move(self, compartment: str) -> Move:
        """An exported database beside the new one, and the keys of both."""
        old = self._layout.cell / f"{compartment}-exported" / f"{compartment}.sqlite"
        write_database(old, self._files.database(compartment))
        keys = KeyFile(old, self._layout.tenant, compartment, self._files.key_set(compartment), 1, b"")
        return Move(self._layout.home(compartment), old, keys, self._key_file(compartment))

    async def _halves(self) -> None:
        home = self._layout.home("directory")
        write_database(home / "directory.sqlite", self._files.database("directory"))
        accounts = [account for account, _, _ in await take_directory(home)]
        say(f"{self._layout.tenant}: credentials and keys of {len(accounts)} accounts")
        pinned = Ed25519PublicKey.from_public_bytes(base64.b64decode(str(self._settings()["pinned.binding_key"])))
        creds = await move_auth(self._move("auth"), accounts)
        bindings = await move_keyring(self._move("keyring"), creds, pinned)
        await put_bindings(home, bindings)
        await self._check_halves()
        for compartment in ("auth", "keyring"):
            shutil.rmtree(self._layout.cell / f"{compartment}-exported")

    async def _check_halves(self) -> None:
        """Open every record; what lacks its other half is destroyed, as in a restore, and who ended later."""
        files = {name: self._key_file(name) for name in ("directory", "auth", "keyring")}
        subject_key = self._key_file("ledger").keys.current(ledger_create.SUBJECT)[1]
        report = Report(self._digest)
        await replay_acts(self._layout, files, self._ended(), subject_key, report)
        self.apart = report.halves_apart

    def _ended(self) -> Acts:
        """Of the old log, which accounts were cancelled or purged: also the canaries of the export."""
        ended = Acts()

        def visit(_: int, entry: bytes) -> None:
            status = acts_of((entry,)).status
            ended.status.update((subject, name) for subject, name in status.items() if name in ENDS)

        files = DirectoryFiles(str(self._layout.cell / "evidence" / LEDGER))
        try:
            verify_export(files, *self._old_log(), visit=visit)
        finally:
            files.close()
        return ended

    # --- mail --------------------------------------------------------------------------------------------------------

    async def _mail(self) -> Counts:
        accounts = {account: (status, quota) for account, status, quota in await self._accounts()}
        bindings = await self._bindings(list(accounts))
        done = Done(self._layout.cell / IMPORTED)
        try:
            with _working_in(self._layout.home("store")):
                store = StoreImport(self.tenant.settings.integer("store.segment_bytes"))
                try:
                    mail = MailImport(self._layout.tenant, self._keys, store, bindings, done)
                    return await self._accounts_of(mail, store, done, accounts, bindings)
                finally:
                    await store.close()
        finally:
            done.close()

    async def _accounts_of(
        self,
        mail: MailImport,
        store: StoreImport,
        done: Done,
        accounts: Mapping[AccountId, tuple[int, int]],
        bindings: Mapping[AccountId, VerifiedBinding],
    ) -> Counts:
        there, said = store.accounts(), time.monotonic()
        lines = {AccountId(parse_id("acc", folder.rpartition("/")[2])): (sums, self._export / folder)
                 for sums, folder in manifest_lines(self._export / "manifest")}  # fmt: skip
        held = [account for account in bindings if account in lines]
        for number, account in enumerate(held):
            sums, folder = lines[account]
            if folder.name in done.digests:
                continue
            if account in there:
                await store.drop(account)
            await mail.add(folder, sums, accounts[account][1])
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                say(f"{self._layout.tenant}: {number + 1} of {len(held)} accounts")
        later = [account for account in bindings if account not in lines and account not in there]
        clock = int(time.time())
        await store.open_accounts([NewAccount(account, accounts[account][1], clock) for account in later])
        say(f"{self._layout.tenant}: comparing every message")
        for account in held:
            await mail.verify(self._export / folder_of(account))
        found = [done.digests[lines[account][1].name] for account in held]
        return Counts(
            len(bindings), sum(row[0] for row in found), sum(row[1] for row in found), sum(row[2] for row in found)
        )

    async def _accounts(self) -> list[tuple[AccountId, int, int]]:
        return await take_directory(self._layout.home("directory"))

    async def _bindings(self, accounts: list[AccountId]) -> dict[AccountId, VerifiedBinding]:
        """The newest mailbox key of every account that has one; those without were cancelled."""
        keys = KeyringKeys.of(self._layout.tenant, self._key_file("keyring"))
        public = keys.binding.public_key()
        database = Database(self._layout.home("keyring") / "keyring.sqlite", keyring_schema.MIGRATIONS)
        newest = "SELECT binding FROM mailbox WHERE mid = ? ORDER BY generation DESC LIMIT 1"
        found: dict[AccountId, VerifiedBinding] = {}
        try:
            for account in accounts:
                row = database.first(newest, (keys.mid(account),))
                if row is not None:
                    found[account] = Binding(row[0]).verify(public, self._layout.tenant, account)
        finally:
            await database.close()
        return found


@contextlib.contextmanager
def _working_in(home: Path) -> Iterator[None]:
    """store's files are named from its own directory."""
    before = Path.cwd()
    os.chdir(home)
    try:
        yield
    finally:
        os.chdir(before)


def _with(keys: KeySet, old: KeySet, name: str) -> KeySet:
    """These keys with the old one of that name."""
    version, secret = old.current(name)
    return KeySet((*(key for key in keys.keys if key.name != name), NamedKey(name, version, secret)))


def _flat(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")

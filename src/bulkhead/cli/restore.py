"""`restore`: a whole cell from a backup, offline, with both recovery keys; what was revoked since stays revoked.

    proven     settings, sealed keys and manifest are those that the ledger noted (restore_proof.py); nothing is written
    marked     cells/TENANT/restoring: the cell does not start, and the same command begins anew
    written    every home from its stream, key files sealed under new root keys
    continued  the newer ledger's entries, where one is at hand; then RestoreBegun is in the log
    replayed   statuses, epochs, stops, changed and revoked credentials since the backup; UIDVALIDITY
    checked    every record opened, every stored part read
    done       RestoreDone is in the log; the mark goes

This process has both recovery keys and so could read everything, as whoever has both always can. It opens one stream
after another, each into the home of its own compartment.
"""

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bulkhead.cli.backup_receipt import Witness
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import open_target
from bulkhead.cli.certificates import read_ca, write_gates
from bulkhead.cli.escrow import escrow_folder
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.offline_order import Details, require_order
from bulkhead.cli.output import print_json, say
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.restore_acts import Report, replay_acts
from bulkhead.cli.restore_files import (
    Source,
    make_home,
    read_escrow,
    require_versions,
    write_compartment,
    write_database,
    write_keys,
)
from bulkhead.cli.restore_following import Following, write_following
from bulkhead.cli.restore_log import Continued, continue_log
from bulkhead.cli.restore_orders import end_orders
from bulkhead.cli.restore_proof import (
    HOLDERS,
    Anchor,
    check_pinned,
    digest_of,
    escrow_digests,
    prove,
    require_noted,
    settings_of,
    witness_of,
)
from bulkhead.cli.secret_file import make_private_folder, write_secret
from bulkhead.config import Installation, Tenant, load_installation, set_value, write_file
from bulkhead.config.schema import TENANTS_FOLDER
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.holder.keys import KeyFile
from bulkhead.identifiers import TenantId, parse_tenant_id
from bulkhead.ledger.create import LOG
from bulkhead.queue import restore as queue_restore
from bulkhead.records.backup import Head, PrivateKeys
from bulkhead.store import restore as store_restore
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.process import hold_lock

UNPROVEN = b"--without-ledger\n"  # in the mark


def restore(options: argparse.Namespace) -> int:
    """Restore a tenant's cell."""
    directory = Path(options.directory).absolute()
    tenant_id = parse_tenant_id(options.tenant)
    if options.continuity and options.history_intact:
        raise ConfigError("--continuity gives mailboxes a new UIDVALIDITY: leave --history-intact out")
    both = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), tenant_id)
    keys = PrivateKeys(both.partner.private_key, both.operator.private_key)
    installation = load_installation(directory)
    shelf = Shelf(open_target(installation, options.source), tenant_id)
    backup = shelf.chosen(options.at).backup
    layout = Layout(directory, tenant_id)
    escrow = escrow_folder(installation, tenant_id, options.keys)
    newest = Path(options.ledger) if options.ledger else None
    if newest is None:
        say(f"{tenant_id}: no --ledger: what was revoked, changed or cancelled after the newest backup here is not "
            "known, and NOT done again; give the newest log that anybody has")  # fmt: skip
    with contextlib.closing(hold_lock(layout, "restore it")):
        _require_place(layout)
        manifest = shelf.manifest(backup)
        tenant, text = settings_of(installation, shelf, manifest)
        work = Restoring(layout, tenant, Source(shelf, manifest, keys), escrow)
        own = not text and not _left_unproven(layout)
        work.prove(Anchor(own, newest, options.log_key, options.without_ledger))
        _begin(layout, unproven=options.without_ledger)
        work.tenant = _write_settings(installation, tenant_id, text, options.address)
        with tempfile.TemporaryDirectory() as scratch:
            logs = work.later_log(Path(scratch)) + ([newest] if newest else [])
            work.order = (options.order, options.roster)
            report = asyncio.run(work.run(logs, history_intact=options.history_intact, mail=not options.continuity))
        certify(directory, work.tenant)
        layout.restoring.unlink()
    if options.json:
        print_json(options.command, {"tenant": tenant_id, **report.as_row(), "seconds": round(report.seconds, 3)})
    else:
        _tell(tenant_id, report)
    return ExitCode.OK


def _require_place(layout: Layout) -> None:
    """Raises ConfigError where a cell is there that no restore has begun."""
    for path in () if layout.restoring.exists() else (layout.cell, layout.root_key("x").parent):
        if path.exists() and any(path.iterdir()):
            raise ConfigError(f"{path} is not empty: move it away, and give its ledger/log with --ledger")


def _left_unproven(layout: Layout) -> bool:
    """Whether a try that believed a backup's settings without proof was cut: what it wrote is no one's own."""
    return layout.restoring.exists() and layout.restoring.read_bytes() == UNPROVEN


def _begin(layout: Layout, *, unproven: bool) -> None:
    """Mark the cell as being restored; what an earlier try left goes."""
    custody = layout.root_key("x").parent
    if not layout.restoring.exists():
        make_private_folder(layout.cell)
        write_secret(layout.restoring, UNPROVEN if unproven else b"")
        return
    for path in layout.cell.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != layout.restoring:
            path.unlink()
    if custody.exists():
        shutil.rmtree(custody)


def _write_settings(installation: Installation, tenant: TenantId, text: str, address: str) -> Tenant:
    """The tenant of this installation, whose settings are made from the backup's where it had none."""
    name = f"{TENANTS_FOLDER}/{tenant}.toml"
    if text:
        write_file(installation.directory / name, text)
    if address:
        set_value(installation.directory, name, "listen.address", address)
    return load_installation(installation.directory).tenant(tenant)


def certify(directory: Path, tenant: Tenant) -> None:
    """Certificates for the gates of a tenant that has none here, where the installation has its own authority."""
    folder = Layout(directory, tenant.id).pem("x").parent
    if folder.exists():
        return
    try:
        authority = read_ca(directory)
    except ConfigError:
        say(f"{tenant.id}: put the gates' keys and certificates into {folder} before you start the cell")
        return
    make_private_folder(folder)
    write_gates(directory, authority, tenant, now=datetime.now(UTC))


class Restoring:
    """One restore: `prove`, which writes nothing, then `run`. tenant: whose settings it goes by. sets: the escrow's."""

    def __init__(self, layout: Layout, tenant: Tenant, source: Source, escrow: Path) -> None:
        self.tenant = tenant
        self._layout, self._source, self._escrow = layout, source, escrow
        self.sets = {name: read_escrow(escrow, name, source.keys, layout) for name in HOLDERS}
        self._report = Report(source.manifest.backup)
        self._later = source.manifest  # the newest there; what it says was done since is done again
        self._witness: Witness | None = None
        self._proven = "nothing"
        self.order: tuple[str, str] | None = None  # files of order and roster; None: a rehearsal, which needs none

    def prove(self, anchor: Anchor) -> None:
        """Raises IntegrityError where backup, settings or keys are not the cell's own, or the backup is dead."""
        check_pinned(self.tenant, self.sets, self._source.keys)
        shelf, manifest = self._source.shelf, self._source.manifest
        self._witness = witness_of(self.tenant, self.sets, self._escrow, anchor)
        self._proven = prove(self._witness, shelf, manifest, self._escrow)
        require_versions(self._source.manifest, self.sets)

    def later_log(self, scratch: Path) -> list[Path]:
        """The log of the newest backup there, where another one is restored: what died since it stays dead."""
        newest = self._source.shelf.chosen("")
        if newest.backup == self._report.backup:
            return []
        require_noted(self._witness, self._source.shelf, newest)
        self._later = newest
        write_compartment(replace(self._source, manifest=newest), "ledger", scratch)
        return [scratch / LOG]

    async def run(self, newest: Sequence[Path], *, history_intact: bool, mail: bool = True) -> Report:
        """Everything between mark and done. mail: else the mailboxes are empty, and their mail follows."""
        began, report = time.monotonic(), self._report
        sets = self.sets
        heads: dict[str, Head] = {}
        for compartment in HOLDERS:
            say(f"{self._layout.tenant}: {compartment} is being written")
            write = write_database if compartment == "store" and not mail else write_compartment
            heads[compartment] = write(self._source, compartment, make_home(self._layout, compartment))
        home, report.continuity = self._layout.home("store"), not mail
        if not mail:
            messages = store_restore.make_empty(home)
            write_following(self._layout, Following(report.backup, digest_of(self._source.manifest), messages))
        missing = store_restore.missing_segments(home)
        if missing:
            raise IntegrityError(f"segment {missing[0]} is in no stream of this backup: take another one")
        files = write_keys(self._layout, sets)
        origin = self.tenant.settings.text("ledger.origin")
        log = continue_log(self._layout, sets["ledger"], origin, heads["ledger"].notes["entries"], newest)
        try:
            ordered = await self._require_order(log)
            later = self._later
            log.note("RestoreBegun", {
                "backup": report.backup, "sha256": digest_of(self._source.manifest), "later": later.backup,
                "later_sha256": digest_of(later), "continued": log.continued, "shown_by": self._proven,
                **ordered,
            })  # fmt: skip
            log.note("KeysEscrowed", escrow_digests(self._escrow))  # as of those backups, its entry may be lost
            report.entries, report.continued = log.acts.entries, log.continued
            await self._replay(files, log, history_intact=history_intact)
            report.messages, problems = store_restore.problems_of(self._layout.home("store"))
            if problems:
                raise IntegrityError(f"the restored store is not sound: {problems[0]}; take another backup")
            log.note("RestoreDone", report.as_row())
        finally:
            log.close()
        report.seconds = time.monotonic() - began
        return report

    async def _require_order(self, log: Continued) -> Details:
        if self.order is None:
            return {}
        order, roster = self.order
        return await require_order(self._layout, self.tenant, "restore-cell", log.events(), order=order, roster=roster)

    async def _replay(self, files: Mapping[str, KeyFile], log: Continued, *, history_intact: bool) -> None:
        layout = self._layout
        ended = await replay_acts(layout, files, log.acts, log.subject_key, self._report)
        await store_restore.finish(layout.home("store"), ended.accounts, history_intact=history_intact)
        self._report.queued = await queue_restore.finish(layout.home("queue"), ended.addresses, ended.outbound)
        await end_orders(layout, log.acts)


def _tell(tenant: str, report: Report) -> None:
    print(f"{tenant}: restored from {report.backup} in {report.seconds:.1f} s")
    print(f"{tenant}: {report.accounts} accounts, {report.messages} messages, {report.queued} queued")
    print(f"{tenant}: {report.entries} ledger entries since replayed, {report.continued} of them from a newer ledger")
    print(
        f"{tenant}: {report.statuses} accounts changed their status since; {report.must_reset} must set a new password "
        f"({report.halves_apart} because their halves did not agree), {report.app_passwords} app passwords are revoked"
    )
    if report.continuity:
        print(f"{tenant}: mailboxes are empty: start the cell, then bring their mail: bulkhead restore-follow {tenant}")
    if report.lost:
        print(f"{tenant}: {report.lost} accounts were made since and are not in the backup: make them again")

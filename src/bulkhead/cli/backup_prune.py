"""`backup prune`: what retention lets go, and what was cut short; never what a kept backup relies on."""

import argparse
import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bulkhead.cli.backup_notes import read_notes
from bulkhead.cli.backup_store import MANIFEST, Manifest, Shelf, relied_on
from bulkhead.cli.backup_target import open_target
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.many import chosen_tenants
from bulkhead.cli.output import print_json, say
from bulkhead.cli.restore_following import read_following
from bulkhead.cli.road import wait_for
from bulkhead.cli.tenant_lock import BACKUP, WAITS, alone
from bulkhead.config import Installation, Tenant
from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.supervisor.layout import Layout

DAY = 86_400_000  # ms
CUT_DAYS = 2  # what is younger may be under way from another host


@dataclass(slots=True)
class Pruned:
    """Ids; swept: uploads that never became objects."""

    removed: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    swept: int = 0
    left: int = 0


def prune(options: argparse.Namespace) -> int:
    """Take away whole backups older than so many days that no kept one relies on, and the remains of cut ones."""
    if options.keep_days is not None and options.keep_days < 1:
        raise ConfigError("--keep-days is at least 1")
    installation, tenants = chosen_tenants(options)
    done = [(tenant, wait_for(_prune_alone(installation, tenant, options))) for tenant in tenants]
    if options.json:
        print_json(options.command, {"tenants": [
            {"tenant": tenant.id, "removed": pruned.removed, "cut": pruned.cut, "refused": pruned.refused,
             "swept": pruned.swept} for tenant, pruned in done
        ]})  # fmt: skip
    else:
        for tenant, pruned in done:
            print(f"{tenant.id}: {len(pruned.removed)} backups removed, {len(pruned.cut)} that were cut short, "
                  f"{pruned.left} left")  # fmt: skip
    return ExitCode.OK


async def _prune_alone(installation: Installation, tenant: Tenant, options: argparse.Namespace) -> Pruned:
    layout = Layout(installation.directory.absolute(), tenant.id)
    days = options.keep_days or tenant.settings.integer("backups.keep_days")
    async with alone(layout, BACKUP, WAITS):
        with contextlib.closing(open_target(installation, options.source)) as target:
            following = read_following(layout)  # mail that a restore still brings from it
            kept = {read_notes(layout).verified} | ({following.backup} if following is not None else set())
            return prune_shelf(Shelf(target, tenant.id), days, kept, int(time.time() * 1000))


def prune_shelf(shelf: Shelf, keep_days: int, kept_too: set[str], now: int) -> Pruned:
    """Remove what may go. kept_too: ids that stay whatever their age; so does the newest whole one. now: ms.

    Raises IntegrityError where a kept one is not whole with what it relies on: nothing goes then.
    """
    whole, before = shelf.whole(), now - keep_days * DAY
    kept = [m for m in whole if m.created >= before or m.backup in kept_too or m is whole[-1]]
    needed = _needed(shelf, kept)
    pruned = Pruned()
    for manifest in whole:
        if manifest.backup not in needed:
            _remove(shelf, manifest.backup, pruned.removed, pruned.refused)
    for backup in shelf.ids():
        if backup not in needed and _begun(backup) < now - CUT_DAYS * DAY and MANIFEST not in shelf.files(backup):
            _remove(shelf, backup, pruned.cut, pruned.refused)
    try:
        pruned.swept = shelf.target.sweep(shelf.tenant, CUT_DAYS)
    except Refused as error:
        say(f"{shelf.tenant}: parts of uploads that were cut short stay: {error.public}")
    pruned.left = len(shelf.ids())
    return pruned


def _needed(shelf: Shelf, kept: list[Manifest]) -> set[str]:
    needed = {manifest.backup for manifest in kept}
    for manifest in kept:
        try:
            needed |= relied_on(shelf, manifest)
        except IntegrityError as error:
            raise IntegrityError(f"{manifest.backup} is kept and not whole, so nothing goes: {error.public}") from None
    return needed


def _remove(shelf: Shelf, backup: str, gone: list[str], refused: list[str]) -> None:
    try:
        shelf.remove(backup)
        gone.append(backup)
    except Refused as error:
        refused.append(backup)
        say(f"{shelf.tenant}: {backup} stays: {error.public}")


def _begun(backup: str) -> int:
    """When a backup of this id was begun, ms; never, for an id that no run gave."""
    try:
        moment = datetime.strptime(backup.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return 1 << 62
    return int(moment.timestamp() * 1000)

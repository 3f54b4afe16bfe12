"""`backup status`: which backups are due and overdue, how old the newest and the newest verified are; metrics of it."""

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.cli.backup_notes import Notes, read_notes
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import has_target
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.many import chosen_tenants
from bulkhead.cli.output import print_json, print_table, size_text, time_text
from bulkhead.config import Installation, Tenant, write_file
from bulkhead.errors import IntegrityError
from bulkhead.supervisor.layout import Layout

HOUR, DAY = 3_600_000, 86_400_000  # ms
SLACK = 10  # a tenth of the time between two backups, half an hour at most: a timer does not come to the second
SLACK_MAX = HOUR // 2
OVERDUE = 2  # times the time between two backups
METRICS_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant's backups stand, as this host knows. every: ms; 0 where none are scheduled."""

    tenant: str
    every: int
    keep_days: int
    notes: Notes
    now: int

    @property
    def overdue(self) -> bool:
        """Whether the newest is older than two periods, or there is none."""
        return bool(self.every) and self.now - self.notes.made_at > OVERDUE * self.every

    def as_row(self) -> dict[str, Any]:
        """For --json."""
        notes = self.notes
        return {
            "tenant": self.tenant, "every_hours": self.every // HOUR, "keep_days": self.keep_days,
            "overdue": self.overdue, "backup": notes.made or None, "made": notes.made_at, "octets": notes.octets,
            "seconds": notes.seconds, "verified": notes.verified or None, "verified_made": notes.verified_made_at,
            "unsound": notes.unsound or None, "failed": notes.failed_at, "failure": notes.failure or None,
        }  # fmt: skip


def standing_of(installation: Installation, tenant: Tenant) -> Standing:
    """How its backups stand now."""
    every = tenant.settings.integer("backups.every_hours") * HOUR if has_target(installation) else 0
    notes = read_notes(Layout(installation.directory.absolute(), tenant.id))
    return Standing(tenant.id, every, tenant.settings.integer("backups.keep_days"), notes, int(time.time() * 1000))


def is_due(shelf: Shelf, tenant: Tenant, now: int) -> bool:
    """Whether the tenant's next backup is to be made, by the newest whole one that is there. now: ms."""
    every = tenant.settings.integer("backups.every_hours") * HOUR
    return bool(every) and now - newest_made(shelf) >= every - min(every // SLACK, SLACK_MAX)


def newest_made(shelf: Shelf) -> int:
    """When the newest whole backup was begun, ms; 0 where there is none."""
    for backup in reversed(shelf.ids()):
        try:
            return shelf.manifest(backup).created
        except IntegrityError:
            continue
    return 0


def status(options: argparse.Namespace) -> int:
    """Print how the backups of the tenants stand; 1 where one is overdue, failed last, or is not sound."""
    installation, tenants = chosen_tenants(options)
    standings = [standing_of(installation, tenant) for tenant in tenants]
    if options.metrics:
        write_metrics(Path(options.metrics), standings)
    if options.json:
        print_json(options.command, {"tenants": [standing.as_row() for standing in standings]})
    else:
        print_table(
            ("TENANT", "NEWEST", "CARRIED", "TOOK", "VERIFIED", "EVERY", "STATE"),
            [
                (s.tenant, time_text(s.notes.made_at), size_text(s.notes.octets), f"{s.notes.seconds:.1f} s",
                 time_text(s.notes.verified_made_at), f"{s.every // HOUR} h" if s.every else "-", state_of(s))
                for s in standings
            ],
        )  # fmt: skip
        for standing in standings:
            if standing.notes.failure:
                print(f"{standing.tenant}: the last one failed: {standing.notes.failure}")
    found = any(s.overdue or s.notes.failure or s.notes.unsound for s in standings)
    return ExitCode.FINDING if found else ExitCode.OK


def state_of(standing: Standing) -> str:
    """In a word or two."""
    if standing.notes.unsound:
        return "not sound"
    if standing.overdue:
        return "overdue"
    return "failed" if standing.notes.failure else "ok" if standing.notes.made else "none"


def write_metrics(path: Path, standings: Sequence[Standing]) -> None:
    """A file for node_exporter's textfile collector, whole or not at all. Raises ConfigError."""
    write_file(path, "".join(f"{line}\n" for line in metrics_of(standings)), replace=True, mode=METRICS_MODE)


def metrics_of(standings: Sequence[Standing]) -> Iterable[str]:
    """Lines of the Prometheus text format."""
    for name, text, of in (
        ("every_seconds", "Time between two backups; 0: none are scheduled.", lambda s: s.every / 1000),
        ("overdue", "1 where the newest is older than two periods.", lambda s: int(s.overdue)),
        ("last_success_timestamp_seconds", "When the newest whole backup was begun.", lambda s: s.notes.made_at / 1000),
        ("last_duration_seconds", "How long it took.", lambda s: s.notes.seconds),
        ("last_size_bytes", "What it carried.", lambda s: s.notes.octets),
        ("last_failure_timestamp_seconds", "When one failed since; 0: none.", lambda s: s.notes.failed_at / 1000),
        ("verified_timestamp_seconds", "When the newest that was found sound was begun.",
         lambda s: s.notes.verified_made_at / 1000),
        ("unsound", "1 where the last one that was verified is not sound.", lambda s: int(bool(s.notes.unsound))),
    ):  # fmt: skip
        yield f"# HELP bulkhead_backup_{name} {text}"
        yield f"# TYPE bulkhead_backup_{name} gauge"
        for standing in standings:
            yield f'bulkhead_backup_{name}{{tenant="{standing.tenant}"}} {of(standing):.15g}'

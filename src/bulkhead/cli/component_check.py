"""What is installed beside the advisories that were brought, and what of it a tenant's `incident` is told."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_incident import (
    ADVISORIES_MAX,
    AdvisoryRow,
    ComponentState,
    ReadComponents,
    RecordComponents,
)
from bulkhead.cli.road import Road, stamp
from bulkhead.inventory.components import Component, components, digest, measure_loads
from bulkhead.inventory.match import Match, Verdict, matches
from bulkhead.inventory.running import not_started
from bulkhead.inventory.severity import Severity
from bulkhead.inventory.shelf import Brought, read_brought, records
from bulkhead.supervisor.door import ask_status

CHECK_HOURS = 26  # how old a comparison may be: one a day, and some
DAY = 86_400_000  # ms
_Key = tuple[str, str]  # advisory, component


@dataclass(frozen=True, slots=True)
class Comparison:
    """One look at the installation. found: records that name what is installed. records: how many are kept."""

    components: tuple[Component, ...]
    found: tuple[Match, ...]
    brought: Brought
    records: int
    withdrawn: frozenset[str]

    @property
    def loaded(self) -> list[Match]:
        """Matches of what a compartment, or the command line, loads itself."""
        return [match for match in self.found if match.component.used]


def compare_here(directory: Path) -> Comparison | None:
    """Compare; None where no advisory was ever brought. Raises ConfigError, IntegrityError."""
    return compare(directory) if read_brought(directory).at else None


def compare(directory: Path, rows: tuple[Component, ...] = ()) -> Comparison:
    """Compare with whatever was brought. rows: components that were measured just now. Raises as compare_here."""
    kept, rows = records(directory), rows or components(measure_loads())
    withdrawn = frozenset(record.id for record in kept if record.withdrawn)
    return Comparison(rows, tuple(matches(kept, rows)), read_brought(directory), len(kept), withdrawn)


async def record_comparison(road: Road, comparison: Comparison) -> ComponentState:
    """Have the tenant's incident keep it; what it has then. Raises as it answers."""
    kept: ComponentState = await road.ask("incident", ReadComponents())
    waiting = cell_waits_for(road, comparison.components)
    request = request_of(comparison, kept.rows, waiting, time.time_ns() // 1_000_000)
    await road.ask("incident", request)
    return await road.ask("incident", ReadComponents())


def cell_waits_for(road: Road, rows: Sequence[Component]) -> frozenset[str]:
    """Components of which the running cell may have an older version than lies on the disk."""
    said: dict[str, Any] = ask_status(str(road.layout.socket))
    return not_started(said["images"], rows)


def request_of(
    comparison: Comparison, kept: Sequence[AdvisoryRow], waiting: frozenset[str], now: int
) -> RecordComponents:
    """What to tell. kept: rows of the last comparison. waiting: what is installed, and was not started yet."""
    concerned: dict[_Key, AdvisoryRow] = {}
    unsure = 0
    for match in comparison.loaded:
        if match.verdict is Verdict.CONCERNED:
            row = _row(match, comparison.brought)
            concerned[row.advisory, row.component] = row
        elif match.verdict is Verdict.UNSURE or match.component.name in waiting:
            unsure += 1
    closing: list[AdvisoryRow] = []
    for before in kept:
        if before.closed or (before.advisory, before.component) in concerned:
            continue
        if before.component.partition(" ")[0] in waiting and before.advisory not in comparison.withdrawn:
            concerned[before.advisory, before.component] = before
        else:
            closing.append(_closing(before, comparison))
    ordered = sorted(
        concerned.values(), key=lambda row: (-Severity(row.severity).counts_as, row.published, row.advisory)
    )
    told = ordered[:ADVISORIES_MAX]
    return RecordComponents(
        stamp(), now, len(comparison.components), digest(comparison.components), comparison.brought.read,
        comparison.brought.newest, unsure, len(ordered) - len(told), (*told, *closing[:ADVISORIES_MAX]),
    )  # fmt: skip


def _row(match: Match, brought: Brought) -> AdvisoryRow:
    record, component = match.record, match.component
    name = component.name if not component.within else f"{component.name} ({component.within})"
    return AdvisoryRow(
        record.id, name[:64], component.version[:64], record.severity, record.published,
        brought.came.get(record.id, brought.at), record.sha256, ",".join(component.used),
    )  # fmt: skip


def _closing(before: AdvisoryRow, comparison: Comparison) -> AdvisoryRow:
    """The row as it was, with why it closes."""
    name = before.component.partition(" ")[0]
    runs = [row for row in comparison.components if row.name == name and row.used]
    if before.advisory in comparison.withdrawn:
        why = "withdrawn: it was none"
    elif not runs:
        why = "no compartment loads it"
    elif all(row.version == before.version for row in runs):
        why = "a newer record leaves this version out"
    else:
        why = f"version {', '.join(sorted({row.version for row in runs}))} runs"
    return AdvisoryRow(
        before.advisory, before.component, before.version, before.severity, before.published, before.came,
        before.record, before.compartments, why=why[:64],
    )  # fmt: skip


def advisory_standing(state: ComponentState, now: int) -> tuple[str, str, str]:
    """How it stands in doctor's words: state, text, advice. now: ms."""
    bring = "bulkhead advisory import, with the records of a new feed; docs/inventory.md"
    if not state.checked:
        return "unproven", "components were never compared with advisories", bring
    open_ = [row for row in state.rows if not row.closed]
    unsure = f"; {state.unsure} more name a component without saying which versions" * bool(state.unsure)
    if open_:
        oldest = min(open_, key=lambda row: row.published)
        days = (now - min(oldest.published, oldest.opened)) // DAY
        grave = any(Severity(row.severity).counts_as >= Severity.HIGH for row in open_)
        text = (
            f"{len(open_) + state.left} open, the oldest {oldest.advisory} in {oldest.component}, {days} days{unsure}"
        )
        return "bad" if grave else "warning", text, "bulkhead advisory list; then start a build without them"
    hours = (now - state.checked) / 3_600_000
    if hours > CHECK_HOURS:
        return "warning", f"components were last compared {hours:.0f} hours ago", "bulkhead contract check, by a timer"
    text = f"none open; {state.components} components beside {state.records} records{unsure}"
    return ("unproven" if unsure or not state.records else "ok"), text, bring if not state.records else ""

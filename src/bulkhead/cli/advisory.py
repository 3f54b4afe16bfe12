"""`advisory import|check|list`: known flaws, brought as files, beside what is installed and what runs."""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_incident import ComponentState, ReadComponents
from bulkhead.cli.component_check import Comparison, compare, compare_here, record_comparison
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.many import Answer, Asked, ask_all, chosen_tenants
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import wait_for
from bulkhead.config import Installation, Tenant, load_installation
from bulkhead.errors import ConfigError
from bulkhead.inventory.components import components, measure_loads
from bulkhead.inventory.match import Match, Verdict
from bulkhead.inventory.severity import Severity
from bulkhead.inventory.shelf import bring

SECONDS = 60.0


def bring_in(options: argparse.Namespace) -> int:
    """Keep the records that name what is installed, then compare, and tell every tenant that runs."""
    installation = load_installation(Path(options.directory))
    directory = installation.directory
    rows = components(measure_loads())
    now = time.time_ns() // 1_000_000
    taken = bring(directory, [Path(name) for name in options.file], rows, now)
    say(
        f"{taken.read} records read, {taken.kept} name what is installed, {taken.changed} of them new or changed"
        + f"; {taken.older} older than what is kept, left out" * bool(taken.older)
    )
    tenants = [tenant for tenant in installation.tenants.values() if not tenant.disabled]
    comparison = compare(directory, rows)
    return _tell(options, _recorded(installation, tenants, comparison), comparison)


def check(options: argparse.Namespace) -> int:
    """Compare with what was brought before, and tell the tenants."""
    installation, tenants = chosen_tenants(options)
    comparison = compare_here(installation.directory)
    if comparison is None:
        raise ConfigError("no advisory was ever brought; bulkhead advisory import, docs/inventory.md")
    return _tell(options, _recorded(installation, tenants, comparison), comparison)


def show(options: argparse.Namespace) -> int:
    """Every record that concerns what is installed, and since when each tenant has it open; nothing is recorded."""
    installation = load_installation(Path(options.directory))
    tenants = [tenant for tenant in installation.tenants.values() if not tenant.disabled]
    comparison = compare(installation.directory)
    return _tell(options, _ask(installation, tenants, ReadComponents()), comparison)


def _recorded(installation: Installation, tenants: Sequence[Tenant], comparison: Comparison) -> list[Answer]:
    return _ask(installation, tenants, partial(record_comparison, comparison=comparison))


def _ask(installation: Installation, tenants: Sequence[Tenant], asked: Asked) -> list[Answer]:
    return wait_for(ask_all(installation, tenants, [("incident", asked)], SECONDS))


def _tell(options: argparse.Namespace, answers: Sequence[Answer], comparison: Comparison) -> int:
    told = [answer for answer in answers if answer.error is None]
    rows = [_document(match, comparison, told) for match in comparison.found if match.verdict is not Verdict.CLEAN]
    rows.sort(key=lambda row: (row["verdict"], -Severity[row["severity"].upper()].counts_as, row["published"]))
    silent = [answer for answer in answers if answer.error is not None]
    if options.json:
        tenants = [_tenant(answer) for answer in told]
        print_json(options.command, {
            "brought": comparison.brought.at, "read": comparison.brought.read, "kept": comparison.records,
            "newest": comparison.brought.newest, "components": len(comparison.components), "advisories": rows,
            "tenants": tenants, "unanswered": [answer.tenant for answer in silent],
        })  # fmt: skip
    else:
        _print(rows, comparison, told)
    for answer in silent:
        say(f"{answer.tenant}: not told: {answer.error.public if answer.error else ''}")
    open_ = any(not row.closed for answer in told for row in answer.reply.rows)
    loaded = any(match.verdict is Verdict.CONCERNED for match in comparison.loaded)
    return ExitCode.FINDING if open_ or loaded else ExitCode.OK


def _document(match: Match, comparison: Comparison, answers: Sequence[Answer]) -> dict[str, Any]:
    record, component = match.record, match.component
    return {
        "advisory": record.id, "aliases": list(record.aliases), "component": component.name,
        "within": component.within, "version": component.version, "severity": record.severity.name.lower(),
        "published": record.published, "came": comparison.brought.came.get(record.id, 0),
        "verdict": match.verdict.value, "compartments": list(component.used), "summary": record.summary,
        "tenants": [
            answer.tenant for answer in answers
            if any(row.advisory == record.id and not row.closed for row in answer.reply.rows)
        ],
    }  # fmt: skip


def _tenant(answer: Answer) -> dict[str, Any]:
    state: ComponentState = answer.reply
    return {
        "tenant": answer.tenant, "checked": state.checked, "inventory": state.inventory.hex(),
        "unsure": state.unsure, "left": state.left,
        "rows": [
            {
                "advisory": row.advisory, "component": row.component, "version": row.version,
                "severity": Severity(row.severity).name.lower(), "published": row.published, "came": row.came,
                "sha256": row.record.hex(), "opened": row.opened, "closed": row.closed, "why": row.why,
            }
            for row in state.rows
        ],
    }  # fmt: skip


def _print(rows: Sequence[dict[str, Any]], comparison: Comparison, answers: Sequence[Answer]) -> None:
    brought = comparison.brought
    if not brought.at:
        print("no advisory was ever brought: nothing is known, good or bad; bulkhead advisory import")
        return
    head = ("ADVISORY", "COMPONENT", "VERSION", "SEVERITY", "PUBLISHED", "CAME", "VERDICT", "LOADED BY", "OPEN AT")
    if rows:
        print_table(head, [
            (row["advisory"], row["component"], row["version"] or "-", row["severity"], time_text(row["published"]),
             time_text(row["came"]), row["verdict"], ",".join(row["compartments"]) or "-",
             ",".join(row["tenants"]) or "-")
            for row in rows
        ])  # fmt: skip
    clean = sum(match.verdict is Verdict.CLEAN for match in comparison.found)
    print(
        f"{len(comparison.components)} components beside {comparison.records} records that name one, the youngest of "
        f"{time_text(brought.newest)}: {sum(row['verdict'] == 'concerned' for row in rows)} concern what is installed, "
        f"{sum(row['verdict'] == 'unsure' for row in rows)} could not be compared, {clean} do not"
    )
    for answer in answers:
        closed = [row for row in answer.reply.rows if row.closed]
        for row in closed[:5]:
            print(f"{answer.tenant}: {row.advisory} in {row.component} closed {time_text(row.closed)}: {row.why}")

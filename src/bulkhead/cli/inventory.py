"""`inventory`: what of others runs here, who loads it, and whom a flaw in it would touch."""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bulkhead
from bulkhead.boundary.messages.to_directory import AccountCounts, AccountStatus, CountAccounts
from bulkhead.boundary.processes import PROCESSES
from bulkhead.cli.account_steps import STATUS_NAMES
from bulkhead.cli.component_check import cell_waits_for
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.many import CELL, Asked, ask_all
from bulkhead.cli.output import print_json, print_table, time_text
from bulkhead.cli.road import Road, wait_for
from bulkhead.config import Installation, Tenant, load_installation
from bulkhead.drill.budget import EVERY, SHIPPED, WALL, read_budget
from bulkhead.drill.compare import read_result
from bulkhead.errors import ConfigError
from bulkhead.inventory.components import Component, components, digest, find, measure_loads
from bulkhead.inventory.cyclonedx import document
from bulkhead.inventory.loaded import COMMANDS
from bulkhead.inventory.match import Verdict, matches
from bulkhead.inventory.running import mapping
from bulkhead.inventory.shelf import records
from bulkhead.supervisor.door import ask_status

SECONDS = 60.0
ITSELF, BY_IMAGE = "itself", "in memory only"
_COMMANDS_FALL = "what the command line of this host may do without an order: docs/orders.md lists it"


def inventory(options: argparse.Namespace) -> int:
    """Print it, or whom one component touches."""
    installation = load_installation(Path(options.directory))
    tenants = [tenant for tenant in installation.tenants.values() if not tenant.disabled]
    if options.tenant:
        tenants = [installation.tenant(options.tenant)]
    rows = components(measure_loads())
    if options.cyclonedx:
        print(json.dumps(document(rows, bulkhead.__version__, datetime.now(UTC)), ensure_ascii=False, indent=1))
        return ExitCode.OK
    chosen = rows
    touched: dict[str, Any] | None = None
    if options.touched:
        chosen = tuple(find(rows, options.touched))
        if not chosen:
            raise ConfigError(f"{options.touched} is not installed; bulkhead inventory --all lists what is")
        touched = _touched(installation, tenants, chosen, options)
    as_of = time.time_ns() // 1_000_000
    if options.json:
        found: dict[str, Any] = {
            "as_of": as_of, "version": bulkhead.__version__, "inventory": digest(rows).hex(),
            "components": [_component(row) for row in chosen],
        }  # fmt: skip
        print_json(options.command, found if touched is None else {**found, "touched": touched})
    elif touched is None:
        _print(rows, every=options.every)
    else:
        _print_touched(chosen, touched, as_of)
    return ExitCode.OK


def _component(row: Component) -> dict[str, Any]:
    return {
        "name": row.name, "version": row.version, "kind": row.kind, "within": row.within, "licence": row.licence,
        "sha256": row.sha256, "purl": row.purl, "since": row.since, "used": list(row.used), "mapped": list(row.mapped),
    }  # fmt: skip


def _print(rows: Sequence[Component], *, every: bool) -> None:
    shown = [row for row in rows if every or row.used or row.mapped]
    print_table(("COMPONENT", "VERSION", "IN", "LICENCE", "SHA-256", "LOADED BY"), [
        (row.name, row.version or "-", row.within or "-", row.licence or "-", row.sha256[:12] or "-", _users(row))
        for row in shown
    ])  # fmt: skip
    print(f"{len(rows)} components are installed, {len(shown)} listed; inventory {digest(rows).hex()}")


def _users(row: Component) -> str:
    """Who loads it itself, and how many more have it in memory by their image."""
    every = {*PROCESSES, COMMANDS}
    named = "everybody" if set(row.used) == every else ",".join(row.used)
    more = len(set(row.mapped) - set(row.used))
    return (named or "-") + f" (+{more} {BY_IMAGE})" * bool(more)


def _touched(
    installation: Installation, tenants: Sequence[Tenant], chosen: Sequence[Component], options: argparse.Namespace
) -> dict[str, Any]:
    drill = read_result(Path(options.drill)) if options.drill else None
    used = {name for row in chosen for name in row.used}
    mapped = {name for row in chosen for name in row.mapped} | used
    people = _people(installation, tenants, chosen)
    known = [match for match in matches(records(installation.directory), chosen) if match.verdict is Verdict.CONCERNED]
    return {
        "component": options.touched,
        "compartments": [
            {
                "compartment": name, "loads": ITSELF if name in used else BY_IMAGE,
                "falls": PROCESSES[name].falls if name in PROCESSES else _COMMANDS_FALL,
                "reaches": list(_reaches(name, drill)),
            }
            for name in (*PROCESSES, COMMANDS) if name in mapped
        ],
        "tenants": people,
        "accounts": sum(row["accounts"] or 0 for row in people),
        "counted": all(row["accounts"] is not None for row in people),
        "advisories": sorted({match.record.id for match in known}),
        "drill": str(drill["as_of"]) if drill else None,
    }  # fmt: skip


def _reaches(compartment: str, drill: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Cells of the matrix that the budget accepts as more than nothing, with what a drill measured."""
    seen: set[tuple[str, str]] = set()  # an entry of each mode may say the same
    for entry in read_budget(SHIPPED).entries:
        what = (entry.column, str(entry.ceiling))
        here = compartment in PROCESSES and entry.compartment in {compartment, EVERY} and entry.column != WALL
        if here and what not in seen and entry.ceiling != 0:
            seen.add(what)
            measured = [
                line["cells"][entry.column]["reached"] for line in (drill["matrix"] if drill else ())
                if line["compartment"] == compartment and entry.column in line["cells"]
            ]  # fmt: skip
            known = [value for value in measured if value is not None]
            yield {"what": entry.column, "ceiling": str(entry.ceiling), "measured": max(known, default=None)}


def _people(installation: Installation, tenants: Sequence[Tenant], chosen: Sequence[Component]) -> list[dict[str, Any]]:
    async def started(road: Road) -> tuple[bool, tuple[str, ...] | None]:
        said: dict[str, Any] = ask_status(str(road.layout.socket))
        pids = {int(unit["pid"]): str(unit["compartment"]) for unit in said["processes"] if unit["pid"]}
        return not cell_waits_for(road, chosen), mapping(pids, chosen)

    asked: list[tuple[str, Asked]] = [("directory", CountAccounts()), (CELL, started)]
    answers = wait_for(ask_all(installation, tenants, asked, SECONDS))
    rows: list[dict[str, Any]] = []
    for tenant in tenants:
        mine = {one.compartment: one.reply for one in answers if one.tenant == tenant.id and one.error is None}
        counts: AccountCounts | None = mine.get("directory")
        statuses = {} if counts is None else {
            STATUS_NAMES[row.status]: row.accounts for row in counts.rows
            if row.status != AccountStatus.PURGED
        }  # fmt: skip
        rows.append({
            "tenant": tenant.id, "name": tenant.settings.text("name"), "running": bool(mine),
            "accounts": sum(statuses.values()) if counts else None,
            "by_status": [{"status": name, "accounts": number} for name, number in statuses.items()],
            "started": mine[CELL][0] if CELL in mine else None,
            "live": mine[CELL][1] if CELL in mine else None,
        })  # fmt: skip
    return rows


def _reach_text(row: Mapping[str, Any]) -> str:
    """Columns of the matrix; what falls with it, in words, where it is hardly more than its own service."""
    told = [
        f"{one['what']}: {one['ceiling']}" + f" (measured {one['measured']})" * (one["measured"] is not None)
        for one in row["reaches"]
    ]  # fmt: skip
    slight = {one["what"] for one in row["reaches"]} <= {"availability", "persistence"}
    return "; ".join(([row["falls"]] if slight else []) + told)


def _by_live(tenants: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[str]]:
    """Tenants by the compartments that map it now; those that could not be looked into are left out."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in tenants:
        if row["live"] is not None:
            found.setdefault(tuple(row["live"]), []).append(row["tenant"])
    return found


def _print_touched(chosen: Sequence[Component], touched: Mapping[str, Any], as_of: int) -> None:
    for row in chosen:
        within = f" in {row.within}" * bool(row.within)
        print(f"{row.name} {row.version or '(version unknown)'}{within}  {row.licence}  {row.sha256[:12]}".rstrip())
    known = touched["advisories"]
    print(
        f"known flaws of this version: {', '.join(known) if known else 'none among the advisories that were brought'}\n"
    )
    print_table(("COMPARTMENT", "LOADS IT", "COULD REACH, AT MOST (BUDGET)"), [
        (
            row["compartment"], row["loads"],
            _reach_text(row),
        )
        for row in touched["compartments"]
    ])  # fmt: skip
    print()
    print_table(("TENANT", "RUNS", "THIS VERSION", "ACCOUNTS", "BY STATUS"), [
        (
            row["tenant"], "yes" if row["running"] else "no",
            "-" if row["started"] is None else "yes" if row["started"] else "or an older one: not started since",
            "-" if row["accounts"] is None else row["accounts"],
            ", ".join(f"{one['status']} {one['accounts']}" for one in row["by_status"]) or "-",
        )
        for row in touched["tenants"]
    ])  # fmt: skip
    accounts = f"{touched['accounts']:,} accounts of {len(touched['tenants'])} tenants"
    for live, names in _by_live(touched["tenants"]).items():
        by = "every compartment" if set(live) == set(PROCESSES) else ", ".join(live) or "none"
        print(f"mapped now, as /proc shows, in {', '.join(names)} by {by}")
    partly = "" if touched["counted"] else "; of cells that do not run nothing is counted"
    print(f"{accounts} as of {time_text(as_of)}: a ceiling{partly}")

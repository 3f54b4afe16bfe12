"""`status`: what runs where, as whom, at which level. Standard library only."""

import argparse
import re
from pathlib import Path
from typing import Any

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, print_table, size_text
from bulkhead.config import Installation, Tenant, load_installation
from bulkhead.errors import TemporaryFailure
from bulkhead.supervisor.door import ask_status
from bulkhead.supervisor.layout import Layout

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_UID = re.compile(r"^Uid:\t(\d+)", re.MULTILINE)
_UNIT_KEYS = (
    "tenant", "compartment", "worker", "incarnation", "pid", "uid", "state", "restarts", "twin", "connections",
    "sessions", "sessions_begun", "accepting", "retiring",
)  # fmt: skip
_OF_GATES = ("connections", "sessions", "sessions_begun", "accepting")
Row = dict[str, Any]


def status(options: argparse.Namespace) -> int:
    """Print one row a process, rows for stopped tenants too; 1 where a tenant that should run does not."""
    installation = load_installation(Path(options.directory))
    tenants, processes = status_rows(installation)
    _add_logins(installation, tenants)
    _add_ledger(installation, tenants)
    running = all(row["state"] in {"running", "disabled"} for row in tenants)
    if options.json:
        print_json(options.command, {"running": running, "tenants": tenants, "processes": processes})
    else:
        _print(tenants, processes)
    return ExitCode.OK if running else ExitCode.FINDING


def _add_logins(installation: Installation, rows: list[Row]) -> None:
    """What auth of each running tenant says of logins."""
    from bulkhead.cli.logins import count_logins  # here: `status_rows` needs the standard library alone

    live = [row for row in rows if row["state"] == "running"]
    counts = count_logins(installation, [installation.tenant(row["tenant"]) for row in live])
    for row, found in zip(live, counts, strict=True):
        row["logins"] = found


def _add_ledger(installation: Installation, rows: list[Row]) -> None:
    """What ledger of each running tenant says of itself and its witness."""
    from bulkhead.cli.ledger_state import as_row, ledger_states  # as above

    live = [row for row in rows if row["state"] == "running"]
    states = ledger_states(installation, [installation.tenant(row["tenant"]) for row in live])
    for row, state in zip(live, states, strict=True):
        row["ledger"] = as_row(state)


def status_rows(installation: Installation) -> tuple[list[Row], list[Row]]:
    """Rows of all tenants, and of all their processes."""
    tenants: list[Row] = []
    processes: list[Row] = []
    for tenant in installation.tenants.values():
        row, found = _of_tenant(installation, tenant)
        tenants.append(row)
        processes += found
    return tenants, processes


def _of_tenant(installation: Installation, tenant: Tenant) -> tuple[Row, list[Row]]:
    row: Row = {
        "tenant": tenant.id, "slot": tenant.slot, "state": "disabled" if tenant.disabled else "stopped",
        "pid": None, "started": None, "level": None, "memory_bytes": None, "gates": [], "logins": None,
        "ledger": None,
    }  # fmt: skip
    try:
        found: Any = ask_status(str(Layout(installation.directory.absolute(), tenant.id).socket))
    except TemporaryFailure:
        return row, []
    levels = found["levels"].get("compartments", {})
    own = {"tenant": tenant.id, "worker": 0, "level": None, "missing": [], "restarts": 0, "twin": False,
           "incarnation": 1, "connections": None, "sessions": None, "sessions_begun": None, "accepting": None,
           "retiring": False}  # fmt: skip
    processes = [_process(own | {"compartment": "supervisor", "pid": found["pid"], "state": "started"})]
    processes += [
        _process(
            own
            | {
                "compartment": f"image-{name}",
                "pid": pid,
                "state": "started",
                "missing": _not_applied(found.get("image_locks", {}).get(name, {})),
            }
        )
        for name, pid in found["images"].items()
    ]
    gates = {crew["gate"] for crew in found["gates"]}
    for unit in found["processes"]:
        level = levels.get(unit["compartment"], {})
        none = {} if unit["compartment"] in gates else dict.fromkeys(_OF_GATES)
        processes.append(_process({
            **{key: unit[key] for key in _UNIT_KEYS}, **none,
            "level": level.get("level"), "missing": level.get("missing", []) + _not_applied(unit["lock"]),
        }))  # fmt: skip
    sizes = [process["memory_bytes"] for process in processes if process["pid"]]
    row |= {
        "state": "running" if found["ready"] else "starting", "pid": found["pid"],
        "started": int(found["started"] * 1000), "gates": found["gates"],
        "level": max((level["level"] for level in levels.values()), default=None),
        "memory_bytes": None if None in sizes else sum(sizes),
    }  # fmt: skip
    return row, processes


def _process(row: Row) -> Row:
    row.setdefault("uid", _uid(row["pid"]))
    row["memory_bytes"] = pss_bytes(row["pid"])
    return row


def _not_applied(lock: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{name} {step['outcome']}: {step['detail']}" for name, step in lock.items() if step["outcome"] != "applied"
    ]


def pss_bytes(pid: int) -> int | None:
    """Proportional set size of a process, or None where it may not be read or is gone."""
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"))
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _uid(pid: int) -> int | None:
    """Its real uid: the owner of its directory is root where the process may not be looked into."""
    try:
        found = _UID.search(Path(f"/proc/{pid}/status").read_text("utf-8", "replace"))
    except OSError:
        return None
    return int(found[1]) if found else None


def _print(tenants: list[Row], processes: list[Row]) -> None:
    head = ("TENANT", "COMPARTMENT", "PID", "UID", "LEVEL", "STATE", "SESSIONS", "MEMORY", "RESTARTS")
    rows = []
    for tenant in tenants:
        if tenant["pid"] is None:
            rows.append((tenant["tenant"], "-", "-", "-", "-", tenant["state"], "-", "-", "-"))
        for row in processes:
            if row["tenant"] == tenant["tenant"]:
                name = row["compartment"] + (f"/{row['worker']}" if row["worker"] else "") + (" twin" * row["twin"])
                rows.append((row["tenant"], name, row["pid"] or "-", row["uid"], row["level"] or "-",
                             _state(row), _sessions(row), _memory(row["memory_bytes"]), row["restarts"]))  # fmt: skip
    print_table(head, [tuple("-" if cell is None else str(cell) for cell in row) for row in rows])
    known = [tenant["memory_bytes"] for tenant in tenants if tenant["memory_bytes"] is not None]
    if known:
        print(f"{len(known)} cells, {len(processes)} processes, {size_text(sum(known))} of memory")
    for line in (*_gates(tenants), *_logins(tenants), *_ledgers(tenants)):
        print(line)
    lines: dict[str, set[str]] = {}
    for row in processes:
        for what in row["missing"]:
            lines.setdefault(what, set()).add(row["compartment"])
    for what, compartments in lines.items():
        print(f"missing: {what} [{', '.join(sorted(compartments))}]")


def _state(row: Row) -> str:
    if row["retiring"]:
        return "retiring"
    return "full" if row["state"] == "started" and row["accepting"] is False else str(row["state"])


def _sessions(row: Row) -> str:
    return "-" if row["sessions"] is None else str(row["sessions"])


def _gates(tenants: list[Row]) -> list[str]:
    """One line for each gate that has had more than the one worker."""
    return [
        f"{tenant['tenant']}/{crew['gate']}: {crew['workers']} workers of at most {crew['workers_max']}, "
        f"{crew['accepting']} accept, {crew['retiring']} make way, {crew['recycled']} recycled; mode {crew['mode']}"
        for tenant in tenants
        for crew in tenant["gates"]
        if crew["workers"] > 1 or crew["recycled"]
    ]


def _logins(tenants: list[Row]) -> list[str]:
    from bulkhead.cli.logins import login_lines  # as above

    return [line for tenant in tenants if tenant["logins"] for line in login_lines(tenant["tenant"], tenant["logins"])]


def _ledgers(tenants: list[Row]) -> list[str]:
    from bulkhead.cli.ledger_state import LedgerState, ledger_lines  # as above

    found = [(tenant["tenant"], LedgerState(**tenant["ledger"])) for tenant in tenants if tenant["ledger"]]
    return [line for name, state in found for line in ledger_lines(name, state)]


def _memory(octets: int | None) -> str:
    return "-" if octets is None else size_text(octets)

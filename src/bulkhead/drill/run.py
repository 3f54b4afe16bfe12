"""`bulkhead drill`: brings the range up, runs every row, builds the matrix, holds it against the budget."""

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import bulkhead
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_table, say
from bulkhead.drill.budget import SHIPPED, over_budget, read_budget
from bulkhead.drill.matrix import build
from bulkhead.drill.range import Range
from bulkhead.drill.reach import strike_range
from bulkhead.drill.result import Result
from bulkhead.drill.rows import Chosen, Kind, Row, verdict_of
from bulkhead.drill.scratch import scratch_range
from bulkhead.drill.semantic import Count, Mode, SemanticProbe, load_semantic
from bulkhead.drill.text import remarks, table
from bulkhead.drill.walls import starting_user, strike_walls
from bulkhead.errors import Error


def run(options: argparse.Namespace) -> int:
    """0 within budget, 1 over it."""
    chosen = Chosen.of(options.rows)
    budget = read_budget(Path(options.budget) if options.budget else SHIPPED)
    begin = time.monotonic()
    told = say if not options.quiet else (lambda _: None)
    with scratch_range(told) as range_:
        rows, levels = strike(range_, chosen, told, slow=options.all)
        live = {mode: _live(range_, mode) for mode in Mode}
        lines = build(rows, levels, range_.home, range_.owner, live)
        result = Result(
            as_of=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            version=bulkhead.__version__,
            kernel=os.uname().release,
            user=starting_user(),
            live=False,
            whole=not chosen.patterns,
            seconds=time.monotonic() - begin,
            home=range_.home,
            tenants=range_.tenants,
            canaries={
                "tenants": len(range_.tenants),
                "accounts": len(range_.accounts(status="")),
                "messages": len(range_.letters()),
                "queued": sum(len(letters) for letters in range_.queued.values()),
            },
            lines=lines,
            rows=rows,
            budget=budget,
            over=over_budget(budget, lines),
        )
    show(result, options)
    return ExitCode.OK if result.within else ExitCode.FINDING


def strike(
    range_: Range, chosen: Chosen, told: Callable[[str], None], *, slow: bool
) -> tuple[list[Row], dict[str, str]]:
    """Every chosen row: walls, then what is there to reach, then the semantic probes, those that disturb last."""
    rows, levels = strike_walls(range_, chosen, told)
    rows += strike_range(range_, chosen, told)
    probes = [p for p in load_semantic().values() if chosen.wants(p.compartment, p.name) and (slow or not p.slow)]
    probes.sort(key=lambda probe: probe.disturbs)
    if probes:
        told(f"{len(probes)} semantic probes")
    for probe in probes:
        for mode in tuple(Mode) if probe.by_mode else (None,):
            rows.append(strike_semantic(range_, probe, mode))
    return rows, dict(levels)


def strike_semantic(range_: Range, probe: SemanticProbe, mode: Mode | None) -> Row:
    """One row. Whatever a probe raises is told as a control that failed: it shows nothing."""
    begin = time.monotonic()
    range_.mode = mode or Mode.DEFAULT
    try:
        reached = probe.run(range_)
        counts, control, note = dict(reached.counts), reached.control, reached.note
    except (Error, OSError, EOFError, ValueError, KeyError, LookupError) as fault:
        counts, control, note = {}, f"{type(fault).__name__}: {fault}"[:200], "the probe did not come to its end"
    finally:
        range_.mode = Mode.DEFAULT
    for column in probe.columns:
        counts.setdefault(column, Count(frozenset(), frozenset()))
    kind = Kind.CHARTER if probe.by_charter else Kind.SEMANTIC
    seconds = time.monotonic() - begin
    return Row(
        probe.name, probe.compartment, kind, verdict_of(counts, control), counts, mode=mode, control=control, note=note,
        seconds=seconds,
    )  # fmt: skip


def _live(range_: Range, mode: Mode) -> frozenset[str]:
    range_.mode = mode
    try:
        return frozenset(account.address for account in range_.sessions)
    finally:
        range_.mode = Mode.DEFAULT


def show(result: Result, options: argparse.Namespace) -> None:
    """Print it, or write it where it was asked for."""
    if options.json:
        print(json.dumps(result.document(), ensure_ascii=False))
        return
    head, rows = table(result)
    print_table(head, rows)
    print()
    for line in remarks(result):
        print(line)

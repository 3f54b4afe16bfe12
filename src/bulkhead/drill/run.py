"""`bulkhead drill`: brings the range up, runs every row, builds the matrix, holds it against the budget."""

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bulkhead
from bulkhead.boundary.processes import PROCESSES
from bulkhead.cli.drill_record import Counts, record_drill
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_table, say
from bulkhead.config import Installation, load_installation
from bulkhead.drill.budget import SHIPPED, over_budget, read_budget
from bulkhead.drill.compare import changes, read_result
from bulkhead.drill.live import choose_tenant, clean, confirm, first_uid, live_range, safe_rows
from bulkhead.drill.matrix import build
from bulkhead.drill.pair_samples import sample
from bulkhead.drill.pairs import compute
from bulkhead.drill.picture import html, svg
from bulkhead.drill.probes import load_probes
from bulkhead.drill.range import Range
from bulkhead.drill.reach import KINDS, strike_range
from bulkhead.drill.result import Result
from bulkhead.drill.rows import Chosen, Kind, Row, Verdict, verdict_of
from bulkhead.drill.scratch import scratch_range
from bulkhead.drill.semantic import Column, Count, Mode, SemanticProbe, load_semantic
from bulkhead.drill.text import remarks, table
from bulkhead.drill.walls import starting_user, strike_walls
from bulkhead.errors import ConfigError, Error


def run(options: argparse.Namespace) -> int:
    """0 within budget, 1 over it."""
    chosen = Chosen.of(options.rows)
    _check_chosen(chosen)
    budget = read_budget(Path(options.budget) if options.budget else SHIPPED)
    begin = time.monotonic()
    earlier = read_result(Path(options.compare)) if options.compare else None
    told = (lambda _: None) if options.quiet else say
    signal.signal(signal.SIGTERM, _interrupt)  # whoever ends the drill ends its six cells with it
    tenant = ""
    if options.live:
        directory = Path(options.live).absolute()
        tenant = choose_tenant(load_installation(directory), options.tenant)
        if options.clean:
            clean(directory, tenant, told)
            return ExitCode.OK
        if not options.yes:
            confirm(directory, tenant)
    with live_range(directory, tenant, told) if tenant else scratch_range(told) as range_:
        if tenant:
            rows, levels = strike_live(range_, chosen, told)
        else:
            rows, levels = strike(range_, chosen, told, slow=options.all)
        live = {mode: _live(range_, mode) for mode in Mode}
        lines = build(rows, levels, range_.home, range_.owner, live)
        pairs = [] if chosen.patterns or tenant else sample(range_, compute(lines, everything(range_)), told)
        result = Result(
            as_of=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            version=bulkhead.__version__,
            kernel=os.uname().release,
            user=starting_user(),
            live=bool(tenant),
            whole=not chosen.patterns and not tenant,
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
            pairs=pairs,
        )
        document = json.dumps(result.document(), ensure_ascii=False)
        told(f"into the ledgers: {_record(range_.installation, result, document, tenant)}")
    if options.record:
        say(f"into the ledgers: {_record(load_installation(Path(options.record)), result, document)}")
    show(result, document, options, earlier)
    return ExitCode.OK if result.within else ExitCode.FINDING


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _check_chosen(chosen: Chosen) -> None:
    """Raises ConfigError on a pattern that names no row: a drill of nothing would be within every budget."""
    rows = {(name, probe) for probe in (*load_probes(), *(f"reach-{kind}" for kind in KINDS)) for name in PROCESSES}
    rows |= {(probe.compartment, probe.name) for probe in load_semantic().values()}
    for pattern in chosen.patterns:
        if not any(Chosen((pattern,)).wants(compartment, probe) for compartment, probe in rows):
            raise ConfigError(f"--rows {pattern}: no compartment, probe or compartment/probe is called so")


def strike(
    range_: Range, chosen: Chosen, told: Callable[[str], None], *, slow: bool
) -> tuple[list[Row], dict[str, str]]:
    """Every chosen row: walls, then what is there to reach, then the semantic probes, those that disturb last."""
    rows, levels = strike_walls(range_, chosen, told)
    rows += strike_range(range_, chosen, told)
    probes = [p for p in load_semantic().values() if chosen.wants(p.compartment, p.name) and (slow or not p.slow)]
    probes.sort(key=lambda probe: probe.disturbs)
    return rows + _strike_all(range_, probes, told), dict(levels)


def strike_live(range_: Range, chosen: Chosen, told: Callable[[str], None]) -> tuple[list[Row], dict[str, str]]:
    """The chosen rows that are safe in an installation in use: walls, what is there to reach, some semantic ones."""
    rows, levels = strike_walls(range_, chosen, told, first_uid(range_.installation))
    rows += strike_range(range_, chosen, told)
    probes = [probe for probe in safe_rows() if chosen.wants(probe.compartment, probe.name)]
    return rows + _strike_all(range_, probes, told), dict(levels)


def _strike_all(range_: Range, probes: Sequence[SemanticProbe], told: Callable[[str], None]) -> list[Row]:
    if probes:
        told(f"{len(probes)} semantic probes")
    return [
        strike_semantic(range_, probe, mode) for probe in probes for mode in (tuple(Mode) if probe.by_mode else (None,))
    ]


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


def everything(range_: Range) -> dict[Column, frozenset[str]]:
    """All canaries at home, by column."""
    home = range_.home
    active = frozenset(account.address for account in range_.accounts(home))
    stored = frozenset(letter.name for letter in range_.letters(home))
    return {
        Column.ADDRESSES: range_.addresses(home), Column.VERIFIERS: active, Column.TYPED_PASSWORDS: active,
        Column.KEYS: active, Column.STORED_MAIL: stored, Column.MAIL_ALTERED: stored, Column.MAIL_DESTROYED: stored,
        Column.MAIL_IN_TRANSIT: frozenset(letter.name for letter in range_.queued[home]),
    }  # fmt: skip


def _record(installation: Installation, result: Result, document: str, tenant: str = "") -> str:
    reached = sum(row.verdict in {Verdict.REACHED, Verdict.GRANTED} for row in result.rows)
    counts = Counts(len(result.rows), reached, len(result.unproven), len(result.over))
    found = record_drill(installation, (document + "\n").encode(), counts, live=result.live, tenant=tenant)
    return ", ".join(f"{tenant} entry {index}" for tenant, index in found.items())


def show(result: Result, document: str, options: argparse.Namespace, earlier: Mapping[str, Any] | None) -> None:
    """Print it, and write it where it was asked for."""
    for name, content in ((options.svg, svg), (options.html, html)):
        if name:
            Path(name).write_text(content(result), encoding="utf-8")
    if options.json == "-":
        print(document)
        return
    if options.json:
        Path(options.json).write_text(document + "\n", encoding="utf-8")
    head, rows = table(result)
    print_table(head, rows)
    print()
    for line in remarks(result):
        print(line)
    if earlier is not None:
        found = list(changes(earlier, json.loads(document)))
        print(f"\nchanged since {earlier['as_of']}: {len(found) or 'nothing'}")
        for line in found:
            print(f"  {line}")

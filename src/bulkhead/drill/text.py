"""The result for a terminal. PURE."""

from collections.abc import Iterator

from bulkhead.drill.matrix import Basis, Cell, lines_differ
from bulkhead.drill.result import Result
from bulkhead.drill.semantic import Column, Mode

SHORT = {
    Column.OTHER_TENANTS: "OTHER ISPS", Column.ADDRESSES: "ADDRESSES", Column.VERIFIERS: "VERIFIERS",
    Column.TYPED_PASSWORDS: "PASSWORDS", Column.STORED_MAIL: "STORED", Column.MAIL_IN_TRANSIT: "TRANSIT",
    Column.MAIL_ALTERED: "ALTERED", Column.MAIL_DESTROYED: "DESTROYED", Column.KEYS: "KEYS", Column.ORDERS: "ORDERS",
    Column.NETWORK: "NETWORK", Column.PERSISTENCE: "PERSIST", Column.AVAILABILITY: "AVAIL",
}  # fmt: skip


def cell_text(cell: Cell) -> str:
    """`3/12` reached; `+2` acts that take no canary; `*` by charter; `-` not tried."""
    if cell.basis is Basis.NOT_TRIED:
        return "-"
    of = len(cell.count.canaries.of)
    text = f"{cell.reached}/{of}" if of else "0"
    return text + f"+{cell.hits}" * bool(cell.hits) + "*" * (cell.basis is Basis.CHARTER)


def table(result: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the matrix. A compartment that reaches the same in both modes has one row."""
    head = ("COMPARTMENT", "WALL", *SHORT.values())
    rows = []
    for line in result.lines:
        differs = lines_differ(result.lines, line.compartment)
        if line.mode is Mode.STRICT and not differs:
            continue
        name = line.compartment + (f" ({line.mode.value})" if differs else "")
        wall = f"{len(line.wall.reached)}/{line.wall.tried} {line.level}".rstrip() if line.wall.tried else "-"
        rows.append((name, wall, *(cell_text(line.cells[column]) for column in Column)))
    return head, rows


def remarks(result: Result) -> Iterator[str]:
    """What stands below the matrix."""
    yield "reached/of how many canaries, +n acts besides; * by charter, not measured; - not tried; none: not there"
    counted = ", ".join(f"{number} {name}" for name, number in result.canaries.items())
    yield f"canaries: {counted}; hostile compartments of {result.home}, run as {result.user}"
    unproven = [f"{row.compartment}/{row.name}: {row.control}" for row in result.unproven]
    yield f"unproven (the same act failed where it should work): {len(unproven)}"
    yield from (f"  {text}" for text in unproven[:40])
    yield ""
    worst = [pair for pair in result.pairs if pair.means][:5]
    if worst:
        yield f"two together, computed from PEERS: the worst of {len(result.pairs)} pairs"
    for pair in worst:
        gains = ", ".join(f"{c.value} {both} of {of} (alone {one})" for c, (both, one, of) in pair.gains.items())
        yield f"  {' + '.join(pair.compartments)}: {pair.means[0]}" + (f"; {gains}" if gains else "")
        if pair.sampled:
            yield f"    live: {pair.sampled}"
    if worst:
        yield ""
    if result.gaps:
        yield f"UNPROVEN AND NOT ACCEPTED ({result.budget.path}): {len(result.gaps)} rows"
    if result.over:
        yield f"OVER BUDGET ({result.budget.path}): {len(result.over)} cells"
        for excess in result.over:
            named = ", ".join(excess.names)
            yield (
                f"  {excess.compartment} / {excess.column} ({excess.mode.value}): {excess.reached} reached, "
                f"{excess.allowed} allowed: {named}"
            )
    if result.within:
        yield f"within budget ({result.budget.path})"
    yield f"{len(result.rows)} rows in {result.seconds:.1f} s"

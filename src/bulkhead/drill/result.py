"""The whole result of a drill, and its JSON document `bulkhead/drill/1` (docs/drill.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.drill.budget import Budget, Excess
from bulkhead.drill.matrix import Line
from bulkhead.drill.pairs import Pair
from bulkhead.drill.rows import Row, Verdict

SCHEMA = "bulkhead/drill/1"


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that one drill found. whole: whether no row was left out by `--rows`."""

    as_of: str
    version: str
    kernel: str
    user: str
    live: bool
    whole: bool
    seconds: float
    home: str
    tenants: tuple[str, ...]
    canaries: dict[str, int]
    lines: Sequence[Line]
    rows: Sequence[Row]
    budget: Budget
    over: Sequence[Excess]
    pairs: Sequence[Pair] = ()

    @property
    def within(self) -> bool:
        """Whether nothing is over budget, and no row shows nothing that the budget does not accept as such."""
        return not self.over and not self.gaps

    @property
    def gaps(self) -> list[Row]:
        """Rows that show nothing, unaccepted."""
        return [row for row in self.unproven if not self.budget.accepts_gap(row.name, self.user)]

    @property
    def unproven(self) -> list[Row]:
        """Rows that show nothing."""
        return [row for row in self.rows if row.verdict is Verdict.UNPROVEN]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "within_budget": self.within,
            "as_of": self.as_of,
            "version": self.version,
            "kernel": self.kernel,
            "user": self.user,
            "live": self.live,
            "whole": self.whole,
            "seconds": round(self.seconds, 1),
            "home": self.home,
            "tenants": list(self.tenants),
            "canaries": self.canaries,
            "matrix": [line.document() for line in self.lines],
            "over": [excess.document() for excess in self.over],
            "budget": [
                {
                    "compartment": e.compartment, "column": e.column, "mode": e.mode.value if e.mode else None,
                    "ceiling": e.ceiling, "probes": list(e.probes), "reason": e.reason,
                }
                for e in self.budget.entries
            ],
            "gaps": [f"{row.compartment}/{row.name}" for row in self.gaps],
            "pairs": [pair.document() for pair in self.pairs],
            "rows": [row.document() for row in self.rows],
        }  # fmt: skip

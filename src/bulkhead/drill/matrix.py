"""The matrix: compartment and mode by column, as unions of what the rows reached. PURE."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.rows import Kind, Row, Verdict, names_of
from bulkhead.drill.semantic import Column, Count, Mode

_OUTSIDE = frozenset({Column.NETWORK})  # another tenant's public listener is the network's, not the tenant


class Basis(Enum):
    """Where a cell's number comes from."""

    MEASURED = "measured"
    CHARTER = "charter"  # what was reached stands in the compartment's charter, and no probe showed it
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number. sessions: how many of the reached are those of the worker's live sessions.

    others: how many of them belong to other tenants.   unproven: rows of it that show nothing.
    """

    count: Count
    sessions: int
    others: int
    basis: Basis
    rows: int
    unproven: int

    @property
    def reached(self) -> int:
        """How many canaries."""
        return len(self.count.canaries.reached)

    @property
    def hits(self) -> int:
        """How many attempts besides gave what success means."""
        return len(self.count.attempts.reached)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        known = self.basis in {Basis.MEASURED, Basis.CHARTER}
        return {
            "reached": self.reached if known else None, "of": len(self.count.canaries.of) if known else None,
            "attempts": {"reached": self.hits, "of": len(self.count.attempts.of)},
            "sessions": self.sessions, "others": self.others, "basis": self.basis.value,
            "rows": self.rows, "unproven": self.unproven, "names": names_of(self.count),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wall:
    """The acts against a compartment's wall, however little a success would yield."""

    tried: int
    reached: tuple[str, ...]
    granted: tuple[str, ...]
    unproven: tuple[str, ...]
    absent: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "tried": self.tried, "reached": list(self.reached), "granted": list(self.granted),
            "unproven": list(self.unproven), "absent": list(self.absent),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One compartment in one mode."""

    compartment: str
    mode: Mode
    level: str
    wall: Wall
    cells: Mapping[Column, Cell]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "compartment": self.compartment, "mode": self.mode.value, "level": self.level or None,
            "wall": self.wall.document(), "cells": {c.value: cell.document() for c, cell in self.cells.items()},
        }  # fmt: skip


def build(
    rows: Sequence[Row],
    levels: Mapping[str, str],
    home: str,
    owner: Callable[[str], str],
    live: Mapping[Mode, Set[str]],
) -> list[Line]:
    """A line for every compartment of the rows and each mode. live: addresses of the sessions in a hostile worker."""
    found = {row.compartment for row in rows}
    return [
        _line(name, mode, [r for r in rows if r.compartment == name and r.mode in {None, mode}],
              levels.get(name, ""), home, owner, live.get(mode, frozenset()))
        for mode in Mode
        for name in PROCESSES if name in found
    ]  # fmt: skip


def _line(
    compartment: str, mode: Mode, rows: Sequence[Row], level: str, home: str, owner: Callable[[str], str],
    live: Set[str],
) -> Line:  # fmt: skip
    cells = {}
    foreign = {
        tenant
        for row in rows
        for column, count in row.counts.items()
        if column not in _OUTSIDE
        for name in count.reached
        if not name.startswith("wall/") and (tenant := owner(name)) != home
    }
    for column in Column:
        touching = [row for row in rows if column in row.counts]
        count = Count(frozenset(), frozenset())
        for row in touching:
            count |= row.counts[column]
        if column is Column.OTHER_TENANTS and foreign:
            count |= Count(frozenset(foreign), frozenset())
        cells[column] = Cell(
            count=count,
            sessions=sum(name.partition("/")[0] in live for name in count.canaries.reached),
            others=sum(owner(name) != home for name in count.reached) if column not in _OUTSIDE else 0,
            basis=_basis(column, touching, count),
            rows=len(touching),
            unproven=sum(row.verdict is Verdict.UNPROVEN for row in touching),
        )
    return Line(compartment, mode, level, _wall(rows), cells)


def _basis(column: Column, touching: Sequence[Row], count: Count) -> Basis:
    if not touching and not count.reached:
        return Basis.NOT_TRIED
    measured = {name for row in touching if row.kind is not Kind.CHARTER for name in row.counts[column].reached}
    if count.reached - measured:
        return Basis.CHARTER
    return Basis.MEASURED if any(row.verdict is not Verdict.UNPROVEN for row in touching) else Basis.NOT_TRIED


def _wall(rows: Sequence[Row]) -> Wall:
    walls = [row for row in rows if row.kind is Kind.WALL]

    def named(verdict: Verdict) -> tuple[str, ...]:
        return tuple(row.name for row in walls if row.verdict is verdict)

    tried = sum(row.verdict not in {Verdict.ABSENT, Verdict.NOT_APPLICABLE} for row in walls)
    return Wall(
        tried, named(Verdict.REACHED), named(Verdict.GRANTED), named(Verdict.UNPROVEN),
        (*named(Verdict.ABSENT), *named(Verdict.NOT_APPLICABLE)),
    )  # fmt: skip


def lines_differ(lines: Iterable[Line], compartment: str) -> bool:
    """Whether a compartment reaches something else in one mode than in another."""
    numbers = [
        [(cell.reached, cell.basis) for cell in line.cells.values()]
        for line in lines
        if line.compartment == compartment
    ]
    return any(found != numbers[0] for found in numbers)

"""The budget: which non-zero cells of the matrix are accepted, up to what, and why. PURE but for reading the file."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.matrix import Cell, Line
from bulkhead.drill.semantic import ATTEMPT, Column, Mode
from bulkhead.errors import ConfigError

SHIPPED = Path(__file__).with_name("budget.toml")
WALL = "wall"
BUDGET_BYTES_MAX = 1 << 20
REASON_MIN = 10  # characters
SESSIONS, OWN = "sessions", "own"
EVERY = "*"  # compartment of an entry that holds for all
_KEYS = {"compartment", "column", "mode", "ceiling", "probes", "reason"}
_NEVER = frozenset({Column.OTHER_TENANTS.value, Column.VERIFIERS.value})


@dataclass(frozen=True, slots=True)
class Allowance:
    """One entry. mode: None for both.   ceiling: a count, `sessions` or `own`.

    probes: those whose attempts, which reach no canary of the range, may succeed there.
    """

    compartment: str
    column: str
    mode: Mode | None
    ceiling: int | str
    probes: tuple[str, ...]
    reason: str

    def covers(self, cell: Cell) -> bool:
        """Whether the cell stays within it."""
        if any(name.partition(ATTEMPT)[0] not in self.probes for name in cell.count.attempts.reached):
            return False
        if self.ceiling == SESSIONS:
            return cell.reached == cell.sessions
        return cell.others == 0 if self.ceiling == OWN else cell.reached <= int(self.ceiling)


@dataclass(frozen=True, slots=True)
class Gap:
    """A probe that shows nothing where `user` ("root", "user" or "any") starts the drill, and why that is accepted."""

    probe: str
    user: str
    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The file and its entries."""

    path: Path
    entries: tuple[Allowance, ...]
    gaps: tuple[Gap, ...] = ()

    def accepts_gap(self, probe: str, user: str) -> bool:
        """Whether it is accepted that this probe shows nothing. user: `root`, or anybody else."""
        kind = "root" if user == "root" else "user"
        return any(fnmatchcase(probe, gap.probe) and gap.user in {"any", kind} for gap in self.gaps)

    def entry(self, compartment: str, column: str, mode: Mode) -> Allowance | None:
        """What is allowed there, if anything."""
        for entry in self.entries:
            here = entry.compartment in {compartment, EVERY} and entry.column == column
            if here and entry.mode in {None, mode}:
                return entry
        return None


@dataclass(frozen=True, slots=True)
class Excess:
    """A cell over its budget. allowed: its ceiling, "nothing" where it has no entry."""

    compartment: str
    column: str
    mode: Mode
    reached: int
    allowed: str
    names: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "compartment": self.compartment, "column": self.column, "mode": self.mode.value, "reached": self.reached,
            "allowed": self.allowed, "names": list(self.names),
        }  # fmt: skip


def read_budget(path: Path) -> Budget:
    """The entries of a file. Raises ConfigError with the entry that is wrong."""
    try:
        content = path.read_bytes()[: BUDGET_BYTES_MAX + 1]
        document = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    rows = document.get("allow", [])
    gaps = document.get("unproven", [])
    known = not set(document) - {"allow", "unproven"} and isinstance(rows, list) and isinstance(gaps, list)
    if len(content) > BUDGET_BYTES_MAX or not known:
        raise ConfigError(f"{path}: holds [[allow]] and [[unproven]] entries, at most {BUDGET_BYTES_MAX} bytes")
    entries = tuple(_entry(path, number, row) for number, row in enumerate(rows, 1))
    return Budget(path, entries, tuple(_gap(path, number, row) for number, row in enumerate(gaps, 1)))


def _gap(path: Path, number: int, row: Any) -> Gap:
    whole = isinstance(row, dict) and set(row) == {"probe", "user", "reason"}
    if not whole or row["user"] not in {"root", "user", "any"} or len(str(row["reason"])) < REASON_MIN:
        raise ConfigError(f"{path}: unproven {number}: must have probe, user (root, user or any) and a reason")
    return Gap(str(row["probe"]), row["user"], str(row["reason"]))


def _entry(path: Path, number: int, row: Any) -> Allowance:
    where = f"{path}: entry {number}"
    if not isinstance(row, dict) or set(row) - _KEYS or not {"compartment", "column", "ceiling", "reason"} <= set(row):
        raise ConfigError(f"{where}: must have compartment, column, ceiling and reason, and may have mode")
    compartment, column, ceiling = row["compartment"], row["column"], row["ceiling"]
    if compartment not in {EVERY, *PROCESSES}:
        raise ConfigError(f"{where}: no compartment {compartment!r}")
    if column not in {WALL, *(c.value for c in Column)}:
        raise ConfigError(f"{where}: no column {column!r}")
    if column in _NEVER and ceiling != 0:
        raise ConfigError(f"{where}: {column!r} is zero for every compartment; no reason would do")
    if ceiling not in {SESSIONS, OWN} and (isinstance(ceiling, bool) or not isinstance(ceiling, int) or ceiling < 0):
        raise ConfigError(f'{where}: ceiling is a count, "sessions" or "own"')
    if column == Column.STORED_MAIL.value and ceiling not in {SESSIONS, 0}:
        raise ConfigError(f'{where}: stored mail is budgeted for live sessions alone: ceiling = "sessions"')
    if row.get("mode") not in {None, *(mode.value for mode in Mode)}:
        raise ConfigError(f"{where}: mode is default or strict")
    probes = row.get("probes", [])
    if not isinstance(probes, list) or not all(isinstance(probe, str) for probe in probes):
        raise ConfigError(f"{where}: probes is a list of names")
    if not isinstance(row["reason"], str) or len(row["reason"]) < REASON_MIN:
        raise ConfigError(f"{where}: a reason of a sentence")
    mode = Mode(row["mode"]) if "mode" in row else None
    return Allowance(compartment, column, mode, ceiling, tuple(probes), row["reason"])


def over_budget(budget: Budget, lines: Sequence[Line]) -> list[Excess]:
    """Every cell that is over, in the matrix's order."""
    found = []
    for line in lines:
        for column, cell in line.cells.items():
            entry = budget.entry(line.compartment, column.value, line.mode)
            if cell.count.reached and (entry is None or not entry.covers(cell)):
                allowed = "nothing" if entry is None else " and ".join([str(entry.ceiling), *entry.probes])
                names = tuple(sorted(cell.count.reached)[:5])
                reached = len(cell.count.reached)
                found.append(Excess(line.compartment, column.value, line.mode, reached, allowed, names))
        entry = budget.entry(line.compartment, WALL, line.mode)
        if len(line.wall.reached) > (int(entry.ceiling) if entry and isinstance(entry.ceiling, int) else 0):
            allowed = "nothing" if entry is None else str(entry.ceiling)
            acts = line.wall.reached
            found.append(Excess(line.compartment, WALL, line.mode, len(acts), allowed, acts[:5]))
    return found

"""One row of the drill's result: a probe against one compartment, and what it reached. PURE."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from bulkhead.drill.semantic import NAMES_MAX, Column, Count, Mode


class Kind(Enum):
    """How a row came about."""

    WALL = "wall"  # a hostile system call against canaries of its own: probes.toml
    REACH = "reach"  # against the live processes, files, doors and listeners of the range
    SEMANTIC = "semantic"  # through neighbours that keep every rule
    CHARTER = "charter"  # not measured: what the compartment has by its charter, counted as reached


class Verdict(Enum):
    """What a row shows."""

    HELD = "held"  # nothing reached, and the positive control worked
    REACHED = "reached"
    GRANTED = "granted"  # reached, and a duty of the compartment
    UNPROVEN = "unproven"  # nothing reached, but the control failed too: shows nothing
    ABSENT = "absent"  # the kernel does not have it
    NOT_APPLICABLE = "not applicable"  # only root could do it, and nothing here is root


@dataclass(frozen=True, slots=True)
class Row:
    """mode: None for a row that holds in every mode.   control: why the positive control failed, or empty.

    act: whether a success is one of the acts against the wall, which no column counts alone.
    """

    name: str
    compartment: str
    kind: Kind
    verdict: Verdict
    counts: Mapping[Column, Count] = field(default_factory=dict)
    mode: Mode | None = None
    control: str = ""
    note: str = ""
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "compartment": self.compartment,
            "kind": self.kind.value,
            "mode": self.mode.value if self.mode else None,
            "verdict": self.verdict.value,
            "counts": {
                column.value: {"reached": len(count.reached), "of": len(count.of), "names": names_of(count)}
                for column, count in self.counts.items()
            },
            "control": self.control,
            "note": self.note,
            "seconds": round(self.seconds, 3),
        }


def names_of(count: Count) -> list[str]:
    """The first reached canaries, by name."""
    return sorted(count.reached)[:NAMES_MAX]


def verdict_of(counts: Mapping[Column, Count], control: str) -> Verdict:
    """What counts and a control show. A success needs no control."""
    if any(count.reached for count in counts.values()):
        return Verdict.REACHED
    return Verdict.UNPROVEN if control else Verdict.HELD


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows are wanted: shell patterns of `compartment`, `probe` or `compartment/probe`; none means all."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Chosen":
        """From `--rows a,b`."""
        return cls(tuple(part.strip() for part in text.split(",") if part.strip()))

    def wants(self, compartment: str, probe: str) -> bool:
        """Whether a row is wanted."""
        subjects = (compartment, probe, f"{compartment}/{probe}")
        return not self.patterns or any(fnmatchcase(s, p) for s in subjects for p in self.patterns)

    def wants_any(self, probe: str, compartments: Mapping[str, Any]) -> bool:
        """Whether a probe is wanted in any compartment."""
        return any(self.wants(compartment, probe) for compartment in compartments)

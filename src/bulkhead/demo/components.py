"""Which packages and libraries a compartment really maps, and which others map them: from /proc/PID/maps."""

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAPS_MAX = 4 << 20  # octets of one maps file


@dataclass(frozen=True, slots=True)
class Component:
    """One distribution or shared library, and the compartments that map it. version: empty where unknown."""

    name: str
    version: str
    kind: str  # package, library
    compartments: tuple[str, ...]


def mapped_files(pid: int) -> set[str]:
    """Shared objects that a process maps; empty where its maps may not be read."""
    try:
        with Path(f"/proc/{pid}/maps").open("rb") as maps:
            text = maps.read(MAPS_MAX).decode("utf-8", "replace")
    except OSError:
        return set()
    paths = (line.split(maxsplit=5)[5] for line in text.splitlines() if line.count(" ") >= 5 and "/" in line)
    return {path for path in paths if ".so" in Path(path).name}


def components(processes: Sequence[Mapping[str, Any]], target: Sequence[int]) -> list[Component]:
    """What the target's processes map, packages first, with every compartment name that maps the same."""
    names: dict[tuple[str, str], set[str]] = {}
    wanted: set[tuple[str, str]] = set()
    for row in processes:
        found = set(_named(mapped_files(row["pid"])))
        for item in found:
            names.setdefault(item, set()).add(str(row["compartment"]))
        if row["pid"] in target:
            wanted |= found
    versions = _versions()
    rows = [
        Component(name, versions.get(name, "") if kind == "package" else "", kind, tuple(sorted(names[name, kind])))
        for name, kind in wanted
    ]
    return sorted(rows, key=lambda row: (row.kind != "package", row.name))


def _named(paths: Iterable[str]) -> Iterable[tuple[str, str]]:
    """(distribution, "package") or (library, "library"); the interpreter's own extensions are left out."""
    owners = importlib.metadata.packages_distributions()
    for path in paths:
        parts = Path(path).parts
        if "site-packages" in parts:
            top = parts[parts.index("site-packages") + 1].partition(".")[0]
            yield owners.get(top, [top])[0], "package"
        elif "lib-dynload" not in parts:
            yield Path(path).name, "library"


def _versions() -> dict[str, str]:
    return {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}

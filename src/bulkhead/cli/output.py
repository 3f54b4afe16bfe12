"""What commands print: tables for people, one JSON document for programs. Standard library only."""

import json
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bulkhead.cli.tree import Command


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, widths: Sequence[int] | None = None
) -> list[int]:
    """Columns as wide as their widest cell; numbers to the right. Control characters are shown as `?`.

    Returns the widths. widths: those of the page before, which this one goes on with; the head is not repeated.
    """
    texts = [[printable(cell) for cell in row] for row in rows]
    least = [_width(name) for name in head] if widths is None else list(widths)
    wide = [max([least[i], *(_width(row[i]) for row in texts)]) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    for line in [list(head), *texts] if widths is None else texts:
        cells = [_padded(cell, wide[i], right=right[i]) for i, cell in enumerate(line)]
        print("  ".join(cells).rstrip())
    return wide


def print_json(command: Command, document: Mapping[str, Any]) -> None:
    """One line: the document with its schema. Raises ValueError on a key that docs/cli.md does not explain."""
    unknown = sorted(set(paths_of(document)) - set(command.json_keys))
    if unknown:
        raise ValueError(f"undocumented JSON keys of {command.name}: {', '.join(unknown)}")
    print(json.dumps({"schema": command.schema, **document}, ensure_ascii=False))


def paths_of(value: object, prefix: str = "") -> Iterator[str]:
    """Every key of a document as `a`, `a.b`, or `a[].b` inside a list."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            yield path
            yield from paths_of(inner, path)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from paths_of(inner, f"{prefix}[]")


def printable(cell: object) -> str:
    """A cell as text that cannot move the cursor."""
    if cell is None:
        return "-"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}" if abs(cell) >= 100_000 else str(cell)
    return "".join(c if c.isprintable() else "?" for c in str(cell))


def time_text(milliseconds: int) -> str:
    """A time in UTC, RFC 3339, to the second; `-` for 0."""
    if not milliseconds:
        return "-"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size_text(octets: int) -> str:
    """Octets with a binary unit."""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def say(text: str) -> None:
    """A remark for people, on standard error, so that standard output stays for results."""
    print(text, file=sys.stderr, flush=True)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "FW" else 1 for c in text)


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space

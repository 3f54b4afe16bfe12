"""The line of each key in a TOML text: tomllib tells values, not places. Standard library only."""

import re
from collections.abc import Mapping

_PART = r"(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')"
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")
_PARTS = re.compile(_PART)


def _key(dotted: str) -> str:
    return ".".join(part.strip("\"'") for part in _PARTS.findall(dotted))


def key_lines(text: str) -> Mapping[str, int]:
    """Dotted key (and section) to the line, from 1, where it first stands; for text that tomllib has accepted.

    A key inside an inline table is not listed: ask for the table's. Lines inside a multi-line string are passed over.
    """
    lines: dict[str, int] = {}
    section = ""
    fence = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if fence:
            fence = "" if line.count(fence) % 2 else fence
            continue
        if header := _HEADER.fullmatch(line.rstrip("\r")):
            section = _key(header[1])
            lines.setdefault(section, number)
        elif assignment := _ASSIGNMENT.match(line):
            key = _key(assignment[1])
            lines.setdefault(f"{section}.{key}" if section else key, number)
            fence = next((quotes for quotes in ('"""', "'''") if line.count(quotes) % 2), "")
    return lines


def line_of(lines: Mapping[str, int], key: str) -> int:
    """The line of `key`, or of the nearest table around it, or 0."""
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return 0

"""What changed between two results: cells of the matrix, verdicts of rows, rows that came or went."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bulkhead.drill.result import SCHEMA
from bulkhead.errors import ConfigError

RESULT_BYTES_MAX = 64 << 20
Document = Mapping[str, Any]


def read_result(path: Path) -> Document:
    """An earlier document. Raises ConfigError on anything else."""
    try:
        with path.open("rb") as file:
            content = file.read(RESULT_BYTES_MAX + 1)
        document = json.loads(content)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} is no JSON") from None
    if len(content) > RESULT_BYTES_MAX or not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no {SCHEMA}; make one: bulkhead drill --json FILE")
    return document


def changes(before: Document, now: Document) -> Iterator[str]:
    """One line a change, cells first."""
    old, new = _cells(before), _cells(now)
    for key in sorted(new.keys() | old.keys()):
        was, is_ = old.get(key, "not there"), new.get(key, "not there")
        if was != is_:
            yield f"{' / '.join(key)}: {was} -> {is_}"
    verdicts, fresh = _verdicts(before), _verdicts(now)
    for row in sorted(fresh.keys() & verdicts.keys()):
        if fresh[row] != verdicts[row]:
            yield f"{row}: {verdicts[row]} -> {fresh[row]}"
    for words, names in (("new", fresh.keys() - verdicts.keys()), ("gone", verdicts.keys() - fresh.keys())):
        for row in sorted(names):
            yield f"{row}: {words}, {fresh.get(row) or verdicts.get(row)}"


def _cells(document: Document) -> dict[tuple[str, str, str], str]:
    found = {}
    for line in document["matrix"]:
        for column, cell in line["cells"].items():
            known = cell["reached"] is not None
            attempts = cell["attempts"]["reached"]
            text = f"{cell['reached']} of {cell['of']}" + f" and {attempts} attempts" * bool(attempts)
            found[line["compartment"], column, line["mode"]] = text if known else cell["basis"]
        found[line["compartment"], "wall", line["mode"]] = f"{len(line['wall']['reached'])} of {line['wall']['tried']}"
    return found


def _verdicts(document: Document) -> dict[str, str]:
    return {
        f"{row['compartment']}/{row['name']}" + (f" ({row['mode']})" if row["mode"] else ""): row["verdict"]
        for row in document["rows"]
    }

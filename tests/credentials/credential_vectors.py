"""The vectors of docs/credentials.md, hex decoded."""

import json
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors" / "credentials" / "v1"
TEXT = {"note", "tenant", "legacy_scheme", "label", "text", "check", "changed"}


def _decode(name, value):
    if isinstance(value, list):
        return [bytes.fromhex(item) for item in value]
    return bytes.fromhex(value) if isinstance(value, str) and name not in TEXT else value


def cases(stem):
    """The cases of one file as mappings."""
    loaded = json.loads((VECTORS / f"{stem}.json").read_text())["cases"]
    return [{name: _decode(name, value) for name, value in case.items()} for case in loaded]

"""The golden files, hex decoded."""

import json
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors" / "records" / "v1"
TEXT = {"note", "tenant", "compartment", "legacy_scheme", "holder", "private_text", "public_text"}


def _decode(name, value):
    if isinstance(value, str) and name not in TEXT:
        return bytes.fromhex(value)
    if name == "keys":
        return [(key, version, bytes.fromhex(secret)) for key, version, secret in value]
    if name in {"entries", "file_names"}:
        return tuple(bytes.fromhex(entry) for entry in value)
    return value


def cases(stem):
    """The cases of one file as mappings."""
    loaded = json.loads((VECTORS / f"{stem}.json").read_text())["cases"]
    return [{name: _decode(name, value) for name, value in case.items()} for case in loaded]


def pattern(size):
    """Bytes 0, 1, ... 250, 0, 1, ...: what `body_pattern_size` stands for."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]

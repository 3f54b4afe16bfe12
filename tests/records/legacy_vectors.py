"""Digests that others published, each with its password."""

from pathlib import Path

FILE = Path(__file__).parents[1] / "vectors" / "legacy" / "digests.tsv"


def read_vectors() -> list[tuple[str, str, bytes]]:
    """(source, text as an export has it, password)"""
    rows = [line.split("\t") for line in FILE.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [(source, text, password.encode()) for source, text, password in rows]


VECTORS = read_vectors()

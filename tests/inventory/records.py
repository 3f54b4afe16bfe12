"""OSV records that tests bring: made here, of no real flaw."""

import json
from typing import Any


def record(
    name: str = "TEST-2026-1",
    package: str = "h11",
    *,
    events: tuple[dict[str, str], ...] = ({"introduced": "0"},),
    kind: str = "ECOSYSTEM",
    modified: str = "2026-10-02T00:00:00Z",
    **more: Any,
) -> bytes:
    """Octets of a record about a package of PyPI."""
    affected = {"package": {"ecosystem": "PyPI", "name": package}, "ranges": [{"type": kind, "events": list(events)}]}
    fields = {"id": name, "modified": modified, "published": "2026-10-01T00:00:00Z", "affected": [affected]}
    return json.dumps({**fields, **more}).encode()

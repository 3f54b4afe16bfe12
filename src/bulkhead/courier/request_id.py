"""Request ids that come from what is done, so that store knows a second try of the same delivery. PURE."""

import hashlib
from collections.abc import Iterable


def derived_id(queue_id: bytes, numbers: Iterable[int], kind: str) -> bytes:
    """16 bytes for one act (`kind`) about these recipients of one queued message."""
    listed = ",".join(str(number) for number in sorted(numbers))
    return hashlib.sha256(queue_id + b"|" + listed.encode() + b"|" + kind.encode()).digest()[:16]

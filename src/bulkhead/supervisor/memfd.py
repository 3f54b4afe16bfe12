"""Sealed memory files: bytes handed to another process that neither side can change afterwards.

A memory file without its seals can be cut or rewritten by its sender while the receiver reads: the receiver checks.
"""

import fcntl
import os

from bulkhead.errors import BoundaryViolation

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_memfd(content: bytes) -> int:
    """A new descriptor (close-on-exec) of a memory file that holds `content`, every seal set. Raises OSError."""
    descriptor = os.memfd_create("bulkhead", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_sealed_memfd(descriptor: int, limit: int) -> bytes:
    """The bytes of a sealed memory file; the descriptor stays open, its offset is not used.

    limit: octets accepted at most. Raises BoundaryViolation unless it is a memory file with every seal set and at most
    `limit` octets.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        raise BoundaryViolation("not a memory file", detail=f"descriptor {descriptor} has no seals") from None
    if seals & SEALS != SEALS:
        raise BoundaryViolation("memory file is not sealed", detail=f"seals {seals:#x}, wanted {SEALS:#x}")
    size = os.fstat(descriptor).st_size
    if size > limit:
        raise BoundaryViolation("memory file is too long", detail=f"{size} octets, limit {limit}")
    parts: list[bytes] = []
    done = 0
    while done < size:
        part = os.pread(descriptor, size - done, done)
        if not part:
            raise BoundaryViolation("memory file ended early", detail=f"{done} of {size} octets")
        parts.append(part)
        done += len(part)
    return b"".join(parts)

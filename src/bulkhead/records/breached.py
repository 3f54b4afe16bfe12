"""Lists of breached passwords: SHA-1 digests, sorted, in one file (docs/breached-passwords.md). Read, never mapped.

A mapping of 8 to 20 GB does not fit the memory that auth may address, and ends the process where the file is cut. A
look-up reads 16 bytes and one bucket of some hundred digests; what was read stays in the page cache, for all tenants.
"""

import hashlib
import os
import struct
from bisect import bisect_left
from dataclasses import dataclass

from bulkhead.errors import IntegrityError
from bulkhead.records.common_passwords import common_passwords

MAGIC = b"bhbreach"
VERSION = 1
HEADER = struct.Struct(">8sHBBQQ32s4x")  # magic, version, width, bits, count, made (ms), SHA-256 of digests and index
WIDTHS = (8, 20)  # octets kept of a digest
BITS_MIN, BITS_MAX = 8, 24  # of a digest, which name its bucket
BUCKET_MAX = 1 << 20  # octets
_ENTRY = struct.Struct(">QQ")


def password_digest(password: bytes) -> bytes:
    """SHA-1 of a password's octets, 20 bytes: what such lists are made of, and no protection of anything."""
    return hashlib.sha1(password, usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class BreachedHeader:
    """What a list says of itself. made: when it was imported, ms since 1970."""

    width: int
    bits: int
    count: int
    made: int
    sha256: bytes

    @property
    def index_at(self) -> int:
        """Where the index begins: (1 << bits) + 1 numbers u64, the first digest of each bucket, and the count."""
        return HEADER.size

    @property
    def digests_at(self) -> int:
        """Where the digests begin."""
        return HEADER.size + 8 * ((1 << self.bits) + 1)

    def encode(self) -> bytes:
        """The header's 64 bytes."""
        return HEADER.pack(MAGIC, VERSION, self.width, self.bits, self.count, self.made, self.sha256)

    @classmethod
    def read(cls, descriptor: int) -> "BreachedHeader":
        """The header of an open file, whose size it must fit. Raises IntegrityError."""
        start = os.pread(descriptor, HEADER.size, 0)
        if len(start) < HEADER.size:
            raise IntegrityError("the list of breached passwords is cut short; import it again")
        magic, version, width, bits, count, made, sha256 = HEADER.unpack(start)
        if (magic, version) != (MAGIC, VERSION) or width not in WIDTHS or not BITS_MIN <= bits <= BITS_MAX:
            raise IntegrityError("that is no list of breached passwords of version 1; import it again")
        header = cls(width, bits, count, made, sha256)
        if os.fstat(descriptor).st_size != header.digests_at + width * count:
            raise IntegrityError("the list of breached passwords has the wrong length; import it again")
        return header


class BreachedList:
    """An open list. It owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Raises IntegrityError; the descriptor is then closed."""
        self._descriptor = descriptor
        try:
            self.header = BreachedHeader.read(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def __contains__(self, digest: bytes) -> bool:
        """Whether the digest's kept octets are listed. Raises IntegrityError on an index that makes no sense."""
        header, width = self.header, self.header.width
        bucket = int.from_bytes(digest[:4], "big") >> (32 - header.bits)
        entry = os.pread(self._descriptor, _ENTRY.size, header.index_at + 8 * bucket)
        first, end = _ENTRY.unpack(entry) if len(entry) == _ENTRY.size else (1, 0)
        if not first <= end <= header.count or (end - first) * width > BUCKET_MAX:
            raise IntegrityError("the list of breached passwords is damaged; import it again")
        octets = os.pread(self._descriptor, (end - first) * width, header.digests_at + first * width)
        wanted = digest[:width]
        at = bisect_left(range(len(octets) // width), wanted, key=lambda i: octets[i * width : (i + 1) * width])
        return octets[at * width : (at + 1) * width] == wanted

    def close(self) -> None:
        """Look nothing up any more."""
        os.close(self._descriptor)


def common_digests() -> frozenset[bytes]:
    """The built-in list: 8 octets of the digests of 10,000 usual passwords, so that none of them lies in memory."""
    return frozenset(password_digest(password)[:8] for password in common_passwords())

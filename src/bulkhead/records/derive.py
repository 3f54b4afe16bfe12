"""Fields with lengths, and keys from keys: the two constructions every record rests on."""

import struct
from collections.abc import Iterable
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
FIELD_MAX = 0xFFFF

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


def u32(value: int) -> bytes:
    """`value` as 4 bytes, big-endian. Raises ValueError outside 0 to 2**32 - 1."""
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError("number does not fit 32 bits")
    return _U32.pack(value)


def join_fields(fields: Iterable[bytes]) -> bytes:
    """Each field behind its length (u16, big-endian), so that no two lists give the same bytes.

    Raises ValueError for a field longer than 65,535 bytes.
    """
    out: list[bytes] = []
    for field in fields:
        if len(field) > FIELD_MAX:
            raise ValueError("field is longer than 65,535 bytes")
        out += (_U16.pack(len(field)), field)
    return b"".join(out)


def require_key(key: bytes) -> bytes:
    """`key` itself. Raises ValueError unless it has 32 bytes: AES would also take 16 or 24."""
    if len(key) != KEY_BYTES:
        raise ValueError("a key has 32 bytes")
    return key


def derive(secret: bytes, label: str, *fields: bytes, length: int = KEY_BYTES) -> bytes:
    """`length` bytes by HKDF-SHA256 (RFC 5869) with no salt; info is the label and the fields, with lengths.

    Labels begin with `bulkhead/v1/` and each has one use.
    """
    info = _label(label) + join_fields(fields) if fields else _label(label)
    return HKDF(_SHA256, length, None, info).derive(secret)


@lru_cache(maxsize=64)  # there are few, and a message asks for three
def _label(label: str) -> bytes:
    return join_fields((b"bulkhead/v1/" + label.encode("ascii"),))


_SHA256 = hashes.SHA256()

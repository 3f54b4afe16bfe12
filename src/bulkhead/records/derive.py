"""Fields with lengths, and keys from keys: the two constructions every record rests on."""

import hashlib
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


class Shape:
    """Reads lists of `count` fields, `head` bytes before and `tail` behind; one as long as the last in one step."""

    def __init__(self, count: int, head: int = 0, tail: int = 0) -> None:
        self._count, self._head, self._tail = count, head, tail
        self._last: tuple[struct.Struct, tuple[int, ...]] = struct.Struct(">"), (-1,)

    def read(self, data: bytes) -> tuple[bytes, ...]:
        """The fields. Raises ValueError for any other shape."""
        last, lengths = self._last
        if len(data) == last.size and (found := last.unpack(data))[::2] == lengths:
            return found[1::2]
        at, end, seen = self._head, len(data) - self._tail, list[int]()
        for _ in range(self._count):
            if at + 2 > end:
                raise ValueError("is too short")
            seen += _U16.unpack_from(data, at)
            at += 2 + seen[-1]
        if at != end:
            raise ValueError("has the wrong length")
        fields = "".join(f"H{length}s" for length in seen)
        self._last = struct.Struct(f">{self._head}x{fields}{self._tail}x"), tuple(seen)
        return self._last[0].unpack(data)[1::2]


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


class Hmac:
    """HMAC-SHA256 (RFC 2104) of many messages under one 32-byte key, the two blocks of the key digested once."""

    def __init__(self, key: bytes) -> None:
        block = require_key(key).ljust(hashlib.sha256().block_size, b"\0")
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in block))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in block))

    def digest(self, message: bytes) -> bytes:
        """32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


@lru_cache(maxsize=64)  # there are few, and a message asks for three
def _label(label: str) -> bytes:
    return join_fields((b"bulkhead/v1/" + label.encode("ascii"),))


_SHA256 = hashes.SHA256()

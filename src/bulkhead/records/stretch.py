"""Argon2id of a password (RFC 9106): apart from the rest, so that `keyring` loads none of it."""

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]  # a C extension without types
from nacl.bindings import crypto_pwhash_ALG_ARGON2ID13

from bulkhead.records.credential import PASSWORD_MAX, SALT_BYTES, Stretched, StretchParameters


def stretch(password: bytes, salt: bytes, parameters: StretchParameters) -> Stretched:
    """Argon2id (RFC 9106), 64 bytes out. About 8 ms: call it in a thread.

    password: at most 1,024 octets, or the raw digest of an imported legacy scheme.
    Raises ValueError for a longer password or a salt that has not 16 bytes.
    """
    if len(password) > PASSWORD_MAX or len(salt) != SALT_BYTES:
        raise ValueError("a password has at most 1,024 octets and a salt 16")
    passes, kib, lanes = parameters.time_cost, parameters.memory_kib, parameters.lanes
    if lanes == 1:  # libsodium: it takes the widest registers of the processor, and half the time of OpenSSL
        return _stretch_alone(password, salt, passes, kib << 10)
    out = Argon2id(salt=salt, length=64, iterations=passes, lanes=lanes, memory_cost=kib).derive(password)
    return Stretched.of(out)


def _stretch_alone(password: bytes, salt: bytes, passes: int, octets: int) -> Stretched:
    """As nacl.bindings.crypto_pwhash_alg, which leaves a copy of the outcome in memory that it gives back."""
    out = ffi.new("unsigned char[]", 64)
    if lib.crypto_pwhash(out, 64, password, len(password), salt, passes, octets, crypto_pwhash_ALG_ARGON2ID13):
        raise MemoryError("no memory for a password hash")
    view = ffi.buffer(out)
    try:
        return Stretched(bytes(view[:32]), bytes(view[32:]))
    finally:
        view[:] = bytes(64)

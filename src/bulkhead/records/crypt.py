"""MD5-crypt and SHA-crypt: the digests of crypt(3), as octets, not as its text. PURE.

hashlib has the hashes and not these ways of stirring them; Python's `crypt` ended with 3.12. They hold the lock of the
interpreter, so they let others have it every few rounds.

Sources: Drepper, Unix crypt using SHA-256 and SHA-512 (https://www.akkadia.org/drepper/SHA-crypt.txt); the MD5 one is
told by Kamp's md5crypt in FreeBSD and has no document of its own.
"""

import hashlib
import time
from collections.abc import Callable

MD5_ROUNDS = 1000
_PERIOD = 42  # rounds after which the parts that go into one come in the same order: 2 times 3 times 7
_TURNS_HELD = 8  # periods between two moments at which another thread may run: about half a millisecond


def md5_crypt(password: bytes, salt: bytes) -> bytes:
    """16 octets. salt: at most 8."""
    other = hashlib.md5(password, usedforsecurity=False)
    other.update(salt)
    other.update(password)
    mixed = hashlib.md5(password, usedforsecurity=False)
    mixed.update(b"$1$" + salt)
    mixed.update(_repeated(other.digest(), len(password)))
    length = len(password)
    while length:
        mixed.update(b"\0" if length & 1 else password[:1])
        length >>= 1
    digest = mixed.digest()
    for number in range(MD5_ROUNDS):
        step = hashlib.md5(password if number & 1 else digest, usedforsecurity=False)
        if number % 3:
            step.update(salt)
        if number % 7:
            step.update(password)
        step.update(digest if number & 1 else password)
        digest = step.digest()
    return digest


def sha_crypt(name: str, password: bytes, salt: bytes, rounds: int) -> bytes:
    """32 or 64 octets. name: `sha256` or `sha512`; salt: at most 16 octets.

    A round reads about twice the password: a long one costs more than the same rounds over a short one.
    """
    new: Callable[..., hashlib._Hash] = getattr(hashlib, name)
    other = new(password)
    other.update(salt)
    other.update(password)
    mixed = new(password)
    mixed.update(salt)
    mixed.update(_repeated(other.digest(), len(password)))
    length, other_digest = len(password), other.digest()
    while length:
        mixed.update(other_digest if length & 1 else password)
        length >>= 1
    digest = mixed.digest()
    hashed = new()
    for _ in range(len(password)):
        hashed.update(password)
    p = bytearray(_repeated(hashed.digest(), len(password)))
    s = _repeated(new(salt * (16 + digest[0])).digest(), len(salt))
    pattern = [_parts(number, p, s) for number in range(_PERIOD)]
    try:
        whole, rest = divmod(rounds, _PERIOD)
        for number in range(whole):
            digest = _turn(new, digest, pattern)
            if not number % _TURNS_HELD:
                time.sleep(0)
        return _turn(new, digest, pattern[:rest])
    finally:
        for made in (p, *(part for parts in pattern for part in parts)):
            made[:] = bytes(len(made))


def _parts(number: int, p: bytearray, s: bytes) -> tuple[bytearray, bytearray]:
    """What is hashed before and after the last digest in a round of this number."""
    middle = bytearray(s if number % 3 else b"") + (p if number % 7 else b"")
    return (p + middle, bytearray()) if number & 1 else (bytearray(), middle + p)


def _turn(new: Callable[..., "hashlib._Hash"], digest: bytes, pattern: list[tuple[bytearray, bytearray]]) -> bytes:
    for before, after in pattern:
        digest = new(before + digest + after).digest()
    return digest


def _repeated(digest: bytes, length: int) -> bytes:
    """`length` octets of the digest, over and over."""
    return (digest * (length // len(digest) + 1))[:length]

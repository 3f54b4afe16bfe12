"""The raw octets of an imported digest, from a typed password: they play the password for Argon2id. PURE.

What a scheme looks at is its own affair: bcrypt reads 72 octets and no more, so more are not given to it.
PBKDF2: RFC 8018 section 5.2.
"""

import hashlib

import bcrypt
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i, Argon2id

from bulkhead.records.crypt import md5_crypt, sha_crypt
from bulkhead.records.legacy import CRYPTS, HASHES, PBKDF2, Recipe, Scheme
from bulkhead.records.legacy_text import read_bcrypt64

BCRYPT_OCTETS = 72


def legacy_digest(recipe: Recipe, password: bytes) -> bytes:
    """The digest. Up to a third of a second (see `DEAREST`): call it in a thread.

    Argon2 takes the recipe's memory, up to 100 MiB. Raises MemoryError where there is none.
    """
    scheme, salt = recipe.scheme, recipe.salt
    if scheme in HASHES:
        hashed = hashlib.new(HASHES[scheme], password, usedforsecurity=False)
        hashed.update(salt)
        return hashed.digest()
    if scheme is Scheme.MD5_CRYPT:
        return md5_crypt(password, salt)
    if scheme in CRYPTS:
        return sha_crypt(CRYPTS[scheme], password, salt, recipe.cost)
    if scheme is Scheme.BCRYPT:
        text = bcrypt.hashpw(password[:BCRYPT_OCTETS], recipe.bcrypt_setting())
        return read_bcrypt64(text[-31:].decode())
    if scheme in PBKDF2:
        return hashlib.pbkdf2_hmac(PBKDF2[scheme], password, salt, recipe.cost, recipe.length)
    kind = Argon2i if scheme is Scheme.ARGON2I else Argon2id
    argon2 = kind(salt=salt, length=recipe.length, iterations=recipe.cost, lanes=recipe.lanes, memory_cost=recipe.kib)
    return argon2.derive(password)

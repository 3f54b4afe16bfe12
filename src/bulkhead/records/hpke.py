"""Records sealed to a public key: HPKE base mode, one message (RFC 9180 section 6.1).

    header 7 | encapsulated key 32 | ciphertext | tag 16        no nonce is stored; info = the record's bound fields

The encapsulated key is random and comes from the library; it is the one randomness that is no argument.
"""

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bulkhead.errors import IntegrityError
from bulkhead.records.record import (
    HEADER_BYTES,
    SUITES,
    TAG_BYTES,
    Kind,
    Suite,
    bind,
    encode_header,
    read_header,
)

ENCAPSULATED_BYTES = 32
OVERHEAD = HEADER_BYTES + ENCAPSULATED_BYTES + TAG_BYTES

_SUITES = {Suite.HPKE_X25519: hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)}


def load_public_key(raw: bytes) -> X25519PublicKey:
    """The X25519 public key of 32 bytes. Raises IntegrityError for another length."""
    try:
        return X25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise IntegrityError("an X25519 public key has 32 bytes") from None


def seal_to(
    kind: Kind, key_version: int, public_key: X25519PublicKey, plaintext: bytes, fields: Sequence[bytes]
) -> bytes:
    """A record that only the holder of the private key opens. `key_version` says which of his keys it is.

    Raises IntegrityError where the public key is one that no honest party has (RFC 7748 section 6.1).
    """
    suite = SUITES[kind][0]
    try:
        sealed = _SUITES[suite].encrypt(plaintext, public_key, bind(kind, suite, key_version, fields))
    except ValueError:
        raise IntegrityError(f"{kind.name} cannot be sealed: the public key is of low order") from None
    return encode_header(kind, suite, key_version) + sealed


def open_from(record: bytes, kind: Kind, private_key: X25519PrivateKey, fields: Sequence[bytes]) -> bytes:
    """The plaintext of a record of `seal_to`. Raises IntegrityError for anything else."""
    header = read_header(record, kind)
    if len(record) < OVERHEAD:
        raise IntegrityError(f"{kind.name} record is too short")
    info = bind(kind, header.suite, header.key_version, fields)
    try:
        return _SUITES[header.suite].decrypt(memoryview(record)[HEADER_BYTES:], private_key, info)
    except (InvalidTag, ValueError):
        raise IntegrityError(f"{kind.name} record does not open: wrong key, wrong place, or changed bytes") from None

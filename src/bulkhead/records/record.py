"""The record: header, kinds, suites, and the AEAD that binds a record to its place.

    kind u8 | version u8 | suite u8 | key version u32 | nonce | body

All numbers are big-endian. The associated data is a list of fields, each behind a u16 length: kind, version, suite,
key version, then what the kind names (docs/formats.md). A number once used for a kind or a suite is never reused.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

from bulkhead.errors import IntegrityError
from bulkhead.records.derive import join_fields, require_key, u32

VERSION = 1
HEADER_BYTES = 7
NONCE_BYTES = 12
TAG_BYTES = 16
ZERO_NONCE = bytes(NONCE_BYTES)

_HEADER = struct.Struct(">BBBI")


class Suite(IntEnum):
    """How a body is protected. 16 and 17 are reserved for HPKE with ML-KEM-768+X25519 and ML-KEM-1024+P-384."""

    AES_256_GCM_SIV = 1  # RFC 8452, random 12-byte nonce in the record
    AES_256_GCM = 2  # random 12-byte nonce in the record; a key seals few records
    HPKE_X25519 = 3  # RFC 9180 base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM
    AES_256_GCM_ONCE = 4  # the key seals this record only: nonce of zeros, not stored
    AES_256_GCM_CHUNKS = 5  # the key seals this record only: 64 KiB chunks, nonce from chunk number and last flag
    ED25519 = 6  # clear fields and a signature (RFC 8032)


class Kind(IntEnum):
    """What a record is."""

    AUTH_HALF = 1
    KEYRING_HALF = 2
    CREDENTIAL_WRAP = 3
    MAILBOX = 4
    RECOVERY_SHARE = 5
    SEED_BY_SHARES = 6
    PREVIOUS_SEED = 7
    BINDING = 8
    ORDER_KEY = 9
    ORDER_SHARE = 10
    APP_PASSWORD_NOTE = 11
    KEY_BOX = 16
    SUMMARY = 17
    HEADER = 18
    BODY = 19
    SLOT = 20
    PAGE = 21
    FOLDER_NAME = 22
    KEYWORD = 23
    QUEUE_KEY_BOX = 32
    QUEUE_HEADER = 33
    QUEUE_BODY = 34
    KEY_SET = 48
    BACKUP_SHARE = 64
    BACKUP_STREAM = 65
    STANDBY_SHARE = 72
    STANDBY_KEY = 73
    STANDBY_PIECE = 74
    ACCESS_BLOCK = 80
    ACCESS_DAY_KEY = 81


# The suites a kind may carry in version 1; the first is written.
SUITES: dict[Kind, tuple[Suite, ...]] = {
    Kind.AUTH_HALF: (Suite.AES_256_GCM_SIV,),
    Kind.KEYRING_HALF: (Suite.AES_256_GCM_SIV,),
    Kind.CREDENTIAL_WRAP: (Suite.AES_256_GCM_SIV,),
    Kind.MAILBOX: (Suite.AES_256_GCM_SIV,),
    Kind.RECOVERY_SHARE: (Suite.HPKE_X25519,),
    Kind.SEED_BY_SHARES: (Suite.AES_256_GCM_SIV,),
    Kind.PREVIOUS_SEED: (Suite.AES_256_GCM_SIV,),
    Kind.BINDING: (Suite.ED25519,),
    Kind.ORDER_KEY: (Suite.ED25519,),
    Kind.ORDER_SHARE: (Suite.HPKE_X25519,),
    Kind.APP_PASSWORD_NOTE: (Suite.AES_256_GCM_SIV,),
    Kind.KEY_BOX: (Suite.HPKE_X25519,),
    Kind.SUMMARY: (Suite.AES_256_GCM_ONCE,),
    Kind.HEADER: (Suite.AES_256_GCM_ONCE,),
    Kind.BODY: (Suite.AES_256_GCM_CHUNKS,),
    Kind.SLOT: (Suite.AES_256_GCM_SIV,),
    Kind.PAGE: (Suite.AES_256_GCM,),
    Kind.FOLDER_NAME: (Suite.AES_256_GCM_SIV,),
    Kind.KEYWORD: (Suite.AES_256_GCM_SIV,),
    Kind.QUEUE_KEY_BOX: (Suite.HPKE_X25519,),
    Kind.QUEUE_HEADER: (Suite.AES_256_GCM_ONCE,),
    Kind.QUEUE_BODY: (Suite.AES_256_GCM_CHUNKS,),
    Kind.KEY_SET: (Suite.AES_256_GCM_SIV,),
    Kind.BACKUP_SHARE: (Suite.HPKE_X25519,),
    Kind.BACKUP_STREAM: (Suite.AES_256_GCM_CHUNKS,),
    Kind.STANDBY_SHARE: (Suite.HPKE_X25519,),
    Kind.STANDBY_KEY: (Suite.HPKE_X25519,),
    Kind.STANDBY_PIECE: (Suite.AES_256_GCM,),
    Kind.ACCESS_BLOCK: (Suite.AES_256_GCM,),
    Kind.ACCESS_DAY_KEY: (Suite.AES_256_GCM_SIV,),
}

_CIPHERS: dict[Suite, type[AESGCM] | type[AESGCMSIV]] = {
    Suite.AES_256_GCM_SIV: AESGCMSIV,
    Suite.AES_256_GCM: AESGCM,
    Suite.AES_256_GCM_ONCE: AESGCM,
}
_NONCE_BYTES = {Suite.AES_256_GCM_SIV: NONCE_BYTES, Suite.AES_256_GCM: NONCE_BYTES, Suite.AES_256_GCM_ONCE: 0}


@dataclass(frozen=True, slots=True)
class Header:
    """The seven clear bytes before nonce and body."""

    kind: Kind
    suite: Suite
    key_version: int


def encode_header(kind: Kind, suite: Suite, key_version: int) -> bytes:
    """The header's 7 bytes. Raises ValueError where the key version does not fit 32 bits."""
    return _leading(kind, suite, key_version)[0]


@lru_cache(maxsize=256)  # every message asks for four, nearly always the same
def _leading(kind: Kind, suite: Suite, key_version: int) -> tuple[bytes, bytes]:
    """A record's header, and the fields that stand for it in what is bound."""
    version = u32(key_version)
    fields = (bytes((kind,)), bytes((VERSION,)), bytes((suite,)), version)
    return bytes((kind, VERSION, suite)) + version, join_fields(fields)


def read_header(record: bytes | bytearray | memoryview, kind: Kind) -> Header:
    """The header of a record that must be of `kind`; the caller picks the key by its version.

    Nothing in it is proven until the record has been opened. Raises IntegrityError.
    """
    if len(record) < HEADER_BYTES:
        raise IntegrityError(f"{kind.name} record is too short")
    return _read_header(bytes(record[:HEADER_BYTES]), kind)


@lru_cache(maxsize=256)  # as _leading: a census reads the same one by the million
def _read_header(leading: bytes, kind: Kind) -> Header:
    number, version, suite, key_version = _HEADER.unpack(leading)
    if number != kind:
        raise IntegrityError(f"record has kind {number} where {int(kind)} ({kind.name}) was expected")
    if version != VERSION:
        raise IntegrityError(f"{kind.name} record has unknown version {version}")
    if suite not in SUITES[kind]:
        raise IntegrityError(f"{kind.name} record has unknown suite {suite}")
    return Header(kind, Suite(suite), key_version)


def bind(kind: Kind, suite: Suite, key_version: int, fields: Sequence[bytes]) -> bytes:
    """Associated data (AEAD) or info (HPKE) of a record: its header's fields and then the kind's own."""
    return _leading(kind, suite, key_version)[1] + join_fields(fields)


def seal(
    kind: Kind,
    key_version: int,
    key: bytes,
    plaintext: bytes | bytearray | memoryview,
    fields: Sequence[bytes],
    *,
    nonce: bytes | None = None,
) -> bytes:
    """A sealed record under a 32-byte key.

    nonce: 12 bytes, random if not given; must be absent for kinds whose key seals one record only.
    Raises ValueError for a key or nonce of another length.
    """
    suite = SUITES[kind][0]
    stored = _NONCE_BYTES[suite]
    if nonce is None:
        nonce = os.urandom(stored) if stored else b""
    if len(nonce) != stored:
        raise ValueError(f"a nonce of {kind.name} has {stored} bytes")
    cipher = _CIPHERS[suite](require_key(key))
    sealed = cipher.encrypt(nonce or ZERO_NONCE, plaintext, bind(kind, suite, key_version, fields))
    return b"".join((encode_header(kind, suite, key_version), nonce, sealed))


def open_(record: bytes | bytearray | memoryview, kind: Kind, key: bytes, fields: Sequence[bytes]) -> bytes:
    """The plaintext of a record sealed by `seal` for the same kind, key and fields.

    Raises IntegrityError for anything else: other kind, version, suite, key, place, or one changed bit.
    """
    header = read_header(record, kind)
    end = HEADER_BYTES + _NONCE_BYTES[header.suite]
    if len(record) < end + TAG_BYTES:
        raise IntegrityError(f"{kind.name} record is too short")
    view = memoryview(record)
    nonce = bytes(view[HEADER_BYTES:end]) or ZERO_NONCE
    cipher = _CIPHERS[header.suite](require_key(key))
    try:
        return cipher.decrypt(nonce, view[end:], bind(kind, header.suite, header.key_version, fields))
    except InvalidTag:
        raise IntegrityError(f"{kind.name} record does not open: wrong key, wrong place, or changed bytes") from None

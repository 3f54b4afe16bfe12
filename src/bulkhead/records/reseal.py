"""Sealing records anew under another version of their key, by the million: what is inside is not looked at.

For kinds of suite 1 that bind tenant, row key and number: the halves of credentials and the mailboxes.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.derive import require_key
from bulkhead.records.opener import Opener, Versions, place_bytes
from bulkhead.records.record import NONCE_BYTES, SUITES, Kind, Suite, bind, encode_header


class Resealer:
    """From any version of the key `name` to `version`."""

    def __init__(self, kind: Kind, tenant: TenantId, keys: Versions, name: str, version: int) -> None:
        suite = Suite.AES_256_GCM_SIV
        if SUITES[kind][0] is not suite:
            raise ValueError(f"{kind.name} is not sealed under a version key")
        self._kind, self._opener = kind, Opener(kind, tenant, keys, name)
        self._header = encode_header(kind, suite, version)
        self._cipher = AESGCMSIV(require_key(keys.get(name, version)))
        self._bound = bind(kind, suite, version, (tenant.encode("ascii"),))

    def reseal(self, record: bytes, row: bytes, number: int) -> bytes:
        """The record under the new version; as it is where it has that. Raises IntegrityError."""
        if record.startswith(self._header):
            return record
        plaintext, _ = self._opener.open(record, row, number)
        nonce = os.urandom(NONCE_BYTES)
        bound = self._bound + place_bytes(row, number)
        return self._header + nonce + self._cipher.encrypt(nonce, plaintext, bound)

    def check(self, record: bytes, row: bytes, number: int) -> None:
        """Passes where the record opens, in its place, under the new version. Raises IntegrityError."""
        if not record.startswith(self._header):
            raise IntegrityError(f"{self._kind.name} record is under another version of its key")
        self._opener.open(record, row, number)

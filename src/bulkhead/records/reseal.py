"""Sealing records anew under another version of their key, by the million: what is inside is not looked at.

For kinds of suite 1 that bind tenant, row key and number: the halves of credentials and the mailboxes.
"""

import os
from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.derive import require_key
from bulkhead.records.opener import Opener, Versions, place_bytes
from bulkhead.records.record import HEADER_BYTES, NONCE_BYTES, SUITES, TAG_BYTES, Kind, Suite, bind, encode_header

Act = Callable[[bytes, bytes, int], bytes]
"""(record, row key, number) to a record. Raises IntegrityError; ValueError or struct.error for a number of none."""
_BODY = HEADER_BYTES + NONCE_BYTES
_LEAST = _BODY + TAG_BYTES
_NONCES = 256  # drawn from the system at once


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

    def resealing(self) -> Act:
        """Gives the record under the new version, as it is where it has that. For one slice: no key ends meanwhile.

        Row key and number are joined once for both seals, and nothing is looked up that a slice has looked up before:
        beside the two ciphers' time that is most of what a record costs.
        """
        header, bound, encrypt = self._header, self._bound, self._cipher.encrypt
        opener, nonces = self._opener, _nonces()
        last, decrypt, bound_before = b"", encrypt, b""

        def reseal(record: bytes, row: bytes, number: int) -> bytes:
            nonlocal last, decrypt, bound_before
            leading = record[:HEADER_BYTES]
            if leading == header:
                return record
            if leading != last:
                cipher, bound_before, _ = opener.ready(record)
                last, decrypt = leading, cipher.decrypt
            if len(record) < _LEAST:
                raise IntegrityError(f"{self._kind.name} record is too short")
            place = place_bytes(row, number)
            try:
                plaintext = decrypt(record[HEADER_BYTES:_BODY], record[_BODY:], bound_before + place)
            except InvalidTag:
                raise IntegrityError(f"{self._kind.name} record does not open") from None
            nonce = next(nonces)
            return header + nonce + encrypt(nonce, plaintext, bound + place)

        return reseal

    def checking(self) -> Act:
        """Gives the record back where it opens, in its place, under the new version. For one slice, too."""
        header, bound, decrypt = self._header, self._bound, self._cipher.decrypt

        def check(record: bytes, row: bytes, number: int) -> bytes:
            if record[:HEADER_BYTES] != header or len(record) < _LEAST:
                raise IntegrityError(f"{self._kind.name} record is under another version of its key, or too short")
            try:
                decrypt(record[HEADER_BYTES:_BODY], record[_BODY:], bound + place_bytes(row, number))
            except InvalidTag:
                raise IntegrityError(f"{self._kind.name} record does not open") from None
            return header

        return check


def _nonces() -> Iterator[bytes]:
    """Random ones, without end."""
    while True:
        drawn = os.urandom(NONCE_BYTES * _NONCES)
        for at in range(0, len(drawn), NONCE_BYTES):
            yield drawn[at : at + NONCE_BYTES]

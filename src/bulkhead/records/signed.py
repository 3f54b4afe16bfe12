"""Clear records with a signature: header, fields with lengths, Ed25519 (RFC 8032) over both.

header 7 | (u16 length | field) ... | signature 64
"""

from collections.abc import Sequence
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bulkhead.errors import IntegrityError
from bulkhead.records.derive import Shape, join_fields
from bulkhead.records.record import HEADER_BYTES, SUITES, Header, Kind, bind, encode_header, read_header

SIGNATURE_BYTES = 64
_LABEL = b"bulkhead/v1/signature"


def _statement(header: Header, fields: Sequence[bytes]) -> bytes:
    """What is signed: a label that no other use of the key carries, then the bound fields."""
    return join_fields((_LABEL,)) + bind(header.kind, header.suite, header.key_version, fields)


def sign(kind: Kind, key_version: int, private_key: Ed25519PrivateKey, fields: Sequence[bytes]) -> bytes:
    """A clear record that anyone who holds the public key can check."""
    header = Header(kind, SUITES[kind][0], key_version)
    signature = private_key.sign(_statement(header, fields))
    return encode_header(kind, header.suite, key_version) + join_fields(fields) + signature


def read_fields(record: bytes, kind: Kind, count: int) -> tuple[Header, tuple[bytes, ...]]:
    """Header and the `count` fields, the signature not yet checked. Raises IntegrityError on any other shape."""
    header = read_header(record, kind)
    try:
        return header, _shape(count).read(record)
    except ValueError as error:
        raise IntegrityError(f"{kind.name} record {error}") from None


@cache  # there are three
def _shape(count: int) -> Shape:
    return Shape(count, HEADER_BYTES, SIGNATURE_BYTES)


def check_signature(record: bytes, kind: Kind, public_key: Ed25519PublicKey, count: int) -> tuple[bytes, ...]:
    """The fields of a record of `sign`. Raises IntegrityError where the signature is not by this key."""
    header, fields = read_fields(record, kind, count)
    try:
        public_key.verify(bytes(record[-SIGNATURE_BYTES:]), _statement(header, fields))
    except InvalidSignature:
        raise IntegrityError(f"{kind.name} record: the signature is not by the pinned key") from None
    return fields

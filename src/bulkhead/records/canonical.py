"""Statements that people sign: one JSON object in the canonical form of RFC 8785, and in no other.

Narrowed to ASCII names and integers of at most 2**53 - 1, so that the octets are a function of the value, a partner
reads them with any tool in twenty years, and what was signed is what is hashed.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bulkhead.errors import IntegrityError
from bulkhead.records.derive import join_fields

INTEGER_MAX = 2**53 - 1  # RFC 8785 section 3.1, by way of IEEE 754 doubles
DEPTH_MAX = 6
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def encode_statement(value: Mapping[str, Any]) -> bytes:
    """The value's one form in octets. Raises ValueError on what has none."""
    _check(value, DEPTH_MAX)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def encode_readable(value: Mapping[str, Any], decode: Callable[[bytes], object], what: str) -> bytes:
    """As encode_statement, of what `decode` reads again. Raises ValueError where it does not: our bug."""
    data = encode_statement(value)
    try:
        decode(data)
    except IntegrityError as error:
        raise ValueError(f"no {what}: {error.public}") from None
    return data


def decode_statement(data: bytes, limit: int, what: str) -> dict[str, Any]:
    """The value of encode_statement's octets, and of no others. Raises IntegrityError, which names `what`."""
    if len(data) > limit:
        raise IntegrityError(f"{what} has at most {limit} octets", code="too-large")
    try:
        value = json.loads(data.decode("utf-8"))
        if not isinstance(value, dict) or encode_statement(value) != data:
            raise ValueError("not canonical")
    except (ValueError, TypeError, RecursionError):
        raise IntegrityError(f"{what} is not one JSON object in the form of RFC 8785", code="not-canonical") from None
    return value


def statement_hash(label: str, data: bytes) -> bytes:
    """SHA-256 over a label that nothing else is hashed under, and the statement."""
    return hashlib.sha256(signed_octets(label, data)).digest()


def signed_octets(label: str, data: bytes) -> bytes:
    """What an Ed25519 key signs: the label behind its length (u16), then the statement."""
    return join_fields((b"bulkhead/v1/" + label.encode("ascii"),)) + data


def require_fields(value: object, names: set[str], what: str) -> dict[str, Any]:
    """An object of exactly these names. Raises IntegrityError."""
    if not isinstance(value, dict) or value.keys() != names:
        raise IntegrityError(f"{what} has exactly {', '.join(sorted(names))}", code="bad-fields")
    return value


def require_text(value: object, what: str, limit: int = 200) -> str:
    """Printable text without an @, since it may enter the ledger. Raises IntegrityError."""
    if not isinstance(value, str) or len(value) > limit or "@" in value or not value.isprintable():
        raise IntegrityError(f"{what} is printable text of at most {limit} characters without an @", code="bad-text")
    return value


def require_integer(value: object, what: str, maximum: int = INTEGER_MAX) -> int:
    """0 to `maximum`. Raises IntegrityError."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise IntegrityError(f"{what} is an integer from 0 to {maximum}", code="bad-number")
    return value


def require_hex(value: object, octets: int, what: str) -> bytes:
    """Lower-case hexadecimal digits of so many octets. Raises IntegrityError."""
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * octets}}}", value):
        raise IntegrityError(f"{what} is {2 * octets} hexadecimal digits", code="bad-digits")
    return bytes.fromhex(value)


def require_base64(value: object, what: str, limit: int = 1024) -> bytes:
    """Base64 with padding in its one form (RFC 4648 section 4). Raises IntegrityError."""
    try:
        if not isinstance(value, str) or len(value) > 2 * limit:
            raise ValueError("text")
        octets = base64.b64decode(value.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        octets = None
    if octets is None or len(octets) > limit or base64_text(octets) != value:
        raise IntegrityError(f"{what} is base64 of at most {limit} octets", code="bad-base64")
    return octets


def base64_text(octets: bytes) -> str:
    """The text of require_base64."""
    return base64.b64encode(octets).decode("ascii")


def _check(value: object, depth: int) -> None:
    match value:
        case bool() | None:
            return
        case int():
            if not -INTEGER_MAX <= value <= INTEGER_MAX:
                raise ValueError("an integer is at most 2**53 - 1")
        case str():
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError("a lone surrogate has no form")
        case list():
            _check_members(value, depth)
        case dict():
            if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in value):
                raise ValueError("a name is 1 to 64 of a-z, 0-9, - and _, from a letter")
            _check_members(list(value.values()), depth)
        case _:
            raise ValueError("neither text, integer, true, false, null, list nor object")


def _check_members(values: list[object], depth: int) -> None:
    if not depth:
        raise ValueError(f"at most {DEPTH_MAX} deep")
    for value in values:
        _check(value, depth - 1)

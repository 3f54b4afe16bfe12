"""Lines of `account add --from-file`: JSON objects or `address,password`. PURE."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bulkhead.errors import PeerError
from bulkhead.identifiers import Address, parse_address

LINE_MAX = 4096  # octets
PASSWORD_MAX = 1024  # octets
QUOTA_MAX = 1 << 50
_KEYS = {"address", "password", "quota_bytes"}


@dataclass(frozen=True, slots=True)
class NewAccount:
    """One line. quota_bytes: None for the default."""

    address: Address
    password: bytes = field(repr=False)
    quota_bytes: int | None = None


def numbered_lines(stream: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and octets of every line that is not blank."""
    for number, line in enumerate(stream, 1):
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def parse_line(line: bytes) -> NewAccount:
    """The account of one line. Raises PeerError that shows nothing of the line: it holds a password."""
    if len(line) > LINE_MAX:
        raise PeerError(f"is longer than {LINE_MAX} octets")
    try:
        text = line.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise PeerError("is not UTF-8") from None
    if text.lstrip().startswith("{"):
        return _parse_json(text)
    address, comma, password = text.partition(",")
    if not comma:
        raise PeerError("has no comma: write address,password or a JSON object")
    return _checked(address.strip(), password, None)


def _parse_json(text: str) -> NewAccount:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise PeerError("is not a JSON object on one line") from None
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise PeerError(f"has the unknown key {unknown[0]!r:.40}: use address, password, quota_bytes")
    address, password, quota = found.get("address"), found.get("password"), found.get("quota_bytes")
    if not isinstance(address, str) or not isinstance(password, str):
        raise PeerError("needs address and password as texts")
    if quota is not None and (type(quota) is not int or not 0 < quota <= QUOTA_MAX):
        raise PeerError(f"has a quota_bytes that is not 1 to {QUOTA_MAX}")
    return _checked(address, password, quota)


def _checked(address: str, password: str, quota: int | None) -> NewAccount:
    octets = password.encode("utf-8", "surrogatepass")
    if not 0 < len(octets) <= PASSWORD_MAX:
        raise PeerError(f"has a password that is not 1 to {PASSWORD_MAX} octets")
    return NewAccount(parse_address(address), octets, quota)

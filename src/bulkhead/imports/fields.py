"""Fields that every dialect has: address, password, quota, status; each read or refused. PURE."""

from dataclasses import dataclass

from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_address
from bulkhead.imports.digest_text import parse_password
from bulkhead.imports.lines import Line
from bulkhead.imports.rows import ACTIVE, DORMANT, QUOTA_MAX, SUSPENDED, AccountLine
from bulkhead.records.legacy import PLAIN

_STATUSES = {
    "": ACTIVE, "active": ACTIVE, "enabled": ACTIVE, "1": ACTIVE, "true": ACTIVE, "t": ACTIVE, "yes": ACTIVE,
    "suspended": SUSPENDED, "locked": SUSPENDED, "lockout": SUSPENDED, "maintenance": SUSPENDED,
    "disabled": SUSPENDED, "0": SUSPENDED, "false": SUSPENDED, "f": SUSPENDED, "no": SUSPENDED,
    "pending": SUSPENDED, "dormant": DORMANT,
}  # fmt: skip
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class Found:
    """The texts of one account, as the file has them. clear: whether a password without scheme is clear text."""

    address: str
    password: str
    quota: str = ""
    status: str = ""
    clear: bool = False
    aliases: bool = False
    unit: int = 1

    def __repr__(self) -> str:
        return "Found(...)"


def account_line(line: Line, found: Found) -> AccountLine:
    """The account of a line. Raises PeerError, which shows nothing of the line."""
    address = _address(found.address.strip())
    quota, status = _quota(found.quota.strip(), found.unit), _status(found.status.strip())
    password = parse_password(found.password, clear=found.clear)
    legacy = None if password.recipe is None else password.recipe.legacy()
    scheme, salt = (PLAIN, b"") if legacy is None else (legacy.scheme, legacy.salt)
    note = "is imported without its aliases" if found.aliases else ""
    return AccountLine(line.number, line.offset, address, password.octets, scheme, salt, quota, status, note)


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except (PeerError, UnicodeEncodeError):
        raise PeerError("has no valid address, user@domain") from None


def _quota(text: str, unit: int) -> int:
    """Octets; 0 where there is no limit written, or 0: then the tenant's default holds."""
    if not text:
        return 0
    digits = text.rstrip("BbKkMmGgTti")
    suffix = text[len(digits) :].lower().rstrip("ib")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 16 or (suffix and suffix not in _UNITS):
        raise PeerError("has a quota that is no number")
    octets = int(digits) * (_UNITS[suffix] if suffix else unit)
    if octets > QUOTA_MAX:
        raise PeerError(f"has a quota above {QUOTA_MAX} octets")
    return octets


def _status(text: str) -> str:
    status = _STATUSES.get(text.lower())
    if status is None:
        raise PeerError("has a status that is not imported: neither active, suspended nor dormant")
    return status

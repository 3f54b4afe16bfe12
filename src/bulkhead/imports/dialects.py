"""Who writes what: CSV, JSON Lines, Dovecot's passwd-file, Postfix Admin, Modoboa, WildDuck, Zimbra. PURE.

One account a line, but for Zimbra's records (ldif.py). A quoted field of CSV may hold commas and quotes (RFC 4180
section 2), and no line break: an address and a password have none.

Sources: the passwd-file page of Dovecot's manual, Postfix Admin's table `mailbox`, `modo export`, WildDuck's `users`.
"""

import csv
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bulkhead.errors import PeerError
from bulkhead.imports.fields import Found, account_line
from bulkhead.imports.ldif import Records, begins_records
from bulkhead.imports.lines import LINE_MAX, Line
from bulkhead.imports.rows import AccountLine, BadLine

CSV, JSON, DOVECOT, POSTFIXADMIN, MODOBOA, WILDDUCK, ZIMBRA = (
    "csv", "json", "dovecot", "postfixadmin", "modoboa", "wildduck", "zimbra",
)  # fmt: skip
AUTO = "auto"
DIALECTS = (AUTO, CSV, JSON, DOVECOT, POSTFIXADMIN, MODOBOA, WILDDUCK, ZIMBRA)
_COLUMNS = {
    "address": "address", "email": "address", "username": "address", "user": "address",
    "password": "password", "quota": "quota", "quota_bytes": "quota", "status": "status", "active": "status",
    "aliases": "aliases",
}  # fmt: skip
_JSON_KEYS = {"address", "password", "quota", "quota_bytes", "status", "aliases"}
_Event = AccountLine | BadLine


class DialectReader:
    """Lines in, accounts and refusals out. dialect: AUTO is settled by the first line that is not blank."""

    def __init__(self, dialect: str = AUTO, skip: int = 0) -> None:
        self.dialect, self._skip = dialect, skip
        self._columns: list[str] | None = None
        self._records = Records()
        self._parsers: dict[str, Callable[[str], Found | None]] = {
            CSV: self._csv, POSTFIXADMIN: self._postfixadmin, JSON: _json, WILDDUCK: _wildduck, DOVECOT: _dovecot,
            MODOBOA: _modoboa,
        }  # fmt: skip

    def receive(self, line: Line) -> list[_Event]:
        """What this line says; nothing for a blank line, a header, a comment, or up to line `skip`."""
        octets = line.octets
        if octets is None:
            self._records.spoil()
            return self._kept([BadLine(line.number, line.offset, f"is longer than {LINE_MAX} octets")])
        text = octets.decode("utf-8", "surrogateescape")
        if self.dialect == AUTO and text.strip():
            self.dialect = _guess(text)
        if self.dialect == ZIMBRA:
            return self._kept(self._records.receive(line, text))
        needs_header = self._columns is None and self.dialect in (CSV, POSTFIXADMIN)
        if not text.strip() or (line.number <= self._skip and not needs_header):
            return []
        return self._kept(self._one(line, text))

    def end(self) -> list[_Event]:
        """What was still open."""
        return self._kept(self._records.end()) if self.dialect == ZIMBRA else []

    def _one(self, line: Line, text: str) -> list[_Event]:
        try:
            if "\0" in text:
                raise PeerError("has NUL in it")
            found = self._parsers[self.dialect](text)
            return [] if found is None else [account_line(line, found)]
        except PeerError as error:
            return [BadLine(line.number, line.offset, error.public)]

    def _kept(self, events: list[_Event]) -> list[_Event]:
        return [event for event in events if event.line > self._skip]

    def _csv(self, text: str) -> Found | None:
        row = split_csv(text, ",")
        if self._columns is None:
            self._columns = _header(row, ["address", "password", "quota", "status"])
            if "@" not in row[0]:
                return None
        return _by_column(self._columns, row, clear=True)

    def _postfixadmin(self, text: str) -> Found | None:
        row = split_csv(text, "\t" if "\t" in text and "," not in text.partition("\t")[0] else ",")
        if self._columns is None:
            self._columns = _header(row, [])
            return None
        return _by_column(self._columns, row, clear=False)


def split_csv(text: str, comma: str) -> list[str]:
    """The fields of one line. Raises PeerError."""
    try:
        rows = list(csv.reader([text], delimiter=comma, strict=True))
    except csv.Error:
        raise PeerError("has a quote that does not end, or text after it; a field cannot hold a line break") from None
    if len(rows) != 1 or not rows[0]:
        raise PeerError("is no line of CSV")
    return rows[0]


def _header(row: Sequence[str], default: list[str]) -> list[str]:
    """What each column is. Raises PeerError, which ends nothing: the next line is tried as the header."""
    if default and "@" in row[0]:
        return default
    columns = [_COLUMNS.get(name.strip().lower(), "") for name in row]
    if columns.count("address") != 1 or columns.count("password") != 1:
        raise PeerError("is no header: it names no column address and one password")
    return columns


def _by_column(columns: Sequence[str], row: Sequence[str], *, clear: bool) -> Found:
    if len(row) > len(columns) or len(row) < 2:
        raise PeerError(f"has {len(row)} fields and not {len(columns)}; a comma within a field needs quotes")
    fields = {name: value for name, value in zip(columns, row, strict=False) if name}
    return Found(
        fields.get("address", ""),
        fields.get("password", ""),
        fields.get("quota", ""),
        fields.get("status", ""),
        clear=clear,
        aliases=bool(fields.get("aliases", "").strip()),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text.encode("utf-8", "strict"))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise PeerError("is not a JSON object on one line, in UTF-8") from None
    if not isinstance(found, dict):
        raise PeerError("is not a JSON object")
    return found


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name, "")
    if value is None:
        return ""
    if isinstance(value, dict) and len(value) == 1:  # mongoexport writes {"$numberLong": "1024"}
        value = next(iter(value.values()))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and 0 <= value < 1 << 53:
        value = int(value)
    if isinstance(value, int):
        return str(value) if -(1 << 63) <= value < 1 << 63 else "-"
    if not isinstance(value, str):
        raise PeerError(f"has a {name} that is no text")
    return value


def _json(text: str) -> Found:
    found = _object(text)
    if set(found) - _JSON_KEYS:
        raise PeerError(f"has a key that is not known; known are {', '.join(sorted(_JSON_KEYS))}")
    quota = _text(found, "quota_bytes") or _text(found, "quota")
    return Found(
        _text(found, "address"), _text(found, "password"), quota, _text(found, "status"), clear=True,
        aliases=bool(found.get("aliases")),
    )  # fmt: skip


def _wildduck(text: str) -> Found:
    found = _object(text)
    closed = _text(found, "disabled") == "true" or _text(found, "suspended") == "true"
    return Found(
        _text(found, "address"), _text(found, "password"), _text(found, "quota"), "suspended" if closed else "",
        aliases=bool(found.get("aliases")),
    )  # fmt: skip


def _dovecot(text: str) -> Found | None:
    """user:password:uid:gid:gecos:home:shell:extra"""
    if text.startswith("#"):
        return None
    parts = text.split(":", 7)
    if len(parts) < 2:
        raise PeerError("is no line of a passwd-file: user:password:...")
    quota = ""
    for word in (parts[7] if len(parts) == 8 else "").split():
        name, _, value = word.partition("=")
        if name in ("quota_rule", "userdb_quota_rule") and value.startswith("*:storage="):
            quota = value.removeprefix("*:storage=")
        elif name in ("quota_storage_size", "userdb_quota_storage_size"):
            quota = value
    kilobytes = 1024 if "rule" in (parts[7] if len(parts) == 8 else "") else 1
    return Found(parts[0], parts[1], quota, unit=kilobytes)


def _modoboa(text: str) -> Found | None:
    """account; login; password; first name; last name; enabled; group; address; quota in MB; ..."""
    row = split_csv(text, ";")
    kind = row[0].strip().lower()
    if kind != "account":
        known = {"domain", "domainalias", "relaydomain", "alias", "forward", "dlist"}
        what = kind if kind in known else "something else"
        raise PeerError(f"is no account but {what}, which is not imported")
    if len(row) < 8:
        raise PeerError("has too few fields for an account")
    address = row[7].strip() or row[1]
    return Found(address, row[2].strip(), row[8] if len(row) > 8 else "", row[5].strip(), unit=1 << 20)


def _guess(text: str) -> str:
    """By the first line."""
    start = text.strip()
    if start.startswith("{"):
        return WILDDUCK if '"_id"' in start or '"username"' in start else JSON
    if begins_records(start):
        return ZIMBRA
    if start.partition(";")[0].strip().lower() in {"account", "domain"}:
        return MODOBOA
    if "maildir" in start.lower() and "username" in start.lower():
        return POSTFIXADMIN
    user, colon, _ = start.partition(":")
    if (colon and "@" in user and "," not in user) or start.startswith("#"):
        return DOVECOT
    return CSV

"""A record in the OSV format, as far as it is needed here: bytes in, a value out, or ConfigError. PURE.

Source: https://ossf.github.io/osv-schema/ (schema version 1). Fields that are not read may hold anything; what is
read is bounded in octets and number, and nesting by the interpreter's limit. Records carry no signature: whoever
brings one vouches for it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bulkhead.errors import ConfigError
from bulkhead.inventory.severity import WORDS, Severity, base_score, severity_of

RECORD_MAX = 2 << 20  # octets
SUMMARY_MAX = 200  # characters
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_Short = Annotated[str, Meta(max_length=256)]


class OsvEvent(msgspec.Struct, frozen=True):
    """Where a range begins or ends; one of them is set."""

    introduced: _Short = ""
    fixed: _Short = ""
    last_affected: _Short = ""
    limit: _Short = ""


class OsvRange(msgspec.Struct, frozen=True):
    """Versions by their order, or commits."""

    type: _Short
    events: Annotated[tuple[OsvEvent, ...], Meta(max_length=1000)] = ()


class OsvPackage(msgspec.Struct, frozen=True):
    """Of which ecosystem and name."""

    ecosystem: _Short = ""
    name: _Short = ""
    purl: _Short = ""


class OsvSeverity(msgspec.Struct, frozen=True):
    """score: a vector for the types CVSS_V2 to CVSS_V4."""

    type: _Short
    score: _Short


class OsvDatabase(msgspec.Struct, frozen=True):
    """What the database adds; GitHub's says a word for the severity."""

    severity: Any = None


class OsvAffected(msgspec.Struct, frozen=True):
    """One package with the versions that have the flaw."""

    package: OsvPackage | None = None
    ranges: Annotated[tuple[OsvRange, ...], Meta(max_length=500)] = ()
    versions: Annotated[tuple[_Short, ...], Meta(max_length=20_000)] = ()
    severity: Annotated[tuple[OsvSeverity, ...], Meta(max_length=16)] = ()


class _Document(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(max_length=64)]
    modified: datetime
    published: datetime | None = None
    withdrawn: datetime | None = None
    aliases: Annotated[tuple[_Short, ...], Meta(max_length=200)] = ()
    summary: Annotated[str, Meta(max_length=4096)] = ""
    affected: Annotated[tuple[OsvAffected, ...], Meta(max_length=2000)] = ()
    severity: Annotated[tuple[OsvSeverity, ...], Meta(max_length=16)] = ()
    database_specific: OsvDatabase | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a flaw. Times are ms since 1970. withdrawn: it turned out to be none.

    sha256: of the octets as they were brought, so that two sides can tell whether they speak of the same record.
    """

    id: str
    sha256: bytes
    modified: int
    published: int
    withdrawn: bool
    aliases: tuple[str, ...]
    summary: str
    severity: Severity
    affected: tuple[OsvAffected, ...]


def parse_record(data: bytes) -> Record:
    """The record. Raises ConfigError on anything else."""
    if len(data) > RECORD_MAX:
        raise ConfigError(f"a record has at most {RECORD_MAX} octets")
    try:
        data.decode("utf-8")
        found = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(f"this is no OSV record: {str(error)[:200]}") from None
    if not _ID.fullmatch(found.id):
        raise ConfigError("this is no OSV record: its id has other characters than letters, digits and . _ : -")
    modified = _ms(found.modified)
    return Record(
        found.id, hashlib.sha256(data).digest(), modified, _ms(found.published) if found.published else modified,
        found.withdrawn is not None, tuple(alias for alias in found.aliases if _ID.fullmatch(alias)),
        "".join(c if c.isprintable() else " " for c in found.summary)[:SUMMARY_MAX], _severity(found), found.affected,
    )  # fmt: skip


def _severity(found: _Document) -> Severity:
    """The worst that can be computed; else the database's word."""
    vectors: Sequence[OsvSeverity] = (*found.severity, *(one for row in found.affected for one in row.severity))
    scores = [score for one in vectors if one.type == "CVSS_V3" and (score := base_score(one.score)) is not None]
    if scores:
        return severity_of(max(scores))
    word = found.database_specific.severity if found.database_specific else None
    return WORDS.get(word.upper(), Severity.UNKNOWN) if isinstance(word, str) else Severity.UNKNOWN


def _ms(when: datetime) -> int:
    """ms; a time without a zone is UTC, one before 1970 is 1970."""
    try:
        stamp = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        raise ConfigError("this is no OSV record: a time is outside the calendar") from None
    return max(0, int(stamp * 1000))

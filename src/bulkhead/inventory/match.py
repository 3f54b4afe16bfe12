"""Whether a record concerns what is installed: by package, then by version (PEP 440). PURE.

Source: https://ossf.github.io/osv-schema/, section "Evaluation"; order of versions: PEP 440, by `packaging`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bulkhead.inventory.components import PACKAGE, Component
from bulkhead.inventory.osv import OsvAffected, OsvEvent, OsvPackage, OsvRange, Record

ECOSYSTEM = "PyPI"
_ORDERED = frozenset({"ECOSYSTEM", "SEMVER"})
_VERSION_MAX = 128  # characters


class Verdict(Enum):
    """What a comparison gave. UNSURE: the package is named, and nothing tells whether this version is meant."""

    CLEAN = "clean"
    CONCERNED = "concerned"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Match:
    """A record that names a component."""

    record: Record
    component: Component
    verdict: Verdict


def matches(records: Sequence[Record], rows: Sequence[Component]) -> Iterator[Match]:
    """One for each record and component that it names; withdrawn records name none."""
    for record in records:
        for row in rows if not record.withdrawn else ():
            named = [one for one in record.affected if one.package and _names(one.package, row)]
            if named:
                yield Match(record, row, _worst([_compare(one, row.version) for one in named]))


def names_any(record: Record, rows: Sequence[Component]) -> bool:
    """Whether the record is about any of these packages, of whatever version."""
    return any(one.package and _names(one.package, row) for one in record.affected for row in rows)


def _names(package: OsvPackage, row: Component) -> bool:
    purl = f"pkg:{'pypi' if row.kind == PACKAGE else 'generic'}/{row.name}"
    if package.purl.partition("@")[0].partition("?")[0].lower() == purl:
        return True
    ecosystem = package.ecosystem.partition(":")[0]
    return row.kind == PACKAGE and ecosystem == ECOSYSTEM and canonicalize_name(package.name) == row.name


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in (Verdict.CONCERNED, Verdict.UNSURE):
        if verdict in verdicts:
            return verdict
    return Verdict.CLEAN


def _compare(affected: OsvAffected, installed: str) -> Verdict:
    version = _version(installed)
    if version is None:
        return Verdict.UNSURE
    listed = {_version(text) for text in affected.versions}
    if version in listed:
        return Verdict.CONCERNED
    ranges = [_in_range(one, version) for one in affected.ranges if one.type in _ORDERED]
    if not ranges and not affected.versions:
        return Verdict.UNSURE  # commits alone, or nothing at all
    return _worst(ranges)


def _in_range(one: OsvRange, version: Version) -> Verdict:
    """As section "Evaluation" says: events in the order of their versions, the last one at or before ours decides."""
    points: list[tuple[Version, int, bool]] = []
    limits: list[Version] = []
    for event in one.events:
        text, rank, opens = _point(event)
        if event.limit == "*":
            continue  # no limit
        at = Version("0.dev0") if text == "0" else _version(text)
        if at is None:
            return Verdict.UNSURE
        if event.limit:
            limits.append(at)
        else:
            points.append((at, rank, opens))
    inside = False
    for at, rank, opens in sorted(points):
        if version > at or (version == at and rank < _AFTER):
            inside = opens
    before = not limits or any(version < limit for limit in limits)
    return Verdict.CONCERNED if inside and before else Verdict.CLEAN


_FIXED, _INTRODUCED, _AFTER = 0, 1, 2  # of one version, what is fixed there and introduced there again is introduced


def _point(event: OsvEvent) -> tuple[str, int, bool]:
    """Its version, its place among events of the same version, and whether versions from there on have the flaw."""
    if event.introduced:
        return event.introduced, _INTRODUCED, True
    if event.last_affected:
        return event.last_affected, _AFTER, False
    return event.fixed or event.limit, _FIXED, False


def _version(text: str) -> Version | None:
    if len(text) > _VERSION_MAX:
        return None
    try:
        return Version(text)
    except (InvalidVersion, ValueError):
        return None

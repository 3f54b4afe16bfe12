"""What was promised beside what is: pure, from facts and settings. What cannot be measured says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from bulkhead.contract.facts import Facts, Last
from bulkhead.contract.terms import Promise

HOUR, DAY = 3_600_000, 86_400_000  # ms
NEVER = -1
ROTATED = ("auth", "ring")  # the keys that records of auth and keyring are sealed under
Settings = Mapping[str, int]


class Standing(IntEnum):
    """How a promise stands; the numbers are those of the message and of the table."""

    KEPT = 1
    BROKEN = 2
    UNMEASURED = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """One promise measured. measured: in the term's unit; -1: never, or not at all. entry: of the ledger, or -1."""

    promise: Promise
    standing: Standing
    measured: int
    entry: int
    why: str


def measure(promises: Sequence[Promise], facts: Facts, settings: Settings, now: int) -> list[Measurement]:
    """One measurement a promise. settings: `store.undelete_days`, as the cell has it. now: ms since 1970."""
    return [_one(promise, facts, settings, now) for promise in promises]


def _one(promise: Promise, facts: Facts, settings: Settings, now: int) -> Measurement:
    measured, entry, why = _MEASURES[promise.term.name](facts, settings, now)
    if why and measured == NEVER:
        return Measurement(promise, Standing.UNMEASURED, NEVER, NEVER, why)
    if measured == NEVER:
        return Measurement(promise, Standing.BROKEN, NEVER, NEVER, "never happened")
    kept = measured >= promise.value if promise.term.least else measured <= promise.value
    return Measurement(promise, Standing.KEPT if kept else Standing.BROKEN, measured, entry, why)


_Found = tuple[int, int, str]


def _age(kind: str, unit: int) -> Callable[[Facts, Settings, int], _Found]:
    def find(facts: Facts, _: Settings, now: int) -> _Found:
        last = facts.last.get(kind)
        return (NEVER, NEVER, "") if last is None else (_units(now - last.at, unit), last.index, "")

    return find


def _number(kind: str, name: str) -> Callable[[Facts, Settings, int], _Found]:
    def find(facts: Facts, _: Settings, __: int) -> _Found:
        last = facts.last.get(kind)
        return (NEVER, NEVER, "") if last is None else (last.numbers.get(name, 0), last.index, "")

    return find


def _units(milliseconds: int, unit: int) -> int:
    """Units begun: 26 hours and a second are 27, so that a promise of 26 is broken."""
    return max(0, -(-milliseconds // unit))


def _notice(facts: Facts, _: Settings, now: int) -> _Found:
    if facts.missed:
        why = f"{facts.missed} more alarms were open at one time than can be followed"
    else:
        why = "" if facts.alarms else "no alarm waits for a notice"
    oldest = min(facts.alarms, key=lambda alarm: alarm.at, default=None)
    return (0, NEVER, why) if oldest is None else (_units(now - oldest.at, HOUR), oldest.index, why or oldest.kind)


def _rotation(facts: Facts, _: Settings, now: int) -> _Found:
    began = Last(0, facts.began)
    if not facts.began:
        return NEVER, NEVER, "the ledger has no entry"
    oldest = min((facts.last.get(f"KeyRotationVerified {key}", began) for key in ROTATED), key=lambda last: last.at)
    return _units(now - oldest.at, DAY), oldest.index, ""


def _setting(name: str) -> Callable[[Facts, Settings, int], _Found]:
    return lambda _, settings, __: (settings[name], NEVER, "the setting as the cell has it")


def _patch(least: int) -> Callable[[Facts, Settings, int], _Found]:
    """Age of the oldest open flaw that counts as so severe at least. least: 1 to 4."""

    def find(facts: Facts, _: Settings, now: int) -> _Found:
        compared = facts.last.get("ComponentsChecked")
        if compared is None or not compared.numbers.get("records"):
            return NEVER, NEVER, "components were compared with no advisories"
        flaws = [(flaw.since, key, flaw.index) for key, flaw in facts.flaws.items() if flaw.severity >= least]
        beyond = facts.beyond + compared.numbers.get("left", 0)
        why = f"; {beyond} more are open" * bool(beyond)
        if not flaws:
            return 0, compared.index, f"none is open{why}"
        since, key, index = min(flaws)
        return _units(now - since, DAY), index, key + why

    return find


def _feed(facts: Facts, _: Settings, now: int) -> _Found:
    compared = facts.last.get("ComponentsChecked")
    newest = compared.numbers.get("newest", 0) if compared else 0
    return (_units(now - newest, DAY), compared.index, "") if compared and newest else (NEVER, NEVER, "")


_MEASURES: Mapping[str, Callable[[Facts, Settings, int], _Found]] = {
    "notice.hours": _notice,
    "patch.days": _patch(1),
    "patch.high_days": _patch(3),
    "patch.critical_days": _patch(4),
    "patch.check_days": _age("ComponentsChecked", DAY),
    "patch.feed_days": _feed,
    "blast_radius.over": _number("DrillRun", "over"),
    "blast_radius.unproven": _number("DrillRun", "unproven"),
    "blast_radius.drill_days": _age("DrillRun", DAY),
    "credentials.faults": _number("CredentialsAudited", "faults"),
    "credentials.legacy": _number("CredentialsAudited", "legacy"),
    "credentials.audit_days": _age("CredentialsAudited", DAY),
    "keys.rotation_days": _rotation,
    "backup.hours": _age("BackupMade", HOUR),
    "backup.verify_days": _age("BackupVerified", DAY),
    "retention.undelete_days": _setting("store.undelete_days"),
    "exit.export_days": _age("ExportWritten", DAY),
}

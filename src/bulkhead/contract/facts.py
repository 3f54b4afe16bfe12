"""What the entries of a ledger say that bears on a contract, learnt one entry after the other. PURE.

Facts are kept between two measurements, so that only new entries are read: the last entry of each kind, the
rotations by key, and the alarms that no notice names yet.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from bulkhead.errors import IntegrityError
from bulkhead.ledger.event import Event

ALARMS_MAX = 64  # that are open at the same time; the oldest ones are kept
FLAWS_MAX = 100  # that are open at the same time
FLAW_KEY_MAX = 160  # characters
CRITICAL = 4  # what an unknown severity counts as, too
SEVERITIES: Mapping[str, int] = MappingProxyType({"low": 1, "medium": 2, "high": 3, "critical": CRITICAL})
Details = Mapping[str, str | int | bool | None]


class Last(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The newest entry of a kind: index, ms, and the numbers of its details that a term needs."""

    index: int
    at: int
    numbers: dict[str, int] = {}


class Alarm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An entry that the operator owes a notice of."""

    index: int
    at: int
    kind: str


class Flaw(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A known flaw that is open: its entry, ms from which its age counts, and what its severity counts as, 1 to 4."""

    index: int
    since: int
    severity: int


class Facts(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """read: entries learnt from so far. alarms: open ones. answered: ms from the last answered alarm to its notice."""

    read: int = 0
    began: int = 0  # ms, of the first entry
    last: dict[str, Last] = {}
    alarms: list[Alarm] = []
    missed: int = 0  # open alarms that found no place
    flaws: dict[str, Flaw] = {}  # by advisory and component
    beyond: int = 0  # open flaws that found no place

    def learn(self, index: int, event: Event) -> None:
        """Take in the next entry. Raises ValueError where it is not the next: our bug."""
        if index != self.read:
            raise ValueError(f"entry {index} after {self.read} were read")
        self.read += 1
        self.began = self.began or event.at
        kind, details = event.kind.name, event.details
        numbers = _NUMBERS.get(kind)
        if numbers is not None:
            name = f"{kind} {details.get('key')}" if kind == "KeyRotationVerified" else kind
            self.last[name] = Last(index, event.at, {key: _whole(details.get(key)) for key in numbers})
        if kind in ALARMS and ALARMS[kind](details):
            if len(self.alarms) < ALARMS_MAX:
                self.alarms.append(Alarm(index, event.at, kind))
            else:
                self.missed += 1
        if kind in {"AdvisoryOpened", "AdvisoryClosed"}:
            self._learn_flaw(index, event)
        if kind == "NoticeGiven":
            self.alarms = [alarm for alarm in self.alarms if alarm.index != details.get("entry")]

    def _learn_flaw(self, index: int, event: Event) -> None:
        """An age never gets younger while the flaw is open, whatever a newer record says of when it was published."""
        details = event.details
        key = f"{details.get('advisory')} {details.get('component')}"[:FLAW_KEY_MAX]
        if event.kind.name == "AdvisoryClosed":
            if self.flaws.pop(key, None) is None:
                self.beyond = max(0, self.beyond - 1)
            return
        since = min(_whole(details.get("published")), event.at)
        severity = SEVERITIES.get(str(details.get("severity")), CRITICAL)
        before = self.flaws.get(key)
        if before is not None:
            self.flaws[key] = Flaw(before.index, min(since, before.since), severity)
        elif len(self.flaws) < FLAWS_MAX:
            self.flaws[key] = Flaw(index, since, severity)
        else:
            self.beyond += 1

    def encode(self) -> bytes:
        """As `decode` reads it."""
        return msgspec.json.encode(self)


def decode_facts(data: bytes) -> Facts:
    """The facts of an earlier measurement; none where there was none. Raises IntegrityError."""
    if not data:
        return Facts()
    try:
        return msgspec.json.decode(data, type=Facts)
    except msgspec.MsgspecError:
        raise IntegrityError("what incident keeps of the last measurement is no such thing") from None


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int) else 0


_NUMBERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DrillRun": ("over", "unproven"),
        "CredentialsAudited": ("faults", "legacy"),
        "KeyRotationVerified": (),
        "BackupMade": (),
        "BackupVerified": (),
        "ExportWritten": (),
        "ComponentsChecked": ("records", "newest", "unsure", "left"),
    }
)
ALARMS: Mapping[str, Callable[[Details], bool]] = MappingProxyType(
    {
        "CanaryUsed": lambda details: details.get("password_right") is True,
        "EdgeViolation": lambda _: True,
        "DrillRun": lambda details: _whole(details.get("over")) > 0,
    }
)

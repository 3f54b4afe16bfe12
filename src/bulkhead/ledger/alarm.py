"""ALARMS: what a partner may see of a log that is not as it was promised, each by its own name. PURE.

A check raises IntegrityError with the alarm's name as its code; what is late and not wrong is a finding. The name is
the same on the command line, in JSON and in the log of whoever watches.
"""

from dataclasses import dataclass
from enum import Enum


class Alarm(Enum):
    """The alarm's name."""

    FORK = "fork"
    ROLLBACK = "rollback"
    WITHHELD = "withheld"
    DAMAGED = "damaged"
    UNKNOWN_SIGNER = "unknown-signer"
    STALE = "stale"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Meaning:
    """proof: whether the bytes themselves show it (exit code 5), or only the time (exit code 1)."""

    proof: bool
    says: str
    advice: str


ALARMS: dict[Alarm, Meaning] = {
    Alarm.FORK: Meaning(
        True, "two histories under one key: entries that were seen are not in the log any more, or not in their place",
        "keep both checkpoints: together they prove it; show them to the operator, and to whoever else watches",
    ),
    Alarm.ROLLBACK: Meaning(
        True, "fewer entries than were seen: the log was put back to an earlier day",
        "keep both checkpoints; ask which backup was restored, and have it continued from your export",
    ),
    Alarm.WITHHELD: Meaning(
        True, "a file or an entry that the checkpoint covers is not there",
        "fetch the export again; if it stays away, the log hides it",
    ),
    Alarm.DAMAGED: Meaning(
        True, "bytes do not match their hash or signature; the file is named",
        "keep the file, fetch it again, and compare",
    ),
    Alarm.UNKNOWN_SIGNER: Meaning(
        True, "no signature by the log's key, or the name of another log",
        "ask the operator by another way which key signs, and why it changed",
    ),
    Alarm.STALE: Meaning(
        False, "no entry newer than the limit: a log that lives writes LedgerAlive at least",
        "see whether the cell runs and its disk has room; nothing that widens reach happens meanwhile",
    ),
    Alarm.GAP: Meaning(
        False, "acts took effect long before they came into the log (EventsLate)",
        "ask why the ledger was away; look at what was done in that time",
    ),
}  # fmt: skip

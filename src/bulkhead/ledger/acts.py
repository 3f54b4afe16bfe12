"""What the log says was done to accounts and credentials: what a restore does again before anybody can log in. PURE.

Every act may be done again: it is the last status that counts, the highest epoch, and that a credential was changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bulkhead.ledger.event import Event, SubjectId, parse_event

ALL_APP_PASSWORDS = 0
_ENDS = ("cancelled", "purged")  # an account leaves these for no other


@dataclass(slots=True)
class Stop:
    """A holder's stop: epoch, and whether it holds."""

    epoch: int = 0
    stopped: bool = False


@dataclass(slots=True)
class Acts:
    """Since some entry. status: the last of an account. changed: credentials that were set anew. added: new accounts.

    revoked: app passwords, 0 for all. epochs: of main passwords (1) and app passwords (2). stops: by compartment.
    """

    status: dict[SubjectId, str] = field(default_factory=dict)
    changed: dict[SubjectId, set[int]] = field(default_factory=dict)
    revoked: dict[SubjectId, set[int]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    added: set[SubjectId] = field(default_factory=set)
    renewal: int = 0  # ms, when mailbox keys were last ordered to be renewed; 0: not
    entries: int = 0


def acts_of(entries: Iterable[bytes]) -> Acts:
    """The acts in these entries, in order. Raises IntegrityError on one that is no event."""
    acts = Acts()
    for entry in entries:
        acts.entries += 1
        _take(acts, parse_event(entry))
    return acts


def _take(acts: Acts, event: Event) -> None:
    details = event.details
    for subject in event.subjects:
        match event.kind.name:
            case "AccountAdded":
                acts.added.add(subject)
            case "HalfDestroyed" | "AccountDestroyed":  # a cancellation that was cut short goes on from here
                acts.status[subject] = "cancelled" if acts.status.get(subject) != "purged" else "purged"
            case "AccountStatusChanged":
                status = str(details.get("to", ""))
                if status in _ENDS or acts.status.get(subject) not in _ENDS:  # directory's entries may come late
                    acts.status[subject] = status
            case "PasswordSet":
                acts.changed.setdefault(subject, set()).add(_number(details.get("cred")))
            case "MailboxKeyRenewed":  # the older seed that they wrap had been seen
                acts.revoked.setdefault(subject, set()).add(ALL_APP_PASSWORDS)
            case "AppPasswordRevoked":
                acts.revoked.setdefault(subject, set()).add(_number(details.get("cred")))
    epoch, compartment = _number(details.get("epoch")), str(details.get("compartment", ""))
    match event.kind.name:
        case "MailboxRenewalOrdered":
            acts.renewal = max(acts.renewal, event.at)
        case "CredentialsRevoked":
            for kind in (1, 2):
                if _number(details.get("which")) & kind:
                    acts.epochs[kind] = max(acts.epochs.get(kind, 0), epoch)
        case "StopLogins" | "StopSessions" | "StopLifted":
            stop = acts.stops.setdefault(compartment, Stop())
            if epoch > stop.epoch:
                stop.epoch, stop.stopped = epoch, event.kind.name != "StopLifted"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0

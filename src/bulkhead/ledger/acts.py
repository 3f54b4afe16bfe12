"""What the log says was done to accounts and credentials: what a restore does again before anybody can log in. PURE.

Every act may be done again: it is the last status that counts, the highest epoch, and that a credential was changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bulkhead.ledger.event import Event, Scalar, SubjectId, parse_event

ALL_APP_PASSWORDS = 0
_SERVICES = {"login": 1, "receive": 2, "send": 4}
ENDS = ("cancelled", "purged")  # an account leaves these for no other


@dataclass(slots=True)
class Stop:
    """A holder's stop: epoch, and whether it holds."""

    epoch: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class SurfaceStop:
    """A surface's stop for a set of accounts. until: ms, when it lapses; 0: it does not."""

    epoch: int
    closed: bool
    until: int = 0


@dataclass(slots=True)
class Acts:
    """Since some entry. status: the last of an account. changed: credentials that were set anew. added: new accounts.

    revoked: app passwords, 0 for all. epochs: of main passwords (1) and app passwords (2). stops: by compartment;
    `queue:outbound` and `keyring:outbound` those of outbound mail.
    closed: services switched off (1 login, 2 receive, 4 send). forwards: digest of whom an account's mail goes on to.
    routes: what an address came to, by account (None: a group itself) and digest.
    """

    status: dict[SubjectId, str] = field(default_factory=dict)
    changed: dict[SubjectId, set[int]] = field(default_factory=dict)
    revoked: dict[SubjectId, set[int]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    added: set[SubjectId] = field(default_factory=set)
    closed: dict[SubjectId, int] = field(default_factory=dict)
    forwards: dict[SubjectId, str] = field(default_factory=dict)
    routes: dict[tuple[SubjectId | None, str], str] = field(default_factory=dict)
    renewal: int = 0  # ms, when mailbox keys were last ordered to be renewed; 0: not
    surfaces: dict[tuple[str, int, bytes], SurfaceStop] = field(default_factory=dict)  # compartment, bit, set
    roster: int = 0  # the newest that a compartment took
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
                if status in ENDS or acts.status.get(subject) not in ENDS:  # directory's entries may come late
                    acts.status[subject] = status
            case "PasswordSet":
                acts.changed.setdefault(subject, set()).add(_number(details.get("cred")))
            case "MailboxKeyRenewed":  # the older seed that they wrap had been seen
                acts.revoked.setdefault(subject, set()).add(ALL_APP_PASSWORDS)
            case "AppPasswordRevoked":
                acts.revoked.setdefault(subject, set()).add(_number(details.get("cred")))
            case "ServicesChanged":
                acts.closed[subject] = sum(bit for name, bit in _SERVICES.items() if details.get(name) is False)
            case "ForwardChanged":
                acts.forwards[subject] = str(details.get("digest"))
            case "AddressAdded" | "AddressRetired":
                acts.routes[subject, str(details.get("digest"))] = event.kind.name
            case "GroupChanged":
                acts.routes[subject, str(details.get("digest"))] = str(details.get("what"))
    epoch, compartment = _number(details.get("epoch")), str(details.get("compartment", ""))
    match event.kind.name:
        case "RosterInstalled":
            acts.roster = max(acts.roster, _number(details.get("version")))
        case "MailboxRenewalOrdered":
            acts.renewal = max(acts.renewal, event.at)
        case "CredentialsRevoked":
            for kind in (1, 2):
                if _number(details.get("which")) & kind:
                    acts.epochs[kind] = max(acts.epochs.get(kind, 0), epoch)
        case "SurfacesStopped" | "SurfacesLifted":
            _take_surfaces(acts, compartment, details, closed=event.kind.name == "SurfacesStopped")
        case "GroupChanged" if not event.subjects:
            acts.routes[None, str(details.get("digest"))] = str(details.get("what"))
        case "StopLogins" | "StopSessions" | "StopOutbound" | "StopLifted":
            outbound = event.kind.name == "StopOutbound" or details.get("what") == "outbound"
            stop = acts.stops.setdefault(f"{compartment}:outbound" if outbound else compartment, Stop())
            if epoch > stop.epoch:
                stop.epoch = epoch
                stop.stopped = event.kind.name != "StopLifted" and details.get("holds") is not False


def _take_surfaces(acts: Acts, compartment: str, details: Mapping[str, Scalar], *, closed: bool) -> None:
    """The newest epoch wins, and of one the lapse. One that is in force does not end sooner for another one."""
    surfaces, epoch, until = (_number(details.get(name)) for name in ("surfaces", "epoch", "until"))
    accounts = bytes.fromhex(str(details.get("accounts", "")))
    for bit in (1 << place for place in range(32) if surfaces >> place & 1):
        key = compartment, bit, accounts
        there = acts.surfaces.get(key)
        if there is not None and (epoch < there.epoch or (epoch == there.epoch and closed)):
            continue
        if closed and there is not None and there.closed:
            until = 0 if not (until and there.until) else max(until, there.until)
        acts.surfaces[key] = SurfaceStop(epoch, closed, until if closed else 0)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0

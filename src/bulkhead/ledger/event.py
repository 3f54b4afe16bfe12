"""Security events: the entries of a tenant's log. PURE.

An entry is one JSON object (RFC 8259) in the canonical form of RFC 8785, narrowed to ASCII keys and integers of at
most 2**53 - 1, so the bytes are a function of the value and a partner reads them with any tool:

    {"actor":"officer:abc","at":1700000000000,"details":{...},"kind":7,"subjects":["<32 hex digits>"],"v":1}

Accounts appear only as subject ids, HMACs under a key that the cell and the partner hold. A text with an @ is
refused: addresses do not enter a log from which nothing can be removed.
"""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NewType

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import ID_BYTES, AccountId

SubjectId = NewType("SubjectId", bytes)
Scalar = str | int | bool | None

EVENT_VERSION = 1
EVENT_MAX = 8 * 1024  # bytes, encoded
ACTOR_MAX = 128  # characters
SUBJECTS_MAX = 64
DETAILS_MAX = 32
DETAIL_TEXT_MAX = 1024  # characters
SUBJECT_BYTES = 16
INTEGER_MAX = 2**53 - 1  # RFC 8785 section 3.1, by way of IEEE 754 doubles

_DETAIL_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_HEX = re.compile(r"[0-9a-f]{32}")
_FIELDS = {"actor", "at", "details", "kind", "subjects", "v"}


@dataclass(frozen=True, slots=True)
class EventKind:
    """A row of EVENTS. number: what the entry holds; stable, never given to another kind."""

    name: str
    number: int
    doc: str


EVENTS: Mapping[str, EventKind] = MappingProxyType(
    {
        name: EventKind(name, number, doc)
        for number, name, doc in (
            (1, "TenantCreated", "The tenant's cell was made and its log began."),
            (2, "DomainAdded", "A domain was given to the tenant."),
            (3, "AccountAdded", "An account was made; it may receive mail."),
            (4, "AccountStatusChanged", "An account went from one status to another."),
            (5, "PasswordSet", "A credential of an account was set or replaced."),
            (6, "RecoveryUsed", "A mailbox was opened by recovery, without its password."),
            (7, "StopLogins", "Logins were stopped."),
            (8, "StopSessions", "Live sessions were ended."),
            (9, "StopLifted", "A stop was taken back."),
            (10, "KeyOpeningsCounted", "Message keys opened in an interval: their count and the journal's root."),
            (11, "LoginsCounted", "Logins, granted and refused, in an interval: their counts and the journal's root."),
            (12, "EdgeViolation", "A compartment sent what its peers do not allow; its edge was ended."),
            (13, "CellStarted", "The cell's supervisor started its compartments."),
            (14, "CompartmentRestarted", "A compartment ended and was started again."),
            (15, "DrillRun", "The blast radius was measured: hash of the result and its counts."),
            (16, "CredentialsAudited", "Every credential was opened and counted: hash of the report and its totals."),
            (17, "AppPasswordRevoked", "App passwords of an account were revoked: one by its number, or all (0)."),
            (18, "CredentialsRevoked", "Every main password, app password or both that were set before an epoch."),
            (19, "Stuffing", "Wrong passwords came for more accounts in a minute than the ceiling allows."),
            (20, "MailboxRenewalOrdered", "Every mailbox key is to be replaced at its account's next login."),
            (21, "MailboxKeyRenewed", "An account has a new mailbox key; app passwords that wrapped the old one end."),
            (22, "MailboxKeyDestroyed", "An account's older mailbox keys are destroyed: nothing is under them."),
            (24, "KeyRotationBegun", "A key that seals records was given its next version."),
            (25, "KeyRotationVerified", "Every record opens under the new version; when the old one may be destroyed."),
            (26, "KeyDestroyed", "A retired version of a key is destroyed, after this entry."),
            (27, "HalfDestroyed", "A compartment destroyed its half of an account's credentials, and its keys."),
            (28, "AccountDestroyed", "All of an account is destroyed: what, when, and what older copies lie under."),
            (29, "CanariesPlanted", "Canaries were planted: how many, in which copy."),
            (30, "CanaryUsed", "Somebody used a canary: of which copy, from which network, password right or not."),
            (31, "BackupMade", "A backup of every holder was written: hash of its manifest, and its octets."),
            (32, "BackupVerified", "A backup was read again and compared with its manifest."),
            (33, "RestoreBegun", "The cell was made anew from a backup, whose acts since then follow from this log."),
            (34, "RestoreDone", "What the restore counted: accounts closed, credentials that must be set anew."),
            (35, "KeysEscrowed", "Sealed keys were put into the escrow: the hash of each compartment's file."),
            (
                36,
                "MailRestored",
                "Mail of a backup is brought back into the cell that runs: of which, how much.",
            ),
            (
                40,
                "MailboxKeysExported",
                "Mailbox keys left the cell, sealed to both recovery keys: of how many accounts.",
            ),
            (41, "ExportWritten", "A copy of the tenant's mail was written: hash of its manifest and its counts."),
            (42, "MessagesUndeleted", "Messages that a subscriber had deleted were asked back: how many."),
            (43, "ExportBegun", "A copy of the tenant begins to be read: all of it, with credentials, or some mail."),
            (44, "ImportBegun", "The cell is made of an export: hash of its manifest, size and root of its old log."),
            (45, "ImportDone", "What the import counted: accounts, messages, what did not come along."),
            (46, "MailImported", "Mail of another server's files is put into an account: of what form, how many."),
            (47, "EventsLate", "Acts of a compartment came into the log long after their effect: how long, how many."),
            (48, "LedgerAlive", "Nothing else was written for a while; the log lives."),
            (50, "ContractAdopted", "What operator and partner agreed is in force: hash of its text."),
            (51, "ContractBroken", "A term of the contract is not kept: what was promised, what was measured."),
            (52, "ContractKept", "A term that was broken is kept again."),
            (53, "NoticeGiven", "The operator told the partner what an entry means."),
            (60, "AddressAdded", "An account got another address: in which domain."),
            (61, "AddressRetired", "Another address of an account reaches nobody any more; it stays reserved."),
            (
                62,
                "ForwardChanged",
                "An account's mail goes on to others: how many, how many elsewhere, and whether it keeps a copy.",
            ),
            (63, "GroupChanged", "A group was added or removed, or an account joined or left one."),
            (64, "ServicesChanged", "Login, receiving or sending of an account was switched off or on."),
            (65, "QuotaChanged", "An account's quota was changed."),
            (66, "ClassDefined", "A class of service was made or changed."),
            (67, "ProvisionBegun", "A provisioning file is carried out from now on: its root and number of lines."),
            (68, "ProvisionEnded", "All lines of a provisioning file are through: how many, how many were refused."),
            (69, "BindingsListed", "A list of all addresses and bindings left, sealed to the partner: its SHA-256."),
            (70, "RosterInstalled", "A compartment took the next roster of the tenant's officers."),
            (71, "OrderTaken", "An order was verified, and waits, or permits what it names for its time."),
            (72, "OrderExecuted", "An order was executed; or it was due, and its signatures did not hold any more."),
            (73, "OrderWithdrawn", "An officer withdrew an order before it was executed."),
            (74, "StopOutbound", "Outbound mail was stopped; what is sent waits."),
            (75, "SurfacesStopped", "Surfaces were closed to a set of accounts or to all: which, until when."),
            (76, "SurfacesLifted", "Surfaces are open again, to a set of accounts or to all; or their stop lapsed."),
            (
                77,
                "StaffSessionOpened",
                "A compartment opened a session of a member of staff: who, as what, until when.",
            ),
            (78, "DomainRemoved", "A domain in which no address is left is hosted no more."),
            (79, "AccountReopened", "A closed account is to work again, or services of it that were switched off."),
            (80, "StandbyBegun", "A holder began to ship what it changes to the standby: hash of the stream's lead."),
            (81, "StandbyPromoted", "The standby took over: its term, and how far each stream had come."),
            (90, "AdvisoryOpened", "A component that compartments load has a known flaw: which, how bad, since when."),
            (91, "AdvisoryClosed", "A known flaw concerns this cell no more: another version runs, or it was none."),
            (
                92,
                "ComponentsChecked",
                "Installed components were compared with what is known of flaws: how many of each, which inventory.",
            ),
            (110, "SupportCaseOpened", "A support case about an account was opened: by whom, where, until when."),
            (111, "SupportCaseClosed", "A support case was closed."),
            (112, "SupportCardShown", "The masked card of an account was shown in a case: to whom, by which holder."),
            (113, "ConsentGiven", "A subscriber made a code by which the support desk may act once."),
            (114, "ConsentVoid", "A subscriber's code ended by wrong tries."),
            (115, "SupportActed", "The support desk acted in a case: what, and whether the code was needed."),
        )
    }
)
_KIND_BY_NUMBER = {kind.number: kind for kind in EVENTS.values()}


def subject_id(key: bytes, account: AccountId) -> SubjectId:
    """The 16 bytes by which the log names an account: HMAC-SHA256(key, "ledger subject 1" | account)[:16].

    key: 32 bytes, held by the cell and the partner. Raises ValueError on another length.
    """
    if len(key) != 32 or len(account) != ID_BYTES:
        raise ValueError("the subject key has 32 bytes, an account id 16")
    return SubjectId(hmac.digest(key, b"ledger subject 1" + account, "sha256")[:SUBJECT_BYTES])


def _check_text(text: str, limit: int, *, what: str) -> None:
    if len(text) > limit or "@" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"{what} has at most {limit} characters, no @ and no lone surrogate")


def _check_integer(value: int, *, what: str) -> None:
    if not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise ValueError(f"{what} is outside -(2**53 - 1) to 2**53 - 1")


@dataclass(frozen=True, slots=True)
class Event:
    """What happened. at: milliseconds since 1970, UTC.   actor: who did it, such as `officer:ID` or `cell`, no address.

    subjects: the accounts concerned, at most 64.   details: at most 32 small scalars by lower-case name.
    Raises ValueError on a value outside these limits: our bug, as nothing else makes events.
    """

    kind: EventKind
    at: int
    actor: str
    subjects: tuple[SubjectId, ...] = ()
    details: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at < 0:
            raise ValueError("an event's time is not negative")
        _check_integer(self.at, what="an event's time")
        if not self.actor or not self.actor.isprintable():
            raise ValueError("an event's actor is printable and not empty")
        _check_text(self.actor, ACTOR_MAX, what="an event's actor")
        if len(self.subjects) > SUBJECTS_MAX or any(len(subject) != SUBJECT_BYTES for subject in self.subjects):
            raise ValueError("an event has at most 64 subjects of 16 bytes")
        if len(self.details) > DETAILS_MAX:
            raise ValueError("an event has at most 32 details")
        for name, value in self.details.items():
            if not _DETAIL_NAME.fullmatch(name):
                raise ValueError("a detail's name is 1 to 32 of a-z, 0-9 and _, from a letter")
            match value:
                case str():
                    _check_text(value, DETAIL_TEXT_MAX, what=f"detail {name}")
                case bool() | None:
                    pass
                case int():
                    _check_integer(value, what=f"detail {name}")
                case _:
                    raise ValueError(f"detail {name} is neither text, integer, true, false nor null")


def encode_event(event: Event) -> bytes:
    """The event's one byte form, at most EVENT_MAX. Raises ValueError on a longer one."""
    fields = {
        "actor": event.actor,
        "at": event.at,
        "details": dict(event.details),
        "kind": event.kind.number,
        "subjects": [subject.hex() for subject in event.subjects],
        "v": EVENT_VERSION,
    }
    data = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > EVENT_MAX:
        raise ValueError(f"an event has at most {EVENT_MAX} bytes")
    return data


def parse_event(data: bytes) -> Event:
    """The event of encode_event's bytes, and of no others. Raises IntegrityError."""
    if len(data) > EVENT_MAX:
        raise IntegrityError(f"an event has at most {EVENT_MAX} bytes")
    try:
        event = _event_of(json.loads(data.decode("utf-8")))
        canonical = encode_event(event)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError("the entry is not an event of version 1", detail=str(error)) from None
    if canonical != data:
        raise IntegrityError("the event is not in its canonical form")
    return event


def _event_of(fields: object) -> Event:
    if not isinstance(fields, dict) or fields.keys() != _FIELDS or fields["v"] != EVENT_VERSION:
        raise ValueError("fields")
    subjects, details, actor, at = fields["subjects"], fields["details"], fields["actor"], fields["at"]
    if not isinstance(subjects, list) or not all(isinstance(s, str) and _HEX.fullmatch(s) for s in subjects):
        raise ValueError("subjects")
    if not isinstance(details, dict) or not isinstance(actor, str) or type(at) is not int:
        raise ValueError("types")
    kind = _KIND_BY_NUMBER[fields["kind"]]
    return Event(kind, at, actor, tuple(SubjectId(bytes.fromhex(s)) for s in subjects), details)

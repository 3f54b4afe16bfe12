"""STAFF_CALLS: what a staff session may ask of which holder, by role. The console carries it; its holder looks here.

docs/console.md and the security of each call in the OpenAPI document are made from here. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bulkhead.boundary.support import CASE_HOLDERS, CASE_ROLES

HOUR_ROWS: Mapping[str, int] = {
    "partner-admin": 2000, "partner-security": 1000, "partner-support": 200, "operator-security": 0,
    "operator-engineer": 0, "partner-collector": 0,
}  # fmt: skip
"""Role to how many accounts an officer is shown in an hour, over all sessions of that officer at one holder."""
HOUR_CHANGES = 20_000  # changes of one officer in an hour, at one holder
HOUR_FILED = 150_000  # requests of one officer in an hour at one holder that carry out provisioning files
HOUR_CALLS = 40_000  # requests of one officer in an hour at one holder, of any other kind: each is recorded

COLLECTOR = "partner-collector"
"""A machine of the partner's: reads metrics, with a token that is good for long (docs/metrics.md)."""
_ALL = tuple(role for role in HOUR_ROWS if role != COLLECTOR)
_PARTNER = ("partner-admin", "partner-security", "partner-support")
_SECURITY = ("partner-admin", "partner-security")
_NOT_SUPPORT = tuple(role for role in _ALL if role != "partner-support")
_ADMIN = ("partner-admin",)
_COUNTS = (*_NOT_SUPPORT, COLLECTOR)
EXECUTORS = ("directory", "auth", "keyring", "store", "queue")
"""Holders that verify sessions: those with a roster in force."""
ANSWERERS = (*EXECUTORS, "ledger")
"""Holders that answer under a session; ledger knows it by the entries of those that verified it."""
RECORDERS = ("directory", "auth", "keyring", "store", "queue")
"""Holders that keep access records, which name accounts by id and no address."""


class Kind(Enum):
    """What a call does."""

    READ = "reads"
    ROWS = "shows accounts; counted"
    CHANGE = "changes; can be rehearsed"
    ORDER = "carries what officers signed"
    FILE = "carries out a provisioning file, within a cap of its own"
    CASE = "in a case that the officer signed; never rehearsed"
    LOOK = "shows the card of such a case; counted, never rehearsed"


@dataclass(frozen=True, slots=True)
class StaffCall:
    """One request to one holder. masked: roles that see addresses masked. fields: what they must be."""

    holder: str
    message: str
    kind: Kind
    roles: tuple[str, ...]
    masked: tuple[str, ...] = ()
    fields: tuple[tuple[str, object], ...] = ()


_ROWS = (
    StaffCall("directory", "ListDomains", Kind.READ, _ALL),
    StaffCall("directory", "CountAccounts", Kind.READ, (*_ALL, COLLECTOR)),
    StaffCall("auth", "CountLogins", Kind.READ, _COUNTS),
    StaffCall("keyring", "CountKeyring", Kind.READ, _COUNTS),
    StaffCall("store", "CountStore", Kind.READ, _COUNTS),
    StaffCall("queue", "CountQueue", Kind.READ, _COUNTS),
    StaffCall("directory", "ListClasses", Kind.READ, _ALL),
    StaffCall("directory", "ListAccounts", Kind.ROWS, _PARTNER, _PARTNER),
    StaffCall("directory", "SearchAccounts", Kind.ROWS, _PARTNER, ("partner-support",)),
    StaffCall("directory", "ShowAccount", Kind.ROWS, _PARTNER, ("partner-support",)),
    StaffCall("directory", "ShowRoutes", Kind.ROWS, _SECURITY),
    StaffCall("directory", "ListGroups", Kind.READ, _SECURITY),
    StaffCall("directory", "ShowGroup", Kind.ROWS, _SECURITY),
    StaffCall("directory", "AddAlias", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "RemoveAlias", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "SetForward", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "SetServices", Kind.CHANGE, _SECURITY),
    StaffCall("directory", "SetQuota", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "SetClass", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "DefineClass", Kind.CHANGE, _ADMIN),
    StaffCall("store", "LimitAccount", Kind.CHANGE, _ADMIN),
    StaffCall("store", "ReadUsage", Kind.ROWS, _SECURITY),
    StaffCall("directory", "AddGroup", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "SetMember", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "RemoveGroup", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "BeginProvision", Kind.CHANGE, _ADMIN),
    StaffCall("directory", "UploadChunk", Kind.FILE, _ADMIN),
    StaffCall("directory", "ShowUpload", Kind.READ, _ADMIN),
    StaffCall("directory", "ListRefusedLines", Kind.READ, _ADMIN),
    StaffCall("directory", "PlanChunk", Kind.READ, _ADMIN),
    StaffCall("directory", "CarryOutChunk", Kind.FILE, _ADMIN),
    StaffCall("keyring", "CreateMailboxKeys", Kind.FILE, _ADMIN, fields=(("token", False),)),
    StaffCall("store", "OpenAccount", Kind.FILE, _ADMIN),
    *(StaffCall(name, "OpenCase", Kind.CASE, CASE_ROLES) for name in CASE_HOLDERS),
    *(StaffCall(name, "CloseCase", Kind.CASE, CASE_ROLES) for name in CASE_HOLDERS),
    StaffCall("directory", "ListCases", Kind.READ, CASE_ROLES),
    StaffCall("directory", "ShowCard", Kind.LOOK, CASE_ROLES),
    StaffCall("store", "ShowUsage", Kind.LOOK, CASE_ROLES),
    StaffCall("auth", "ShowLoginCard", Kind.LOOK, CASE_ROLES),
    StaffCall("auth", "ActInCase", Kind.CASE, CASE_ROLES),
    *(StaffCall(name, "SearchAccesses", Kind.READ, _SECURITY) for name in RECORDERS),
    *(StaffCall(name, "CountAccesses", Kind.READ, _NOT_SUPPORT) for name in RECORDERS),
    *(StaffCall(name, "SubmitOrder", Kind.ORDER, _ALL) for name in EXECUTORS),
    *(StaffCall(name, "ListOrders", Kind.READ, _NOT_SUPPORT) for name in EXECUTORS),
    StaffCall("ledger", "ReadCheckpoint", Kind.READ, _ALL),
    StaffCall("ledger", "ReadEntries", Kind.READ, _NOT_SUPPORT),
    StaffCall("ledger", "ProveInclusion", Kind.READ, _NOT_SUPPORT),
    StaffCall("ledger", "ProveConsistency", Kind.READ, _NOT_SUPPORT),
)

STAFF_CALLS: Mapping[tuple[str, str], StaffCall] = {(row.holder, row.message): row for row in _ROWS}

VOUCHED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("incident", "ReadContract"): _COUNTS,
    ("incident", "ListCanaries"): _NOT_SUPPORT,
}
"""Of holders without a roster, whose answers name no address: directory vouches for the session, the console looks up
the role. A compromised console reads these of its own cell without a session, and nothing else.
"""


def carried_to(holder: str) -> tuple[str, ...]:
    """Names of the requests that a session may have carried to this holder."""
    return tuple(row.message for row in _ROWS if row.holder == holder)

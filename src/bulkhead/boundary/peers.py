"""PEERS: the one list of who may send what to whom. What is not here cannot be sent.

An edge is a socketpair between one process of `client` and one of `server`. Requests go from client to server;
facts may go either way and may be dropped. Requests form no cycle (a test), so no two compartments wait for each
other. A violation by a front compartment replaces the edge and restarts the sender when a vault compartment reports
it; a report by a front compartment replaces the edge and restarts the reporter: nothing a gate says ends a holder.

Standard library only: the supervisor reads the edges here; messages are named and found by `messages.registry`.
"""

from dataclasses import dataclass

from bulkhead.boundary.staff import carried_to


@dataclass(frozen=True, slots=True)
class Peering:
    """One edge: what the client may ask (`to_<server>`) and tell, and what the server may announce (`facts`).

    carries: requests of officers that travel inside AskAsStaff, which the server answers under a session alone.
    """

    client: str
    server: str
    requests: tuple[str, ...]
    facts: tuple[str, ...] = ()
    announces: tuple[str, ...] = ()
    descriptors: bool = False  # the server hands over sockets with its replies
    carries: tuple[str, ...] = ()


_ACCESSES = ("SearchAccesses", "CountAccesses")
_BACKUP = ("BeginBackup", "ReadBackup", "EscrowKeys", "BeginStandby", "ReadStandby", "RenewLease")
_SURFACES = ("StageAccounts", "StopSurfaces", "LiftSurfaces", "ReadSurfaces")
_ORDERS = ("SubmitOrder", "InstallRoster", "ListOrders")
_CASES = ("OpenCase", "CloseCase", "ListCases")  # docs/support.md
_STAFF = ("GiveStaffNonce", "OpenStaffSession", "AskAsStaff", "EndStaffSession")
_LOOK_UP_AND_APPEND = ("CheckRoom", "DeliverMail")
_BY_HANDLE = (
    "ListMailboxes", "CreateMailbox", "RenameMailboxes",
    "DeleteMailbox", "ListKeywords", "AddKeyword", "ListSubscriptions",
    "SetSubscription", "ReadColumns", "ReadChanges", "ReadRows", "ReadPlaces", "ReadPart",
    "ReadParts", "ReadPages", "PlanFiling", "FileMessages", "StoreFlags",
    "Expunge", "CopyMessages", "AppendMessage", "ReadQuota",
    "LockMaildrop", "UnlockMaildrop", "UpdateMaildrop", "ReadUidls", "ReadMessages",
    "ListSparsePages", "RewritePage",
    "AppendMessages", "RenameInbox", "ReplaceNames", "FindOldPage",
)  # fmt: skip

PEERS: tuple[Peering, ...] = (
    Peering("mx", "directory", ("ResolveRecipient",)),
    Peering("mx", "store", _LOOK_UP_AND_APPEND),
    Peering("mx", "queue", ("EnqueueForward",)),
    Peering(
        "submit", "directory", ("ResolveRecipient", "FindLogin", "CheckSender", "RenewBinding")
    ),
    Peering("submit", "auth", ("Authenticate",)),
    Peering("submit", "keyring", ("RedeemLogin", "EndSession"), announces=("SessionEnded",)),
    Peering("submit", "store", _LOOK_UP_AND_APPEND),
    Peering("submit", "queue", ("Enqueue", "EnqueueForward")),
    Peering("access", "directory", ("FindLogin", "RenewBinding")),
    Peering("access", "auth", ("Authenticate",)),
    Peering(
        "access", "keyring",
        ("RedeemLogin", "EndSession", "OpenArrived", "OpenSlots",
         "OpenPages", "OpenNames", "ResealSlots"),
        announces=("SessionEnded",),
    ),
    Peering("access", "store", _BY_HANDLE, announces=("MailboxChanged",)),
    Peering("console", "directory", ("ShowStaffSession", *_STAFF), carries=carried_to("directory")),
    Peering("console", "auth", _STAFF, carries=carried_to("auth")),
    Peering("console", "keyring", _STAFF, carries=carried_to("keyring")),
    Peering("console", "store", _STAFF, carries=carried_to("store")),
    Peering("console", "queue", _STAFF, carries=carried_to("queue")),
    Peering("console", "ledger", ("AskAsStaff", "EndStaffSession"), carries=carried_to("ledger")),
    Peering("console", "incident", ("ReadContract", "ListCanaries")),
    Peering("courier", "directory", ("ResolveRecipient", "TakeNotices", "DropNotice")),
    Peering("courier", "store", ("DeliverMail",)),
    Peering("courier", "queue", ("TakeWork", "ReadQueued", "ReportAttempt"),
            announces=("WorkDue",)),
    Peering("courier", "keyring", ("OpenQueued",)),
    Peering("courier", "resolver", ("FindMailHosts",)),
    Peering("courier", "dialer", ("DialTcp",), descriptors=True),
    Peering("resolver", "dialer", ("DialTcp", "DialUdp"), descriptors=True),
    Peering("auth", "keyring", ("CheckHalf", "AddHalf", "DropHalves", "CheckCached", "ReadHalfStates",
                                 "EndAccountSessions")),
    Peering("auth", "ledger", ("AppendEvents",)),
    Peering("keyring", "store", ("GrantSessions", "RevokeSessions", "EndGenerations")),
    Peering("auth", "incident", ("ConfirmLogin",), facts=("LoginsRefused",)),
    Peering("incident", "ledger", ("AppendEvents",)),
    Peering("incident", "keyring", ("SubmitOrder",)),
    Peering("incident", "queue", ("SubmitOrder",)),
    Peering("keyring", "ledger", ("AppendEvents",)),
    Peering("directory", "ledger", ("AppendEvents",)),
    Peering("queue", "ledger", ("AppendEvents",)),
    Peering("store", "ledger", ("AppendEvents",)),
    Peering(
        "cli", "directory",
        ("AddDomain", "ListDomains", "AddAccount", "ListAccounts",
         "ShowAccount", "SetAccountStatus", "CountAccounts",
         "CheckDirectory", "ListStatuses", "FindLogin",
         "AddAlias", "RemoveAlias", "SetForward", "SetServices", "SetQuota", "DefineClass", "ListClasses", "SetClass",
         "AddGroup", "SetMember", "RemoveGroup", "ListGroups", "ShowGroup", "ShowRoutes", "SearchAccounts",
         "BeginProvision", "ProvisionChunk", "ShowProvision", "ListRefusedLines", "ListBindings", "NoteBindings",
         "RemoveDomain",
         *_ACCESSES, *_CASES, "ShowCard", *_ORDERS, *_BACKUP),
    ),
    Peering(
        "cli", "auth",
        ("SetPassword", "ChangePassword", "AddAppPassword", "ListAppPasswords", "RevokeAppPasswords",
         "RevokeCredentials", "StopTenantLogins", "LiftTenantStop", "SetLoginState",
         "BeginProvision", "ProvisionChunk",
         "CountCredentials", "CountLogins", "CheckAuth", "MatchAuth", "RotateKey", "ReadRotation", "DestroyKey",
         *_ACCESSES, *_SURFACES, *_CASES, "GiveConsent", "ShowLoginCard", "ActInCase", *_ORDERS, *_BACKUP),
    ),
    Peering(
        "cli", "keyring",
        ("CreateMailboxKeys", "BeginRecovery", "GrantRecovery",
         "StopTenantSessions", "LiftSessionStop", "StopOutbound", "LiftOutboundStop",
         "SetHalfState", "RevokeCredentials", "RenewMailboxes",
         "BeginProvision", "ProvisionChunk",
         "CountKeyring", "CheckKeyring", "MatchKeyring", "RotateKey", "ReadRotation", "DestroyKey",
         "ExportKeys", *_ACCESSES, *_SURFACES, *_ORDERS, *_BACKUP),
    ),
    Peering(
        "cli", "store",
        ("OpenAccount", "LimitAccount", "DestroyAccount", "CountStore", "CheckStore",
         "ExportMailboxes", "ExportNames", "ExportRows", "ExportParts", "ListDeleted", "UndeleteMessages",
         "FindMessages", "RestoreMailbox", "RestoreMessages", "ImportMailbox", "ImportName", "ImportMessages",
         *_ACCESSES, *_SURFACES, *_CASES, "ShowUsage", *_ORDERS, *_BACKUP),
    ),
    Peering(
        "cli", "queue",
        ("ListQueue", "RetryNow", "DestroyQueued", "CountQueue", "CheckQueue", "StopOutbound", "LiftOutboundStop",
         *_ACCESSES, *_SURFACES, *_ORDERS, *_BACKUP),
    ),
    Peering("cli", "incident", ("PlantCanaries", "ListCanaries", "CheckIncident", "AdoptContract", "ReadContract",
                                  "RecordMeasures", "GiveNotice", "RecordComponents", "ReadComponents", "LearnRoster",
                                  "ReadAutomatic", *_BACKUP)),
    Peering(
        "cli", "ledger",
        ("ReadCheckpoint", "ReadEntries", "ProveInclusion", "ProveConsistency",
         "CheckLedger", "AddCosignature", "RecordDrill", "RecordCensus", "RecordOblivion", "RecordExport",
         "RecordUndelete", "RecordImport", "RecordRestore", "RecordBackup", "RecordEscrow", "RecordStandby", *_BACKUP),
    ),
)  # fmt: skip

_BETWEEN = {(peering.client, peering.server): peering for peering in PEERS}


def between(one: str, other: str) -> Peering | None:
    """The edge between two compartments, whichever of them is the client, or None."""
    return _BETWEEN.get((one, other)) or _BETWEEN.get((other, one))

"""Messages to `store`: ciphertext, flags, sizes and dates; never an address, a name or a key.

Columns and UID lists cross as bodies of packed little-endian arrays: UIDs and sizes u32, flags and MODSEQs u64,
dates i64 seconds. Flags: bit 0 Seen, 1 Answered, 2 Flagged, 3 Deleted, 4 Draft; bits 5 to 63 the account's keywords.
"""

from bulkhead.boundary.messages.to_store.administration import (
    CheckStore,
    CountStore,
    DestroyAccount,
    OpenAccount,
    StoreCounts,
    StoreReport,
)
from bulkhead.boundary.messages.to_store.changing import (
    APPENDED_MAX,
    Appended,
    AppendedMessages,
    AppendMessage,
    AppendMessages,
    Copied,
    CopyMessages,
    Expunge,
    Expunged,
    FlagMode,
    FlagsStored,
    StoreFlags,
)
from bulkhead.boundary.messages.to_store.delivery import COPIES_MAX, CheckRoom, DeliverMail
from bulkhead.boundary.messages.to_store.exporting import (
    EXPORTED_PARTS_MAX,
    ExportedRow,
    ExportedRows,
    ExportMailboxes,
    ExportNames,
    ExportParts,
    ExportRows,
)
from bulkhead.boundary.messages.to_store.filing import (
    SPARSE_MAX,
    FiledEntry,
    FileMessages,
    FilingPlan,
    ListSparsePages,
    PlanFiling,
    RewritePage,
    SparsePage,
    SparsePages,
)
from bulkhead.boundary.messages.to_store.mailboxes import (
    AddKeyword,
    CreateMailbox,
    DeleteMailbox,
    ListKeywords,
    ListMailboxes,
    ListSubscriptions,
    MailboxPage,
    MailboxRow,
    NameChange,
    NamedRow,
    NamedRows,
    Quota,
    ReadQuota,
    RenameInbox,
    RenameMailboxes,
    Role,
    SetSubscription,
)
from bulkhead.boundary.messages.to_store.maildrop import (
    RUNS_BYTES_MAX,
    UIDLS_MAX,
    LockMaildrop,
    MaildropUpdated,
    ReadUidls,
    UidlRow,
    UidlRows,
    UnlockMaildrop,
    UpdateMaildrop,
)
from bulkhead.boundary.messages.to_store.reading import (
    MESSAGES_BYTES_MAX,
    PLACES_MAX,
    Changes,
    Column,
    Columns,
    MessageRow,
    MessageRows,
    PageRow,
    PagesSent,
    PartSent,
    Places,
    ReadChanges,
    ReadColumns,
    ReadMessages,
    ReadPages,
    ReadPart,
    ReadParts,
    ReadPlaces,
    ReadRows,
    SizedParts,
)
from bulkhead.boundary.messages.to_store.sessions import Grant, GrantSessions, RevokeSessions, Rights
from bulkhead.boundary.messages.to_store.values import (
    COLUMNS_BYTES_MAX,
    MAILBOXES_MAX,
    MESSAGE_BYTES_MAX,
    PAGE_BYTES_MAX,
    RANGES_MAX,
    ROWS_MAX,
    Copy,
    Part,
    Ranges,
    UidlText,
    UidRange,
)

__all__ = [
    "APPENDED_MAX", "COLUMNS_BYTES_MAX", "COPIES_MAX", "EXPORTED_PARTS_MAX", "MAILBOXES_MAX", "MESSAGES_BYTES_MAX",
    "MESSAGE_BYTES_MAX", "PAGE_BYTES_MAX", "PLACES_MAX", "RANGES_MAX", "ROWS_MAX", "RUNS_BYTES_MAX", "SPARSE_MAX",
    "UIDLS_MAX", "AddKeyword", "AppendMessage", "AppendMessages", "Appended", "AppendedMessages", "Changes",
    "CheckRoom", "CheckStore", "Column", "Columns", "Copied", "Copy", "CopyMessages", "CountStore", "CreateMailbox",
    "DeleteMailbox", "DeliverMail", "DestroyAccount", "ExportMailboxes", "ExportNames", "ExportParts", "ExportRows",
    "ExportedRow", "ExportedRows", "Expunge", "Expunged", "FileMessages", "FiledEntry", "FilingPlan", "FlagMode",
    "FlagsStored", "Grant", "GrantSessions", "ListKeywords", "ListMailboxes", "ListSparsePages", "ListSubscriptions",
    "LockMaildrop", "MailboxPage", "MailboxRow", "MaildropUpdated", "MessageRow", "MessageRows", "NameChange",
    "NamedRow", "NamedRows", "OpenAccount", "PageRow", "PagesSent", "Part", "PartSent", "Places", "PlanFiling",
    "Quota", "Ranges", "ReadChanges", "ReadColumns", "ReadMessages", "ReadPages", "ReadPart", "ReadParts",
    "ReadPlaces", "ReadQuota", "ReadRows", "ReadUidls", "RenameInbox", "RenameMailboxes", "RevokeSessions",
    "RewritePage", "Rights", "Role", "SetSubscription", "SizedParts", "SparsePage", "SparsePages", "StoreCounts",
    "StoreFlags", "StoreReport", "UidRange", "UidlRow", "UidlRows", "UidlText", "UnlockMaildrop", "UpdateMaildrop",
]  # fmt: skip

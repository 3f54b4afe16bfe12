"""Messages to `ledger`: events in, proofs out."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.backup import BackupName, BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.fields import U16, U32, U63, AccountId, Digest32, Mutation, Name, Reply, Request, Text
from bulkhead.boundary.messages.staff import AskAsStaffBase, EndStaffSessionBase
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase

EVENTS_MAX = 100
NoteText = Annotated[str, Meta(max_length=16384)]
EventBytes = Annotated[bytes, Meta(max_length=8192)]


class Appended(Reply, frozen=True):
    """Index of the first appended event; all are in a durable, signed checkpoint."""

    first: U63


class Event(Reply, frozen=True):
    """An event as its sender saw it. kind: a name of ledger's EVENTS. account: empty where it concerns none.

    The ledger writes the account as an HMAC, and itself names the sender's compartment.
    """

    kind: Name
    time: U63  # ms, when it was true
    actor: Name
    account: Annotated[bytes, Meta(max_length=16)]
    details: Annotated[dict[Name, Text | int | bool | None], Meta(max_length=16)]


class AppendEvents(Mutation[Appended], frozen=True, tag=1):
    """Append events; durable and in a checkpoint before the answer. Refused: `unknown-event`."""

    events: Annotated[tuple[Event, ...], Meta(min_length=1, max_length=EVENTS_MAX)]


class CheckpointText(Reply, frozen=True):
    """The newest signed checkpoint. cosigned: the newest that the pinned witness cosigned; empty without one."""

    text: NoteText
    cosigned: NoteText = ""


class ReadCheckpoint(Request[CheckpointText], frozen=True, tag=2):
    """The newest checkpoint."""


class EntryPage(Reply, frozen=True):
    """Entries as logged, from `first` on."""

    first: U63
    entries: Annotated[tuple[EventBytes, ...], Meta(max_length=EVENTS_MAX)]


class ReadEntries(Request[EntryPage], frozen=True, tag=3):
    """Up to `limit` entries from `first` on."""

    first: U63
    limit: U16 = EVENTS_MAX


class Proof(Reply, frozen=True):
    """Hashes of an inclusion or consistency proof (RFC 9162 section 2.1)."""

    hashes: Annotated[tuple[Digest32, ...], Meta(max_length=64)]


class ProveInclusion(Request[Proof], frozen=True, tag=4):
    """That entry `index` is in the tree of `size`. Refused: `no-such-entry`."""

    index: U63
    size: U63


class ProveConsistency(Request[Proof], frozen=True, tag=5):
    """That the tree of `old` is a prefix of the tree of `new`. Refused: `no-such-entry`."""

    old: U63
    new: U63


class LedgerReport(Reply, frozen=True):
    """What `fsck` found."""

    entries: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=100)]


class RecordDrill(Mutation[Appended], frozen=True, tag=7):
    """Append what a drill found; durable and in a checkpoint before the answer.

    digest: SHA-256 of the result's JSON document.   rows, reached, unproven: probes run, those that reached anything,
    those that show nothing.   over: cells over budget.
    """

    time: U63  # ms, when it ended
    digest: Digest32
    rows: U32
    reached: U32
    unproven: U32
    over: U32
    live: bool = False  # whether it ran on this installation itself


class RecordCensus(Mutation[Appended], frozen=True, tag=8):
    """Append what an audit of the credentials found; durable and in a checkpoint before the answer.

    digest: SHA-256 of the tenant's report.   accounts, records: examined.   legacy: credentials whose password is still
    wrapped in an imported digest.   faults: records that do not open.   mismatches: accounts whose halves do not match.
    strays: records of no account.   matched: whether account by account.
    """

    time: U63  # ms, when it ended
    digest: Digest32
    accounts: U63
    records: U63
    legacy: U63
    faults: U63
    mismatches: U63
    strays: U63
    matched: bool


class RecordOblivion(Mutation[Appended], frozen=True, tag=9):
    """Append that an account is destroyed; durable and in a checkpoint before the answer.

    commitment: to its address (docs/lifecycle.md). Times are ms, of each step in the order in which they were done.
    ring_first, ring_version: the oldest and newest version of keyring's key that a copy may lie under; older_until:
    until when (s) the last version retired already is kept.
    """

    time: U63
    account: AccountId
    commitment: Digest32
    tenant: Name
    keyring_at: U63
    auth_at: U63
    store_at: U63
    queue_at: U63
    directory_at: U63
    ring_first: U32
    ring_version: U32
    older_until: U63


class RecordExport(Mutation[Appended], frozen=True, tag=15):
    """Append that an export was written; durable and in a checkpoint before the answer.

    digest: SHA-256 of its manifest.   accounts: in it.   messages, octets: that its last run read.
    whole: the tenant, and not chosen accounts.   begun: it begins: nothing was read yet, and the counts are 0.
    """

    time: U63  # ms, when it ended
    digest: Digest32
    accounts: U63
    messages: U63
    octets: U63
    whole: bool
    begun: bool = False


class RecordUndelete(Mutation[Appended], frozen=True, tag=16):
    """Append that an account's deleted messages are asked back; durable and in a checkpoint before the answer."""

    account: AccountId
    messages: U63
    reason: Text


class RecordImport(Mutation[Appended], frozen=True, tag=20):
    """Append that mail of another server's files is put into an account; durable before the answer.

    files: how many there are, 0 where that is not known before.
    """

    account: AccountId
    source: Name
    files: U63


class RecordBackup(Mutation[Appended], frozen=True, tag=13):
    """Append that a backup was made, or verified; durable and in a checkpoint before the answer.

    digest: SHA-256 of its manifest.   octets: of its streams.   sound: whether nothing was found.
    """

    time: U63  # ms
    backup: BackupName
    digest: Digest32
    octets: U63
    verified: bool = False
    sound: bool = True
    restored: bool = False  # into a scratch cell, whose every record was opened
    accounts: U63 = 0  # of the scratch cell
    messages: U63 = 0


class RecordEscrow(Mutation[Appended], frozen=True, tag=17):
    """Append which sealed keys now lie in the escrow; durable and in a checkpoint before the answer.

    digests: SHA-256 of each file, by the compartment whose keys are in it.
    """

    digests: Annotated[dict[Name, Digest32], Meta(min_length=1, max_length=16)]


class Cosigned(Reply, frozen=True):
    """What the log carries now: entries that the witness has seen, and when it signed (POSIX seconds)."""

    size: U63
    time: U63


class AddCosignature(Mutation[Cosigned], frozen=True, tag=18):
    """Carry a checkpoint of this log that the pinned witness cosigned.

    Refused: `no-witness` where none is pinned, `bad-cosignature`, `not-this-log` where the log's entries do not lead
    to it, `older-cosignature` than the one that is carried.
    """

    note: NoteText


class RecordRestore(Mutation[Appended], frozen=True, tag=19):
    """Append that mail of a backup is brought back; durable and in a checkpoint before the answer.

    account: whose, or empty for all accounts.   digest: SHA-256 of the manifest.   messages: at most.
    """

    backup: BackupName
    digest: Digest32
    messages: U63
    account: Annotated[bytes, Meta(max_length=16)] = b""


class RecordStandby(Mutation[Appended], frozen=True, tag=33):
    """Append that a stream to a standby was begun, so that no other can pass for it; durable before the answer.

    digest: SHA-256 of its lead.
    """

    compartment: Name
    stream: BackupName
    digest: Digest32


class CheckLedger(Request[LedgerReport], frozen=True, tag=6):
    """Rebuild the tree from the entries and compare with every checkpoint."""


class BeginBackup(BeginBackupBase, frozen=True, tag=10):
    """Take a snapshot of `ledger`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=11):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=12):
    """`ledger`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=30):
    """Begin to ship what `ledger` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=31):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=32):
    """The standby's lease for `ledger`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A reading request under a staff session, which enough holders have told the log of."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """End a staff session at `ledger`."""

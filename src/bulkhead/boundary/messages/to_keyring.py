"""Messages to `keyring`, which holds tight tags and wrapped mailbox keys, and opens message keys for sessions."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.census import WALK_ROWS_MAX, AccountIds, AccountRecords, Cursor, RecordPage
from bulkhead.boundary.messages.fields import (
    U8,
    U16,
    U32,
    U63,
    AccountId,
    Digest32,
    Done,
    EmailId,
    Handle,
    Key32,
    Mutation,
    Nonce,
    QueueId,
    Reply,
    Request,
    Sealed,
    Tag16,
    Text,
)  # fmt: skip
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.provision import BeginFileBase, FileChunkBase
from bulkhead.boundary.messages.rotation import DestroyKeyBase, ReadRotationBase, RotateKeyBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.surfaces import (
    LiftSurfacesBase,
    ReadSurfacesBase,
    StageAccountsBase,
    StopSurfacesBase,
)
from bulkhead.boundary.messages.to_directory import BindingRow

BATCH_MAX = 256  # messages of one opening
EXPORTED_KEYS_MAX = 256  # of one reply
KeyBox = Annotated[bytes, Meta(max_length=256)]  # a message key sealed by HPKE
Slot = Annotated[bytes, Meta(max_length=256)]  # a message key under the account's slot key


class _Secret(Reply, frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


# --- from auth ---------------------------------------------------------------------------------------------------


class Release(_Secret, frozen=True):
    """The credential's release, by which auth knows that the tight tag matched."""

    release: Key32


class CheckHalf(Request[Release], frozen=True, tag=1):
    """Second half of the check; keeps (nonce, account, scope) for 10 s on a match. Refused (`bad-credentials`).

    x: what CheckCached may bring the next time, so that no password is stretched; None: nothing is kept for that.
    """

    secrets: ClassVar[tuple[str, ...]] = ("tight", "wrap_key", "x")
    account: AccountId
    cred: U32
    tight: Key32
    wrap_key: Key32
    scope: U8
    nonce: Nonce
    x: Key32 | None = None

    def __repr__(self) -> str:
        return "CheckHalf(...)"


class HalfAdded(Reply, frozen=True):
    """Half g is durable beside the old one; auth commits the digest of its release."""

    release_digest: Digest32
    g: U32


class AddHalf(Mutation[HalfAdded], frozen=True, tag=2):
    """Add half `g` of a credential. Refused: `bad-token`, `bad-credentials`, `bad-scope`, `too-many`.

    What allows it is one of: token, one-time, from CreateMailboxKeys or a recovery, for the main password alone; or
    main_tight and main_wrap_key, what the main password now set becomes: checked, and counted, as a login is; or, with
    none of these, that a signed file promises a first password to this account: its mailbox key is made here.
    """

    secrets: ClassVar[tuple[str, ...]] = ("tight", "wrap_key", "main_tight", "main_wrap_key")
    account: AccountId
    cred: U32
    g: U32
    tight: Key32
    wrap_key: Key32
    scope: U8
    token: Tag16 | None
    main_tight: Key32 | None = None
    main_wrap_key: Key32 | None = None

    def __repr__(self) -> str:
        return "AddHalf(...)"


class DropHalves(Mutation[Done], frozen=True, tag=3):
    """Destroy every half of the credential but `keep_g`, and end the sessions that it opened.

    same_password: what is kept was made of the same password, so that its sessions go on.
    """

    leased: ClassVar[bool] = False
    account: AccountId
    cred: U32
    keep_g: U32
    same_password: bool = False


class CheckCached(Request[Release], frozen=True, tag=4):
    """Second half by a cached login, answered as CheckHalf is. Refused (`not-cached`), whatever the cause.

    x: HMAC(key of auth's running start, account, credential, password). A wrong one ends what was cached.
    """

    secrets: ClassVar[tuple[str, ...]] = ("x",)
    account: AccountId
    cred: U32
    x: Key32
    scope: U8
    nonce: Nonce

    def __repr__(self) -> str:
        return "CheckCached(...)"


class HalfStates(Reply, frozen=True):
    """In the order asked: the State of keyring's half (docs/formats.md), 0: there is none."""

    states: Annotated[tuple[U8, ...], Meta(max_length=64)]


class ReadHalfStates(Request[HalfStates], frozen=True, tag=5):
    """How this side's halves of these credentials stand: an app password that a renewal ended is revoked (5) here."""

    account: AccountId
    creds: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=64)]


# --- from gates --------------------------------------------------------------------------------------------------


class Session(_Secret, frozen=True):
    """A granted session. metadata_key opens folder names and keywords (zeros for submit, which gets no key)."""

    handle: Handle
    expires: U63  # ms
    metadata_key: Key32
    binding: BindingRow | None = None


class RedeemLogin(Request[Session], frozen=True, tag=10):
    """Turn a checked login into a session bound to this channel. Once; Refused (`bad-credentials`)."""

    nonce: Nonce
    account: AccountId
    scope: U8


class EndSession(Request[Done], frozen=True, tag=11):
    """The subscriber left."""

    handle: Handle


class EndAccountSessions(Request[Done], frozen=True, tag=124):
    """Every live session of an account is over; who logs in again may."""

    account: AccountId


class ArrivedKey(Reply, frozen=True):
    """A message whose key is still in its HPKE box."""

    email: EmailId
    box: KeyBox


class OpenedKey(_Secret, frozen=True):
    """A message key, and the slot to file it under."""

    key: Key32
    slot: Slot


class OpenedKeys(_Secret, frozen=True):
    """In the order asked. An item that does not open is None: counted, reported, never guessed."""

    keys: Annotated[tuple[OpenedKey | None, ...], Meta(max_length=BATCH_MAX)]


class OpenArrived(Request[OpenedKeys], frozen=True, tag=12):
    """Open the HPKE boxes of arrived mail of the session's account. Refused: `no-session`."""

    handle: Handle
    items: Annotated[tuple[ArrivedKey, ...], Meta(min_length=1, max_length=BATCH_MAX)]


class SlottedKey(Reply, frozen=True):
    """A filed message's slot."""

    email: EmailId
    slot: Slot


class MessageKeys(_Secret, frozen=True):
    """Message keys in the order asked, None where a slot does not open."""

    keys: Annotated[tuple[Key32 | None, ...], Meta(max_length=BATCH_MAX)]


class OpenSlots(Request[MessageKeys], frozen=True, tag=13):
    """Open slots of filed mail of the session's account."""

    handle: Handle
    items: Annotated[tuple[SlottedKey, ...], Meta(min_length=1, max_length=BATCH_MAX)]


class PageKeys(_Secret, frozen=True):
    """Page keys in the order asked."""

    keys: Annotated[tuple[Key32, ...], Meta(max_length=1024)]


class OpenPages(Request[PageKeys], frozen=True, tag=14):
    """Keys of summary pages under a generation (0: the newest). Handing one out counts as 256 messages.

    Refused: `no-such-generation`.
    """

    handle: Handle
    pages: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=1024)]
    generation: U32 = 0


class NameKey(_Secret, frozen=True):
    """The metadata key of a generation."""

    key: Key32


class OpenNames(Request[NameKey], frozen=True, tag=15):
    """What opens folder names and keywords of an older generation, so that they can be sealed under the newest."""

    handle: Handle
    generation: U32


class ResealedSlots(Reply, frozen=True):
    """Slots under the newest generation in the order asked, None where the old one does not open."""

    slots: Annotated[tuple[Slot | None, ...], Meta(max_length=BATCH_MAX)]


class ResealSlots(Request[ResealedSlots], frozen=True, tag=16):
    """Slots of filed mail for those under an older generation; no message key leaves."""

    handle: Handle
    items: Annotated[tuple[SlottedKey, ...], Meta(min_length=1, max_length=BATCH_MAX)]


# --- from courier ------------------------------------------------------------------------------------------------


class QueuedKey(_Secret, frozen=True):
    """The key of one queued message."""

    key: Key32


class OpenQueued(Request[QueuedKey], frozen=True, tag=20):
    """Open one queued message for one delivery attempt; counted."""

    queue_id: QueueId
    box: KeyBox


# --- from the command line -----------------------------------------------------------------------------------------


class CreatedMailboxKeys(_Secret, frozen=True):
    """A new mailbox key; `token` sets its first password, once; zeros where none was asked for."""

    binding: BindingRow
    token: Tag16


class CreateMailboxKeys(Mutation[CreatedMailboxKeys], frozen=True, tag=30):
    """Make seed, key pair, recovery wrap and binding for a new account. Refused: `exists`, `tombstone`.

    token: whether one is wanted, for the first password. Without it a key that exists is answered with its binding.
    """

    account: AccountId
    token: bool = True


class RecoveryOffer(Reply, frozen=True):
    """What the two recovery keys must re-seal: each share, to keyring's one-time key.

    order_key: the ORDER_KEY record with that key, signed by the binding key. sealed_s1: the partner's share,
    sealed_s2: the operator's.
    """

    order: Tag16
    generation: U32
    order_key: Sealed
    sealed_s1: Sealed
    sealed_s2: Sealed


class BeginRecovery(Mutation[RecoveryOffer], frozen=True, tag=31):
    """Begin the recovery of an account; the one-time key lives 120 s. Refused: `no-such-account`, `too-many`."""

    account: AccountId


class RecoveryToken(_Secret, frozen=True):
    """A one-time token that lets auth set a new password."""

    token: Tag16


class GrantRecovery(Mutation[RecoveryToken], frozen=True, tag=32):
    """Both shares, re-sealed to the one-time key. Refused: `bad-shares`."""

    account: AccountId
    order: Tag16
    resealed_s1: Sealed
    resealed_s2: Sealed


class SessionsEnded(Reply, frozen=True):
    """How many sessions ended."""

    sessions: U63


class StopTenantSessions(Mutation[SessionsEnded], frozen=True, tag=33):
    """Raise the epoch: end live sessions where `end_sessions`, admit no login until lifted where `stop_logins`."""

    leased: ClassVar[bool] = False
    epoch: U63
    end_sessions: bool
    stop_logins: bool
    reason: Text


class LiftSessionStop(Mutation[Done], frozen=True, tag=34):
    """Admit logins again."""

    epoch: U63
    reason: Text


class SetHalfState(Mutation[SessionsEnded], frozen=True, tag=35):
    """One of AccountState for this half of an account; what closes it ends its sessions.

    Destroying removes verifier and mailbox key and leaves a tombstone. Refused: `bad-state`, `no-such-account`,
    `tombstone`.
    """

    leased: ClassVar[bool] = False
    account: AccountId
    state: U8


class RevokeCredentials(Mutation[SessionsEnded], frozen=True, tag=39):
    """Refuse every credential of a kind that was set at or before `epoch`; durable before the answer, for ever.

    which: RevokedKind. What they opened ends. The answer comes when it holds. Refused: `bad-epoch`, `bad-kind`.
    """

    leased: ClassVar[bool] = False
    epoch: U63
    which: U8
    reason: Text


class StopOutbound(Mutation[Done], frozen=True, tag=110):
    """Open no queued message from now on, whatever queue and courier do; `epoch` only goes up. Durable."""

    leased: ClassVar[bool] = False
    epoch: U63
    reason: Text


class LiftOutboundStop(Mutation[Done], frozen=True, tag=111):
    """Open queued messages again, once the ledger knows."""

    epoch: U63
    reason: Text


class RenewalOrdered(Reply, frozen=True):
    """Every generation made under an order of a lower number is to be replaced."""

    number: U32


class RenewMailboxes(Mutation[RenewalOrdered], frozen=True, tag=63):
    """Give every account a new mailbox key at its next login by a main password that is not cached."""

    reason: Text


class KeyringCounts(Reply, frozen=True):
    """What is here, and what was opened since start. renewal: number of the order in force; renewed: since then."""

    credentials: U63
    mailboxes: U63
    tombstones: U63
    sessions: U63
    messages_opened: U63
    pages_opened: U63
    queued_opened: U63
    key_version: U32
    stopped: bool
    epoch: U63
    renewal: U32 = 0
    renewal_ordered_at: U63 = 0  # ms
    renewed: U63 = 0
    old_boxes: U63 = 0
    old_pages: U63 = 0
    rule_stops: U32 = 0  # processes of gates that a rule stopped


class CountKeyring(Request[KeyringCounts], frozen=True, tag=36):
    """Counts for `status` and `exposure`."""


class CheckKeyring(Request[RecordPage], frozen=True, tag=37):
    """Open up to `limit` records, halves and then mailbox keys, in the order of their row keys, from `after` on.

    signatures: verify every binding's too, which takes several times as long.
    """

    after: Cursor = b""
    limit: U16 = WALK_ROWS_MAX
    signatures: bool = False


class MatchKeyring(Request[AccountRecords], frozen=True, tag=59):
    """Open every record of these accounts; answered with how their halves stand. Refused: `bad-account`."""

    accounts: AccountIds


class ExportedKey(Reply, frozen=True):
    """One generation of an account's mailbox key: noise to whoever lacks one of the two recovery keys.

    sealed: the MAILBOX record's plaintext (docs/formats.md), both shares and the seed that they open.
    """

    account: AccountId
    generation: U32
    sealed: Sealed
    binding: Sealed


class ExportedKeys(Reply, frozen=True):
    """Keys, generations ascending, of the first `accounts` of those asked for; one that has none gives none."""

    keys: Annotated[tuple[ExportedKey, ...], Meta(max_length=EXPORTED_KEYS_MAX)]
    accounts: U16


class ExportKeys(Mutation[ExportedKeys], frozen=True, tag=70):
    """The mailbox keys of accounts, sealed to the recovery keys alone; in the ledger before the answer.

    They open with both recovery keys for ever: no rotation ends them. Refused: `bad-account`.
    """

    accounts: AccountIds


class RotateKey(RotateKeyBase, frozen=True, tag=60):
    """Make the next K_ring and seal every record under it, while logins go on; or go on with that."""


class ReadRotation(ReadRotationBase, frozen=True, tag=61):
    """Where the rotation of K_ring stands, and which versions are retired."""


class DestroyKey(DestroyKeyBase, frozen=True, tag=62):
    """Destroy a retired K_ring, and seal the other keys under `root`; in the ledger before it takes effect."""


class BeginBackup(BeginBackupBase, frozen=True, tag=64):
    """Take a snapshot of `keyring`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=65):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=66):
    """`keyring`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=80):
    """An order of the tenant's officers, for `keyring` to verify and to execute: sessions, credentials, accounts."""


class InstallRoster(InstallRosterBase, frozen=True, tag=81):
    """The next roster, by which `keyring` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=82):
    """The roster in force at `keyring`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=72):
    """Begin to ship what `keyring` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=73):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=74):
    """The standby's lease for `keyring`."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=90):
    """`keyring`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=91):
    """How many there are."""


class StageAccounts(StageAccountsBase, frozen=True, tag=92):
    """Keep a set of accounts for a stop at `keyring` to name. Body: their ids, ascending."""


class StopSurfaces(StopSurfacesBase, frozen=True, tag=93):
    """Close what `keyring` guards of these surfaces, for that set or for everybody."""


class LiftSurfaces(LiftSurfacesBase, frozen=True, tag=94):
    """Open it again, once the ledger has it."""


class ReadSurfaces(ReadSurfacesBase, frozen=True, tag=95):
    """What is closed at `keyring`, and what a stop would reach there."""


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `keyring`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `keyring`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `keyring` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `keyring` is over."""


class BeginProvision(BeginFileBase, frozen=True, tag=125):
    """A provisioning file, for `keyring`'s part of it: first passwords, and who may log in."""


class ProvisionChunk(FileChunkBase, frozen=True, tag=126):
    """Its next lines, for `keyring`."""

"""Messages to `auth`, which stretches passwords and holds salts but nothing to test a guess against."""

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
    Done,
    Mutation,
    Name,
    Nonce,
    Password,
    Reply,
    Request,
    Tag16,
    Text,
)  # fmt: skip
from bulkhead.boundary.messages.latency import NOTHING, Latencies
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.provision import CHUNK_LINES_MAX, BeginFileBase, FileChunkBase, FirstPassword
from bulkhead.boundary.messages.rotation import DestroyKeyBase, ReadRotationBase, RotateKeyBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.support import CloseCaseBase, ListCasesBase, OpenCaseBase
from bulkhead.boundary.messages.surfaces import (
    LiftSurfacesBase,
    ReadSurfacesBase,
    StageAccountsBase,
    StopSurfacesBase,
)


class Scope:
    """What a login is for: one bit each; a credential carries the set it is good for."""

    IMAP = 1
    POP = 2
    SUBMIT = 4
    SIEVE = 8
    JMAP = 16
    WEB = 32
    ALL = 63


class Authenticate(Request[Done], frozen=True, tag=1):
    """First half of the check. Done: redeem `nonce` at keyring. Refused (`bad-credentials`) at one fixed time.

    account: from directory, perhaps a decoy. source: the client's IP address as text.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password",)
    account: AccountId
    password: Password
    scope: U8
    source: Annotated[str, Meta(max_length=64)]
    nonce: Nonce

    def __repr__(self) -> str:
        return "Authenticate(...)"


class SetPassword(Mutation[Done], frozen=True, tag=10):
    """Set the main password (cred 0): add half g+1 at keyring with `token`, commit here, drop the old half.

    token: from CreateMailboxKeys or from a recovery. Refused: `bad-token`, `weak-password`, `bad-scheme`.
    scheme: empty for a typed password; `plain` for an imported one, however short; else `password` is the digest that
    this scheme makes with `salt` (docs/formats.md), and it plays the password until the first login.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password",)
    account: AccountId
    password: Password
    token: Tag16
    scope: U8
    scheme: Name = ""
    salt: Annotated[bytes, Meta(max_length=255)] = b""

    def __repr__(self) -> str:
        return "SetPassword(...)"


class StopTenantLogins(Mutation[Done], frozen=True, tag=11):
    """Refuse every login of the tenant from now on; `epoch` only goes up. Durable, before the answer."""

    leased: ClassVar[bool] = False
    epoch: U63
    reason: Text


class LiftTenantStop(Mutation[Done], frozen=True, tag=12):
    """Let logins in again."""

    epoch: U63
    reason: Text


class SetLoginState(Mutation[Done], frozen=True, tag=13):
    """One of AccountState for this half of an account's credentials. Refused: `bad-state`, `tombstone`."""

    leased: ClassVar[bool] = False
    account: AccountId
    state: U8


class ChangePassword(Mutation[Done], frozen=True, tag=16):
    """Set the main password by the one that is set; its sessions end, app passwords stay.

    Refused: `bad-credentials` at the fixed time of a login, `weak-password`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("old", "new")
    account: AccountId
    old: Password
    new: Password

    def __repr__(self) -> str:
        return "ChangePassword(...)"


class AppPasswordAdded(Reply, frozen=True):
    """The number that its text has beside the secret."""

    cred: U32


class AddAppPassword(Mutation[AppPasswordAdded], frozen=True, tag=17):
    """Make an app password of `secret`, which the asker drew, for some services; password: the main one.

    Refused: `bad-credentials` at the fixed time of a login, `bad-scope`, `bad-label`, `too-many`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password", "secret")
    account: AccountId
    password: Password
    secret: Tag16
    scope: U8
    label: Annotated[str, Meta(max_length=128)]

    def __repr__(self) -> str:
        return "AddAppPassword(...)"


class AppPasswordRow(Reply, frozen=True):
    """One app password. created, used: seconds since 1970, used to the hour, 0: never. network: where from.

    ended: it opens nothing, since the mailbox key that it was made for was renewed. Revoke it, and make another.
    """

    cred: U32
    scope: U8
    label: Text
    created: U63
    used: U63
    network: Annotated[str, Meta(max_length=64)]
    ended: bool = False


class AppPasswords(Reply, frozen=True):
    """Those of one account, the oldest first."""

    rows: Annotated[tuple[AppPasswordRow, ...], Meta(max_length=64)]


class ListAppPasswords(Request[AppPasswords], frozen=True, tag=18):
    """List the app passwords of an account."""

    account: AccountId


class AppPasswordsRevoked(Reply, frozen=True):
    """How many there were."""

    revoked: U32


class RevokeAppPasswords(Mutation[AppPasswordsRevoked], frozen=True, tag=19):
    """Revoke one, or every one (0): logins at once, then its sessions. Refused (`no-such-password`)."""

    leased: ClassVar[bool] = False
    account: AccountId
    cred: U32


class RevokeCredentials(Mutation[Done], frozen=True, tag=20):
    """Refuse every credential of a kind that was set at or before `epoch`; durable before the answer, for ever.

    which: RevokedKind. The answer comes when it holds. Refused: `bad-epoch`, `bad-kind`.
    """

    leased: ClassVar[bool] = False
    epoch: U63
    which: U8
    reason: Text


class AuthCounts(Reply, frozen=True):
    """How many credentials there are, and whether logins are stopped."""

    credentials: U63
    stopped: bool
    epoch: U63


class CountCredentials(Request[AuthCounts], frozen=True, tag=14):
    """Counts for `status`; opens no record."""


class LoginCounts(Reply, frozen=True):
    """Logins since auth started, and those that a limit refused unread, by the limit (docs/credentials.md).

    failing: accounts that strangers fail for, in this minute. stuffing: whether that is over its ceiling, now or in the
    minute before. failure_ms: when failures are answered. failure_floor_ms: what imported digests ask for; 0: nothing.
    granting: how long those took that were granted.
    """

    granted: U63
    refused: U63
    over_source: U63
    over_account: U63
    over_accounts: U63
    over_gate: U63
    over_network: U63
    delayed: U63
    failing: U32
    stuffing: bool
    episodes: U32
    failure_ms: U32
    failure_floor_ms: U32
    granting: Latencies = NOTHING
    rule_stops: U32 = 0  # networks that a rule stopped at a gate


class CountLogins(Request[LoginCounts], frozen=True, tag=33):
    """What `status` shows of logins; reads counters in memory and one row of an index."""


class CheckAuth(Request[RecordPage], frozen=True, tag=15):
    """Open up to `limit` records, in the order of their row keys, from `after` on (empty: the first)."""

    after: Cursor = b""
    limit: U16 = WALK_ROWS_MAX


class MatchAuth(Request[AccountRecords], frozen=True, tag=29):
    """Open every record of these accounts; answered with how their halves stand. Refused: `bad-account`."""

    accounts: AccountIds


class RotateKey(RotateKeyBase, frozen=True, tag=30):
    """Make the next K_auth and seal every record under it, while logins go on; or go on with that."""


class ReadRotation(ReadRotationBase, frozen=True, tag=31):
    """Where the rotation of K_auth stands, and which versions are retired."""


class DestroyKey(DestroyKeyBase, frozen=True, tag=32):
    """Destroy a retired K_auth, and seal the other keys under `root`; in the ledger before it takes effect."""


class BeginBackup(BeginBackupBase, frozen=True, tag=36):
    """Take a snapshot of `auth`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=37):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=38):
    """`auth`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class SubmitOrder(SubmitOrderBase, frozen=True, tag=40):
    """An order of the tenant's officers, for `auth` to verify and to execute: logins, credentials, accounts."""


class InstallRoster(InstallRosterBase, frozen=True, tag=41):
    """The next roster, by which `auth` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=42):
    """The roster in force at `auth`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=44):
    """Begin to ship what `auth` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=45):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=46):
    """The standby's lease for `auth`."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=60):
    """`auth`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=61):
    """How many there are."""


class StageAccounts(StageAccountsBase, frozen=True, tag=50):
    """Keep a set of accounts for a stop at `auth` to name. Body: their ids, ascending."""


class StopSurfaces(StopSurfacesBase, frozen=True, tag=51):
    """Close what `auth` guards of these surfaces, for that set or for everybody."""


class LiftSurfaces(LiftSurfacesBase, frozen=True, tag=52):
    """Open it again, once the ledger has it."""


class ReadSurfaces(ReadSurfacesBase, frozen=True, tag=53):
    """What is closed at `auth`, and what a stop would reach there."""


class OpenCase(OpenCaseBase, frozen=True, tag=110):
    """Open a support case at `auth`."""


class CloseCase(CloseCaseBase, frozen=True, tag=111):
    """Nothing more is shown or done at `auth` in this case."""


class ListCases(ListCasesBase, frozen=True, tag=112):
    """Support cases of the last day at `auth`."""


ConsentCode = Annotated[bytes, Meta(max_length=8)]


class GiveConsent(Mutation[Done], frozen=True, tag=113):
    """Make `code`, eight digits that the asker drew, good for one act of the support desk, for 15 minutes.

    The one before is void. Refused: `bad-credentials` at the fixed time of a login, `bad-consent`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password", "code")
    account: AccountId
    password: Password
    code: ConsentCode

    def __repr__(self) -> str:
        return "GiveConsent(...)"


class LoginCard(Reply, frozen=True):
    """app_passwords: how many. last_login: ms, to the day; 0: none is known. network: of an app password's last use."""

    app_passwords: U16
    last_login: U63
    network: Annotated[str, Meta(max_length=64)]


class ShowLoginCard(Mutation[LoginCard], frozen=True, tag=114):
    """Logins of the account that a case is about, once the ledger has the look. Refused: `no-case`, `look-cap`."""

    case: Tag16


class ActInCase(Mutation[Done], frozen=True, tag=115):
    """One of SUPPORT_ACTS, for the account that the case is about; code: the subscriber's, spent by it.

    Refused: `no-case`, `unknown-act`, `other-role`, `bad-consent`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("code",)
    case: Tag16
    act: U8
    code: ConsentCode = b""

    def __repr__(self) -> str:
        return "ActInCase(...)"


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `auth`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `auth`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `auth` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `auth` is over."""


class BeginProvision(BeginFileBase, frozen=True, tag=120):
    """A provisioning file, for `auth`'s part of it: first passwords, and who may log in."""


class ProvisionChunk(FileChunkBase, frozen=True, tag=121):
    """Its next lines, for `auth`. passwords: of lines that bring one, by which they are known there."""

    passwords: Annotated[tuple[FirstPassword, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()

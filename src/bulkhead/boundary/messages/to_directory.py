"""Messages to `directory`: addresses in, account ids and signed bindings out. Tag numbers are never reused."""

from enum import IntEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.accesses import CountAccessesBase, SearchAccessesBase
from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.fields import (
    U8,
    U16,
    U32,
    U63,
    AccountId,
    AddressText,
    Digest32,
    DomainText,
    Done,
    Millis,
    Mutation,
    Name,
    Reply,
    Request,
    Tag16,
    Text,
)  # fmt: skip
from bulkhead.boundary.messages.orders import InstallRosterBase, ListOrdersBase, SubmitOrderBase
from bulkhead.boundary.messages.staff import (
    AskAsStaffBase,
    EndStaffSessionBase,
    GiveStaffNonceBase,
    OpenStaffSessionBase,
    ShowStaffSessionBase,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.support import CloseCaseBase, ListCasesBase, OpenCaseBase

BindingRecord = Annotated[bytes, Meta(min_length=1, max_length=512)]
PAGE_MAX = 1000  # rows of one listing
STATUSES_MAX = 4096  # rows of one page of statuses
STATUS_BYTES = 25
MEMBERS_MAX = 100  # accounts of a group: what one delivery takes
FORWARDS_MAX = 20  # addresses that one account forwards to
STATEMENT_MAX = 1024  # octets of a forward's statement (records/forward.py)
ALIASES_MAX = 200  # addresses of one account beside its own
GROUPS_SHOWN = 100
CLASSES_MAX = 200
SEARCH_MAX = 100  # rows of one search
NOTICES_MAX = 16  # of one page
CHUNK_LINES_MAX = 500  # of a provisioning file (records/provision.py)
CHUNK_BYTES_MAX = 96 * 1024
CHUNK_HASHES_MAX = 32 * 6000
ClassName = Annotated[str, Meta(max_length=32)]
ForwardStatement = Annotated[bytes, Meta(min_length=1, max_length=STATEMENT_MAX)]


class BindingRow(Reply, frozen=True):
    """The mailbox key of an account, a BINDING record as `keyring` signed it: believed only once verified."""

    account: AccountId
    record: BindingRecord


class Recipient(Reply, frozen=True):
    """Where mail for an address goes. `verdict` is a RecipientVerdict; a binding only for a local mailbox.

    others: further mailboxes of a group, or of those that an account forwards to.
    forwards: statements that let this message go on to other servers, one each, where the question said Reverse.GIVEN
    or NULL. own: the mailbox of the account that forwards, for what queue does not take; with them the one in which
    the message is delivered anyway may be absent.
    """

    verdict: U8
    binding: BindingRow | None = None
    quota_bytes: U63 = 0
    others: Annotated[tuple[BindingRow, ...], Meta(max_length=MEMBERS_MAX)] = ()
    forwards: Annotated[tuple[ForwardStatement, ...], Meta(max_length=FORWARDS_MAX)] = ()
    own: BindingRow | None = None


class RecipientVerdict:
    """Closed list of verdicts on a recipient."""

    LOCAL = 1  # deliver to binding.account
    NO_SUCH_ADDRESS = 2  # the domain is ours, the address is not (550 5.1.1)
    NOT_OURS = 3  # the domain is not hosted here
    CLOSED = 4  # suspended for receiving, dormant or cancelled (550 5.2.1)


class Reverse:
    """The reverse-path of what is to be delivered, as far as it matters to where that goes."""

    OWN = 0  # the cell's own notice, or a question alone: it goes to no other server, whatever is forwarded
    GIVEN = 1
    NULL = 2


class ResolveRecipient(Request[Recipient], frozen=True, tag=1):
    """Where does mail for this address go? reverse: of Reverse."""

    address: AddressText
    reverse: U8 = Reverse.OWN


class LoginAccount(Reply, frozen=True):
    """The account that a login name belongs to; for an unknown name a decoy id that no account has."""

    account: AccountId


class FindLogin(Request[LoginAccount], frozen=True, tag=2):
    """Which account logs in under this name?"""

    login: AddressText


class CheckSender(Request[Done], frozen=True, tag=3):
    """May this account send under this address? Refused (code `not-owner`) if not."""

    account: AccountId
    address: AddressText


class RenewBinding(Mutation[Done], frozen=True, tag=4):
    """The binding of an account's newer mailbox key; one that is not newer changes nothing. Refused: `bad-binding`."""

    binding: BindingRow


class AddDomain(Mutation[Done], frozen=True, tag=10):
    """Host a domain."""

    domain: DomainText


class DomainRow(Reply, frozen=True):
    """One hosted domain."""

    domain: DomainText
    accounts: U63
    created: Millis


class DomainPage(Reply, frozen=True):
    """Domains in order of name, after `after`."""

    rows: Annotated[tuple[DomainRow, ...], Meta(max_length=PAGE_MAX)]


class ListDomains(Request[DomainPage], frozen=True, tag=11):
    """Domains in order of name after `after` (empty: from the first)."""

    after: DomainText = ""
    limit: U16 = PAGE_MAX


class AddAccount(Mutation[Done], frozen=True, tag=12):
    """Make an address reach a mailbox. Refused: `no-such-domain`, `address-taken`, `tombstone`.

    created: since when the subscriber has it, ms; 0 is now.
    """

    address: AddressText
    binding: BindingRow
    quota_bytes: U63
    created: Millis = 0


class AccountStatus:
    """Closed list; the transition table is directory's."""

    PROVISIONED = 1
    ACTIVE = 2
    SUSPENDED = 3
    DORMANT = 4
    CANCELLED = 5
    PURGED = 6


class Service:
    """Bits of what may be switched off by account."""

    LOGIN = 1
    RECEIVE = 2
    SEND = 4
    ALL = 7


class AccountRow(Reply, frozen=True):
    """One account as directory knows it. closed: bits of Service that are switched off.

    binding: with ShowAccount alone; empty where there is none any more.
    """

    account: AccountId
    address: AddressText
    status: U8
    quota_bytes: U63
    created: Millis
    closed: U8 = 0
    class_name: ClassName = ""
    binding: Annotated[bytes, Meta(max_length=1024)] = b""


class AccountPage(Reply, frozen=True):
    """Accounts in order of address, after `after`."""

    rows: Annotated[tuple[AccountRow, ...], Meta(max_length=PAGE_MAX)]


class ListAccounts(Request[AccountPage], frozen=True, tag=13):
    """Accounts in order of address after `after` (empty: from the first), of one domain or all."""

    domain: DomainText = ""
    after: AddressText = ""
    limit: U16 = PAGE_MAX


class ShowAccount(Request[AccountRow], frozen=True, tag=14):
    """One account by address. Refused (`no-such-address`)."""

    address: AddressText


class SetAccountStatus(Mutation[AccountRow], frozen=True, tag=15):
    """Move an account along its transition table. Refused: `no-such-address`, `no-such-transition`."""

    leased: ClassVar[bool] = False
    address: AddressText
    status: U8
    reason: Text


class StatusCount(Reply, frozen=True):
    """How many accounts of one status."""

    status: U8
    accounts: U63


class AccountCounts(Reply, frozen=True):
    """Accounts by status, and addresses and domains in all."""

    rows: Annotated[tuple[StatusCount, ...], Meta(max_length=16)]
    addresses: U63
    domains: U63


class CountAccounts(Request[AccountCounts], frozen=True, tag=16):
    """Counts for `status` and `exposure`."""


class StatusPage(Reply, frozen=True):
    """Statuses without addresses: number u64, id, status u8 of each account (25 bytes), ascending by number."""

    rows: Annotated[bytes, Meta(max_length=STATUS_BYTES * STATUSES_MAX)]


class ListStatuses(Request[StatusPage], frozen=True, tag=29):
    """Up to `limit` accounts after number `after`; fewer are the end."""

    after: U63 = 0
    limit: U16 = STATUSES_MAX


class DirectoryReport(Reply, frozen=True):
    """What `fsck` found: problems in words, none when sound."""

    accounts: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=100)]


class CheckDirectory(Request[DirectoryReport], frozen=True, tag=17):
    """Check the database against its own rules."""


class BeginBackup(BeginBackupBase, frozen=True, tag=30):
    """Take a snapshot of `directory`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=31):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=32):
    """`directory`'s key set, sealed to both recovery keys, for a restore elsewhere."""


class AddAlias(Mutation[Done], frozen=True, tag=40):
    """Another address of an account: mail reaches it, and it may send under it; nobody logs in by it.

    Refused: `no-such-address`, `no-such-domain`, `address-taken`, `tombstone`, `full`.
    """

    address: AddressText
    alias: AddressText


class RemoveAlias(Mutation[Done], frozen=True, tag=41):
    """The alias reaches nobody from now on, and stays reserved for its account. Refused: `no-such-address`."""

    alias: AddressText


class SetForward(Mutation[Done], frozen=True, tag=42):
    """Where an account's mail goes besides; none ends it. keep: whether the account has a copy, too.

    In the ledger before it takes effect. Addresses at other servers only from the command line or a signed file.
    Refused: `no-such-address`, `not-ours`, `full`, `not-staff`.
    """

    address: AddressText
    targets: Annotated[tuple[AddressText, ...], Meta(max_length=FORWARDS_MAX)]
    keep: bool = True


class SetServices(Mutation[AccountRow], frozen=True, tag=43):
    """Switch services of an account off and on. closed: bits of Service.

    Refused: `no-such-address`, `no-such-status`.
    """

    address: AddressText
    closed: U8
    reason: Text


class SetQuota(Mutation[AccountRow], frozen=True, tag=44):
    """An account's quota, octets; store has its own. Refused: `no-such-address`."""

    address: AddressText
    quota_bytes: U63


class ClassRow(Reply, frozen=True):
    """A class of service. closed: bits of Service that are off. aliases, forwards: how many at most.

    elsewhere: of the forwards, how many may lead to other servers; at most what the tenant's settings allow.
    """

    name: ClassName
    quota_bytes: U63
    closed: U8
    aliases: Annotated[int, Meta(ge=0, le=ALIASES_MAX)]
    forwards: Annotated[int, Meta(ge=0, le=FORWARDS_MAX)]
    accounts: U63 = 0
    elsewhere: Annotated[int, Meta(ge=0, le=FORWARDS_MAX)] = FORWARDS_MAX


class DefineClass(Mutation[Done], frozen=True, tag=45):
    """Make a class of service or change it. Accounts that have it follow when they are given it again."""

    row: ClassRow


class ClassList(Reply, frozen=True):
    """Classes by name."""

    rows: Annotated[tuple[ClassRow, ...], Meta(max_length=CLASSES_MAX)]


class ListClasses(Request[ClassList], frozen=True, tag=46):
    """Every class, with how many accounts have it."""


class SetClass(Mutation[AccountRow], frozen=True, tag=47):
    """Give an account a class of service: quota and switches follow. Refused: `no-such-address`, `no-such-class`."""

    address: AddressText
    class_name: ClassName


class AddGroup(Mutation[Done], frozen=True, tag=48):
    """An address that reaches several accounts, at first none.

    Refused: `no-such-domain`, `address-taken`, `tombstone`.
    """

    address: AddressText


class SetMember(Mutation[Done], frozen=True, tag=49):
    """Put an account into a group, or take it out. Refused: `no-such-group`, `no-such-address`, `full`."""

    group: AddressText
    address: AddressText
    member: bool = True


class RemoveGroup(Mutation[Done], frozen=True, tag=50):
    """The group is gone, and its address reserved for ever. Refused: `no-such-group`."""

    address: AddressText


class GroupRow(Reply, frozen=True):
    """A group, with how many accounts it reaches."""

    address: AddressText
    members: U16
    created: Millis


class GroupPage(Reply, frozen=True):
    """Groups in order of address."""

    rows: Annotated[tuple[GroupRow, ...], Meta(max_length=PAGE_MAX)]


class ListGroups(Request[GroupPage], frozen=True, tag=51):
    """Groups in order of address after `after`."""

    after: AddressText = ""
    limit: U16 = PAGE_MAX


class Members(Reply, frozen=True):
    """Addresses of a group's members, in order."""

    addresses: Annotated[tuple[AddressText, ...], Meta(max_length=MEMBERS_MAX)]


class ShowGroup(Request[Members], frozen=True, tag=52):
    """Who is in a group. Refused: `no-such-group`."""

    address: AddressText


class Routes(Reply, frozen=True):
    """Every way by which mail reaches an account, and where it goes on to. groups: the first ones by address."""

    aliases: Annotated[tuple[AddressText, ...], Meta(max_length=ALIASES_MAX)]
    retired: Annotated[tuple[AddressText, ...], Meta(max_length=ALIASES_MAX)]
    groups: Annotated[tuple[AddressText, ...], Meta(max_length=GROUPS_SHOWN)]
    forwards: Annotated[tuple[AddressText, ...], Meta(max_length=FORWARDS_MAX)]
    keep: bool


class ShowRoutes(Request[Routes], frozen=True, tag=53):
    """Aliases, groups and forwards of an account. Refused: `no-such-address`."""

    address: AddressText


class SearchAccounts(Request[AccountPage], frozen=True, tag=54):
    """Accounts whose own address begins with `prefix`, in order after `after`; at most `limit`, 100 at most."""

    prefix: AddressText
    after: AddressText = ""
    limit: U16 = SEARCH_MAX


class SubmitOrder(SubmitOrderBase, frozen=True, tag=60):
    """An order of the tenant's officers, for `directory` to verify and to execute: an account's status."""


class InstallRoster(InstallRosterBase, frozen=True, tag=61):
    """The next roster, by which `directory` verifies orders."""


class ListOrders(ListOrdersBase, frozen=True, tag=62):
    """The roster in force at `directory`, and what became of orders there."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=70):
    """Begin to ship what `directory` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=71):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=72):
    """The standby's lease for `directory`."""


class ProvisionState(Reply, frozen=True):
    """How far a provisioning file has come. chunk: the next one. done, refused: lines."""

    root: Digest32
    lines: U32
    chunks: U32
    chunk: U32
    done: U32
    refused: U32
    begun: Millis
    changed: Millis


class BeginProvision(Mutation[ProvisionState], frozen=True, tag=80):
    """A provisioning file is to be carried out; one that is known goes on. hashes: SHA-256 of each chunk, in order.

    In the ledger before its first line. Refused: `other-root`, `too-large`, `full`, and without an order of officers
    where the policy asks for one `order-required`.
    """

    root: Digest32
    lines: U32
    hashes: Annotated[bytes, Meta(min_length=32, max_length=CHUNK_HASHES_MAX)]


class ProvisionChunk(Mutation[ProvisionState], frozen=True, tag=81):
    """Carry out the next chunk of a file; one that is done stays so. bindings: of the accounts that it makes.

    Lines that cannot be carried out are refused each for itself. Refused: `no-such-file`, `not-next`, `other-chunk`.
    """

    root: Digest32
    number: U32
    data: Annotated[bytes, Meta(min_length=1, max_length=CHUNK_BYTES_MAX)]
    bindings: Annotated[tuple[BindingRow, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()


class ShowProvision(Request[ProvisionState], frozen=True, tag=82):
    """How far a file has come. Refused: `no-such-file`."""

    root: Digest32


class RefusedLine(Reply, frozen=True):
    """A line that was not carried out, and the short word for why."""

    line: U32
    code: Name


class RefusedLines(Reply, frozen=True):
    """Refused lines of a file, in order."""

    rows: Annotated[tuple[RefusedLine, ...], Meta(max_length=PAGE_MAX)]


class ListRefusedLines(Request[RefusedLines], frozen=True, tag=83):
    """The lines of a file after line `after` that were refused; the first 100,000 are kept."""

    root: Digest32
    after: U32 = 0


class BindingEntry(Reply, frozen=True):
    """One address and what it leads to. kind: of AddressKind, 4 a group. record: of an account's own address.

    members: accounts of a group. closed: bits of Service.
    """

    address: AddressText
    kind: U8
    account: Annotated[bytes, Meta(max_length=16)] = b""
    record: Annotated[bytes, Meta(max_length=512)] = b""
    forwards: Annotated[tuple[AddressText, ...], Meta(max_length=FORWARDS_MAX)] = ()
    keep: bool = True
    members: Annotated[tuple[AccountId, ...], Meta(max_length=MEMBERS_MAX)] = ()
    status: U8 = 0
    closed: U8 = 0


class BindingPage(Reply, frozen=True):
    """Entries in order of address."""

    rows: Annotated[tuple[BindingEntry, ...], Meta(max_length=PAGE_MAX)]


class ListBindings(Request[BindingPage], frozen=True, tag=84):
    """Every address after `after` with its account and binding; of groups instead, with their members."""

    after: AddressText = ""
    groups: bool = False


class NoteBindings(Mutation[Done], frozen=True, tag=85):
    """A list of all bindings is about to leave, sealed: in the ledger before it does. digest: of the sealed file."""

    digest: Digest32
    rows: U63


class RemoveDomain(Mutation[Done], frozen=True, tag=86):
    """Host a domain no more; no address is left in it. Refused: `no-such-domain`, `not-empty`."""

    leased: ClassVar[bool] = False
    domain: DomainText


class UploadState(Reply, frozen=True):
    """A file that comes in parts. held: chunks that wait. missing: the first that is neither done nor here.

    expires: when the oldest that waits is forgotten, ms; 0: none waits.
    """

    state: ProvisionState
    held: U32
    missing: U32
    expires: Millis


class UploadChunk(Mutation[UploadState], frozen=True, tag=87):
    """Keep a chunk of a begun file until it is carried out. Refused: `no-such-file`, `other-chunk`, `upload-full`."""

    root: Digest32
    number: U32
    data: Annotated[bytes, Meta(min_length=1, max_length=CHUNK_BYTES_MAX)]


class ShowUpload(Request[UploadState], frozen=True, tag=88):
    """How far a file has come, and what of it waits. Refused: `no-such-file`."""

    root: Digest32


class AccountLimit(Reply, frozen=True):
    """An account and its quota, octets."""

    account: AccountId
    quota_bytes: U63


class ChunkPlan(Reply, frozen=True):
    """What comes before chunk `number`: accounts to make at keyring and store, and quotas to set at store."""

    number: U32
    makes: Annotated[tuple[AccountLimit, ...], Meta(max_length=CHUNK_LINES_MAX)]
    limits: Annotated[tuple[AccountLimit, ...], Meta(max_length=CHUNK_LINES_MAX)]


class PlanChunk(Request[ChunkPlan], frozen=True, tag=89):
    """What the next chunk of an uploaded file needs. Refused: `no-such-file`, `not-uploaded`."""

    root: Digest32


class CarryOutChunk(Mutation[UploadState], frozen=True, tag=90):
    """As ProvisionChunk, of the chunk that was uploaded; logins are ended and opened by no line of it.

    Refused: `no-such-file`, `not-next`, `not-uploaded`, and without an order where one is asked for `order-required`.
    """

    root: Digest32
    number: U32
    bindings: Annotated[tuple[BindingRow, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()


class NoticeKind(IntEnum):
    """What a subscriber is told."""

    ALIAS_ADDED = 1
    ALIAS_REMOVED = 2
    FORWARD_SET = 3
    FORWARD_ENDED = 4


class NoticeRow(Reply, frozen=True):
    """One notice. kind: of NoticeKind. about: addresses, those of others masked. address, binding: whose it is."""

    number: U63
    kind: U8
    about: Text
    at: Millis
    address: AddressText
    binding: BindingRow


class NoticePage(Reply, frozen=True):
    """The oldest that wait."""

    rows: Annotated[tuple[NoticeRow, ...], Meta(max_length=NOTICES_MAX)]


class TakeNotices(Request[NoticePage], frozen=True, tag=91):
    """Notices to subscribers about their addresses that wait to be delivered. after: numbers above it alone."""

    limit: Annotated[int, Meta(ge=1, le=NOTICES_MAX)]
    after: U63 = 0


class DropNotice(Mutation[Done], frozen=True, tag=92):
    """That notice is in its mailbox, or nobody's."""

    number: U63


class OpenCase(OpenCaseBase, frozen=True, tag=110):
    """Open a support case at `directory`."""


class CloseCase(CloseCaseBase, frozen=True, tag=111):
    """Nothing more is shown or done at `directory` in this case."""


class ListCases(ListCasesBase, frozen=True, tag=112):
    """Support cases of the last day at `directory`."""


class SupportCard(Reply, frozen=True):
    """What the desk sees of an account. address: its own, masked unless it is what was typed. Others: counts."""

    address: AddressText
    status: U8
    closed: U8
    class_name: ClassName
    created: Millis
    quota_bytes: U63
    aliases: U16
    forwards: U16


class ShowCard(Mutation[SupportCard], frozen=True, tag=113):
    """The card of the account that a case is about, once the ledger has the look; within the officer's hour.

    address: as it was typed when the case was opened. Refused: `no-case`, `other-account`, `look-cap`.
    """

    case: Tag16
    address: AddressText


class GiveStaffNonce(GiveStaffNonceBase, frozen=True, tag=96):
    """A nonce by which a member of staff opens a session at `directory`."""


class OpenStaffSession(OpenStaffSessionBase, frozen=True, tag=97):
    """Open a session of a member of staff at `directory`."""


class AskAsStaff(AskAsStaffBase, frozen=True, tag=98):
    """A request to `directory` under such a session."""


class EndStaffSession(EndStaffSessionBase, frozen=True, tag=99):
    """The session at `directory` is over."""


class ShowStaffSession(ShowStaffSessionBase, frozen=True, tag=100):
    """Whose session it is."""


class SearchAccesses(SearchAccessesBase, frozen=True, tag=101):
    """`directory`'s own access records of a window."""


class CountAccesses(CountAccessesBase, frozen=True, tag=102):
    """How many there are."""

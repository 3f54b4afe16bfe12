"""What the API takes and gives: JSON values with their limits. The schemas of docs/openapi.json are made from these.

Times are ms since 1970; ids and hashes are hexadecimal; octets are base64 (RFC 4648 section 4).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

ADDRESS_MAX = 320  # characters
BULK_MAX = 1000  # operations
PAGE_DEFAULT, PAGE_MAX = 100, 500
SEARCH_PREFIX_MIN = 3

Address = Annotated[str, Meta(min_length=3, max_length=ADDRESS_MAX, examples=["taro@kddi.example"])]
Reason = Annotated[str, Meta(max_length=200, pattern="^[^@]*$")]
Base64 = Annotated[str, Meta(max_length=24_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
RoleName = Literal["partner-admin", "partner-security", "partner-support", "operator-engineer", "operator-security"]
Cursor = Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]
Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX)]
Index = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Octets = Annotated[int, Meta(ge=0, le=2**53 - 1)]
SERVICE_BITS = {"login": 1, "receive": 2, "send": 4}
ServiceName = Literal["login", "receive", "send"]
Millis = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Recorder = Literal["directory", "auth", "keyring", "store", "queue"]
ActName = Literal["login", "session_begun", "session_ended", "keys_opened", "delivered", "appended", "queued", "staff"]
STATUSES = {1: "provisioned", 2: "active", 3: "suspended", 4: "dormant", 5: "cancelled", 6: "purged"}


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """A JSON object of exactly these members."""


# --- queries ---------------------------------------------------------------------------------------------------------


class NoQuery(Value, frozen=True):
    """No parameter."""


class Rehearsal(Value, frozen=True):
    """dry_run: answer as if it were done, and do nothing."""

    dry_run: bool = False


class PageQuery(Value, frozen=True):
    """after: `next` of the page before."""

    after: Cursor = ""
    limit: Limit = PAGE_DEFAULT


class AccountsQuery(PageQuery, frozen=True):
    """domain: only its accounts."""

    domain: Annotated[str, Meta(max_length=255)] = ""


class SearchQuery(Value, frozen=True, kw_only=True):
    """prefix: what the address begins with."""

    prefix: Annotated[str, Meta(min_length=SEARCH_PREFIX_MIN, max_length=ADDRESS_MAX)]
    after: Cursor = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 25


class EntriesQuery(Value, frozen=True):
    """first: index of the first entry."""

    first: Index = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 100


class InclusionQuery(Value, frozen=True):
    """index: the entry; size: entries of the tree."""

    index: Index
    size: Index


class ConsistencyQuery(Value, frozen=True):
    """old, new: entries of the two trees."""

    old: Index
    new: Index


class AccessQuery(Value, frozen=True, kw_only=True):
    """A window of access records. account: 32 hexadecimal digits. source: an address, or a network of whole octets.

    officer: acts of this member of staff alone; `cli`: of the command line of the host.
    """

    since: Millis
    until: Millis
    account: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""
    source: Annotated[str, Meta(max_length=64)] = ""
    act: ActName | Literal[""] = ""
    officer: Annotated[str, Meta(max_length=32)] = ""


class AccessesQuery(AccessQuery, frozen=True, kw_only=True):
    """holder: whose records. after: `next` of the page before."""

    holder: Recorder
    after: Annotated[str, Meta(pattern=r"^([0-9a-f]{8}-[0-7][0-9a-f]{15}-[0-9a-f]{8})?\Z")] = ""
    limit: Limit = PAGE_DEFAULT


# --- bodies ----------------------------------------------------------------------------------------------------------


class ChallengeBody(Value, frozen=True):
    """What a session is to be. token: SHA-256 of 32 octets that the browser drew and keeps. seconds: how long."""

    officer: Annotated[str, Meta(min_length=1, max_length=32)]
    role: RoleName
    token: Hex32
    seconds: Annotated[int, Meta(ge=1, le=8 * 3600)]


class OpenSession(Value, frozen=True):
    """An officer's statement and signature. key: the id of the officer's key. The last two: of a passkey alone."""

    statement: Base64
    officer: Annotated[str, Meta(max_length=32)]
    key: Hex16
    signature: Base64
    client_data: Base64 = ""
    authenticator_data: Base64 = ""


class AliasBody(Value, frozen=True):
    """alias: the new address."""

    alias: Address


class ForwardBody(Value, frozen=True):
    """targets: none ends it. keep: whether the account has a copy, too."""

    targets: Annotated[list[Address], Meta(max_length=20)]
    keep: bool = True


class ServicesBody(Value, frozen=True):
    """Whether the account receives and sends. Logins are stopped by a signed order."""

    receive: bool
    send: bool
    reason: Reason


class GroupBody(Value, frozen=True):
    """address: the group's."""

    address: Address


class ApprovalBody(Value, frozen=True):
    """One signature. client_data and authenticator_data: of a passkey alone."""

    officer: Annotated[str, Meta(max_length=32)]
    key: Hex16
    signature: Base64
    client_data: Base64 = ""
    authenticator_data: Base64 = ""


class OrderBody(Value, frozen=True):
    """A signed order: the file that `officer order make` and `sign` write. statement: the signed JSON, as text."""

    schema: Literal["bulkhead/officer-order/1"]
    statement: Annotated[str, Meta(min_length=2, max_length=8192)]
    approvals: Annotated[list[ApprovalBody], Meta(min_length=1, max_length=16)]


class Operation(Value, frozen=True):
    """One change. call: an operationId that the document marks `x-bulk`; path: its path's parameters."""

    call: Annotated[str, Meta(max_length=64)]
    path: Annotated[dict[str, Annotated[str, Meta(max_length=ADDRESS_MAX)]], Meta(max_length=4)]
    body: Any = None


class BulkBody(Value, frozen=True):
    """Done one after the other; one that fails stops no other."""

    operations: Annotated[list[Operation], Meta(min_length=1, max_length=BULK_MAX)]


# --- answers ---------------------------------------------------------------------------------------------------------


class Health(Value, frozen=True):
    """It answers."""

    status: Literal["ok"] = "ok"


class Nonces(Value, frozen=True):
    """What a statement names: tenant, audience, and a nonce of each holder that is there."""

    tenant: str
    audience: str
    nonces: dict[str, str]


class Challenge(Value, frozen=True):
    """statement: to be sent back as it is. challenge: base64url, what the passkey is asked. holders: those named."""

    statement: str
    challenge: str
    holders: list[str]


class SessionAnswer(Value, frozen=True):
    """holders: where it is open. rows: accounts that it may still be shown this hour."""

    officer: str
    role: str
    expires: int
    rows: int
    holders: list[str]


class Done(Value, frozen=True):
    """Done, and durable; in a rehearsal: it would be."""

    done: bool = True


class StatusAnswer(Value, frozen=True):
    """accounts: number by status."""

    tenant: str
    accounts: dict[str, int]
    addresses: int
    domains: int


class DomainItem(Value, frozen=True):
    """A hosted domain."""

    domain: str
    accounts: int
    created: int


class DomainPage(Value, frozen=True):
    """next: the cursor of the following page; empty at the end."""

    items: list[DomainItem]
    next: str


class Account(Value, frozen=True, rename={"class_name": "class"}):
    """off: services that are switched off."""

    account: str
    address: str
    status: str
    quota_bytes: int
    created: int
    off: list[ServiceName]
    class_name: str


class AccountPage(Value, frozen=True):
    """As DomainPage. rows: accounts that the officer may still be shown this hour."""

    items: list[Account]
    next: str
    rows: int


class RoutesAnswer(Value, frozen=True):
    """Every way to an account and from it."""

    aliases: list[str]
    retired: list[str]
    groups: list[str]
    forwards: list[str]
    keep: bool


class ClassItem(Value, frozen=True):
    """A class of service."""

    name: str
    quota_bytes: int
    off: list[ServiceName]
    aliases: int
    forwards: int
    forwards_elsewhere: int
    accounts: int


class ClassesAnswer(Value, frozen=True):
    """Every class."""

    items: list[ClassItem]


class GroupItem(Value, frozen=True):
    """A group."""

    address: str
    members: int
    created: int


class GroupPage(Value, frozen=True):
    """As DomainPage."""

    items: list[GroupItem]
    next: str


class MembersAnswer(Value, frozen=True):
    """Addresses."""

    members: list[str]


class OrderState(Value, frozen=True):
    """What became of an order at one holder, or why it refused it."""

    holder: str
    state: str | None = None
    due: int = 0
    at: int = 0
    officers: str = ""
    error: str | None = None
    code: str | None = None


class OrderAnswer(Value, frozen=True):
    """One row a holder that executes it."""

    action: str
    serial: str
    executors: list[OrderState]


class OrderItem(Value, frozen=True):
    """One order at one holder."""

    holder: str
    serial: str
    action: str
    sha256: str
    state: str
    due: int
    at: int
    officers: str


class OrdersAnswer(Value, frozen=True):
    """rosters: the version in force by holder; 0 where none is. missing: holders that did not answer."""

    rosters: dict[str, int]
    items: list[OrderItem]
    missing: list[str]


class CheckpointAnswer(Value, frozen=True):
    """Signed notes (C2SP). cosigned: the newest with the witness's signature, or empty."""

    checkpoint: str
    cosigned: str


class EntriesAnswer(Value, frozen=True):
    """entries: base64 of each, as its leaf hash is made from; next: index of the one behind.

    checkpoint: signed note under which they are. first_proof, last_proof: inclusion of the first and of the last entry
    in its tree, hexadecimal (RFC 9162 section 2.1.3); empty without entries.
    """

    first: int
    entries: list[str]
    next: int
    checkpoint: str
    first_proof: list[str]
    last_proof: list[str]


class ProofAnswer(Value, frozen=True):
    """Hashes of a proof (RFC 9162 section 2.1), hexadecimal."""

    hashes: list[str]


class Exposition(Value, frozen=True):
    """The text format of Prometheus, version 0.0.4; the answer is the text itself."""

    text: str


class TermItem(Value, frozen=True):
    """One promise as last measured; measured: -1 for not at all; entry: its breach in the ledger, or -1."""

    name: str
    promised: int
    measured: int
    standing: Literal["kept", "broken", "unmeasured"]
    entry: int
    why: str
    since: int


class ContractAnswer(Value, frozen=True):
    """text: the contract in force; adopted, checked: when; 0: never."""

    text: str
    adopted: int
    checked: int
    terms: list[TermItem]


class CanaryItem(Value, frozen=True):
    """Of one copy: canaries and uses; no account."""

    copy: str
    canaries: int
    since: int
    right: int
    wrong: int
    first: int
    last: int


class CanariesAnswer(Value, frozen=True):
    """Every copy."""

    items: list[CanaryItem]


class AccessItem(Value, frozen=True):
    """Who did what from where. number: as docs/access-records.md says. account, source: empty for nobody, nowhere.

    actor, action: of the act staff: who, by pseudonym, and the message that was asked for.
    """

    time: int
    act: str
    outcome: str
    gate: str
    number: int
    account: str
    source: str
    actor: str
    action: str


class AccessesAnswer(Value, frozen=True):
    """Oldest first. next: empty at the end. damaged: blocks that did not open."""

    items: list[AccessItem]
    next: str
    damaged: int


class AccessTally(Value, frozen=True):
    """How many records of one act and outcome."""

    act: str
    outcome: str
    records: int


class AccessHolder(Value, frozen=True):
    """What one holder has of the window. accounts: different ones. oldest: first day that can be read, ms."""

    holder: str
    records: int
    accounts: int
    damaged: int
    oldest: int
    acts: list[AccessTally]


class AccessCountsAnswer(Value, frozen=True):
    """One row a holder. missing: holders that did not answer."""

    items: list[AccessHolder]
    missing: list[str]


class Problem(Value, frozen=True):
    """RFC 9457. code: a short stable word."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class Result(Value, frozen=True):
    """Of one operation of a bulk call: its status, and its answer or problem."""

    index: int
    status: int
    answer: msgspec.Raw


class BulkAnswer(Value, frozen=True):
    """In the order of the operations. failed: how many have a status of 400 and up."""

    results: list[Result]
    failed: int

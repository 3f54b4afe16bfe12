"""What a client may ask, as values: one frozen class for each command (RFC 3501 section 6).

Mailbox names are str, decoded and checked. A field that holds a secret never shows in repr.
"""

from dataclasses import dataclass, field
from enum import Enum

from bulkhead.wire.imap.fetch import FetchItem
from bulkhead.wire.imap.flags import Flags
from bulkhead.wire.imap.search import SearchProgram
from bulkhead.wire.imap.search_returns import Window
from bulkhead.wire.imap.sequence import SequenceSet
from bulkhead.wire.imap.sort import SortKey
from bulkhead.wire.imap.status import StatusItem
from bulkhead.wire.imap.thread import ThreadAlgorithm


class StoreMode(Enum):
    """How STORE changes flags."""

    REPLACE = b"FLAGS"
    ADD = b"+FLAGS"
    REMOVE = b"-FLAGS"


class Selection(Enum):
    """Which mailboxes LIST tells of (RFC 5258 section 3.1); RECURSIVEMATCH adds those that have one below them."""

    SUBSCRIBED = b"SUBSCRIBED"
    REMOTE = b"REMOTE"
    RECURSIVEMATCH = b"RECURSIVEMATCH"
    SPECIAL_USE = b"SPECIAL-USE"


class ListReturn(Enum):
    """What LIST tells of each, besides STATUS (RFC 5258 section 3.2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"


@dataclass(frozen=True, slots=True)
class Capability:
    """CAPABILITY."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Logout:
    """LOGOUT."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS: parsed only where CLEAR_COMMANDS is the table."""


@dataclass(frozen=True, slots=True)
class Id:
    """ID (RFC 2971): what the client says of itself; None stands for NIL."""

    parameters: tuple[tuple[bytes, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Login:
    """LOGIN: what sasl calls authcid, and the password as octets."""

    username: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTHENTICATE: mechanism in upper case; initial_response still in base64, `=` if empty (RFC 4959), or None."""

    mechanism: str
    initial_response: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE (RFC 5161): capability names in upper case."""

    capabilities: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Compress:
    """COMPRESS DEFLATE (RFC 4978)."""


@dataclass(frozen=True, slots=True)
class Resync:
    """The QRESYNC parameter of SELECT (RFC 7162 section 3.2.5): what the client knew when it was last here.

    known: its UIDs, None for all. numbers, uids: message numbers and the UIDs that they had, as many of either.
    """

    uid_validity: int
    modseq: int
    known: SequenceSet | None = None
    numbers: SequenceSet | None = None
    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE when read_only. condstore: the parameter of RFC 7162 section 3.1.8."""

    mailbox: str
    read_only: bool
    condstore: bool = False
    resync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE; uses: special-use attributes in upper case, as of RFC 6154 section 3."""

    mailbox: str
    uses: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, or UNSUBSCRIBE when not on."""

    mailbox: str
    on: bool


@dataclass(frozen=True, slots=True)
class ListMailboxes:
    """LIST. extended: it had options, or patterns in parentheses; else one empty pattern asks for the delimiter.

    status: for each mailbox a STATUS response with these items follows, none where empty.
    """

    reference: str
    patterns: tuple[str, ...]
    extended: bool = False
    selection: frozenset[Selection] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()


@dataclass(frozen=True, slots=True)
class ListSubscribed:
    """LSUB (RFC 3501 section 6.3.9)."""

    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """NAMESPACE (RFC 2342)."""


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS; each item once, in the client's order."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class GetQuota:
    """GETQUOTA (RFC 9208 section 4.1.1)."""

    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """GETQUOTAROOT (RFC 9208 section 4.1.2)."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class SetQuota:
    """SETQUOTA (RFC 9208 section 4.1.3): resources in upper case and their limits."""

    root: bytes
    limits: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """IDLE (RFC 2177)."""


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK."""


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE, which expunges, or UNSELECT (RFC 3691), which does not."""

    expunge: bool


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE; with uids: UID EXPUNGE (RFC 4315 section 2.1)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH; uid: the answer gives UIDs."""

    program: SearchProgram
    uid: bool


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT (RFC 5256), which answers what SEARCH finds in the order of `keys`."""

    keys: tuple[SortKey, ...]
    program: SearchProgram
    uid: bool


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD (RFC 5256): what SEARCH finds, as trees."""

    algorithm: ThreadAlgorithm
    program: SearchProgram
    uid: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH; uid: `messages` are UIDs, and `items` always holds UID.

    changed_since: only messages with a higher MODSEQ (RFC 7162 section 3.1.4.1); `items` then holds MODSEQ.
    vanished: tell which of `messages` were expunged since then, too (RFC 7162 section 3.2.6).
    window: only so many of those, by place (RFC 9394 section 3.3).
    """

    messages: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool
    changed_since: int | None = None
    vanished: bool = False
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """STORE; silent: no FETCH response for what this command changed.

    unchanged_since: messages with a higher MODSEQ are left as they are (RFC 7162 section 3.1.3).
    """

    messages: SequenceSet
    mode: StoreMode
    silent: bool
    flags: Flags
    uid: bool
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY, or MOVE (RFC 6851) when move."""

    messages: SequenceSet
    mailbox: str
    move: bool
    uid: bool


@dataclass(frozen=True, slots=True)
class Append:
    """APPEND up to its message. internal_date: seconds since 1970 UTC, None for now. size: octets that follow.

    utf8: the message stands in `UTF8 (...)` (RFC 6855 section 4).
    """

    mailbox: str
    flags: Flags
    internal_date: int | None
    size: int
    utf8: bool = False


Command = (
    Capability
    | Noop
    | Logout
    | StartTls
    | Id
    | Login
    | Authenticate
    | Enable
    | Compress
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | ListMailboxes
    | ListSubscribed
    | GetQuota
    | GetQuotaRoot
    | SetQuota
    | Namespace
    | Status
    | Idle
    | Check
    | Close
    | Expunge
    | Search
    | Sort
    | Thread
    | Fetch
    | Store
    | Copy
)

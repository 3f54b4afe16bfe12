"""What holders are asked alike to contain a tenant: surfaces closed for everybody, or for a set of accounts.

A surface is one bit; what a holder does not guard it keeps and does not act on. docs/containment.md has the table.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U63, Digest32, Done, Millis, Mutation, Name, Reply, Request, Text

SET_ACCOUNTS_MAX = 1 << 22  # accounts of one set
ID_BYTES = 16
WORKERS_MAX = 1024
SetDigest = Annotated[bytes, Meta(max_length=32)]  # SHA-256 of the sorted ids in a row, or of a subject; empty: all


class Surface:
    """Bits. The first three are those of Scope: what a login is for."""

    IMAP = 1
    POP = 2
    SUBMIT = 4
    MAIN_PASSWORD = 1 << 8  # logins by main passwords, whatever for
    APP_PASSWORD = 1 << 9
    OUTBOUND = 1 << 10  # what an account sent leaves the cell
    INBOUND = 1 << 11  # mail is taken for an account
    CHANGES = 1 << 12  # a session changes a mailbox
    SESSIONS = 1 << 13  # live sessions end, once: never kept closed
    RESET_MAIN = 1 << 14  # logins by main passwords that were set at or before the stop's epoch
    RESET_APP = 1 << 15
    RULE_SOURCE = 1 << 16  # logins of whoever is new, from one network by one gate; these name a subject, not a set
    RULE_WORKER = 1 << 17  # sessions of one process of a gate
    RULE_SENDER = 1 << 18  # what one account sent leaves the cell
    SUBJECTS = RULE_SOURCE | RULE_WORKER | RULE_SENDER
    LOGINS = IMAP | POP | SUBMIT
    FREEZE = SUBMIT | OUTBOUND | INBOUND | CHANGES
    ALL = (1 << 19) - 1 & ~(0x1F << 3)  # bits 3 to 7 are other scopes


class AccountsStaged(Reply, frozen=True):
    """How many accounts the set has, and whether it is on disk; what is not is known until the next restart."""

    accounts: U32
    durable: bool


class StageAccountsBase(Mutation[AccountsStaged], frozen=True):
    """Keep a set of accounts for a stop to name. Body: their ids, ascending, none twice. It stops nobody.

    Refused: `bad-set` where the body is not the set of that digest, `too-many-sets`.
    """

    leased: ClassVar[bool] = False
    body_max: ClassVar[int] = SET_ACCOUNTS_MAX * ID_BYTES
    digest: Digest32


class SurfacesStopped(Reply, frozen=True):
    """How many live sessions ended."""

    sessions: U63


class StopSurfacesBase(Mutation[SurfacesStopped], frozen=True):
    """Close surfaces, for a set that was staged or for everybody; `epoch` only goes up. Durable before the answer.

    until: ms since 1970 when it lapses, 0: it does not.
    Refused: `old-epoch`, `bad-epoch`, `bad-surface`, `no-such-set`.
    """

    leased: ClassVar[bool] = False
    epoch: U63
    surfaces: U32
    accounts: SetDigest
    until: Millis
    reason: Text


class LiftSurfacesBase(Mutation[Done], frozen=True):
    """Open surfaces again, of just that set or of everybody, once the ledger has it. Refused: `old-epoch`."""

    epoch: U63
    surfaces: U32
    accounts: SetDigest
    reason: Text


class StoppedSurface(Reply, frozen=True):
    """A surface that is closed. members: accounts of its set; 0: everybody."""

    surface: U32
    accounts: SetDigest
    members: U32
    epoch: U63
    until: Millis


class WorkerSessions(Reply, frozen=True):
    """One gate's process that has sessions of a set. sessions: those of the set; others: of whoever is not in it."""

    compartment: Name
    worker: U32
    sessions: U32
    others: U32


class WholeStop(Reply, frozen=True):
    """A stop of the whole tenant, as `bulkhead stop` makes it. what: `logins` or `outbound`; epoch: since when, ms."""

    what: Name
    epoch: U63


class SurfaceState(Reply, frozen=True):
    """What is closed here, and what a stop would reach now: live sessions, messages that would wait.

    workers: who has those sessions, at the holder that keeps them, the most first.
    whole: what else is stopped here, of everybody: it is lifted by its own command.
    """

    stopped: Annotated[tuple[StoppedSurface, ...], Meta(max_length=1024)]
    sessions: U63
    messages: U63
    workers: Annotated[tuple[WorkerSessions, ...], Meta(max_length=WORKERS_MAX)] = ()
    whole: Annotated[tuple[WholeStop, ...], Meta(max_length=2)] = ()


class ReadSurfacesBase(Request[SurfaceState], frozen=True):
    """What is closed, and what closing these surfaces for that set would reach. Refused: `no-such-set`."""

    surfaces: U32 = 0
    accounts: SetDigest = b""

"""What every holder is asked alike for a warm standby (docs/standby.md). What it ships is sealed."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.backup import BackupName, Segments
from bulkhead.boundary.messages.fields import U32, U63, Nonce, Reply, Request

PIECE_MAX = 8 << 20  # octets
WAIT_MS_MAX = 10_000
ASK_MAX = 4096


class StandbyBegun(Reply, frozen=True):
    """A stream has begun with this lead; its base follows as its first pieces."""

    lead: Annotated[bytes, Meta(max_length=32_768)]


class BeginStandbyBase(Request[StandbyBegun], frozen=True):
    """Begin a stream to the standby with a new base; one that was shipped before is dropped.

    have: of store, segments that never change and that the standby has. Refused: `no-recovery-key`, `no-standby`.
    """

    stream: BackupName
    have: Segments = ()
    lineage: U63 = 0  # what those segments are of, as a stream's head said


class StandbyPiece(Reply, frozen=True):
    """A piece follows as body; number 0: nothing changed meanwhile. Then what the standby has not, and since when."""

    number: U63
    octets: U63
    milliseconds: U63


class ReadStandbyBase(Request[StandbyPiece], frozen=True):
    """The piece after that number, which the standby has; asked again until it has. Refused: `no-stream`: begin one."""

    reply_body_max: ClassVar[int] = PIECE_MAX
    stream: BackupName
    after: U63
    wait: Annotated[int, Meta(ge=0, le=WAIT_MS_MAX)]  # ms


class LeaseAsked(Reply, frozen=True):
    """A nonce for the next lease, counted from now. left: ms of the present one; mode: 0 off, 1 async, 2 sync."""

    nonce: Nonce
    left: U32
    mode: Annotated[int, Meta(ge=0, le=2)]
    stream: Annotated[str, Meta(max_length=40)] = ""
    broken: Annotated[str, Meta(max_length=200)] = ""
    octets: U63 = 0  # that the standby has not
    milliseconds: U63 = 0


class RenewLeaseBase(Request[LeaseAsked], frozen=True):
    """What was asked of the standby and what it granted, or nothing. end: lay the lease down, for good.

    Refused: `bad-lease`.
    """

    ask: Annotated[bytes, Meta(max_length=ASK_MAX)] = b""
    grant: Annotated[bytes, Meta(max_length=256)] = b""
    end: bool = False

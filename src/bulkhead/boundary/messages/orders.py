"""What every executor of orders is asked alike: the roster, an order, and what became of orders (docs/orders.md)."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, U63, Digest32, Mutation, Name, Reply, Request, Tag16

APPROVALS_MAX = 16
LISTED_MAX = 256
_Statement = Annotated[bytes, Meta(min_length=2, max_length=8192)]
_Roster = Annotated[bytes, Meta(min_length=2, max_length=49_152)]
_Signature = Annotated[bytes, Meta(min_length=1, max_length=128)]


class SignedApproval(Reply, frozen=True):
    """One signature: by which key of which officer; the last two of a passkey alone."""

    officer: Name
    key: Tag16
    signature: _Signature
    client_data: Annotated[bytes, Meta(max_length=1024)] = b""
    authenticator_data: Annotated[bytes, Meta(max_length=256)] = b""


class OrderRow(Reply, frozen=True):
    """What became of an order here. state: OrderState. due: ms, when it is executed; or until when it permits.

    at: ms, when it came to this state.
    """

    serial: Tag16
    hash: Digest32
    action: Name
    state: Name
    due: U63
    at: U63
    officers: Annotated[str, Meta(max_length=1024)]


class RosterState(Reply, frozen=True):
    """The roster in force here; version 0: none. local_refused: whether the command line needs orders."""

    version: U32
    hash: Digest32
    local_refused: bool
    roster: Annotated[bytes, Meta(max_length=49_152)] = b""


class OrderList(Reply, frozen=True):
    """The roster in force, and orders, the newest first."""

    roster: RosterState
    orders: Annotated[tuple[OrderRow, ...], Meta(max_length=LISTED_MAX)]


class SubmitOrderBase(Mutation[OrderRow], frozen=True):
    """Execute an order, or keep it until it is due; again: what became of it. Verified here, against this roster.

    Refused: by the name of what is wrong with it (docs/orders.md).
    """

    order: _Statement
    approvals: Annotated[tuple[SignedApproval, ...], Meta(min_length=1, max_length=APPROVALS_MAX)]


class RootSignature(Reply, frozen=True):
    """One root's signature under a roster."""

    root: Digest32
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class InstallRosterBase(Mutation[RosterState], frozen=True):
    """Take the roster that follows the one in force, once the ledger has it.

    Refused: `old-roster`, `roster-gap`, `roster-fork`, `quorum`, `unknown-root`, `bad-signature`, `no-roots`.
    """

    roster: _Roster
    signatures: Annotated[tuple[RootSignature, ...], Meta(min_length=1, max_length=8)]


class ListOrdersBase(Request[OrderList], frozen=True):
    """The roster in force, and up to `limit` orders."""

    limit: U32 = LISTED_MAX

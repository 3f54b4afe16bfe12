"""What every holder with a roster is asked for a member of staff alike: sessions, and requests under one."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import (
    MESSAGE_MAX,
    U32,
    U63,
    Digest32,
    Done,
    Mutation,
    Name,
    Reply,
    Request,
)
from bulkhead.boundary.messages.orders import SignedApproval

ENVELOPE = 1024  # octets that AskAsStaff and its answer have beside what they carry
Carried = Annotated[bytes, Meta(max_length=MESSAGE_MAX - ENVELOPE)]
Cursor = Annotated[bytes, Meta(max_length=16)]


class StaffNonce(Reply, frozen=True):
    """Good for one statement in the next two minutes, at this holder."""

    nonce: Digest32


class GiveStaffNonceBase(Request[StaffNonce], frozen=True):
    """A nonce for a statement that opens a session."""


class StaffSession(Reply, frozen=True):
    """Whose session it is. expires: ms. rows: how many accounts it may still be shown this hour."""

    officer: Name
    role: Name
    expires: U63
    rows: U32


class OpenStaffSessionBase(Mutation[StaffSession], frozen=True):
    """Open the session that an officer's statement asks for, once the ledger has it (docs/console.md).

    Refused: `no-roster`, `other-tenant`, `other-audience`, `bad-nonce`, `not-yet`, `expired`, `too-long`,
    `unknown-officer`, `unknown-key`, `other-role`, `bad-signature`; of a passkey `other-challenge`, `other-origin`,
    `other-party`, `user-not-verified`, `passkey-counter`.
    """

    statement: Annotated[bytes, Meta(min_length=2, max_length=4096)]
    approval: SignedApproval


class StaffAnswer(Reply, frozen=True):
    """The carried request's reply. next: a cursor for the page behind it, or empty. rows: as in StaffSession."""

    reply: Carried
    next: Cursor
    rows: U32


class AskAsStaffBase(Request[StaffAnswer], frozen=True):
    """One of STAFF_CALLS, as `request` on this edge would be, under the session whose token this is.

    after: a cursor of an earlier page.   rehearse: do everything but keep it.
    Refused: `no-session`, `role`, `search-cap`, `change-cap`, `bad-cursor`, `key-reused`, and what the request says.
    """

    token: Digest32
    request: Carried
    after: Cursor = b""
    rehearse: bool = False


class ShowStaffSessionBase(Request[StaffSession], frozen=True):
    """Whose session has this token. Refused: `no-session`."""

    token: Digest32


class EndStaffSessionBase(Mutation[Done], frozen=True):
    """The session is over; one that is not there is."""

    token: Digest32


__all__ = [
    "AskAsStaffBase", "EndStaffSessionBase", "GiveStaffNonceBase", "OpenStaffSessionBase", "ShowStaffSessionBase",
    "StaffAnswer", "StaffNonce", "StaffSession",
]  # fmt: skip

"""From the gates: a checked login becomes a session, and ends."""

from bulkhead.boundary.messages.fields import U8, U63, AccountId, Done, Handle, Key32, Nonce, Reply, Request
from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.boundary.messages.to_keyring.values import Secret


class Session(Secret, frozen=True):
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


class SessionsEnded(Reply, frozen=True):
    """How many sessions ended."""

    sessions: U63

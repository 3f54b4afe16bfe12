"""From auth: the second half of the password check, and the halves themselves."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import (
    U8,
    U32,
    AccountId,
    Digest32,
    Done,
    Key32,
    Mutation,
    Nonce,
    Reply,
    Request,
    Tag16,
)
from bulkhead.boundary.messages.to_keyring.values import Secret


class Release(Secret, frozen=True):
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

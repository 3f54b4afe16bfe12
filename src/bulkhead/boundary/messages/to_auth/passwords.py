"""From the gates a login; from the command line passwords, set first, and changed."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, AccountId, Done, Mutation, Name, Nonce, Password, Request, Tag16
from bulkhead.boundary.messages.provision import CHUNK_LINES_MAX, BeginFileBase, FileChunkBase, FirstPassword


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


class BeginProvision(BeginFileBase, frozen=True, tag=120):
    """A provisioning file, for `auth`'s part of it: first passwords, and who may log in."""


class ProvisionChunk(FileChunkBase, frozen=True, tag=121):
    """Its next lines, for `auth`. passwords: of lines that bring one, by which they are known there."""

    passwords: Annotated[tuple[FirstPassword, ...], Meta(max_length=CHUNK_LINES_MAX)] = ()

"""App passwords: made with the main password, listed, revoked."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U32, U63, AccountId, Mutation, Password, Reply, Request, Tag16, Text


class AppPasswordAdded(Reply, frozen=True):
    """The number that its text has beside the secret."""

    cred: U32


class AddAppPassword(Mutation[AppPasswordAdded], frozen=True, tag=17):
    """Make an app password of `secret`, which the asker drew, for some services; password: the main one.

    Refused: `bad-credentials` at the fixed time of a login, `bad-scope`, `bad-label`, `too-many`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password", "secret")
    account: AccountId
    password: Password
    secret: Tag16
    scope: U8
    label: Annotated[str, Meta(max_length=128)]

    def __repr__(self) -> str:
        return "AddAppPassword(...)"


class AppPasswordRow(Reply, frozen=True):
    """One app password. created, used: seconds since 1970, used to the hour, 0: never. network: where from.

    ended: it opens nothing, since the mailbox key that it was made for was renewed. Revoke it, and make another.
    """

    cred: U32
    scope: U8
    label: Text
    created: U63
    used: U63
    network: Annotated[str, Meta(max_length=64)]
    ended: bool = False


class AppPasswords(Reply, frozen=True):
    """Those of one account, the oldest first."""

    rows: Annotated[tuple[AppPasswordRow, ...], Meta(max_length=64)]


class ListAppPasswords(Request[AppPasswords], frozen=True, tag=18):
    """List the app passwords of an account."""

    account: AccountId


class AppPasswordsRevoked(Reply, frozen=True):
    """How many there were."""

    revoked: U32


class RevokeAppPasswords(Mutation[AppPasswordsRevoked], frozen=True, tag=19):
    """Revoke one, or every one (0): logins at once, then its sessions. Refused (`no-such-password`)."""

    leased: ClassVar[bool] = False
    account: AccountId
    cred: U32

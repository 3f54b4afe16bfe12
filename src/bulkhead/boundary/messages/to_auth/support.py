"""Support cases, and the subscriber's code that they act with (docs/support.md)."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U16, U63, AccountId, Done, Mutation, Password, Reply, Tag16
from bulkhead.boundary.messages.support import CloseCaseBase, ListCasesBase, OpenCaseBase


class OpenCase(OpenCaseBase, frozen=True, tag=110):
    """Open a support case at `auth`."""


class CloseCase(CloseCaseBase, frozen=True, tag=111):
    """Nothing more is shown or done at `auth` in this case."""


class ListCases(ListCasesBase, frozen=True, tag=112):
    """Support cases of the last day at `auth`."""


ConsentCode = Annotated[bytes, Meta(max_length=8)]


class GiveConsent(Mutation[Done], frozen=True, tag=113):
    """Make `code`, eight digits that the asker drew, good for one act of the support desk, for 15 minutes.

    The one before is void. Refused: `bad-credentials` at the fixed time of a login, `bad-consent`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("password", "code")
    account: AccountId
    password: Password
    code: ConsentCode

    def __repr__(self) -> str:
        return "GiveConsent(...)"


class LoginCard(Reply, frozen=True):
    """app_passwords: how many. last_login: ms, to the day; 0: none is known. network: of an app password's last use."""

    app_passwords: U16
    last_login: U63
    network: Annotated[str, Meta(max_length=64)]


class ShowLoginCard(Mutation[LoginCard], frozen=True, tag=114):
    """Logins of the account that a case is about, once the ledger has the look. Refused: `no-case`, `look-cap`."""

    case: Tag16


class ActInCase(Mutation[Done], frozen=True, tag=115):
    """One of SUPPORT_ACTS, for the account that the case is about; code: the subscriber's, spent by it.

    Refused: `no-case`, `unknown-act`, `other-role`, `bad-consent`.
    """

    secrets: ClassVar[tuple[str, ...]] = ("code",)
    case: Tag16
    act: U8
    code: ConsentCode = b""

    def __repr__(self) -> str:
        return "ActInCase(...)"

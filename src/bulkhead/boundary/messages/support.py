"""What every holder of support cases is asked alike: open one, close it, list them (docs/support.md)."""

from typing import Annotated, ClassVar

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, Done, Millis, Mutation, Name, Reply, Request, Tag16
from bulkhead.boundary.messages.orders import SignedApproval

CASES_LISTED_MAX = 256
_Statement = Annotated[bytes, Meta(min_length=2, max_length=2048)]


class CaseRow(Reply, frozen=True):
    """One case here. officer: who opened it, `cli` where no roster is installed. closed: ms, 0 while it is open."""

    case: Tag16
    officer: Name
    role: Name
    opened: Millis
    expires: Millis
    closed: Millis


class CaseRows(Reply, frozen=True):
    """Cases of the last day, the newest first. roster, roster_hash: in force here, which a new case names; 0: none."""

    rows: Annotated[tuple[CaseRow, ...], Meta(max_length=CASES_LISTED_MAX)]
    roster: U32 = 0
    roster_hash: Annotated[bytes, Meta(max_length=32)] = b""


class OpenCaseBase(Mutation[CaseRow], frozen=True):
    """Open a support case about one account, once the ledger has it; again: how it stands.

    approvals: the officer's signature; none where no roster is installed, and then from the command line alone.
    Refused: by the name of what is wrong with it (docs/support.md).
    """

    statement: _Statement
    approvals: Annotated[tuple[SignedApproval, ...], Meta(max_length=1)] = ()


class CloseCaseBase(Mutation[Done], frozen=True):
    """Nothing more is shown or done in this case. Refused (`no-such-case`)."""

    leased: ClassVar[bool] = False
    case: Tag16


class ListCasesBase(Request[CaseRows], frozen=True):
    """The cases of the last day."""

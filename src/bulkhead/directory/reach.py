"""Where mail for an address goes: an account, the accounts of a group, or where an account forwards to. Reads."""

from dataclasses import dataclass
from typing import Any

from msgspec import structs

from bulkhead.boundary.messages.to_directory import (
    FORWARDS_MAX,
    MEMBERS_MAX,
    BindingRow,
    Recipient,
    RecipientVerdict,
    Reverse,
    Service,
)
from bulkhead.directory.elsewhere import Elsewhere
from bulkhead.directory.schema import AddressKind, Forwarding
from bulkhead.directory.transitions import RECEIVES, Status
from bulkhead.errors import PeerError
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId, Address, parse_address

POSTMASTER = "postmaster"

BY_KEY = (
    "SELECT account.id, account.status, account.binding, account.quota, account.closed, account.forwards, "
    "account.number, address.kind FROM address JOIN account ON account.number = address.account WHERE address.key = ?"
)
_BY_ID = "SELECT id, status, binding, quota, closed, 0, number, 1 FROM account WHERE id = ?"
_FIRST_RECEIVING = (
    "SELECT id, status, binding, quota, closed, forwards, number FROM account WHERE status IN (1, 2) "
    "ORDER BY number LIMIT 1"
)
_MEMBERS = (
    "SELECT account.id, account.status, account.binding, account.quota, account.closed FROM member "
    "JOIN account ON account.number = member.account WHERE member.team = ? LIMIT ?"
)
_TARGETS = (
    "SELECT account.id, account.status, account.binding, account.quota, account.closed FROM forward "
    "JOIN address ON address.key = forward.key AND address.kind < 3 JOIN account ON account.number = address.account "
    "WHERE forward.account = ? LIMIT ?"
)


@dataclass(slots=True)
class Reach:
    """The look-ups. postmaster: an address, or empty for the tenant's first account."""

    database: Database
    elsewhere: Elsewhere
    postmaster: str = ""

    def resolve(self, text: str, reverse: int = Reverse.OWN) -> Recipient:
        """Where mail for an address goes. An address that cannot be parsed reaches nobody. reverse: of Reverse."""
        try:
            address = parse_address(text)
        except PeerError:
            if text.lower() == POSTMASTER:  # alone: RFC 5321 section 4.5.1
                return self._to_postmaster(reverse)
            return Recipient(RecipientVerdict.NO_SUCH_ADDRESS)
        row = self.database.first(BY_KEY, (address.key,))
        if row is not None:
            if row[7] == AddressKind.RETIRED:
                return Recipient(RecipientVerdict.NO_SUCH_ADDRESS)
            return self._go_on(row, reverse)
        if self.database.first("SELECT 1 FROM team WHERE key = ?", (address.key,)) is not None:
            return _together(self.database.read(_MEMBERS, (address.key, MEMBERS_MAX)))
        if self.database.first("SELECT 1 FROM domain WHERE name = ?", (address.domain,)) is None:
            return Recipient(RecipientVerdict.NOT_OURS)
        if address.local_part.lower() == POSTMASTER:
            return self._to_postmaster(reverse)
        return self._bounced(address, reverse)

    def _bounced(self, address: Address, reverse: int) -> Recipient:
        """What comes back to a forward's return path: into the mailbox of that account, and never further.

        Notifications alone have a null reverse-path (RFC 5321 section 4.5.5); others have no business there. Our own
        have the mail itself, which was taken while the account received: it comes also where it was closed since.
        """
        account = None if reverse == Reverse.GIVEN else self.elsewhere.bounced(address.local_part, address.domain)
        row = None if account is None else self.database.first(_BY_ID, (account,))
        if row is None:
            return Recipient(RecipientVerdict.NO_SUCH_ADDRESS)
        if reverse == Reverse.OWN and row[1] < Status.CANCELLED:
            return Recipient(RecipientVerdict.LOCAL, BindingRow(AccountId(row[0]), row[2]), row[3])
        return _together([row])

    def _to_postmaster(self, reverse: int) -> Recipient:
        """postmaster of every hosted domain is accepted (RFC 5321 section 4.5.1): the configured address, else the
        first account of the tenant that receives.
        """
        row = None
        if self.postmaster:
            row = self.database.first(BY_KEY, (parse_address(self.postmaster).key,))
        if row is None or not _receives(row):
            row = self.database.first(_FIRST_RECEIVING)
        return Recipient(RecipientVerdict.NO_SUCH_ADDRESS) if row is None else self._go_on(row, reverse)

    def _go_on(self, row: tuple[Any, ...], reverse: int) -> Recipient:
        """An account, and where it forwards to. What no target takes stays with the account, so that none is lost.

        A target's own forwards are not followed: no mail goes in circles. A message from `<>` leaves a copy whatever
        was said, if it goes to another server: nobody could be told that it did not arrive.
        """
        if not _receives(row) or row[5] == Forwarding.NONE:
            return _together([row])
        targets = self.database.read(_TARGETS, (row[6], FORWARDS_MAX))
        statements = () if reverse == Reverse.OWN else self.elsewhere.statements(row, null=reverse == Reverse.NULL)
        taken = any(_receives(target) for target in targets) or (statements and reverse != Reverse.NULL)
        if row[5] == Forwarding.WITH_COPY or not taken:
            targets.insert(0, row)
        if not statements:
            return _together(targets)
        own = BindingRow(AccountId(row[0]), row[2])
        found = _together(targets)
        return structs.replace(found, verdict=RecipientVerdict.LOCAL, forwards=statements, own=own)


def _receives(row: tuple[Any, ...]) -> bool:
    return row[1] in RECEIVES and not row[4] & Service.RECEIVE


def _together(rows: list[Any]) -> Recipient:
    """Those of the accounts that receive, each once."""
    found = {row[0]: (BindingRow(AccountId(row[0]), row[2]), row[3]) for row in rows if _receives(row)}
    if not found:
        return Recipient(RecipientVerdict.CLOSED)
    (binding, quota), *others = found.values()
    return Recipient(RecipientVerdict.LOCAL, binding, quota, tuple(other for other, _ in others[: MEMBERS_MAX - 1]))

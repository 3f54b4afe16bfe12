"""From the gates: where an address leads, who logs in by it, who may send under it."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U63, AccountId, AddressText, Done, Mutation, Reply, Request
from bulkhead.boundary.messages.to_directory.values import FORWARDS_MAX, MEMBERS_MAX, BindingRow

STATEMENT_MAX = 1024  # octets of a forward's statement (records/forward.py)
ForwardStatement = Annotated[bytes, Meta(min_length=1, max_length=STATEMENT_MAX)]


class Recipient(Reply, frozen=True):
    """Where mail for an address goes. `verdict` is a RecipientVerdict; a binding only for a local mailbox.

    others: further mailboxes of a group, or of those that an account forwards to.
    forwards: statements that let this message go on to other servers, one each, where the question said Reverse.GIVEN
    or NULL. own: the mailbox of the account that forwards, for what queue does not take; with them the one in which
    the message is delivered anyway may be absent.
    """

    verdict: U8
    binding: BindingRow | None = None
    quota_bytes: U63 = 0
    others: Annotated[tuple[BindingRow, ...], Meta(max_length=MEMBERS_MAX)] = ()
    forwards: Annotated[tuple[ForwardStatement, ...], Meta(max_length=FORWARDS_MAX)] = ()
    own: BindingRow | None = None


class RecipientVerdict:
    """Closed list of verdicts on a recipient."""

    LOCAL = 1  # deliver to binding.account
    NO_SUCH_ADDRESS = 2  # the domain is ours, the address is not (550 5.1.1)
    NOT_OURS = 3  # the domain is not hosted here
    CLOSED = 4  # suspended for receiving, dormant or cancelled (550 5.2.1)


class Reverse:
    """The reverse-path of what is to be delivered, as far as it matters to where that goes."""

    OWN = 0  # the cell's own notice, or a question alone: it goes to no other server, whatever is forwarded
    GIVEN = 1
    NULL = 2


class ResolveRecipient(Request[Recipient], frozen=True, tag=1):
    """Where does mail for this address go? reverse: of Reverse."""

    address: AddressText
    reverse: U8 = Reverse.OWN


class LoginAccount(Reply, frozen=True):
    """The account that a login name belongs to; for an unknown name a decoy id that no account has."""

    account: AccountId


class FindLogin(Request[LoginAccount], frozen=True, tag=2):
    """Which account logs in under this name?"""

    login: AddressText


class CheckSender(Request[Done], frozen=True, tag=3):
    """May this account send under this address? Refused (code `not-owner`) if not."""

    account: AccountId
    address: AddressText


class RenewBinding(Mutation[Done], frozen=True, tag=4):
    """The binding of an account's newer mailbox key; one that is not newer changes nothing. Refused: `bad-binding`."""

    binding: BindingRow

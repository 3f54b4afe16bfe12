"""The masked card: what the support desk sees of an account, once it typed the whole address itself."""

from bulkhead.boundary.messages.to_directory import AccountRow, SupportCard
from bulkhead.directory.book import find_account
from bulkhead.directory.schema import AddressKind
from bulkhead.errors import Refused
from bulkhead.holder.cases import OpenedCase
from bulkhead.holder.database import Database
from bulkhead.identifiers import Address, parse_address
from bulkhead.records.case import about


def card(database: Database, case: OpenedCase, typed: str) -> SupportCard:
    """The card of the case's account. Raises PeerError, Refused (`other-account`) where the case is about another one.

    An address that nobody has is refused as another's: a case tells nothing about addresses that it is not about.
    """
    address = parse_address(typed)
    if about(case.number, address) != case.about:
        raise _other()
    try:
        account, number = find_account(database, typed)
    except Refused:
        raise _other() from None
    if account.account != case.account:
        raise _other()
    (aliases,) = database.first(
        "SELECT count(*) FROM address WHERE account = ? AND kind = ?", (number, AddressKind.ALIAS)
    )
    (forwards,) = database.first("SELECT count(*) FROM forward WHERE account = ?", (number,))
    return SupportCard(
        shown(account, address), account.status, account.closed, account.class_name, account.created,
        account.quota_bytes, aliases, forwards,
    )  # fmt: skip


def shown(account: AccountRow, typed: Address) -> str:
    """The account's own address where that is what was typed; else its first character and its domain."""
    own = parse_address(account.address)
    return account.address if own.key == typed.key else f"{own.local_part[:1]}***@{own.domain}"


def _other() -> Refused:
    return Refused("the case is about another address, or another account", code="other-account")
